"""Any order of holds, settlements, aborts, days and clock jumps against a model that adds up by hand."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from budget_kit import a_call, of, rule
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, precondition
from hypothesis.stateful import rule as step

from ai_platform.budget import Budget, Hold
from ai_platform.budget.hold import Admission
from ai_platform.budget.settings import BudgetSettings, Period, Scope
from ai_platform.budget.windows import window_of
from ai_platform.domain.decision import Limits
from ai_platform.domain.errors import OverBudget, RateLimited
from ai_platform.domain.principal import Principal
from ai_platform.testing import FakeClock

T = TypeVar("T")
USER_CAP, TEAM_CAP, TOKEN_CAP, REQUESTS = 1_000, 1_500, 2_000, 8
PEOPLE = [Principal(id=f"usr_{name}", name=name, team="one") for name in "ab"]
LIMITS = Limits(user_tokens_per_day=TOKEN_CAP, user_requests_per_hour=REQUESTS)
CAPS = {"user": USER_CAP, "team": TEAM_CAP, "tokens": TOKEN_CAP}


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that must not wait: that is what makes check-and-reserve one step."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a reservation waited for something")


class Spending(RuleBasedStateMachine):
    """The model: (who or what, window) -> what was spent, what is held, and by how much calls outgrew their holds."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        rules = (rule(Scope.USER, "0.001"), rule(Scope.TEAM, "0.0015", Period.WEEK))
        self.budget = Budget(BudgetSettings(budgets=rules), self.clock)
        self.spent: dict[tuple[str, int], int] = {}
        self.held: dict[tuple[str, int], int] = {}
        self.outgrown: dict[tuple[str, int], int] = {}
        self.requests: dict[str, list[float]] = {person.id: [] for person in PEOPLE}

    def keys(self, person: Principal, at: float) -> dict[str, tuple[str, int]]:
        day, week = window_of(Period.DAY, at).start, window_of(Period.WEEK, at).start
        return {"user": (f"user:{person.id}", day), "tokens": (f"tokens:{person.id}", day), "team": ("team", week)}

    def recent(self, person: Principal) -> list[float]:
        return [moment for moment in self.requests[person.id] if moment > self.clock.monotonic() - 3600]

    @step(target=holds, person=st.sampled_from(PEOPLE), micros=st.integers(0, 700), tokens=st.integers(0, 1200))
    def admit(self, person: Principal, micros: int, tokens: int) -> Any:
        keys = self.keys(person, self.clock.now())
        amounts = {"user": micros, "team": micros, "tokens": tokens}
        fits = all(
            amount == 0 or self.spent.get(keys[kind], 0) + self.held.get(keys[kind], 0) + amount <= CAPS[kind]
            for kind, amount in amounts.items()
        )
        full = len(self.recent(person)) >= REQUESTS
        admission = self.budget.hold(person, a_call(self.clock), LIMITS, of(micros, tokens))
        if not fits or full:
            with pytest.raises(RateLimited if fits else OverBudget):
                at_once(admission.__aenter__())
            return multiple()
        hold = at_once(admission.__aenter__())
        self.requests[person.id].append(self.clock.monotonic())
        for kind, amount in amounts.items():
            self.held[keys[kind]] = self.held.get(keys[kind], 0) + amount
        return admission, hold, keys, amounts

    @step(held=consumes(holds), share=st.integers(0, 150))
    def settle(self, held: tuple[Admission, Hold, dict[str, tuple[str, int]], dict[str, int]], share: int) -> None:
        admission, hold, keys, amounts = held
        used = {kind: amount * share // 100 for kind, amount in amounts.items()}
        hold.settle(used["user"], used["tokens"])
        at_once(admission.__aexit__(None, None, None))
        for kind, key in keys.items():
            self.held[key] -= amounts[kind]
            self.spent[key] = self.spent.get(key, 0) + used[kind]
            self.outgrown[key] = self.outgrown.get(key, 0) + max(0, used[kind] - amounts[kind])

    @step(held=consumes(holds))
    def abort(self, held: tuple[Admission, Hold, dict[str, tuple[str, int]], dict[str, int]]) -> None:
        admission, _, keys, amounts = held
        at_once(admission.__aexit__(ValueError, ValueError("gone"), None))
        for kind, key in keys.items():
            self.held[key] -= amounts[kind]

    @step(seconds=st.sampled_from([1, 600, 3600, 40_000, 86_400]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: self.clock.now() > 1_795_000_000)
    @step(seconds=st.sampled_from([-90_000, -3600, 5, 90_000]))
    def jump(self, seconds: int) -> None:
        self.clock.jump(seconds)

    @invariant()
    def the_budget_agrees_with_the_model(self) -> None:
        for person in PEOPLE:
            keys = self.keys(person, self.clock.now())
            for row in self.budget.standing(person, LIMITS):
                if row.unit == "requests":
                    assert row.spent == len(self.recent(person))
                    continue
                kind = "tokens" if row.unit == "tokens" else row.scope
                if row.period == "month":
                    continue
                assert (row.spent, row.held) == (self.spent.get(keys[kind], 0), self.held.get(keys[kind], 0))

    @invariant()
    def nothing_passes_a_cap_but_by_what_calls_outgrew_their_holds(self) -> None:
        for key in self.held:
            kind = key[0].partition(":")[0]
            assert self.held[key] >= 0
            assert self.spent.get(key, 0) + self.held[key] <= CAPS[kind] + self.outgrown.get(key, 0)


TestSpending = pytest.mark.requirement("SP-3", "PO-3")(Spending.TestCase)
TestSpending.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
