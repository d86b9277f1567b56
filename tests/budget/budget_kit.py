"""What the budget suites share: a caller, a call, budgets, and an alert sink that remembers."""

from decimal import Decimal
from itertools import count
from typing import Any

from ai_platform.budget import Budget, Estimate
from ai_platform.budget.budget import BudgetAlert
from ai_platform.budget.settings import BudgetRule, BudgetSettings, Period, Scope
from ai_platform.domain.call import Call, Client, Door, Head, Operation
from ai_platform.domain.money import Micros
from ai_platform.domain.principal import Principal
from ai_platform.testing import FakeClock

ADA = Principal(id="usr_ada", name="Ada", email="ada@example.org", team="payments", key_id="key_1", project="p1")


class Told:
    """An alert sink that remembers."""

    def __init__(self) -> None:
        self.alerts: list[BudgetAlert] = []

    def crossed(self, alert: BudgetAlert) -> None:
        self.alerts.append(alert)


_numbers = count(1)


def a_call(clock: FakeClock, operation: Operation = Operation.MESSAGES_CREATE, **fields: Any) -> Call:
    options: dict[str, Any] = {
        "id": f"call_{next(_numbers):06d}",
        "door": Door.MESSAGES,
        "operation": operation,
        "method": "POST",
        "path": "/v1/messages",
        "head": Head(model="claude-opus-5-5", max_tokens=100),
        "client": Client(session_id="session-1", agent_id="agent-1"),
        "received_at": clock.now(),
    }
    return Call(**(options | fields))


def of(micros: int = 0, tokens: int = 0) -> Estimate:
    return Estimate(micros=Micros(micros), tokens=tokens)


def rule(scope: Scope, usd: str, period: Period = Period.DAY, **fields: Any) -> BudgetRule:
    return BudgetRule(scope=scope, period=period, usd=Decimal(usd), **fields)


def budget_of(clock: FakeClock, *rules: BudgetRule, told: Told | None = None, **fields: Any) -> Budget:
    return Budget(BudgetSettings(budgets=rules, **fields), clock, alerts=told)
