"""The ledger in a real PostgreSQL: what is written, what can be asked, what nobody can change."""

import asyncio
from itertools import count
from typing import Any

import asyncpg
import pytest
from budget_kit import ADA, a_call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_platform.budget import Ledger
from ai_platform.budget.settings import BudgetSettings
from ai_platform.budget.spending import By, Filters, UsageRow
from ai_platform.domain.call import Call, Client, Head
from ai_platform.domain.principal import Principal
from ai_platform.domain.route import Target
from ai_platform.domain.usage import Iteration, Usage
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.stores.rows import Insert
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.anyio

_tenants = count(1)

TARGET = Target(name="anthropic", platform="anthropic", region="us")
USAGE = Usage(
    input_tokens=10,
    output_tokens=20,
    cache_read_tokens=30,
    cache_write_5m_tokens=40,
    cache_write_1h_tokens=50,
    thinking_tokens=5,
    web_search_requests=2,
    tier="batch",
    speed="fast",
    geo="us",
)


@pytest.fixture
def ledger(database: Database, system: SystemDatabase) -> Ledger:
    return Ledger(database, system, BudgetSettings(), process="prc_1", slot="here")


def a_row(ledger: Ledger, call: Call, principal: Principal = ADA, *, micros: int = 1000, **fields: Any) -> Insert:
    options: dict[str, Any] = {
        "usage": USAGE,
        "tokens": 120,
        "target": TARGET,
        "at": call.received_at,
        "status": 200,
        "model_served": "claude-opus-5-5",
        "price_rows": ("claude-opus-5-5@2026-09-22", "x2 fast"),
    }
    return ledger.row(call=call, principal=principal, micros=micros, **(options | fields))


async def everything(
    ledger: Ledger, by: By, clock: FakeClock, tenant: str = "default", **filters: Any
) -> list[UsageRow]:
    return await ledger.usage(by, tenant=tenant, since=0, until=clock.now() + 86_400, filters=Filters(**filters))


@pytest.mark.requirement("SP-2")
async def test_a_row_keeps_every_count_and_no_personal_text(
    ledger: Ledger, system: SystemDatabase, clock: FakeClock
) -> None:
    call = a_call(clock)
    await system.write([a_row(ledger, call, simulated=True, unknown=True)])
    row = dict(await system.fetchrow("SELECT * FROM aip.ledger"))
    assert row["call_id"] == call.id
    assert row["at"].timestamp() == clock.now()
    expected = {
        "tenant": "default",
        "principal": "usr_ada",
        "team": "payments",
        "project": "p1",
        "key_id": "key_1",
        "session_id": "session-1",
        "agent_id": "agent-1",
        "operation": "messages.create",
        "model_asked": "claude-opus-5-5",
        "model_served": "claude-opus-5-5",
        "upstream": "anthropic",
        "platform": "anthropic",
        "region": "us",
        "status": 200,
        "input_tokens": 10,
        "output_tokens": 20,
        "cache_read_tokens": 30,
        "cache_write_5m_tokens": 40,
        "cache_write_1h_tokens": 50,
        "thinking_tokens": 5,
        "limited_tokens": 120,
        "web_searches": 2,
        "tier": "batch",
        "speed": "fast",
        "geo": "us",
        "micros": 1000,
        "price_rows": "claude-opus-5-5@2026-09-22; x2 fast",
        "unknown_price": True,
        "estimated": False,
        "interrupted": False,
        "simulated": True,
        "recovered": False,
        "counted": True,
    }
    assert {name: row[name] for name in expected} == expected
    assert "ada@example.org" not in str(row)
    assert "Ada" not in str(row)


async def test_a_row_sums_every_pass(ledger: Ledger, system: SystemDatabase, clock: FakeClock) -> None:
    compaction = Iteration(kind="compaction", usage=Usage(input_tokens=1000, output_tokens=7))
    usage = Usage(input_tokens=1, output_tokens=1, estimated=True, iterations=(compaction,))
    await system.write([a_row(ledger, a_call(clock), usage=usage)])
    row = await system.fetchrow("SELECT input_tokens, output_tokens, estimated FROM aip.ledger")
    assert tuple(row) == (1001, 8, True)


@pytest.mark.requirement("SP-2")
async def test_a_row_written_twice_counts_once_and_fails_nobody(
    ledger: Ledger, system: SystemDatabase, clock: FakeClock
) -> None:
    call = a_call(clock)
    other = a_row(ledger, a_call(clock), micros=5)
    await system.write([a_row(ledger, call, micros=7), a_row(ledger, call, micros=8)])
    await system.write([a_row(ledger, call, micros=9), other])
    [total] = await everything(ledger, By.TEAM, clock)
    assert (total.requests, total.micros) == (2, 12)


