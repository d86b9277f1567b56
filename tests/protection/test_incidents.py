"""Incidents in PostgreSQL: one a person and value, found by the security team, remembered over restarts."""

import asyncio
from typing import Any

import pytest
from inspecting import CARD, DEFAULT, PERSON, SECRET, SSN, call, request

from ai_platform.domain.errors import Blocked, InvalidCall, StoreUnavailable
from ai_platform.domain.finding import Action, DataClass, Finding, ProtectionPlan, RuleAction, Severity, Tier
from ai_platform.domain.principal import Principal
from ai_platform.entrypoints.admin.endpoint import AdminRequest
from ai_platform.entrypoints.admin.incidents import endpoints
from ai_platform.protection import (
    Guard,
    Incidents,
    PostgresSeen,
    PostgresVault,
    ProtectionSettings,
    incident_rows,
    purge_vault,
)
from ai_platform.protection.incident_list import IncidentQuery, Status
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.anyio

OTHER_TENANT = Principal(id="person_9", name="Eve", tenant="acme")
TOKENS = ProtectionPlan(actions=(RuleAction(action=Action.TOKENISE, type="EMAIL_ADDRESS"),))


def finding(value_hash: str, **fields: Any) -> Finding:
    facts: dict[str, Any] = {
        "start": 0,
        "end": 11,
        "data_class": DataClass.PII,
        "type": "US_SSN",
        "rule": "us-ssn",
        "tier": Tier.VERIFIED,
        "severity": Severity.CRITICAL,
        "action": Action.BLOCK,
        "value_hash": value_hash,
        "path": "messages[0].content",
    }
    return Finding(**facts | fields)


@pytest.fixture(autouse=True)
async def tenant(system: SystemDatabase) -> None:
    await system.execute("INSERT INTO aip.tenants (name, title, created_by) VALUES ('acme', 'Acme', 'test')")


async def sight(
    system: SystemDatabase, *findings: Finding, person: Principal = PERSON, at: float = 1000.0, shown: bool = True
) -> None:
    await system.write(incident_rows(person, "call_1", findings, at, model="claude-sonnet-5-5", shown=shown))


@pytest.mark.requirement("DP-5")
async def test_sightings_of_one_value_are_one_incident_whoever_writes_them(database: Database, system: SystemDatabase):
    await asyncio.gather(*(sight(system, finding("aa"), finding("bb"), at=1000.0 + number) for number in range(8)))
    found = await Incidents(database).list(PERSON.tenant, IncidentQuery())
    assert sorted((each.value_hash, each.count) for each in found) == [("aa", 8), ("bb", 8)]
    assert {each.last_seen for each in found} == {"1970-01-01T00:16:47.000Z"}
    assert {(each.type, each.rule, each.action, each.path, each.model, each.sent) for each in found} == {
        ("US_SSN", "us-ssn", "block", "messages[0].content", "claude-sonnet-5-5", True)
    }


async def test_no_index_can_refuse_what_two_replicas_see_at_once(system: SystemDatabase):
    """ON CONFLICT watches one unique index; a second one refuses the slower of two writers now and then."""
    unique = await system.fetch(
        "SELECT indexrelid::regclass::text AS name FROM pg_index"
        " WHERE indisunique AND indrelid = 'aip.incidents'::regclass"
    )
    assert [row["name"].removeprefix("aip.") for row in unique] == ["incidents_pkey"]


async def test_an_incident_belongs_to_its_tenant(database: Database, system: SystemDatabase):
    await sight(system, finding("aa"))
    await sight(system, finding("aa"), person=OTHER_TENANT)
    incidents = Incidents(database)
    (mine,), (theirs,) = [await incidents.list(name, IncidentQuery()) for name in ("default", "acme")]
    assert (mine.person, theirs.person) == (PERSON.id, OTHER_TENANT.id)
    for attempt in (incidents.get("default", theirs.id), incidents.mark("default", theirs.id, Status.CLOSED)):
        with pytest.raises(InvalidCall):
            await attempt
    assert (await incidents.get("acme", theirs.id)).status == "open"
    with pytest.raises(InvalidCall):
        await incidents.list("default", IncidentQuery(after=theirs.id))


async def test_incidents_are_found_by_person_type_team_state_and_time_and_paged(
    database: Database, system: SystemDatabase
):
    for number in range(10):
        red = Principal(id=f"person_{number % 2}", name="x", team="red" if number < 5 else None)
        kind = finding(f"{number:02}", type="US_SSN" if number % 3 else "CREDIT_CARD")
        await sight(system, kind, person=red, at=1000.0 + number, shown=number != 7)
    incidents = Incidents(database)

    async def hashes(**wanted: Any) -> list[str]:
        return [each.value_hash for each in await incidents.list("default", IncidentQuery(**wanted))]

    everything = [f"{number:02}" for number in reversed(range(10))]
    assert await hashes() == everything
    assert await hashes(person="person_1", type="US_SSN") == ["07", "05", "01"]
    assert await hashes(team="red") == ["04", "03", "02", "01", "00"]
    assert await hashes(since=1007.0, until=1009.0) == ["08", "07"]
    assert await hashes(severity=Severity.HIGH) == []
    assert [each.sent for each in await incidents.list("default", IncidentQuery(since=1007.0))] == [True, True, False]
    pages: list[str] = []
    after = None
    while page := await incidents.list("default", IncidentQuery(limit=3, after=after)):
        pages += [each.value_hash for each in page]
        after = page[-1].id
    assert pages == everything


