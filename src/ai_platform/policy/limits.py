"""Usage limits of a policy file -> domain Limits, for everybody and for each team. Counting is the budget room's."""

from decimal import Decimal
from typing import Literal

from msgspec.structs import replace

from ai_platform.domain.decision import Limits
from ai_platform.domain.money import Micros, from_usd
from ai_platform.policy.schema import Team, UsageLimits

HIGHEST_USD = Decimal(1_000_000_000)


def limits_of(written: UsageLimits, base: Limits | None = None) -> Limits:
    """`base` with what is written here put over it."""
    base = base or Limits()
    user, team = written.per_user, written.per_team
    return replace(
        base,
        user_requests_per_hour=_over(base.user_requests_per_hour, user.requests_per_hour),
        user_tokens_per_day=_over(base.user_tokens_per_day, user.tokens_per_day),
        team_requests_per_hour=_over(base.team_requests_per_hour, team.requests_per_hour),
        team_cost_per_month=_amount(base.team_cost_per_month, team.cost_per_month_usd),
        team_cost_soft=base.team_cost_soft if team.cost_limit is None else team.cost_limit == "alert",
    )


def team_limits(teams: dict[str, Team], base: Limits) -> dict[str, Limits]:
    return {name: limits_of(team.usage_limits, base) for name, team in teams.items()}


def _over(base: int | None, written: int | Literal["unlimited"] | None) -> int | None:
    if written == "unlimited":
        return None
    return base if written is None else written


def _amount(base: Micros | None, written: Decimal | None) -> Micros | None:
    return base if written is None else from_usd(written)
