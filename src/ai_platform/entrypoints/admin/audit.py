"""The audit trail over the admin API: search, follow, export, prove, verify. Reading only; the trail has no other door.

Above: the admin router. Below: audit.
"""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from ai_platform.audit import AuditReader
from ai_platform.audit.search import Query
from ai_platform.domain.clock import Clock, SystemClock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied, InvalidCall
from ai_platform.domain.event import EventType
from ai_platform.domain.permission import Permission
from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint, flag

MOST_EVENTS = 1000
"""On one page of a search."""

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def endpoints(reader: AuditReader, clock: Clock | None = None) -> tuple[Endpoint, ...]:
    """Query parameters: who, what (event types, comma-separated), since, until (ISO 8601, or `24h`, `7d` ago),
    call_id, story (a call's or a tool_use's id), after (an event id), limit, order (`newest` or `oldest`); tail:
    last=N, follow=1; export: bundle=1. With all_tenants=1 who may read every tenant's trail sees all of them;
    verification and bundles are always of all.
    """
    now = (clock or SystemClock()).now

    async def search(request: AdminRequest) -> Any:
        return {"events": await reader.search(_query(request, now()))}

    async def export(request: AdminRequest) -> AsyncIterator[bytes]:
        if flag(request.params, "bundle"):
            _check_wide(request)
            return reader.bundle()
        return reader.export(_query(request, now(), default=0, most=None))

    async def tail(request: AdminRequest) -> AsyncIterator[bytes]:
        last = _number(request.params, "last", 10, MOST_EVENTS)
        return reader.tail(tenant=_tenant(request), last=last, follow=flag(request.params, "follow"))

    async def verify(_: AdminRequest) -> AsyncIterator[bytes]:
        return _verification(reader)

    async def proof(request: AdminRequest) -> Any:
        return await reader.proof(request.params["id"], tenant=request.principal.tenant)

    async def key(_: AdminRequest) -> Any:
        return {"audit.pub": reader.public_key()}

    return (
        Endpoint("GET", "/admin/audit/events", Permission.AUDIT_READ, search),
        Endpoint("GET", "/admin/audit/tail", Permission.AUDIT_READ, tail),
        Endpoint("GET", "/admin/audit/verify", Permission.PLATFORM_AUDIT, verify),
        # Who took everybody's events away is itself an event.
        Endpoint("GET", "/admin/audit/export", Permission.AUDIT_EXPORT, export, changes=True),
        Endpoint("GET", "/admin/audit/proof/{id}", Permission.AUDIT_READ, proof),
        Endpoint("GET", "/admin/audit/key", Permission.AUDIT_READ, key),
    )


async def _verification(reader: AuditReader) -> AsyncIterator[bytes]:
    """Progress lines, then the report."""
    async for step in reader.verify():
        yield msgspec.json.encode(step) + b"\n"


def _query(request: AdminRequest, now: float, *, default: int = 100, most: int | None = MOST_EVENTS) -> Query:
    params = request.params
    order = params.get("order", "newest")
    if order not in {"newest", "oldest"}:
        raise _bad("order", order, "`newest` or `oldest`")
    return Query(
        tenant=_tenant(request),
        who=params.get("who", ""),
        what=tuple(_event_type(name) for name in params.get("what", "").split(",") if name),
        since=_moment("since", params.get("since"), now),
        until=_moment("until", params.get("until"), now),
        call_id=params.get("call_id", ""),
        story=params.get("story", ""),
        after=params.get("after", ""),
        limit=_number(params, "limit", default, most),
        oldest_first=order == "oldest",
    )


def _tenant(request: AdminRequest) -> str | None:
    """Whose events; None = everybody's. Raises Denied."""
    if not flag(request.params, "all_tenants"):
        return request.principal.tenant
    _check_wide(request)
    return None


def _check_wide(request: AdminRequest) -> None:
    if not request.principal.may(Permission.PLATFORM_AUDIT):
        raise Denied(
            Refusal.PERMISSION_MISSING,
            f"Events of all tenants need the permission {Permission.PLATFORM_AUDIT.value!r} in the operator's own"
            " tenant.",
            rule=Permission.PLATFORM_AUDIT.value,
        )


def _event_type(name: str) -> EventType:
    try:
        return EventType(name)
    except ValueError as error:
        raise _bad("what", name, "one of " + ", ".join(EventType)) from error


def _moment(name: str, text: str | None, now: float) -> float | None:
    if not text:
        return None
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}).total_seconds()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _bad(name, text, "a time such as 2026-11-22T09:00:00Z, a date, or an age such as 24h or 7d") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _number(params: dict[str, str], name: str, default: int, most: int | None) -> int:
    text = params.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or (most is not None and int(text) > most):
        raise _bad(name, text, f"a whole number up to {most or 10**9 - 1}")
    return int(text)


def _bad(name: str, value: str, wanted: str) -> InvalidCall:
    return InvalidCall(Refusal.INVALID_REQUEST, f"Parameter {name}={value[:60]!r} is not {wanted}.")
