"""Admin endpoints of security incidents: list, look at, acknowledge and close them.

Above: the admin router. Below: protection.
"""

from enum import StrEnum
from typing import Any, TypeVar

from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall
from ai_platform.domain.finding import Severity
from ai_platform.domain.permission import Permission
from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint
from ai_platform.entrypoints.admin.usage import moment
from ai_platform.protection import Incidents
from ai_platform.protection.incident_list import IncidentQuery, Status

MOST = 1000
"""On one page."""

PARAMETERS = frozenset({"person", "type", "team", "severity", "status", "since", "until", "after", "limit"})

Choice = TypeVar("Choice", bound=StrEnum)


def endpoints(incidents: Incidents, clock: Clock) -> list[Endpoint]:
    """Routes under /admin/incidents."""
    routes = IncidentRoutes(incidents, clock)
    return [
        Endpoint("GET", "/admin/incidents", Permission.INCIDENTS_READ, routes.list),
        Endpoint("GET", "/admin/incidents/{id}", Permission.INCIDENTS_READ, routes.show),
        Endpoint("POST", "/admin/incidents/{id}/status", Permission.INCIDENTS_WRITE, routes.mark, changes=True),
    ]


class IncidentRoutes:
    def __init__(self, incidents: Incidents, clock: Clock) -> None:
        self._incidents = incidents
        self._clock = clock

    async def list(self, request: AdminRequest) -> dict[str, Any]:
        """Query: person (id, e-mail address or name), type, team, severity, status, since, until (a date, a time,
        `24h`, `7d`), limit, after (the `next` of the page before). Newest first.
        """
        params = request.params
        if unknown := sorted(params.keys() - PARAMETERS):
            raise _invalid(f"Unknown parameter {unknown[0][:60]!r}. Known: {', '.join(sorted(PARAMETERS))}.")
        now = self._clock.now()
        limit = _limit(params.get("limit", "100"))
        query = IncidentQuery(
            person=params.get("person"),
            type=params.get("type"),
            team=params.get("team"),
            severity=_choice(Severity, "severity", params.get("severity")),
            status=_choice(Status, "status", params.get("status")),
            since=moment(params["since"], now, "since") if "since" in params else None,
            until=moment(params["until"], now, "until") if "until" in params else None,
            after=params.get("after"),
            limit=limit + 1,
        )
        found = await self._incidents.list(request.principal.tenant, query)
        more = len(found) > limit
        return {"incidents": found[:limit], "next": found[limit - 1].id if more else None}

    async def show(self, request: AdminRequest) -> Any:
        return await self._incidents.get(request.principal.tenant, request.params["id"])

    async def mark(self, request: AdminRequest) -> Any:
        """Body {status}: `open`, `ack` or `closed`."""
        status = _choice(Status, "status", request.body.get("status"))
        if status is None:
            raise _invalid('The body must be {"status": "open"}, "ack" or "closed".')
        return await self._incidents.mark(request.principal.tenant, request.params["id"], status)


def _choice(kind: type[Choice], name: str, text: Any) -> Choice | None:
    if text is None:
        return None
    try:
        return kind(text)
    except ValueError as error:
        raise _invalid(f"Parameter {name}={str(text)[:60]!r} is not one of {', '.join(kind)}.") from error


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= MOST:
        raise _invalid(f"Parameter limit={text[:60]!r} is not a whole number from 1 to {MOST}.")
    return int(text)


def _invalid(message: str) -> InvalidCall:
    return InvalidCall(Refusal.INVALID_REQUEST, message)
