"""Admin endpoints of spending: usage by anything a call has, costs with a projection, where a caller stands."""

import re
from collections.abc import Awaitable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from msgspec.structs import asdict

from ai_platform.budget import Budget, Ledger
from ai_platform.budget.budget import Standing
from ai_platform.budget.projection import project
from ai_platform.budget.settings import Period
from ai_platform.budget.spending import By, Filters, UsageRow
from ai_platform.budget.windows import DAY, window_of
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied, InvalidCall
from ai_platform.domain.money import to_usd
from ai_platform.domain.permission import Permission
from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint


class Names(Protocol):
    """Ids of people -> what to call them; an id that the tenant does not know is left out."""

    def __call__(self, principals: Collection[str], /, *, tenant: str) -> Awaitable[Mapping[str, str]]: ...


FILTERS = ("person", "team", "model", "key", "project", "session", "agent", "upstream", "tool")
PARAMETERS = frozenset({"by", "since", "until", "limit", *FILTERS})
MOST_ROWS = 10_000
_AGO = re.compile(r"(\d{1,5})([hdw])")
_UNITS = {"h": 3600, "d": DAY, "w": 7 * DAY}


def endpoints(ledger: Ledger, budget: Budget, clock: Clock, *, names: Names | None = None) -> list[Endpoint]:
    """Routes under /admin/usage and /admin/costs."""
    routes = UsageRoutes(ledger, budget, clock, names)
    return [
        Endpoint("GET", "/admin/usage", Permission.USAGE_READ, routes.usage),
        Endpoint("GET", "/admin/usage/standing", Permission.USAGE_READ_OWN, routes.standing),
        Endpoint("GET", "/admin/costs", Permission.USAGE_READ, routes.costs),
    ]


class UsageRoutes:
    def __init__(self, ledger: Ledger, budget: Budget, clock: Clock, names: Names | None) -> None:
        self._ledger = ledger
        self._budget = budget
        self._clock = clock
        self._names = names

    async def usage(self, request: AdminRequest) -> dict[str, Any]:
        """Query: by (person, team, model, day, key, session, agent, project, upstream, tool), since, until (a date, a
        time, `24h`, `7d`, `today`, `month`), limit, and equal-to filters by the same names. Of one's own tenant only.
        """
        params = request.params
        if unknown := sorted(params.keys() - PARAMETERS):
            raise _invalid(f"Unknown parameter {unknown[0]!r}. Known: {', '.join(sorted(PARAMETERS))}.")
        now = self._clock.now()
        by = _choice(params.get("by", By.PERSON.value))
        since = moment(params.get("since", "month"), now, "since")
        until = moment(params["until"], now, "until") if "until" in params else now + 1
        filters = Filters(**{name: params.get(name) for name in FILTERS})
        rows = await self._ledger.usage(
            by, tenant=request.principal.tenant, since=since, until=until, filters=filters, limit=_limit(params)
        )
        return {
            "by": by.value,
            "since": _iso(since),
            "until": _iso(until),
            "filters": {name: params[name] for name in FILTERS if name in params},
            "rows": await self._shown(rows, by, request.principal.tenant),
            "total": _shown(total(rows)),
        }

    async def costs(self, request: AdminRequest) -> dict[str, Any]:
        """Today, this month, the projection with its interval, the ten who spent most, the organisation's budget."""
        now = self._clock.now()
        costs = await self._ledger.costs(now=now, tenant=request.principal.tenant)
        heading = project(costs.month, costs.days, now)
        limits = [row for row in self._budget.standing(request.principal) if row.scope == "org" and row.limit]
        limit = next((row for row in limits if row.period == Period.MONTH.value), None)
        return {
            "at": _iso(now),
            "today": _money(costs.today),
            "month": _money(costs.month),
            "projection": {
                **_money(heading.expected),
                "low_usd": to_usd(heading.low),
                "high_usd": None if heading.high is None else to_usd(heading.high),
                "confidence": 0.9,
                "basis_days": heading.basis_days,
                "days_elapsed": heading.days_elapsed,
                "days_in_month": heading.days_in_month,
            },
            "top_users": await self._shown(costs.top, By.PERSON, request.principal.tenant),
            "budget": _standing(limit) if limit else None,
        }

    async def standing(self, request: AdminRequest) -> dict[str, Any]:
        """What the caller has spent and may still spend. Query: person, for somebody else (needs spend:usage:read)."""
        principal = request.principal
        person = request.params.get("person")
        if person and person != principal.id:
            if not principal.may(Permission.USAGE_READ):
                raise Denied(
                    Refusal.PERMISSION_MISSING,
                    "Another person's standing needs the permission 'spend:usage:read'; without it you see yours.",
                    rule=Permission.USAGE_READ.value,
                )
            known = self._budget.seen(person)
            if known is None or known.tenant != principal.tenant:
                raise _invalid(
                    f"No call of {person!r} since the platform started. GET /admin/usage?by=person lists ids."
                )
            principal = known
        rows = self._budget.standing(principal)
        return {"person": principal.id, "team": principal.team, "limits": [_standing(row) for row in rows]}

    async def _shown(self, rows: Sequence[UsageRow], by: By, tenant: str) -> list[dict[str, Any]]:
        names: Mapping[str, str] = {}
        if by is By.PERSON and self._names is not None and rows:
            names = await self._names([row.group for row in rows if row.group], tenant=tenant)
        return [_shown(row) | {"name": names.get(row.group or "", row.group)} for row in rows]


