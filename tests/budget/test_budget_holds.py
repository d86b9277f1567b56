"""Reserve, settle, give back: nothing leaks, nothing overshoots."""

import asyncio

import pytest
from budget_kit import ADA, a_call, budget_of, of, rule

from ai_platform.budget import Budget
from ai_platform.budget.settings import BudgetSettings, Period, Scope
from ai_platform.domain.call import Operation
from ai_platform.domain.decision import Limits, Refusal
from ai_platform.domain.errors import OverBudget, RateLimited
from ai_platform.domain.money import Micros
from ai_platform.domain.principal import Principal
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.anyio

BOB = Principal(id="usr_bob", name="Bob", team="payments")
TOKENS = Limits(user_tokens_per_day=1000)


def spent(budget: Budget, unit: str, scope: str, period: str = "day", who: Principal = ADA) -> tuple[int, int]:
    rows = budget.standing(who)
    return next((row.spent, row.held) for row in rows if (row.unit, row.scope, row.period) == (unit, scope, period))


@pytest.mark.requirement("SP-3")
async def test_a_hold_reserves_its_estimate_and_a_settlement_replaces_it(clock: FakeClock) -> None:
    budget = budget_of(clock, rule(Scope.USER, "1"))
    async with budget.hold(ADA, a_call(clock), Limits(), of(600_000, 50)) as hold:
        assert spent(budget, "micros", "user") == (0, 600_000)
        hold.settle(250_000, 40)
        assert spent(budget, "micros", "user") == (250_000, 0)
        assert spent(budget, "tokens", "user") == (40, 0)
    assert spent(budget, "micros", "user") == (250_000, 0)


async def test_a_hold_that_is_not_settled_is_given_back(clock: FakeClock) -> None:
    budget = budget_of(clock, rule(Scope.USER, "1"))
    with pytest.raises(ValueError, match="upstream"):
        async with budget.hold(ADA, a_call(clock), Limits(), of(600_000, 50)):
            raise ValueError("upstream")
    assert spent(budget, "micros", "user") == (0, 0)
    assert spent(budget, "tokens", "user") == (0, 0)


async def test_only_the_first_settlement_counts(clock: FakeClock) -> None:
    budget = budget_of(clock, rule(Scope.USER, "1"))
    async with budget.hold(ADA, a_call(clock), Limits(), of(10, 10)) as hold:
        hold.settle(5, 5)
        hold.settle(500, 500)
    assert spent(budget, "micros", "user") == (5, 0)


async def test_a_call_that_does_not_fit_is_refused_and_reserves_nothing_anywhere(clock: FakeClock) -> None:
    budget = budget_of(clock, rule(Scope.ORG, "10"), rule(Scope.USER, "1"))
    limits = Limits(user_requests_per_hour=5)
    async with budget.hold(ADA, a_call(clock), limits, of(600_000)):
        with pytest.raises(OverBudget):
            async with budget.hold(ADA, a_call(clock), limits, of(500_000)):
                pytest.fail("admitted")
        assert spent(budget, "micros", "org") == (0, 600_000)
        assert spent(budget, "micros", "user") == (0, 600_000)
        assert next(row.spent for row in budget.standing(ADA) if row.unit == "requests") == 1
    assert budget.refused == {"budgets.user.day": 1}


async def test_a_call_fits_exactly(clock: FakeClock) -> None:
    budget = budget_of(clock, rule(Scope.USER, "1"))
    async with budget.hold(ADA, a_call(clock), Limits(), of(1_000_000)) as hold:
        hold.settle(1_000_000, 0)
    with pytest.raises(OverBudget):
        async with budget.hold(ADA, a_call(clock), Limits(), of(1)):
            pytest.fail("admitted")


async def test_a_call_that_costs_nothing_passes_a_budget_that_is_used_up(clock: FakeClock) -> None:
    budget = budget_of(clock, rule(Scope.USER, "1"))
    async with budget.hold(ADA, a_call(clock), TOKENS, of(1_000_000, 1000)) as hold:
        hold.settle(2_000_000, 2000)
    async with budget.hold(ADA, a_call(clock, Operation.COUNT_TOKENS), TOKENS, of()):
        pass


