"""Admin endpoints of local administrators: enrol, confirm, list, remove, and links that pass the bounds on guessing.

They make somebody who may do everything, so whoever calls them must be allowed everything.
"""

from typing import Any, Literal

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied, InvalidCall
from ai_platform.domain.permission import EVERYTHING, Permission
from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint, body_as
from ai_platform.entrypoints.admin.sign_in import check_operator
from ai_platform.sso.breakglass import BreakGlass
from ai_platform.sso.breakglass.kinds import Admin

PAGE = "/auth/break-glass"


class NewAdmin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /admin/break-glass. factor: what is enrolled first."""

    name: str
    password: str
    factor: Literal["code", "key"] = "code"


class Confirmation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /admin/break-glass/{id}/confirm: the authenticator's code of this moment."""

    code: str


def endpoints(emergency: BreakGlass | None, url: str) -> list[Endpoint]:
    """Routes under /admin/break-glass. None: it is switched off. url: the platform's."""
    routes = BreakGlassRoutes(emergency, url)
    write = Permission.BREAK_GLASS_WRITE
    return [
        Endpoint("GET", "/admin/break-glass", Permission.SIGN_IN_READ, routes.list),
        Endpoint("POST", "/admin/break-glass", write, routes.enrol, changes=True),
        Endpoint("POST", "/admin/break-glass/{id}/confirm", write, routes.confirm, changes=True),
        Endpoint("POST", "/admin/break-glass/{id}/key", write, routes.key, changes=True),
        Endpoint("POST", "/admin/break-glass/{id}/open", write, routes.open, changes=True),
        Endpoint("DELETE", "/admin/break-glass/{id}", write, routes.remove, changes=True),
    ]


class BreakGlassRoutes:
    def __init__(self, emergency: BreakGlass | None, url: str) -> None:
        self._emergency = emergency
        self._url = url

    async def list(self, request: AdminRequest) -> list[dict[str, Any]]:
        check_operator(request)
        return [_shown(admin) for admin in await self._enabled().list()]

    async def enrol(self, request: AdminRequest) -> dict[str, Any]:
        """With factor `code`: the secret, this once. With factor `key`: a link to the page that registers it."""
        new = body_as(request, NewAdmin)
        emergency = self._allowed(request)
        admin = await emergency.enrol(new.name, new.password, by=request.principal.id)
        if new.factor == "key":
            return {**_shown(admin), "link": await self._link(admin, "key")}
        secret, uri = await emergency.new_secret(admin)
        return {**_shown(admin), "secret": secret, "uri": uri}

    async def confirm(self, request: AdminRequest) -> dict[str, Any]:
        emergency = self._allowed(request)
        admin = await emergency.find(request.params["id"])
        await emergency.confirm(admin, body_as(request, Confirmation).code)
        return _shown(await emergency.find(admin.id))

    async def key(self, request: AdminRequest) -> dict[str, Any]:
        admin = await self._allowed(request).find(request.params["id"])
        return {**_shown(admin), "link": await self._link(admin, "key")}

    async def open(self, request: AdminRequest) -> dict[str, Any]:
        admin = await self._allowed(request).find(request.params["id"])
        return {**_shown(admin), "link": await self._link(admin, "open")}

    async def remove(self, request: AdminRequest) -> dict[str, Any]:
        emergency = self._allowed(request)
        admin = await emergency.find(request.params["id"])
        await emergency.remove(admin, by=request.principal.id)
        return _shown(admin)

    async def _link(self, admin: Admin, purpose: Literal["key", "open"]) -> str:
        ticket = await self._enabled().link(admin, purpose)
        return f"{self._url}{PAGE}{'/key' if purpose == 'key' else ''}?ticket={ticket}"

    def _allowed(self, request: AdminRequest) -> BreakGlass:
        check_operator(request)
        if EVERYTHING not in request.principal.permissions:
            message = "A local administrator may do everything, so only who may do everything can make or change one."
            raise Denied(Refusal.PERMISSION_MISSING, message, rule="no privilege escalation")
        return self._enabled()

    def _enabled(self) -> BreakGlass:
        if self._emergency is None:
            message = "Local administrators are switched off. Set `sso.break_glass.enabled` and start anew."
            raise InvalidCall(Refusal.INVALID_REQUEST, message)
        return self._emergency


def _shown(admin: Admin) -> dict[str, Any]:
    return {
        "id": admin.id,
        "name": admin.name,
        "principal": admin.principal,
        "codes": admin.totp is not None,
        "keys": admin.keys,
        "active": admin.active_at is not None,
        "created_at": admin.created_at,
        "created_by": admin.created_by,
        "last_used_at": admin.last_used_at,
        "closed_until": admin.open_at or None,
    }