def total(rows: Sequence[UsageRow]) -> UsageRow:
    """The sum of rows; its group is None."""
    fields = [name for name in UsageRow.__struct_fields__ if name != "group"]
    return UsageRow(group=None, **{name: sum(getattr(row, name) for row in rows) for name in fields})


def moment(text: str, now: float, name: str) -> float:
    """`2026-11-22`, `2026-11-22T12:00:00Z` (UTC without a zone), `24h`, `7d`, `2w`, `today`, `month`, `now`.

    Raises:
        InvalidCall: it is none of these.

    """
    fixed = {"now": now, "today": window_of(Period.DAY, now).start, "month": window_of(Period.MONTH, now).start}
    if text in fixed:
        return fixed[text]
    if match := _AGO.fullmatch(text):
        return now - int(match[1]) * _UNITS[match[2]]
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        message = f"{name}={text[:40]!r} is no time. Write a date (2026-11-01), a time (2026-11-01T12:00:00Z),"
        raise _invalid(f"{message} an age (24h, 7d, 2w), today or month.") from None
    if not 1970 < parsed.year < 9999:
        raise _invalid(f"{name}={text[:40]!r} lies outside of what a ledger can hold.")
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _choice(text: str) -> By:
    try:
        return By(text)
    except ValueError:
        raise _invalid(f"by={text[:40]!r} is not one of {', '.join(by.value for by in By)}.") from None


def _limit(params: Mapping[str, str]) -> int:
    text = params.get("limit", "1000")
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= MOST_ROWS):
        raise _invalid(f"limit={text[:20]!r} is not a number from 1 to {MOST_ROWS}.")
    return int(text)


def _invalid(message: str) -> InvalidCall:
    return InvalidCall(Refusal.INVALID_REQUEST, message)


def _shown(row: UsageRow) -> dict[str, Any]:
    return asdict(row) | {"usd": row.usd}


def _money(micros: int) -> dict[str, Any]:
    return {"micros": micros, "usd": to_usd(micros)}


def _standing(row: Standing) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "rule": row.rule,
        "unit": "usd" if row.unit == "micros" else row.unit,
        "scope": row.scope,
        "period": row.period,
        "hard": row.hard,
        "resets_at": None if row.resets_at is None else _iso(row.resets_at),
    }
    left = None if row.limit is None else max(0, row.limit - row.spent - row.held)
    amounts = {"limit": row.limit, "spent": row.spent, "held": row.held, "left": left}
    if row.unit != "micros":
        return shown | amounts
    return shown | {name: None if amount is None else to_usd(amount) for name, amount in amounts.items()}


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
