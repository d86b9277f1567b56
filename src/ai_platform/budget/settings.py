"""Settings of the budget room: spending limits in dollars, when to warn, when to stop a stream."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import msgspec

Percent = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class Scope(StrEnum):
    """Whose spending is counted: the whole tenant, a team, a person or service, one platform key."""

    ORG = "org"
    TEAM = "team"
    USER = "user"
    KEY = "key"


class Period(StrEnum):
    """UTC days, weeks that begin on Monday, calendar months."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class BudgetRule(msgspec.Struct, frozen=True, kw_only=True):
    """One budget. Of the rules for one scope and period the most specific name holds; different ones all hold.

    scope: whose spending: the tenant (`org`), a team, a person or service account (`user`), one platform key.
    period: a UTC day, a week from Monday, a calendar month.
    usd: how much may be spent in each.
    name: whom it is for: a tenant, team, person (id or e-mail) or key id, `*` inside is a wildcard.
    hard: refuses calls that do not fit any more; without it the rule only alerts.
    alerts: percentages of `usd` at which somebody is told; without them those of `budget.alerts` hold.
    """

    scope: Scope
    period: Period
    usd: Decimal
    name: str = "*"
    hard: bool = True
    alerts: tuple[Percent, ...] | None = None

    def __post_init__(self) -> None:
        if self.usd <= 0:
            raise ValueError("usd must be greater than 0")


class BudgetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """budgets: spending limits in dollars, beside the policy's usage limits.
    alerts: percentages of a limit in money at which somebody is told.
    stop_streams: a streamed answer that outgrows its hold is stopped when a hard budget is used up by it.
    lease_seconds: a process that was not heard of for so long is dead, and its open calls are settled by estimate.
    heartbeat_seconds: how often a process says that it lives; at most a third of lease_seconds.
    """

    budgets: tuple[BudgetRule, ...] = ()
    alerts: tuple[Percent, ...] = (90, 100)
    stop_streams: bool = True
    lease_seconds: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    heartbeat_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0

    def __post_init__(self) -> None:
        if self.heartbeat_seconds * 3 > self.lease_seconds:
            raise ValueError("heartbeat_seconds must be at most a third of lease_seconds")