@pytest.mark.requirement("PO-3")
async def test_tokens_are_limited_per_user_and_utc_day(clock: FakeClock) -> None:
    budget = Budget(BudgetSettings(), clock)
    async with budget.hold(ADA, a_call(clock), TOKENS, of(0, 900)) as hold:
        hold.settle(0, 950)
    with pytest.raises(OverBudget) as caught:
        async with budget.hold(ADA, a_call(clock), TOKENS, of(0, 60)):
            pytest.fail("admitted")
    assert caught.value.reason is Refusal.TOKEN_LIMIT
    async with budget.hold(BOB, a_call(clock), TOKENS, of(0, 60)):
        pass
    clock.advance(12 * 3600 - 1)  # 23:59:59
    with pytest.raises(OverBudget):
        async with budget.hold(ADA, a_call(clock), TOKENS, of(0, 60)):
            pytest.fail("admitted")
    clock.advance(1)
    async with budget.hold(ADA, a_call(clock), TOKENS, of(0, 60)):
        pass


@pytest.mark.requirement("PO-3")
async def test_requests_are_limited_in_any_3600_seconds(clock: FakeClock) -> None:
    budget = Budget(BudgetSettings(), clock)
    limits = Limits(user_requests_per_hour=3)

    async def request() -> None:
        async with budget.hold(ADA, a_call(clock), limits, of()) as hold:
            hold.settle(0, 0)

    for _ in range(3):
        await request()
        clock.advance(1000)  # at 0, 1000, 2000; now 3000
    with pytest.raises(RateLimited) as caught:
        await request()
    assert (caught.value.reason, caught.value.retry_after) == (Refusal.RATE_LIMIT, 600.0)
    clock.advance(599.5)
    with pytest.raises(RateLimited):
        await request()
    clock.advance(0.5)  # 3600: the first request is an hour old
    await request()
    with pytest.raises(RateLimited) as caught:
        await request()
    assert caught.value.retry_after == 1000.0


@pytest.mark.requirement("PO-3")
async def test_a_teams_requests_are_counted_over_its_people(clock: FakeClock) -> None:
    budget = Budget(BudgetSettings(), clock)
    limits = Limits(team_requests_per_hour=2)
    for person in (ADA, BOB):
        async with budget.hold(person, a_call(clock), limits, of()):
            pass
    with pytest.raises(RateLimited, match="team payments"):
        async with budget.hold(ADA, a_call(clock), limits, of()):
            pytest.fail("admitted")


async def test_a_refused_request_is_not_counted_in_the_other_window(clock: FakeClock) -> None:
    budget = Budget(BudgetSettings(), clock)
    limits = Limits(user_requests_per_hour=10, team_requests_per_hour=1)
    async with budget.hold(ADA, a_call(clock), limits, of()):
        pass
    for _ in range(5):
        with pytest.raises(RateLimited):
            async with budget.hold(ADA, a_call(clock), limits, of()):
                pytest.fail("admitted")
    assert [row.spent for row in budget.standing(ADA) if row.unit == "requests"] == [1, 1]


@pytest.mark.parametrize("operation", [Operation.COUNT_TOKENS, Operation.MODELS, Operation.FILES, Operation.MCP_LIST])
async def test_free_operations_are_not_counted_as_requests(clock: FakeClock, operation: Operation) -> None:
    budget = Budget(BudgetSettings(), clock)
    limits = Limits(user_requests_per_hour=1)
    for _ in range(5):
        async with budget.hold(ADA, a_call(clock, operation), limits, of()):
            pass
    async with budget.hold(ADA, a_call(clock), limits, of()):
        pass


async def test_counting_as_a_request_can_be_said_by_the_caller(clock: FakeClock) -> None:
    budget = Budget(BudgetSettings(), clock)
    limits = Limits(user_requests_per_hour=1)
    for _ in range(2):
        async with budget.hold(ADA, a_call(clock), limits, of(), count_request=False):
            pass


async def test_a_limit_of_nothing_refuses_everything(clock: FakeClock) -> None:
    budget = Budget(BudgetSettings(), clock)
    with pytest.raises(RateLimited):
        async with budget.hold(ADA, a_call(clock), Limits(user_requests_per_hour=0), of()):
            pytest.fail("admitted")
    with pytest.raises(OverBudget):
        async with budget.hold(ADA, a_call(clock), Limits(user_tokens_per_day=0), of(0, 1)):
            pytest.fail("admitted")


@pytest.mark.requirement("PO-3")
async def test_a_soft_team_limit_lets_calls_pass_and_a_hard_one_refuses(clock: FakeClock) -> None:
    budget = Budget(BudgetSettings(), clock)
    for soft in (True, False):
        limits = Limits(team_cost_per_month=Micros(100), team_cost_soft=soft)
        if soft:
            async with budget.hold(ADA, a_call(clock), limits, of(500)) as hold:
                hold.settle(500, 1)
        else:
            with pytest.raises(OverBudget, match="team payments may use"):
                async with budget.hold(ADA, a_call(clock), limits, of(1)):
                    pytest.fail("admitted")


