"""Consent as a step of the flow: what waits, what passes when it comes again, and what stands in the record."""

import asyncio
from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from assembled import ALICE, Assembled

from ai_platform.approvals import Approvals, ApprovalSettings
from ai_platform.domain.call import Answer, Call, Client, Door, Head, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import ApprovalNeeded, Denied, Unauthenticated
from ai_platform.domain.principal import Credentials, Principal
from ai_platform.domain.route import Route, Target
from ai_platform.gateway.consent import Consent
from ai_platform.gateway.witness import ApprovalWitness
from ai_platform.identity.ended import Ended
from ai_platform.stores.postgres import Database
from ai_platform.testing.eventually import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("PO-7", "AU-7")]

POLICY = """
policies:
  - {name: Production Access, resources: [prod-db], requires_approval: true, approvers: [security-team]}
  - {name: Opus, resources: ["model:claude-opus-*"], requires_approval: true, approvers: [security-team]}
  - {name: By session, resources: ["model:claude-sonnet-5"], requires_approval: true, approvers: [security-team],
     covers: session}
"""
BOB = Principal(
    id="usr_bob", name="Bob", team="security-team", key_id="key_bob", permissions=frozenset({"approvals:request:use"})
)
DONE = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class Peer:
    """A client that is there while its call runs. progress has to grow."""

    session = None
    capabilities: Mapping[str, Any] = {}
    log_level = None

    def __init__(self) -> None:
        self.heard: list[tuple[float, str | None]] = []

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        assert total is None
        self.heard.append((progress, message))


class Caller:
    """An identity room that knows Alice until she is taken away."""

    def __init__(self) -> None:
        self.now: Principal | None = ALICE
        self.ended = Ended()

    async def authenticate(self, credentials: Credentials, client: Client) -> Principal:
        assert client is not credentials
        if self.now is None:
            raise Unauthenticated(Refusal.KEY_REVOKED, "The key was revoked.")
        return self.now


class House(Assembled):
    """An assembled gateway whose approvals are on a real database. witnessed: the room is asked with a real trail."""

    def __init__(self, folder: Path, database: Database, policy: str = POLICY) -> None:
        self.database = database
        self.caller = Caller()
        self.file = folder / "enterprise.yaml"
        super().__init__(folder, policy)
        gateway: Any = self.gateway
        self.policies = gateway._policies
        self.room = Approvals(
            database,
            ApprovalSettings(poll_seconds=0.02, progress_seconds=0.02),
            self.clock,
            key=b"k" * 32,
            seal=b"s" * 32,
            witness=ApprovalWitness(self.trail, self.alerts, self.clock),
            makers=self._makers,
            standing=self._standing,
        )
        gateway._identity = self.caller
        gateway._consent = Consent(
            self.room,
            identity=self.caller,
            policies=self.policies,
            protection=gateway._protection,  # type: ignore[arg-type]
        )
        gateway._destinations = {Door.MESSAGES: gateway._destinations[Door.MESSAGES], Door.MCP: Tools()}

    async def _makers(self, tenant: str, key_id: str) -> frozenset[str]:
        del tenant, key_id
        return frozenset()

    async def _standing(self, tenant: str, principal_id: str, key_id: str | None) -> Principal | None:
        del tenant, key_id
        return BOB if principal_id == BOB.id else None

    async def agree(self, request_id: str, *, agree: bool = True) -> None:
        await self.room.decide(BOB, request_id, agree=agree, version=self.policies.version)

    async def needs(self, call: Call) -> ApprovalNeeded:
        with pytest.raises(ApprovalNeeded) as needed:
            await self.ask(call)
        return needed.value

    def facts(self, kind: str) -> dict[str, Any]:
        return next(event.facts for event in reversed(self.trail.events) if event.type.value == kind)


