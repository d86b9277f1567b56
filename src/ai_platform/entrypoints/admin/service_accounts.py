"""Admin endpoints of service accounts: list, disable, enable, and what the claims of a token would become."""

from typing import Any

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall
from ai_platform.domain.permission import Permission
from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint
from ai_platform.identity import Keys
from ai_platform.sso import SignOn
from ai_platform.sso.services import Services


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /admin/service-accounts/explain: the payload of a token, decoded, not its text."""

    claims: dict[str, Any]


def endpoints(services: Services, signon: SignOn | None, keys: Keys) -> list[Endpoint]:
    """Routes under /admin/service-accounts. signon: None when only keys are taken."""
    routes = ServiceAccountRoutes(services, signon, keys)
    base = "/admin/service-accounts"
    return [
        Endpoint("GET", base, Permission.KEYS_READ, routes.accounts),
        Endpoint("POST", f"{base}/explain", Permission.KEYS_READ, routes.explain),
        Endpoint("POST", f"{base}/{{id}}/disable", Permission.KEYS_WRITE, routes.disable, changes=True),
        Endpoint("POST", f"{base}/{{id}}/enable", Permission.KEYS_WRITE, routes.enable, changes=True),
    ]


class ServiceAccountRoutes:
    def __init__(self, services: Services, signon: SignOn | None, keys: Keys) -> None:
        self._services = services
        self._signon = signon
        self._keys = keys

    async def accounts(self, request: AdminRequest) -> list[dict[str, Any]]:
        """Every service account: those with keys, those that came, those of the settings."""
        return [msgspec.structs.asdict(one) for one in await self._services.list(request.principal.tenant)]

    async def explain(self, request: AdminRequest) -> list[dict[str, Any]]:
        """Body {"claims": {...}}: for each account of the settings the claims that do not fit; the first with none
        is what the token would become.
        """
        try:
            asked = msgspec.convert(request.body, Claims)
        except msgspec.ValidationError as error:
            raise InvalidCall(Refusal.INVALID_REQUEST, f"The body is not usable: {error}.") from error
        found = self._signon.federation.explain(asked.claims, request.principal.tenant) if self._signon else []
        return [msgspec.structs.asdict(one) for one in found]

    async def disable(self, request: AdminRequest) -> dict[str, Any]:
        """{id}: name or id. Its tokens end at once, its keys are revoked for good, and it gets no new token."""
        caller = request.principal
        principal = await self._services.disable(request.params["id"], by=caller.id, tenant=caller.tenant)
        why = "service account disabled"
        ended = await self._signon.end_all(principal, why, tenant=caller.tenant) if self._signon else 0
        mine = [key for key in await self._keys.list(tenant=caller.tenant) if key.principal_id == principal]
        for key in mine:
            await self._keys.revoke(key.id, by=caller)
        return {"id": principal, "tokens_ended": ended, "keys_revoked": len(mine)}

    async def enable(self, request: AdminRequest) -> dict[str, Any]:
        """It may exchange tokens again; keys that were revoked stay revoked."""
        await self._services.enable(request.params["id"], tenant=request.principal.tenant)
        return {"id": request.params["id"]}