@pytest.mark.requirement("SP-3")
async def test_budgets_hold_for_org_team_user_and_key_at_once(clock: FakeClock) -> None:
    for scope in Scope:
        budget = budget_of(clock, *(rule(other, "1" if other is scope else "100") for other in Scope))
        with pytest.raises(OverBudget) as caught:
            async with budget.hold(ADA, a_call(clock), Limits(), of(1_000_001)):
                pytest.fail("admitted")
        assert caught.value.rule == f"budgets.{scope.value}.day"


async def test_the_most_specific_rule_of_a_scope_and_period_holds(clock: FakeClock) -> None:
    rules = (
        rule(Scope.USER, "1"),
        rule(Scope.USER, "5", name="*@example.org"),
        rule(Scope.USER, "9", name="ada@example.org"),
    )
    budget = budget_of(clock, *rules)
    async with budget.hold(ADA, a_call(clock), Limits(), of(9_000_000)):
        pass
    with pytest.raises(OverBudget):
        async with budget.hold(BOB, a_call(clock), Limits(), of(1_000_001)):
            pytest.fail("admitted")


async def test_days_weeks_and_months_of_one_scope_hold_at_once(clock: FakeClock) -> None:
    budget = budget_of(
        clock, rule(Scope.USER, "1"), rule(Scope.USER, "1.5", Period.WEEK), rule(Scope.USER, "2", Period.MONTH)
    )
    async with budget.hold(ADA, a_call(clock), Limits(), of(1_000_000)) as hold:
        hold.settle(1_000_000, 0)
    clock.advance(86_400)  # Monday, 23 November: a new day and a new week
    async with budget.hold(ADA, a_call(clock), Limits(), of(1_000_000)) as hold:
        hold.settle(1_000_000, 0)
    clock.advance(86_400)
    with pytest.raises(OverBudget) as caught:
        async with budget.hold(ADA, a_call(clock), Limits(), of(1)):
            pytest.fail("admitted")
    assert caught.value.rule == "budgets.user.month"


async def test_a_person_without_a_team_has_no_team_budget(clock: FakeClock) -> None:
    budget = budget_of(clock, rule(Scope.TEAM, "1"))
    alone = Principal(id="usr_x", name="X")
    async with budget.hold(alone, a_call(clock), Limits(team_requests_per_hour=0), of(5_000_000)):
        pass


async def test_tenants_do_not_share_a_team_of_one_name(clock: FakeClock) -> None:
    budget = budget_of(clock, rule(Scope.TEAM, "1"))
    async with budget.hold(ADA, a_call(clock), Limits(), of(1_000_000)):
        other = Principal(id="usr_y", name="Y", team="payments", tenant="acme")
        async with budget.hold(other, a_call(clock), Limits(), of(1_000_000)):
            pass


async def test_a_call_counts_for_the_day_it_was_received_on(clock: FakeClock) -> None:
    budget = budget_of(clock, rule(Scope.USER, "1"))
    clock.advance(12 * 3600 - 10)
    call = a_call(clock)
    clock.advance(20)  # its body took long: it is tomorrow now
    async with budget.hold(ADA, call, Limits(), of(1_000_000)) as hold:
        assert hold.at == call.received_at
        async with budget.hold(ADA, a_call(clock), Limits(), of(1_000_000)):
            pass
        hold.settle(900_000, 0)
    assert spent(budget, "micros", "user") == (0, 0)


@pytest.mark.requirement("SP-3")
async def test_a_clock_that_jumps_back_neither_frees_nor_loses_budget(clock: FakeClock) -> None:
    budget = budget_of(clock, rule(Scope.USER, "1"))
    limits = Limits(user_requests_per_hour=2)
    async with budget.hold(ADA, a_call(clock), limits, of(700_000)) as hold:
        hold.settle(700_000, 0)
    clock.jump(86_400)
    async with budget.hold(ADA, a_call(clock), limits, of(800_000)) as hold:
        hold.settle(800_000, 0)
        clock.jump(-86_400)
    with pytest.raises(OverBudget):
        async with budget.hold(ADA, a_call(clock), limits, of(300_001), count_request=False):
            pytest.fail("admitted")
    async with budget.hold(ADA, a_call(clock), limits, of(300_000), count_request=False):
        pass
    with pytest.raises(RateLimited):  # both requests were made in the last hour, whatever the clock says
        async with budget.hold(ADA, a_call(clock), limits, of()):
            pytest.fail("admitted")