class Tools:
    """Servers that answer everything with "done". metas: the `_meta` of the calls that were made."""

    def __init__(self) -> None:
        self.metas: list[Any] = []

    def choose(self, caller: Principal, call: Call) -> Route:
        assert caller.id
        return Route(model=None, targets=(Target(name=call.head.server or "", platform="mcp"),))

    @asynccontextmanager
    async def open(self, caller: Principal, route: Route, call: Call) -> Any:
        assert caller.id
        assert call.id
        self.metas.append(call.meta)

        async def body() -> Any:
            yield b'{"content": [{"type": "text", "text": "done"}]}'

        yield Answer(200, [(b"content-type", b"application/json")], body(), target=route.targets[0])


@pytest.fixture
def house(tmp_path: Path, database: Database) -> House:
    house = House(tmp_path, database)
    house.upstream.chunks = [DONE]
    return house


def model_call(house: House, model: str = "claude-opus-5-5", text: str = "hello", session: str | None = None) -> Call:
    call = house.call(text)
    body = call.body.replace(b"claude-sonnet-5-5", model.encode())
    head = msgspec.structs.replace(call.head, model=model)
    client = Client(ip="127.0.0.1", session_id=session)
    return msgspec.structs.replace(call, body=body, head=head, client=client)


def tool_call(house: House, sql: str = "select 1", peer: Peer | None = None) -> Call:
    return Call(
        id="call_tool",
        door=Door.MCP,
        operation=Operation.TOOLS_CALL,
        method="POST",
        path="/mcp",
        head=Head(server="prod-db", tool="query", tool_use_id="toolu_7"),
        body=msgspec.json.encode({"name": "query", "arguments": {"sql": sql}}),
        client=Client(ip="127.0.0.1"),
        received_at=house.clock.now(),
        peer=peer,  # type: ignore[arg-type]
    )


async def test_a_model_call_is_refused_with_the_id_and_passes_when_sent_again_after_consent(house: House):
    needed = await house.needs(model_call(house))
    assert house.upstream.asked == []
    assert house.held() == 0
    assert house.facts("call_refused")["approval_id"] == needed.id
    assert house.facts("approval_requested")["approval_id"] == needed.id
    await house.agree(needed.id)
    assert await house.ask(model_call(house)) == [DONE]
    intent, outcome = house.facts("claude_chat_request"), house.facts("claude_chat_response")
    for facts in (intent, outcome):
        assert facts["approval_id"] == needed.id
        assert facts["approved_by"] == "usr_bob"
        assert facts["approval_digest"] == house.facts("approval_decided")["digest"]
        assert facts["policy_version"] == house.policies.version
    assert "cost_usd" in outcome
    await house.needs(model_call(house))
    assert len(house.upstream.asked) == 1


async def test_another_body_is_another_call(house: House):
    needed = await house.needs(model_call(house))
    await house.agree(needed.id)
    assert (await house.needs(model_call(house, text="hello!"))).id != needed.id
    assert house.upstream.asked == []


async def test_a_session_goes_on_once_somebody_agreed_to_it(house: House):
    needed = await house.needs(model_call(house, "claude-sonnet-5", "one", "s1"))
    await house.agree(needed.id)
    for text in ("two", "three"):
        assert await house.ask(model_call(house, "claude-sonnet-5", text, "s1")) == [DONE]
    await house.needs(model_call(house, "claude-sonnet-5", "one", "s2"))


async def test_a_tool_call_waits_tells_its_client_and_goes_on(house: House):
    peer = Peer()
    waiting = asyncio.create_task(house.ask(tool_call(house, peer=peer)))
    await eventually(lambda: len(peer.heard) >= 3)
    numbers = [number for number, _ in peer.heard]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] < 1
    assert "consent of security-team" in str(peer.heard[0][1])
    (request,) = await house.room.list(BOB)
    await house.agree(request.id)
    (answer,) = await asyncio.wait_for(waiting, 10)
    assert b"done" in answer
    facts = house.facts("mcp_tool_call")
    assert (facts["approval_id"], facts["tool_use_id"]) == (request.id, "toolu_7")
    assert house.facts("approval_requested")["tool_use_id"] == "toolu_7"
    assert house.facts("approval_decided")["waited_seconds"] >= 0


