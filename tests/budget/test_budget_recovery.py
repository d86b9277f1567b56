"""After a crash: money is right, holds are released, and the counters continue where they were."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from budget_kit import ADA, a_call, budget_of, of, rule
from msgspec.structs import replace

from ai_platform.budget import Budget, Estimate, Ledger
from ai_platform.budget.settings import BudgetSettings, Period, Scope
from ai_platform.budget.spending import Interrupted
from ai_platform.domain.call import Call, Operation
from ai_platform.domain.decision import Limits
from ai_platform.domain.errors import OverBudget, RateLimited, StoreUnavailable
from ai_platform.domain.money import Micros
from ai_platform.domain.route import Target
from ai_platform.domain.usage import Usage
from ai_platform.stores.postgres import SystemDatabase
from ai_platform.stores.rows import Insert
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.anyio

TARGET = Target(name="anthropic")
ESTIMATE = Estimate(
    micros=Micros(500),
    tokens=60,
    usage=Usage(cache_write_5m_tokens=40, output_tokens=20),
    price_rows=("claude-opus-5-5@2026-09-22",),
)


def ledger_of(system: SystemDatabase, process: str, slot: str = "here", lease: float = 60.0) -> Ledger:
    settings = BudgetSettings(lease_seconds=lease, heartbeat_seconds=lease / 3)
    return Ledger(None, system, settings, process=process, slot=slot)


def intent(ledger: Ledger, call: Call, estimate: Estimate = ESTIMATE) -> Insert:
    return ledger.intent_row(call=call, principal=ADA, estimate=estimate, target=TARGET, at=call.received_at)


def outcome(ledger: Ledger, call: Call, micros: int = 300, tokens: int = 33) -> Insert:
    return ledger.row(
        call=call,
        principal=ADA,
        usage=Usage(output_tokens=5),
        micros=micros,
        tokens=tokens,
        target=TARGET,
        at=call.received_at,
        status=200,
    )


async def total(system: SystemDatabase) -> tuple[int, int]:
    return tuple(await system.fetchrow("SELECT count(*), sum(micros)::bigint FROM aip.spend"))


@pytest.mark.requirement("SP-2", "SP-3")
async def test_an_open_call_of_a_dead_process_is_settled_by_its_estimate(
    system: SystemDatabase, clock: FakeClock
) -> None:
    dead = ledger_of(system, "prc_1")
    await dead.recover()
    done, lost = a_call(clock), a_call(clock)
    await system.write([intent(dead, done), intent(dead, lost)])
    await system.write([outcome(dead, done)])

    again = ledger_of(system, "prc_2")
    assert await again.recover() == [
        Interrupted(
            call_id=lost.id,
            at=clock.now(),
            tenant="default",
            principal="usr_ada",
            team="payments",
            key_id="key_1",
            model="claude-opus-5-5",
            micros=500,
            tokens=60,
            upstream="anthropic",
        )
    ]
    row = await system.fetchrow("SELECT * FROM aip.ledger WHERE call_id = $1", lost.id)
    assert row is not None
    assert (row["recovered"], row["interrupted"], row["estimated"], row["status"]) == (True, True, True, 0)
    assert (row["cache_write_5m_tokens"], row["output_tokens"], row["limited_tokens"]) == (40, 20, 60)
    assert await total(system) == (2, 800)
    assert await system.fetchval("SELECT count(*) FROM aip.open_call") == 0


@pytest.mark.requirement("SP-3")
async def test_a_second_recovery_finds_nothing(system: SystemDatabase, clock: FakeClock) -> None:
    dead = ledger_of(system, "prc_1")
    await dead.recover()
    await system.write([intent(dead, a_call(clock))])
    again = ledger_of(system, "prc_2")
    assert len(await again.recover()) == 1
    assert await again.recover() == []
    assert await ledger_of(system, "prc_3").recover() == []
    assert await total(system) == (1, 500)


@pytest.mark.requirement("SP-3")
async def test_many_replicas_that_recover_at_once_settle_each_call_once(
    system: SystemDatabase, clock: FakeClock
) -> None:
    dead = ledger_of(system, "prc_dead")
    await dead.recover()
    calls = [a_call(clock) for _ in range(30)]
    await system.write([intent(dead, call) for call in calls])
    replicas = [ledger_of(system, f"prc_{number}") for number in range(6)]
    async with asyncio.timeout(20):
        found = await asyncio.gather(*(replica.recover() for replica in replicas))
    assert sorted(call.call_id for calls in found for call in calls) == sorted(call.id for call in calls)
    assert await total(system) == (30, 15_000)


async def test_a_replica_that_lives_keeps_its_open_calls(system: SystemDatabase, clock: FakeClock) -> None:
    living = ledger_of(system, "prc_1", slot="pod-1")
    await living.recover()
    await system.write([intent(living, a_call(clock))])
    assert await ledger_of(system, "prc_2", slot="pod-2").recover() == []
    assert await system.fetchval("SELECT count(*) FROM aip.open_call") == 1


async def test_a_replica_that_was_not_heard_of_for_a_lease_is_gone(system: SystemDatabase, clock: FakeClock) -> None:
    silent = ledger_of(system, "prc_1", slot="pod-1")
    await silent.recover()
    await system.write([intent(silent, a_call(clock))])
    await system.execute("UPDATE aip.gateway_process SET seen_at = now() - interval '59 seconds'")
    other = ledger_of(system, "prc_2", slot="pod-2")
    assert await other.lease.recover() == []
    await system.execute("UPDATE aip.gateway_process SET seen_at = now() - interval '61 seconds' WHERE slot = 'pod-1'")
    assert len(await other.lease.recover()) == 1


async def test_open_calls_of_a_process_nobody_knows_are_settled_after_a_lease(
    system: SystemDatabase, clock: FakeClock
) -> None:
    unknown = ledger_of(system, "prc_never_registered")
    old, new = intent(unknown, a_call(clock)), intent(unknown, a_call(clock))
    written = datetime.now(UTC) - timedelta(seconds=61)
    await system.write([new, replace(old, columns=(*old.columns, "written_at"), values=(*old.values, written))])
    assert [call.call_id for call in await ledger_of(system, "prc_2").recover()] == [old.values[0]]


async def test_a_call_that_runs_longer_than_a_lease_is_not_settled_while_its_process_lives(
    system: SystemDatabase, clock: FakeClock
) -> None:
    living = ledger_of(system, "prc_1", slot="pod-1")
    await living.recover()
    long = intent(living, a_call(clock))
    written = datetime.now(UTC) - timedelta(hours=1)
    await system.write([replace(long, columns=(*long.columns, "written_at"), values=(*long.values, written))])
    assert await ledger_of(system, "prc_2", slot="pod-2").recover() == []


async def test_a_process_that_runs_already_takes_nobodys_slot(system: SystemDatabase, clock: FakeClock) -> None:
    first, second = ledger_of(system, "prc_1"), ledger_of(system, "prc_2")
    await first.recover()
    await second.recover()
    await system.write([intent(second, a_call(clock))])
    assert await first.lease.recover() == []
    assert await system.fetchval("SELECT count(*) FROM aip.gateway_process") == 2


@pytest.mark.requirement("SP-2")
async def test_a_late_outcome_replaces_the_estimate(system: SystemDatabase, clock: FakeClock) -> None:
    slow = ledger_of(system, "prc_1")
    await slow.recover()
    call = a_call(clock)
    await system.write([intent(slow, call)])
    other = ledger_of(system, "prc_2")
    assert len(await other.recover()) == 1
    assert await total(system) == (1, 500)
    await system.write([outcome(slow, call)])
    assert await total(system) == (1, 300)
    assert await system.fetchval("SELECT count(*) FROM aip.ledger") == 2


async def test_a_heartbeat_sweeps_calls_that_have_ended_and_only_those(
    system: SystemDatabase, clock: FakeClock
) -> None:
    ledger = ledger_of(system, "prc_1")
    await ledger.recover()
    done, running = a_call(clock), a_call(clock)
    await system.write([intent(ledger, done), intent(ledger, running), outcome(ledger, done)])
    await ledger.lease.beat()
    assert await system.fetchval("SELECT call_id FROM aip.open_call") == running.id


async def test_an_orderly_stop_leaves_no_process_behind(system: SystemDatabase, clock: FakeClock) -> None:
    ledger = ledger_of(system, "prc_1")
    await ledger.recover()
    call = a_call(clock)
    await system.write([intent(ledger, call), outcome(ledger, call)])
    await ledger.lease.release()
    assert await system.fetchval("SELECT count(*) FROM aip.gateway_process") == 0
    assert await system.fetchval("SELECT count(*) FROM aip.open_call") == 0


async def test_keeping_the_lease_settles_what_others_leave_behind(system: SystemDatabase, clock: FakeClock) -> None:
    gone = ledger_of(system, "prc_1", slot="pod-1", lease=0.03)
    await gone.recover()
    call = a_call(clock)
    await system.write([intent(gone, call)])
    keeper = ledger_of(system, "prc_2", slot="pod-2", lease=0.03)
    found: asyncio.Queue[Sequence[Interrupted]] = asyncio.Queue()
    task = asyncio.create_task(keeper.lease.keep(found.put_nowait))
    async with asyncio.timeout(10):
        [settled] = await found.get()
    task.cancel()
    assert settled.call_id == call.id
    assert keeper.lease.recovered == 1


class Away:
    """A database that does not answer; tells when it was asked for the second time."""

    def __init__(self) -> None:
        self.asked = 0
        self.twice = asyncio.Event()

    async def execute(self, *_: object) -> str:
        self.asked += 1
        if self.asked == 2:
            self.twice.set()
        raise StoreUnavailable("PostgreSQL does not answer.")


async def test_a_lease_that_cannot_be_renewed_is_counted_and_tried_again() -> None:
    away = Away()
    ledger = ledger_of(away, "prc_1", lease=0.03)  # type: ignore[arg-type]
    task = asyncio.create_task(ledger.lease.keep(lambda _: None))
    async with asyncio.timeout(10):
        await away.twice.wait()
    task.cancel()
    assert ledger.lease.failed_beats >= 1
    assert ledger.lease.beats == 0


@pytest.mark.requirement("SP-3", "PO-3")
async def test_counters_continue_after_a_restart(system: SystemDatabase, clock: FakeClock) -> None:
    ledger = ledger_of(system, "prc_1")
    budgets = (rule(Scope.USER, "0.001"), rule(Scope.ORG, "1", Period.MONTH), rule(Scope.KEY, "1", Period.WEEK))
    now = clock.now()
    spends = [(now - 10, 600), (now - 4000, 200), (now - 86_400, 50), (now - 30 * 86_400, 7)]
    await system.write([outcome(ledger, a_call(clock, received_at=at), micros, 100) for at, micros in spends])
    free = a_call(clock, Operation.COUNT_TOKENS, received_at=now - 5)
    await system.write([outcome(ledger, free, 0, 0)])

    budget = budget_of(clock, *budgets)
    await budget.load(system)
    limits = Limits(user_requests_per_hour=2, user_tokens_per_day=1000, team_requests_per_hour=5)
    rows = {(row.unit, row.scope, row.period): row.spent for row in budget.standing(ADA, limits)}
    assert rows == {
        ("requests", "user", "hour"): 1,
        ("requests", "team", "hour"): 1,
        ("tokens", "user", "day"): 200,
        ("micros", "team", "month"): 850,
        ("micros", "user", "day"): 800,
        ("micros", "user", "month"): 850,
        ("micros", "org", "month"): 850,
        ("micros", "key", "week"): 850,
    }
    clock.jump(-86_400)
    yesterday = {(row.unit, row.scope, row.period): row.spent for row in budget.standing(ADA, limits)}
    assert (yesterday["tokens", "user", "day"], yesterday["micros", "user", "day"]) == (100, 50)


async def test_a_restart_forgets_no_request_of_the_last_hour(system: SystemDatabase, clock: FakeClock) -> None:
    ledger = ledger_of(system, "prc_1")
    for age in (3500, 10):
        await system.write([outcome(ledger, a_call(clock, received_at=clock.now() - age))])
    budget = Budget(BudgetSettings(), clock)
    await budget.load(system)
    limits = Limits(user_requests_per_hour=2)
    with pytest.raises(RateLimited) as caught:
        async with budget.hold(ADA, a_call(clock), limits, of()):
            pytest.fail("admitted")
    assert caught.value.retry_after == 100.0
    clock.advance(100)
    async with budget.hold(ADA, a_call(clock), limits, of()):
        pass


@pytest.mark.requirement("SP-3")
async def test_what_a_crash_interrupted_counts_against_the_budget(system: SystemDatabase, clock: FakeClock) -> None:
    dead = ledger_of(system, "prc_1")
    await dead.recover()
    await system.write([intent(dead, a_call(clock), Estimate(micros=Micros(900_000), tokens=1))])
    again, budget = ledger_of(system, "prc_2"), budget_of(clock, rule(Scope.USER, "1"))
    await budget.load(system)
    for call in await again.recover():
        budget.charge(call)
    with pytest.raises(OverBudget):
        async with budget.hold(ADA, a_call(clock), Limits(), of(200_000)):
            pytest.fail("admitted")
    restarted = budget_of(clock, rule(Scope.USER, "1"))
    await restarted.load(system)
    rows = [(row.spent, row.held) for row in restarted.standing(ADA) if row.scope == "user" and row.unit == "micros"]
    assert rows == [(900_000, 0), (900_000, 0)]