async def test_a_stream_that_outgrows_its_hold_is_stopped_at_the_cap(clock: FakeClock) -> None:
    budget = budget_of(clock, rule(Scope.USER, "1"))
    async with (
        budget.hold(ADA, a_call(clock), Limits(), of(400_000)) as hold,
        budget.hold(ADA, a_call(clock), Limits(), of(500_000)) as other,
    ):
        hold.grow(400_000, 0)
        assert not hold.exceeded
        hold.grow(500_000, 0)
        assert not hold.exceeded  # exactly at the cap
        hold.grow(500_001, 0)
        assert hold.exceeded
        assert not other.exceeded  # within its own hold
        hold.settle(500_001, 0)
        assert not hold.exceeded
    assert spent(budget, "micros", "user") == (500_001, 0)


async def test_streams_are_not_stopped_where_that_is_switched_off(clock: FakeClock) -> None:
    budget = budget_of(clock, rule(Scope.USER, "1"), stop_streams=False)
    async with budget.hold(ADA, a_call(clock), Limits(), of(1)) as hold:
        hold.grow(5_000_000, 0)
        assert not hold.exceeded


async def test_a_soft_limit_stops_no_stream(clock: FakeClock) -> None:
    budget = budget_of(clock, rule(Scope.USER, "1", hard=False))
    async with budget.hold(ADA, a_call(clock), Limits(), of(1)) as hold:
        hold.grow(5_000_000, 0)
        assert not hold.exceeded


@pytest.mark.requirement("SP-3")
async def test_two_hundred_calls_at_once_do_not_overshoot(clock: FakeClock) -> None:
    """The seed of many gateways: check, then record. 200 callers see the same room and all take it."""
    budget = budget_of(clock, rule(Scope.TEAM, "1"))
    asked, everybody_asked, admitted, refused = asyncio.Event(), asyncio.Event(), 0, 0

    async def one(number: int) -> None:
        nonlocal admitted, refused
        person = Principal(id=f"usr_{number}", name="N", team="payments")
        try:
            async with budget.hold(person, a_call(clock), Limits(), of(10_000, 10)) as hold:
                admitted += 1
                await everybody_asked.wait()
                hold.settle(10_000 - number, 5)
        except OverBudget:
            refused += 1
            if refused == 100:
                asked.set()

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(one(number))
        await asked.wait()
        assert spent(budget, "micros", "team") == (0, 1_000_000)
        everybody_asked.set()
    assert (admitted, refused) == (100, 100)
    assert spent(budget, "micros", "team")[0] <= 1_000_000
    assert spent(budget, "micros", "team")[1] == 0


async def test_the_refusal_of_a_budget_says_limit_spending_reset_and_remedy(clock: FakeClock) -> None:
    budget = budget_of(clock, rule(Scope.TEAM, "1234.50", Period.MONTH))
    async with budget.hold(ADA, a_call(clock), Limits(), of(1_234_000_000)) as hold:
        hold.settle(1_234_000_000, 0)
    with pytest.raises(OverBudget) as caught:
        async with budget.hold(ADA, a_call(clock), Limits(), of(600_000)):
            pytest.fail("admitted")
    assert str(caught.value) == (
        "Budget used up: team payments may use $1,234.50 a month; $1,234.00 spent. This call is expected to use $0.60."
        " It starts again at 2026-12-01 00:00 UTC. Until then, a smaller model, a shorter prompt or a lower max_tokens"
        " may still fit, or ask an administrator to raise budgets.team.month."
    )
    assert caught.value.retry_after == 8.5 * 86_400
    assert caught.value.reason is Refusal.BUDGET


async def test_a_refusal_because_of_calls_in_flight_says_so_and_may_be_tried_again_soon(clock: FakeClock) -> None:
    budget = budget_of(clock, rule(Scope.USER, "1"))
    async with budget.hold(ADA, a_call(clock), Limits(), of(900_000)):
        with pytest.raises(OverBudget, match="Calls in flight hold the rest") as caught:
            async with budget.hold(ADA, a_call(clock), Limits(), of(200_000)):
                pytest.fail("admitted")
    assert caught.value.retry_after == 5.0


async def test_the_refusal_of_a_request_says_when_the_next_one_is_possible(clock: FakeClock) -> None:
    budget = Budget(BudgetSettings(), clock)
    limits = Limits(user_requests_per_hour=1)
    async with budget.hold(ADA, a_call(clock), limits, of()):
        pass
    clock.advance(600)
    with pytest.raises(RateLimited) as caught:
        async with budget.hold(ADA, a_call(clock), limits, of()):
            pytest.fail("admitted")
    assert str(caught.value) == (
        "Request limit reached: 1 request an hour for you, all made in the last 60 minutes. The next one is possible"
        " at 13:00:00 UTC (in 3000 s). Wait, or ask an administrator to raise usage_limits.per_user.requests_per_hour."
    )
