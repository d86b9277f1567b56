"""Thresholds: told once a window, whatever happens between."""

import pytest
from budget_kit import ADA, Told, a_call, budget_of, of, rule
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.budget import Budget
from ai_platform.budget.settings import BudgetSettings, Period, Scope
from ai_platform.budget.spending import Interrupted
from ai_platform.domain.decision import Limits
from ai_platform.domain.money import Micros
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.anyio


async def use(budget: Budget, clock: FakeClock, micros: int, limits: Limits | None = None) -> None:
    async with budget.hold(ADA, a_call(clock), limits or Limits(), of(0)) as hold:
        hold.settle(micros, 0)


@pytest.mark.requirement("SP-3")
async def test_each_threshold_is_told_once_when_it_is_reached(clock: FakeClock, told: Told) -> None:
    budget = budget_of(clock, rule(Scope.USER, "1", alerts=(50, 90, 100)), told=told)
    for _ in range(12):
        await use(budget, clock, 100_000)
    assert [(alert.percent, alert.spent) for alert in told.alerts] == [(50, 500_000), (90, 900_000), (100, 1_000_000)]
    first = told.alerts[0]
    assert (first.scope, first.owner, first.name, first.period) == ("user", "default/usr_ada", "Ada", "day")
    assert (first.limit, first.hard, first.rule) == (1_000_000, True, "budgets.user.day")


async def test_one_call_may_pass_several_thresholds(clock: FakeClock, told: Told) -> None:
    budget = budget_of(clock, rule(Scope.USER, "1", alerts=(50, 90, 100)), told=told)
    await use(budget, clock, 2_000_000)
    assert [alert.percent for alert in told.alerts] == [50, 90, 100]


async def test_a_new_window_is_told_anew(clock: FakeClock, told: Told) -> None:
    budget = budget_of(clock, rule(Scope.USER, "1"), told=told)
    await use(budget, clock, 900_000)
    clock.advance(86_400)
    await use(budget, clock, 900_000)
    assert [alert.percent for alert in told.alerts] == [90, 90]
    assert told.alerts[1].window_start - told.alerts[0].window_start == 86_400


async def test_what_is_only_held_is_not_told(clock: FakeClock, told: Told) -> None:
    budget = budget_of(clock, rule(Scope.USER, "1"), told=told)
    async with budget.hold(ADA, a_call(clock), Limits(), of(950_000)) as hold:
        assert told.alerts == []
        hold.settle(100_000, 0)
    assert told.alerts == []


@pytest.mark.requirement("PO-3")
async def test_the_policys_soft_team_limit_is_told_at_ninety_and_a_hundred_percent(
    clock: FakeClock, told: Told
) -> None:
    budget = budget_of(clock, told=told)
    limits = Limits(team_cost_per_month=Micros(10_000))
    for _ in range(3):
        await use(budget, clock, 4_000, limits)
    assert [(alert.percent, alert.name, alert.hard) for alert in told.alerts] == [
        (90, "payments", False),
        (100, "payments", False),
    ]


async def test_an_interrupted_call_is_told_too(clock: FakeClock, told: Told) -> None:
    budget = budget_of(clock, rule(Scope.TEAM, "1"), told=told)
    budget.charge(
        Interrupted(
            call_id="call_1",
            at=clock.now() - 3600,
            tenant="default",
            principal="usr_ada",
            team="payments",
            key_id=None,
            model=None,
            micros=950_000,
            tokens=7,
        )
    )
    assert [alert.percent for alert in told.alerts] == [90]
    rows = {(row.unit, row.scope, row.period): row.spent for row in budget.standing(ADA)}
    assert rows["micros", "team", "day"] == 950_000
    assert rows["tokens", "user", "day"] == 7


async def test_a_threshold_that_falls_between_two_micro_dollars_is_rounded_up(clock: FakeClock, told: Told) -> None:
    budget = Budget(BudgetSettings(alerts=(90,)), clock, alerts=told)
    limits = Limits(team_cost_per_month=Micros(11))  # 90 % = 9.9
    await use(budget, clock, 9, limits)
    assert told.alerts == []
    await use(budget, clock, 1, limits)
    assert len(told.alerts) == 1


@given(st.lists(st.integers(0, 400_000), max_size=30), st.lists(st.integers(1, 150), max_size=4))
async def test_every_threshold_below_the_sum_is_told_exactly_once(spends: list[int], percents: list[int]) -> None:
    clock, told = FakeClock(), Told()
    budget = budget_of(clock, rule(Scope.USER, "1", Period.MONTH, alerts=tuple(percents), hard=False), told=told)
    for micros in spends:
        await use(budget, clock, micros)
    expected = sorted(percent for percent in set(percents) if sum(spends) >= percent * 10_000)
    assert sorted(alert.percent for alert in told.alerts) == expected
