"""Where a signed-in person stands, as Claude Code shows it: `anthropic-ratelimit-unified-*` headers and /usage.

Of several limits the fullest is described. Only limits that refuse are: a soft one stops nobody.
Above: pipeline, entrypoints. Below: budget.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ai_platform.budget.budget import Standing
from ai_platform.domain.call import Headers
from ai_platform.domain.errors import OverBudget

UNIFIED = b"anthropic-ratelimit-unified-"
OF_UPSTREAM = b"anthropic-ratelimit-"
THRESHOLDS = (0.95, 0.75)
PERIODS = {"day": "daily", "week": "weekly", "month": "monthly"}
CENT = 10_000
"""In micro-dollars."""


def with_standing(headers: Headers, rows: Sequence[Standing]) -> Headers:
    """The answer's headers with the caller's own standing in place of the upstream's, which is the organisation's."""
    kept = [(name, value) for name, value in headers if not name.startswith(OF_UPSTREAM)]
    fullest = _fullest(row for row in rows if row.unit in {"micros", "tokens"})
    if fullest is None or fullest.resets_at is None:
        return kept
    used = min(_used(fullest), 0.99)  # 1 means refused
    passed = next((threshold for threshold in THRESHOLDS if used >= threshold), None)
    status = b"allowed" if passed is None else b"allowed_warning"
    reset = str(int(fullest.resets_at)).encode()
    own: list[tuple[bytes, bytes]] = [
        (b"status", status),
        (b"representative-claim", b"overage"),
        (b"overage-status", status),
        (b"overage-utilization", f"{int(used * 100) / 100:.2f}".encode()),
        (b"reset", reset),
        (b"overage-reset", reset),
    ]
    if passed is not None:
        own.append((b"overage-surpassed-threshold", str(passed).encode()))
    return kept + [(UNIFIED + name, value) for name, value in own]


def refused_headers(error: OverBudget) -> Headers:
    """For a call that a limit refuses until it starts again; nothing when it is worth trying again soon."""
    if not error.period:
        return []
    reset = str(int(error.resets_at)).encode()
    own: list[tuple[bytes, bytes]] = [
        (b"status", b"rejected"),
        (b"reset", reset),
        (b"overage-reset", reset),
        (b"overage-utilization", b"1"),
        (b"overage-surpassed-threshold", b"1"),
        (b"overage-period", PERIODS[error.period].encode()),
        (b"overage-disabled-reason", b"org_spend_cap_reached"),
    ]
    if error.shared:
        own.append((b"overage-scope", b"group_pool"))
    return [(UNIFIED + name, value) for name, value in own]


def usage_report(rows: Sequence[Standing], spent: dict[str, int]) -> dict[str, Any]:
    """The body of GET /api/oauth/usage. spent: micro-dollars by period, for who has no limit in money."""
    limits = [row for row in rows if row.unit == "micros" and row.hard and row.limit and row.resets_at is not None]
    fullest = _fullest(limits)
    if fullest is None or fullest.limit is None:
        empty = {
            "is_enabled": True,
            "monthly_limit": None,
            "used_credits": _cents(spent["month"]),
            "utilization": None,
            "currency": "USD",
        }
        windows = {
            PERIODS[period]: {"limit": None, "used_credits": _cents(spent[period]), "utilization": None}
            for period in ("day", "week")
        }
        return {"extra_usage": empty | windows, "limits": []}
    extra = {
        "is_enabled": True,
        "monthly_limit": _cents(fullest.limit),
        "used_credits": _cents(fullest.spent),
        "utilization": int(_used(fullest) * 100),
        "currency": "USD",
    }
    return {"extra_usage": extra, "limits": [_limit(row, active=row is fullest) for row in limits]}


def _limit(row: Standing, *, active: bool) -> dict[str, Any]:
    used = _used(row)
    moment = datetime.fromtimestamp(int(row.resets_at or 0), UTC)
    return {
        "kind": "spend",
        "group": PERIODS[row.period],
        "percent": int(used * 100),
        "resets_at": moment.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "severity": "normal" if used < min(THRESHOLDS) else "warning",
        "is_active": active,
    }


def _fullest(rows: Any) -> Standing | None:
    return max((row for row in rows if row.hard and row.limit), key=_used, default=None)


def _used(row: Standing) -> float:
    return row.spent / row.limit if row.limit else 0.0


def _cents(micros: int) -> int:
    return round(micros / CENT)
