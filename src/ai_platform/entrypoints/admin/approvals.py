"""Admin endpoints of approvals: what waits for consent, what was asked, and the decision."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ai_platform.approvals import Approvals, Request, State
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall
from ai_platform.domain.permission import Permission
from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint
from ai_platform.entrypoints.admin.usage import Names
from ai_platform.policy import PolicyStore

LONGEST_NOTE = 500
_OURS = frozenset({"person", "key_id", "decided_key"})
"""Fields that are for comparing, not for reading."""


def endpoints(approvals: Approvals, policies: PolicyStore, *, names: Names) -> list[Endpoint]:
    """Routes under /admin/approvals. Who may decide what is in the policy, so one permission is enough for all."""
    routes = ApprovalRoutes(approvals, policies, names)
    use = Permission.APPROVALS_USE
    return [
        Endpoint("GET", "/admin/approvals", use, routes.listed),
        Endpoint("GET", "/admin/approvals/{id}", use, routes.show),
        Endpoint("POST", "/admin/approvals/{id}/approve", use, routes.approve, changes=True),
        Endpoint("POST", "/admin/approvals/{id}/deny", use, routes.deny, changes=True),
    ]


class ApprovalRoutes:
    def __init__(self, approvals: Approvals, policies: PolicyStore, names: Names) -> None:
        self._approvals = approvals
        self._policies = policies
        self._names = names

    async def listed(self, request: AdminRequest) -> list[dict[str, Any]]:
        """What concerns the caller. Query: `all=1` for those that are over too."""
        everything = request.params.get("all", "") in {"1", "true"}
        found = await self._approvals.list(request.principal, every=everything)
        return await self._shown(request, found)

    async def show(self, request: AdminRequest) -> dict[str, Any]:
        """One, with what was asked (`shown`, JSON text with findings masked) and `why_not`: why the caller may not
        decide it, empty when they may.
        """
        found, shown = await self._approvals.get(request.principal, request.params["id"])
        reason = await self._approvals.why_not(request.principal, found) if found.state is State.PENDING else ""
        return (await self._shown(request, [found]))[0] | {"shown": shown, "why_not": reason}

    async def approve(self, request: AdminRequest) -> dict[str, Any]:
        """Body: `note`, optional."""
        return await self._decide(request, agree=True)

    async def deny(self, request: AdminRequest) -> dict[str, Any]:
        """Body: `note`, optional; the caller of the call reads it."""
        return await self._decide(request, agree=False)

    async def _decide(self, request: AdminRequest, *, agree: bool) -> dict[str, Any]:
        note = request.body.get("note", "")
        if not isinstance(note, str) or len(note) > LONGEST_NOTE or request.body.keys() - {"note"}:
            message = f'The body is {{"note": "..."}} with at most {LONGEST_NOTE} letters, or empty.'
            raise InvalidCall(Refusal.INVALID_REQUEST, message)
        decided = await self._approvals.decide(
            request.principal, request.params["id"], agree=agree, version=self._policies.version, note=note
        )
        return (await self._shown(request, [decided]))[0]

    async def _shown(self, request: AdminRequest, found: Sequence[Request]) -> list[dict[str, Any]]:
        ids = {each.principal_id for each in found} | {each.decided_by for each in found if each.decided_by}
        names = await self._names(ids, tenant=request.principal.tenant) if ids else {}
        return [
            {name: value for name in Request.__struct_fields__ if name not in _OURS for value in [getattr(each, name)]}
            | {
                "digest": each.digest.hex(),
                "what": each.what,
                "who": names.get(each.principal_id, each.principal_id),
                "decided_by_name": names.get(each.decided_by or "", each.decided_by),
                **{name: _iso(getattr(each, name)) for name in ("requested_at", "expires_at", "decided_at", "used_at")},
            }
            for each in found
        ]


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