async def test_what_the_approver_did_not_read_is_not_sent(house: House):
    """`_meta` is the client's to fill, may differ between the question and the call, and is not shown."""
    tools: Any = house.gateway._destinations[Door.MCP]  # type: ignore[attr-defined]
    plain = {"progressToken": 7, "traceparent": "00-1-1-01", "io.modelcontextprotocol/clientCapabilities": {}}
    call = msgspec.structs.replace(tool_call(house), meta=plain | {"vendor/confirm": "and all backups"})
    await house.agree((await house.needs(call)).id)
    await house.ask(call)
    assert tools.metas == [plain]


async def test_a_denied_tool_call_is_never_made(house: House):
    waiting = asyncio.create_task(house.ask(tool_call(house, peer=Peer())))
    await eventually(lambda: house.room.waiting == 1)
    (request,) = await house.room.list(BOB)
    await house.agree(request.id, agree=False)
    with pytest.raises(Denied, match="was denied by security-team"):
        await asyncio.wait_for(waiting, 10)
    assert "mcp_tool_call" not in house.event_types()


async def test_what_changes_while_a_call_waits_ends_it(house: House):
    """The caller's key, the caller's rights, the policy: each is looked at again at the moment of use."""
    for change, says in [
        (lambda: setattr(house.caller, "now", None), "was revoked"),
        (
            lambda: setattr(house.caller, "now", msgspec.structs.replace(ALICE, permissions=frozenset({"a:b:c"}))),
            "not allowed for you",
        ),
        (lambda: (house.file.write_text(POLICY + "# changed\n"), house.policies.check_now()), "the policy has changed"),
    ]:
        waiting = asyncio.create_task(house.ask(tool_call(house, f"select '{says}'", Peer())))
        await eventually(lambda: house.room.waiting == 1)
        (request,) = await house.room.list(BOB)
        await house.agree(request.id)
        change()
        with pytest.raises((Denied, Unauthenticated), match=says):
            await asyncio.wait_for(waiting, 10)
        house.caller.now = ALICE
        await house.database.within("default").execute("UPDATE approvals SET state = 'void'")
    assert "mcp_tool_call" not in house.event_types()


async def test_what_the_approver_reads_has_every_finding_masked(tmp_path: Path, database: Database):
    house = House(tmp_path, database, POLICY + "protection: {actions: [{action: log}]}\n")
    sql = "select * from cards where n = '4111 1111 1111 1111' and mail = 'ada@corp-mail.de' -- \u202e"
    needed = await house.needs(tool_call(house, sql))
    _, shown = await house.room.get(BOB, needed.id)
    value = msgspec.json.decode(shown)
    assert value["server"] == "prod-db"
    assert "4111" not in shown
    assert "ada@" not in shown
    assert value["parameters"]["arguments"]["sql"].startswith("select * from cards where n = '[REDACTED")


async def test_what_is_shown_of_a_prompt_is_its_newest_text(house: House):
    needed = await house.needs(model_call(house, text="x" * 5000))
    _, shown = await house.room.get(BOB, needed.id)
    value = msgspec.json.decode(shown)
    assert value["models"] == ["claude-opus-5-5"]
    assert value["prompt"] == "x" * 4000 + " ..."


async def test_approvers_hear_of_a_request_once(house: House):
    sent: list[Any] = []
    house.alerts.send = sent.append  # type: ignore[method-assign]
    needed = await house.needs(tool_call(house))
    await house.needs(tool_call(house))
    (alert,) = sent
    assert (alert.kind, alert.severity, alert.person) == ("approval_pending", "warning", ALICE.id)
    assert alert.facts["approval"] == needed.id
    assert alert.facts["decide"] == f"ai-platform approvals show {needed.id}"
    assert "select" not in str(alert)


async def test_no_event_holds_what_was_asked_for(house: House):
    needed = await house.needs(tool_call(house, "select 'hunter2'"))
    await house.agree(needed.id)
    await house.ask(tool_call(house, "select 'hunter2'"))
    assert "hunter2" not in str([event.facts for event in house.trail.events])
