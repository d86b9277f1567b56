"""Which counters and limits hold for a principal: the policy's usage limits and the budgets of the settings."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from ai_platform.budget.counters import Counter, Limit, Plan, RequestWindow, Unit, counter_of, request_key
from ai_platform.budget.settings import BudgetRule, BudgetSettings, Period, Scope
from ai_platform.domain.call import Operation
from ai_platform.domain.decision import Limits
from ai_platform.domain.money import from_usd
from ai_platform.domain.principal import Principal

FREE = frozenset({Operation.COUNT_TOKENS, Operation.MODELS, Operation.BATCHES, Operation.FILES, Operation.MCP_LIST})
"""Operations that cost nothing and are not counted as requests."""

REQUESTS = {
    Scope.USER: "usage_limits.per_user.requests_per_hour",
    Scope.TEAM: "usage_limits.per_team.requests_per_hour",
}
TOKENS = "usage_limits.per_user.tokens_per_day"
TEAM_COST = "usage_limits.per_team.cost_per_month_usd"

ALWAYS = (
    (Unit.TOKENS, Scope.USER, Period.DAY),
    (Unit.MICROS, Scope.TEAM, Period.MONTH),
    (Unit.MICROS, Scope.USER, Period.DAY),
    (Unit.MICROS, Scope.USER, Period.MONTH),
)
"""Counted for everybody, limit or not: a policy that is reloaded may set a limit, or ask for it in a condition, at any
moment.
"""


def owner_of(scope: Scope, principal: Principal) -> str | None:
    """Whose counter it is: `tenant/id`; None when the principal has no such thing (no team, no key)."""
    identifier = {
        Scope.ORG: "",
        Scope.TEAM: principal.team,
        Scope.USER: principal.id,
        Scope.KEY: principal.key_id,
    }[scope]
    return None if identifier is None else f"{principal.tenant}/{identifier}"


def counted(settings: BudgetSettings) -> list[tuple[Unit, Scope, Period]]:
    """Every kind of counter that these settings need."""
    kinds = dict.fromkeys(ALWAYS)
    kinds |= {(Unit.MICROS, rule.scope, rule.period): None for rule in settings.budgets}
    return list(kinds)


def make_plan(principal: Principal, limits: Limits, settings: BudgetSettings) -> Plan:
    """The counters that a call of this principal moves, and the limits on them."""
    counters: list[Counter] = []
    found: list[Limit] = []
    for unit, scope, period in counted(settings):
        owner = owner_of(scope, principal)
        if owner is None:
            continue
        index = len(counters)
        counters.append(counter_of(unit, scope, owner, period))
        if unit is Unit.TOKENS:
            if limits.user_tokens_per_day is not None:
                found.append(Limit(index, limits.user_tokens_per_day, True, (), TOKENS, principal.name))
            continue
        rule = _rule(settings.budgets, scope, period, principal)
        if rule is not None:
            found.append(_budget_limit(index, rule, settings, principal))
        if (scope, period) == (Scope.TEAM, Period.MONTH) and limits.team_cost_per_month is not None:
            cap = int(limits.team_cost_per_month)
            alerts = _amounts(cap, settings.alerts)
            found.append(Limit(index, cap, not limits.team_cost_soft, alerts, TEAM_COST, principal.team or ""))
    return Plan(tuple(counters), tuple(found), _request_windows(principal, limits))


def _request_windows(principal: Principal, limits: Limits) -> tuple[RequestWindow, ...]:
    windows: list[RequestWindow] = []
    for scope, limit in (
        (Scope.USER, limits.user_requests_per_hour),
        (Scope.TEAM, limits.team_requests_per_hour),
    ):
        owner = owner_of(scope, principal)
        if limit is not None and owner is not None:
            windows.append(RequestWindow(request_key(scope, owner), scope, owner, limit))
    return tuple(windows)


def _rule(rules: Sequence[BudgetRule], scope: Scope, period: Period, principal: Principal) -> BudgetRule | None:
    """The most specific rule that fits: an exact name before a pattern, a longer pattern before a shorter one."""
    names = _names(scope, principal)
    fitting = [
        rule
        for rule in rules
        if rule.scope is scope and rule.period is period and any(fnmatchcase(name, rule.name) for name in names)
    ]
    return max(fitting, key=lambda rule: (rule.name in names, len(rule.name)), default=None)


def _names(scope: Scope, principal: Principal) -> tuple[str, ...]:
    if scope is Scope.ORG:
        return (principal.tenant,)
    if scope is Scope.TEAM:
        return (principal.team or "",)
    if scope is Scope.KEY:
        return (principal.key_id or "",)
    return (principal.id, principal.email) if principal.email else (principal.id,)


def _budget_limit(index: int, rule: BudgetRule, settings: BudgetSettings, principal: Principal) -> Limit:
    cap = int(from_usd(rule.usd))
    alerts = _amounts(cap, settings.alerts if rule.alerts is None else rule.alerts)
    name = principal.name if rule.scope is Scope.USER else _names(rule.scope, principal)[0]
    return Limit(index, cap, rule.hard, alerts, f"budgets.{rule.scope.value}.{rule.period.value}", name)


def _amounts(cap: int, percentages: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """A threshold is passed by the first amount that is not below it: rounded up."""
    return tuple((percent, -(-cap * percent // 100)) for percent in sorted(set(percentages)))