@pytest.mark.parametrize(
    "change", ["UPDATE aip.ledger SET micros = 0", "DELETE FROM aip.ledger", "TRUNCATE aip.ledger"]
)
async def test_the_gateway_cannot_change_the_ledger(database: Database, change: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.execute(change)


async def test_ids_from_headers_are_cut_to_a_bound(ledger: Ledger, system: SystemDatabase, clock: FakeClock) -> None:
    call = a_call(clock, client=Client(session_id="s" * 5000, agent_id="a" * 5000), head=Head(model="m" * 5000))
    await system.write([a_row(ledger, call, model_served="n" * 5000)])
    row = await system.fetchrow("SELECT session_id, agent_id, model_asked, model_served FROM aip.ledger")
    assert [len(value) for value in row] == [200] * 4


@pytest.mark.requirement("SP-2")
async def test_usage_is_shown_by_everything_a_call_has(
    ledger: Ledger, system: SystemDatabase, clock: FakeClock
) -> None:
    bob = Principal(id="usr_bob", name="Bob")
    haiku = a_call(clock, head=Head(model="claude-haiku-5-5"), client=Client())
    await system.write(
        [
            a_row(ledger, a_call(clock), micros=100),
            a_row(ledger, a_call(clock), micros=200, interrupted=True),
            a_row(ledger, haiku, bob, micros=50, model_served="claude-haiku-5-5", target=Target(name="bedrock")),
        ]
    )
    expected: dict[By, list[tuple[str | None, int, int]]] = {
        By.PERSON: [("usr_ada", 2, 300), ("usr_bob", 1, 50)],
        By.TEAM: [("payments", 2, 300), (None, 1, 50)],
        By.MODEL: [("claude-opus-5-5", 2, 300), ("claude-haiku-5-5", 1, 50)],
        By.DAY: [("2026-11-22", 3, 350)],
        By.KEY: [("key_1", 2, 300), (None, 1, 50)],
        By.SESSION: [("session-1", 2, 300), (None, 1, 50)],
        By.AGENT: [("agent-1", 2, 300), (None, 1, 50)],
        By.PROJECT: [("p1", 2, 300), (None, 1, 50)],
        By.UPSTREAM: [("anthropic", 2, 300), ("bedrock", 1, 50)],
    }
    for by, groups in expected.items():
        rows = await everything(ledger, by, clock)
        assert [(row.group, row.requests, row.micros) for row in rows] == groups
    [ada, _] = await everything(ledger, By.PERSON, clock)
    assert (ada.input_tokens, ada.cache_read_tokens, ada.web_searches, ada.interrupted) == (20, 60, 4, 1)
    assert ada.usd == "0.000300"


async def test_usage_is_filtered_by_everything_a_call_has(
    ledger: Ledger, system: SystemDatabase, clock: FakeClock
) -> None:
    bob = Principal(id="usr_bob", name="Bob", tenant="acme", team="x", key_id="k", project="p")
    call = a_call(clock, head=Head(model="a"), client=Client(session_id="s", agent_id="g"))
    rows = [a_row(ledger, a_call(clock)), a_row(ledger, call, bob, model_served="b", target=Target(name="u"), micros=3)]
    await system.write(rows)
    fields = {"person": "usr_bob", "team": "x", "key": "k", "project": "p", "session": "s"}
    for name, value in (fields | {"agent": "g", "upstream": "u", "model": "a"}).items():
        assert [row.micros for row in await everything(ledger, By.DAY, clock, "acme", **{name: value})] == [3]
        assert await everything(ledger, By.DAY, clock, **{name: value}) == [], "of another tenant"
    assert [row.micros for row in await everything(ledger, By.DAY, clock, "acme", model="b")] == [3]
    assert await everything(ledger, By.DAY, clock, "acme", team="'; DROP TABLE aip.ledger; --") == []


async def test_a_period_begins_with_its_first_moment_and_ends_before_its_last(
    ledger: Ledger, system: SystemDatabase, clock: FakeClock
) -> None:
    await system.write([a_row(ledger, a_call(clock, received_at=moment), micros=1) for moment in (100.0, 200.0)])
    rows = await ledger.usage(By.DAY, tenant="default", since=100.0, until=200.0)
    assert [row.requests for row in rows] == [1]


@pytest.mark.requirement("SP-2")
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**9), st.sampled_from("abc")), max_size=25))
async def test_the_sums_of_every_grouping_are_the_sum_of_the_rows(
    database: Database, system: SystemDatabase, data: list[tuple[int, int, str]]
) -> None:
    clock = FakeClock()
    ledger = Ledger(database, system, BudgetSettings(), process="prc_1", slot="here")
    tenant = f"tenant-{next(_tenants)}"  # examples share the database
    rows = [
        a_row(
            ledger,
            a_call(clock, id=f"{tenant}-{number}"),
            Principal(id=who, name=who, tenant=tenant),
            micros=micros,
            usage=Usage(input_tokens=tokens),
        )
        for number, (micros, tokens, who) in enumerate(data)
    ]
    await system.write(rows)
    for by in By:
        found = await everything(ledger, by, clock, tenant)
        assert sum(row.micros for row in found) == sum(micros for micros, _, _ in data)
        assert sum(row.input_tokens for row in found) == sum(tokens for _, tokens, _ in data)
        assert sum(row.requests for row in found) == len(data)


async def test_costs_show_today_the_month_and_complete_days(
    ledger: Ledger, system: SystemDatabase, clock: FakeClock
) -> None:
    now = clock.now()  # 22 November, noon
    spends = {0: 7, 1: 100, 3: 300, 21: 2100, 22: 999}  # days ago -> micro-dollars; 22 days ago is October
    for days, micros in spends.items():
        await system.write([a_row(ledger, a_call(clock, received_at=now - days * 86_400), micros=micros)])
    costs = await ledger.costs(tenant="default", now=now)
    assert (costs.today, costs.month) == (7, 7 + 100 + 300 + 2100)
    assert len(costs.days) == 22
    assert (costs.days[0], costs.days[1], costs.days[-1], costs.days[-3]) == (999, 2100, 100, 300)
    assert [(row.group, row.micros) for row in costs.top] == [("usr_ada", 2507)]


async def test_many_writers_at_once_lose_nothing(ledger: Ledger, system: SystemDatabase, clock: FakeClock) -> None:
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(system.write([a_row(ledger, a_call(clock), micros=1) for _ in range(20)]))
    [total] = await everything(ledger, By.TEAM, clock)
    assert (total.requests, total.micros) == (400, 400)
