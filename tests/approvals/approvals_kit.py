"""What the suite of the approvals room shares."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ai_platform.approvals import Approvals, ApprovalSettings, Ask, Request, State
from ai_platform.approvals.digest import digest_of
from ai_platform.domain.approval import Approval, ApprovalDemand, Covers
from ai_platform.domain.call import Call, Client, Door, Head, Operation
from ai_platform.domain.errors import AuditUnavailable
from ai_platform.domain.principal import Principal, PrincipalKind
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.testing import FakeClock

USES = frozenset({"approvals:request:use"})


def person(name: str, team: str, **fields: Any) -> Principal:
    values = {"id": f"usr_{name}", "name": name, "email": f"{name}@example.com", "key_id": f"key_{name}"} | fields
    return Principal(team=team, permissions=USES, **values)


ANN, EVE = person("ann", "blue"), person("eve", "green")
BOB, CID = person("bob", "security-team"), person("cid", "security-team")
AUDITOR = Principal(id="usr_aud", name="Aud", permissions=USES | {"approvals:request:read"})
CI = person("ci", "security-team", id="svc_ci", kind=PrincipalKind.SERVICE, email=None)

DEMAND = ApprovalDemand(rule="Production Access", approvers=("security-team",))
VERSION = "1+abc"


def tool_call(arguments: object = None, *, server: str = "prod-db", tool: str = "query", **fields: Any) -> Call:
    raw = arguments if isinstance(arguments, bytes) else msgspec.json.encode(arguments or {"sql": "select 1"})
    return Call(
        id=fields.pop("id", "call_1"),
        door=Door.MCP,
        operation=Operation.TOOLS_CALL,
        method="POST",
        path="/mcp",
        head=Head(server=server, tool=tool, tool_use_id="toolu_1"),
        body=b'{"name":"query","arguments":' + raw + b"}",
        **fields,
    )


def model_call(session: str | None = None, text: str = "hello", model: str = "claude-opus-5-5") -> Call:
    return Call(
        id="call_m",
        door=Door.MESSAGES,
        operation=Operation.MESSAGES_CREATE,
        method="POST",
        path="/v1/messages",
        head=Head(model=model),
        body=msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": text}]}),
        client=Client(session_id=session),
    )


class Carrier:
    """Carries one call. told: what the client heard. fails: what `check` raises."""

    def __init__(self, *, waits: bool = False, fails: Exception | None = None) -> None:
        self.waits = waits
        self.told: list[str] = []
        self.on_tell: Callable[[], Awaitable[None]] | None = None
        self.fails = fails
        self.shows = 0

    async def tell(self, sentence: str) -> None:
        self.told.append(sentence)
        if self.on_tell is not None:
            await self.on_tell()

    async def shown(self) -> bytes:
        self.shows += 1
        return b'{"arguments": {"sql": "select 1"}}'

    async def check(self) -> None:
        if self.fails is not None:
            raise self.fails


class Notes:
    """A witness that remembers. failing: the trail is gone."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.failing = False

    async def asked(self, request_id: str, ask: Ask, expires_at: float) -> None:
        assert expires_at > 0
        self._write("asked", request_id)
        assert ask.digest

    def announced(self, request: Request) -> None:
        self.seen.append(("announced", request.id))

    async def decided(self, request: Request, by: Principal) -> None:
        self._write(f"{request.state.value} by {by.id}", request.id)

    async def ended(self, request: Request, state: State) -> None:
        self._write(state.value, request.id)

    def _write(self, what: str, request_id: str) -> None:
        if self.failing:
            raise AuditUnavailable("gone")
        self.seen.append((what, request_id))

    def words(self) -> list[str]:
        return [what for what, _ in self.seen]


class Office:
    """made_by: who made which key. people: who exists now, by key id."""

    def __init__(
        self,
        database: Database,
        system: SystemDatabase,
        clock: FakeClock,
        *,
        like: "Office | None" = None,
        **settings: Any,
    ) -> None:
        self.database = database
        self.system = system
        self.clock = clock
        self.version = VERSION
        self.witness = like.witness if like else Notes()
        self.made_by: dict[str, frozenset[str]] = like.made_by if like else {}
        people = {each.key_id or "": each for each in (ANN, BOB, CID, EVE, CI)}
        self.people: dict[str, Principal] = like.people if like else people
        self.room = Approvals(
            database,
            ApprovalSettings(**({"poll_seconds": 0.02, "progress_seconds": 0.02} | settings)),
            clock,
            key=b"k" * 32,
            seal=b"s" * 32,
            witness=self.witness,
            makers=self._makers,
            standing=self._standing,
        )

    async def _makers(self, tenant: str, key_id: str) -> frozenset[str]:
        assert tenant
        return self.made_by.get(key_id, frozenset())

    async def _standing(self, tenant: str, principal_id: str, key_id: str | None) -> Principal | None:
        assert tenant
        assert principal_id
        return self.people.get(key_id or "")

    async def ask(
        self,
        call: Call | None = None,
        *,
        caller: Principal = ANN,
        demand: ApprovalDemand = DEMAND,
        carrier: Carrier | None = None,
        version: str | None = None,
    ) -> Approval:
        call = call or tool_call()
        version = version or self.version
        digest = digest_of(caller, call, demand, version)
        ask = Ask(caller=caller, call=call, demand=demand, policy_version=version, digest=digest)
        return await self.room.granted(ask, carrier or Carrier())

    async def decide(self, request_id: str, *, by: Principal = BOB, agree: bool = True, note: str = "") -> Request:
        return await self.room.decide(by, request_id, agree=agree, version=self.version, note=note)

    async def states(self) -> list[str]:
        return [request.state.value for request in await self.room.list(AUDITOR, every=True)]


SESSION = ApprovalDemand(rule="The largest model", approvers=("security-team",), covers=Covers.SESSION)