async def test_a_closed_incident_opens_again_when_its_value_is_met_anew(database: Database, system: SystemDatabase):
    await sight(system, finding("aa"))
    incidents = Incidents(database)
    (found,) = await incidents.list("default", IncidentQuery())
    assert (await incidents.mark("default", found.id, Status.CLOSED)).status == "closed"
    await sight(system, finding("aa"), at=2000.0)
    assert [each.id for each in await incidents.list("default", IncidentQuery(status=Status.OPEN))] == [found.id]


def routes(database: Database) -> dict[str, Any]:
    return {f"{each.method} {each.path}": each for each in endpoints(Incidents(database), FakeClock())}


async def test_what_a_query_cannot_mean_is_said(database: Database):
    handle = routes(database)["GET /admin/incidents"].handle
    for params in (
        *({"limit": text} for text in ("0", "1001", "x", "")),
        {"severity": "huge"},
        {"status": "lost"},
        {"since": "soon"},
        {"who": "ann"},
        {"after": "inc_none"},
        {"after": "'; DROP TABLE aip.incidents; --"},
    ):
        with pytest.raises(InvalidCall):
            await handle(AdminRequest(principal=PERSON, params=params))


async def test_the_route_pages_with_next(database: Database, system: SystemDatabase):
    for number in range(5):
        await sight(system, finding(f"{number:02}"), at=1000.0 + number)
    handle = routes(database)["GET /admin/incidents"].handle
    params = {"limit": "2"}
    seen: list[str] = []
    while True:
        page = await handle(AdminRequest(principal=PERSON, params=params))
        seen += [each.value_hash for each in page["incidents"]]
        if page["next"] is None:
            break
        params = {"limit": "2", "after": page["next"]}
    assert seen == ["04", "03", "02", "01", "00"]
    with pytest.raises(InvalidCall):
        await routes(database)["POST /admin/incidents/{id}/status"].handle(
            AdminRequest(principal=PERSON, params={"id": "inc_1"}, body={"status": "gone"})
        )


# --- block on first sight, over restarts and replicas ---------------------------------------------------------------


def replica(database: Database) -> Guard:
    return Guard(
        ProtectionSettings(),
        FakeClock(),
        secret=SECRET,
        seen=PostgresSeen(database),
        store=PostgresVault(database),
    )


async def refused(guard: Guard, system: SystemDatabase, text: str, person: Principal = PERSON) -> bool:
    try:
        await guard.inspect(person, call(request(text)), DEFAULT)
    except Blocked as error:
        await system.write(incident_rows(person, "call_1", error.news, 1000.0))
        return True
    return False


@pytest.mark.requirement("DP-2", "DP-5")
async def test_a_value_is_refused_once_also_after_a_restart_and_on_another_replica(
    database: Database, system: SystemDatabase
):
    assert await refused(replica(database), system, SSN)
    assert not await refused(replica(database), system, f"again {SSN}")
    assert await refused(replica(database), system, f"again {SSN} and {CARD}")
    assert await refused(replica(database), system, SSN, OTHER_TENANT)


async def test_a_value_that_only_an_answer_held_is_still_refused_when_the_person_sends_it(
    database: Database, system: SystemDatabase
):
    guard = replica(database)
    body = b'{"content": [{"type": "text", "text": "it is 536-22-8491"}]}'
    told = await guard.inspect_answer(PERSON, call(), DEFAULT, body)
    assert len(told.new_incidents) == 1
    await sight(system, *told.new_incidents, shown=False)
    again = await replica(database).inspect_answer(PERSON, call(), DEFAULT, body)
    assert again.new_incidents == ()
    assert await refused(replica(database), system, SSN)
    assert [each.sent for each in await Incidents(database).list("default", IncidentQuery())] == [True]


class Away:
    def within(self, tenant: str) -> "Away":
        assert tenant
        return self

    async def fetch(self, *_: Any) -> list[Any]:
        raise StoreUnavailable("away")


async def test_without_the_database_a_value_counts_as_new_and_is_refused():
    guard = Guard(ProtectionSettings(), FakeClock(), secret=SECRET, seen=PostgresSeen(Away()))
    with pytest.raises(Blocked):
        await guard.inspect(PERSON, call(request(SSN)), DEFAULT)
    assert (await guard.inspect(PERSON, call(request(SSN)), DEFAULT)).changed


# --- the vault's table ----------------------------------------------------------------------------------------------


@pytest.mark.requirement("DP-2")
async def test_tokens_survive_in_the_database_of_their_tenant_until_they_expire(
    database: Database, system: SystemDatabase
):
    sent = call(request("mail jane@acme.io"), session="s")
    first = await replica(database).inspect(PERSON, sent, TOKENS)
    await system.write(first.rows)
    await system.write(first.rows)  # another replica met it too
    assert await system.fetchval("SELECT count(*) FROM aip.vault") == 1
    token = first.body.decode().split("mail ")[1].split('"')[0]
    later = await replica(database).inspect(PERSON, call(request("hello"), session="s"), TOKENS)
    assert later.exchange is not None
    assert later.exchange.restore(token) == "jane@acme.io"
    stranger = Principal(id=PERSON.id, name="x", tenant="acme")
    theirs = await replica(database).inspect(stranger, call(request("hello"), session="s"), TOKENS)
    assert theirs.exchange is not None
    assert theirs.exchange.restore(token) is None
    assert await purge_vault(system, FakeClock().now()) == 0
    assert await purge_vault(system, FakeClock().now() + 25 * 3600) == 1
