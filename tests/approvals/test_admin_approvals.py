"""The admin API of approvals with real keys: who sees what, who decides, what stands in the log."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from approvals_kit import Carrier, tool_call

from ai_platform.approvals import Approvals, ApprovalSettings, Ask
from ai_platform.approvals.digest import digest_of
from ai_platform.domain.approval import ApprovalDemand
from ai_platform.domain.call import Client
from ai_platform.domain.errors import ApprovalNeeded, Denied
from ai_platform.domain.principal import Credentials, Principal
from ai_platform.entrypoints.admin.approvals import endpoints
from ai_platform.entrypoints.admin.router import AdminRouter
from ai_platform.gateway.witness import ApprovalWitness
from ai_platform.identity import Authenticator, Keys
from ai_platform.policy import PolicyStore
from ai_platform.policy.settings import PolicySettings
from ai_platform.stores.postgres import Database
from ai_platform.telemetry import Alerts
from ai_platform.telemetry.settings import AlertSettings
from ai_platform.testing import FakeClock, MemoryTrail

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("PO-7")]

DEMAND = ApprovalDemand(rule="Production Access", approvers=("security-team", "user:ceo@example.com"))
ROOT = Principal(id="usr_root", name="root", permissions=frozenset({"*"}))


class Desk:
    """The admin API with people who have keys of their own, made by somebody who is none of them."""

    def __init__(self, database: Database, clock: FakeClock, folder: Path) -> None:
        self.trail = MemoryTrail()
        self.store = PolicyStore(PolicySettings(), folder, clock=clock, folder=folder)
        self.auth = Authenticator(database, pepper=b"p" * 32, roles=self.store, clock=clock)
        self.keys = Keys(database, pepper=b"p" * 32, roles=self.store, clock=clock, forget=self.auth.forget)
        alerts = Alerts(AlertSettings(), clock=clock)
        self.room = Approvals(
            database,
            ApprovalSettings(),
            clock,
            key=b"k" * 32,
            seal=b"s" * 32,
            witness=ApprovalWitness(self.trail, alerts, clock),
            makers=lambda tenant, key_id: self.keys.makers(key_id, tenant=tenant),
            standing=self._standing,
        )
        routes = endpoints(self.room, self.store, names=self.keys.names)
        self.router = AdminRouter(routes, identity=self.auth, trail=self.trail, clock=clock)
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.router), base_url="http://platform")
        self.texts: dict[str, str] = {}

    async def _standing(self, tenant: str, principal_id: str, key_id: str | None) -> Principal | None:
        assert principal_id
        return await self.keys.holder(key_id or "", tenant=tenant)

    async def hire(self, name: str, by: Principal = ROOT, **fields: Any) -> Principal:
        fields = {"email": f"{name}@example.com"} | fields
        _, self.texts[name] = await self.keys.create(name, by=by, **fields)
        return await self.auth.authenticate(Credentials(self.texts[name]), Client(ip="127.0.0.1"))

    async def call(self, who: str, method: str, path: str = "", body: Any = None) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {self.texts[who]}"}
        answer = await self.http.request(method, f"/admin/approvals{path}", json=body, headers=headers)
        return answer.status_code, answer.json()

    async def ask(self, caller: Principal, arguments: object = None) -> str:
        call = tool_call(arguments)
        digest = digest_of(caller, call, DEMAND, self.store.version)
        ask = Ask(caller=caller, call=call, demand=DEMAND, policy_version=self.store.version, digest=digest)
        try:
            return f"passed with {(await self.room.granted(ask, Carrier())).id}"
        except ApprovalNeeded as needed:
            return needed.id


@pytest.fixture
async def desk(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(database, clock, tmp_path)
    async with desk.http:
        yield desk


async def test_each_sees_what_concerns_them_and_an_auditor_everything(desk: Desk):
    ann = await desk.hire("ann")
    for name, fields in {
        "bob": {"team": "security-team"},
        "ceo": {"roles": ("member",)},
        "eve": {},
        "aud": {"roles": ("security_auditor",)},
    }.items():
        await desk.hire(name, **fields)
    request_id = await desk.ask(ann)
    for who, sees in {"ann": 1, "bob": 1, "ceo": 1, "aud": 1, "eve": 0}.items():
        status, found = await desk.call(who, "GET")
        assert (status, len(found)) == (200, sees), who
    _, shown = await desk.call("bob", "GET", f"/{request_id}")
    assert (shown["who"], shown["what"], shown["why_not"]) == ("ann@example.com", "prod-db/query", "")
    assert shown["shown"] == '{"arguments": {"sql": "select 1"}}'
    assert shown["expires_at"].endswith("Z")
    assert not {"person", "key_id", "decided_key"} & shown.keys()
    assert "none of those" in (await desk.call("ann", "GET", f"/{request_id}"))[1]["why_not"]
    assert "none of those" in (await desk.call("aud", "GET", f"/{request_id}"))[1]["why_not"]
    status, error = await desk.call("eve", "GET", f"/{request_id}")
    assert (status, "no approval" in error["error"]["message"]) == (404, True)


async def test_a_decision_is_recorded_before_it_is_made_and_its_outcome_after(desk: Desk):
    ann = await desk.hire("ann")
    bob = await desk.hire("bob", team="security-team")
    request_id = await desk.ask(ann)
    status, decided = await desk.call("bob", "POST", f"/{request_id}/approve", {"note": "INC-42"})
    assert (status, decided["state"], decided["decided_by_name"]) == (200, "approved", "bob@example.com")
    kinds = [event.type.value for event in desk.trail.events]
    assert kinds == ["approval_requested", "admin_action", "approval_decided"]
    action, outcome = desk.trail.events[1:]
    assert action.facts["target"] == request_id
    assert (outcome.subject, outcome.facts["result"], outcome.facts["asked_by"]) == (bob.id, "approved", ann.id)
    assert "INC-42" not in str(outcome.facts)
    assert (await desk.call("bob", "POST", f"/{request_id}/deny"))[0] == 400
    assert await desk.ask(ann) == f"passed with {request_id}"
    assert (await desk.call("bob", "GET"))[1] == []
    assert (await desk.call("bob", "GET", "?all=1"))[1][0]["state"] == "used"


async def test_a_decision_that_cannot_be_recorded_is_not_made(desk: Desk):
    ann = await desk.hire("ann")
    await desk.hire("bob", team="security-team")
    request_id = await desk.ask(ann)
    desk.trail.failing = True
    assert (await desk.call("bob", "POST", f"/{request_id}/approve"))[0] == 503
    desk.trail.failing = False
    assert await desk.ask(ann) == request_id, "still waiting"


async def test_the_maker_of_a_key_decides_nothing_about_its_calls_and_with_it_nothing_about_their_own(desk: Desk):
    boss = await desk.hire("boss", roles=("admin",), team="security-team")
    ann = await desk.hire("ann", by=boss)
    await desk.hire("puppet", by=boss, team="security-team")
    status, error = await desk.call("boss", "POST", f"/{await desk.ask(ann)}/approve")
    assert (status, "you made the key" in error["error"]["message"]) == (403, True)
    status, error = await desk.call("puppet", "POST", f"/{await desk.ask(boss, {'n': 2})}/approve")
    assert (status, "made the key that you use" in error["error"]["message"]) == (403, True)


async def test_two_keys_of_one_address_are_one_person(desk: Desk):
    ann = await desk.hire("ann")
    await desk.hire("ann2", email="ANN@example.com", team="security-team")
    await desk.hire("ann3", email="ann+boss@example.com", team="security-team")
    request_id = await desk.ask(ann)
    for who in ("ann2", "ann3"):
        status, error = await desk.call(who, "POST", f"/{request_id}/approve")
        assert (status, "Nobody decides about their own call" in error["error"]["message"]) == (403, True)


async def test_an_approver_whose_key_is_revoked_takes_their_consent_along(desk: Desk):
    ann = await desk.hire("ann")
    await desk.hire("bob", team="security-team")
    request_id = await desk.ask(ann)
    await desk.call("bob", "POST", f"/{request_id}/approve")
    await desk.keys.revoke("bob", by=ROOT)
    with pytest.raises(Denied, match="does not hold any more"):
        await desk.ask(ann)
    assert desk.trail.events[-1].type.value == "approval_ended"
    assert desk.trail.events[-1].facts["result"] == "void"


@pytest.mark.parametrize("body", [{"note": 5}, {"note": "x" * 501}, {"notes": "x"}, {"note": "x", "agree": True}])
async def test_a_body_that_is_not_meant_changes_nothing(desk: Desk, body: dict[str, Any]):
    ann = await desk.hire("ann")
    await desk.hire("bob", team="security-team")
    request_id = await desk.ask(ann)
    assert (await desk.call("bob", "POST", f"/{request_id}/approve", body))[0] == 400
    assert await desk.ask(ann) == request_id


async def test_a_key_without_the_permission_sees_and_decides_nothing(desk: Desk):
    ann = await desk.hire("ann")
    await desk.hire("bob", team="security-team", scopes=("claude:messages:create",))
    request_id = await desk.ask(ann)
    assert (await desk.call("bob", "GET"))[0] == 403
    assert (await desk.call("bob", "POST", f"/{request_id}/approve"))[0] == 403
