"""Admin endpoints of sign-in: the providers, their certificates and ours, and the change of our SAML key.

They are the operator's: another tenant's administrators neither see nor change them.
"""

from typing import Any

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied, InvalidCall
from ai_platform.domain.permission import Permission
from ai_platform.domain.principal import HOME
from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint
from ai_platform.sso import SignOn
from ai_platform.sso.health import Health
from ai_platform.sso.saml.keys import OwnKey


def endpoints(signon: SignOn | None, health: Health | None) -> list[Endpoint]:
    """Routes under /admin/sign-in. None: nobody signs in here."""
    routes = SignInRoutes(signon, health)
    return [
        Endpoint("GET", "/admin/sign-in", Permission.SIGN_IN_READ, routes.show),
        Endpoint("POST", "/admin/sign-in/saml-key", Permission.SIGN_IN_WRITE, routes.rotate, changes=True),
        Endpoint("POST", "/admin/sign-in/saml-key/finish", Permission.SIGN_IN_WRITE, routes.finish, changes=True),
    ]


class SignInRoutes:
    def __init__(self, signon: SignOn | None, health: Health | None) -> None:
        self._signon = signon
        self._health = health

    async def show(self, request: AdminRequest) -> dict[str, Any]:
        """Query: `look=1` asks every provider now; else it is what was seen in the last minutes."""
        check_operator(request)
        if self._health is None:
            return {"providers": [], "own": []}
        if request.params.get("look", "") in {"1", "true"}:
            await self._health.look()
        return {"providers": self._health.states, "own": self._health.own}

    async def rotate(self, request: AdminRequest) -> dict[str, Any]:
        check_operator(request)
        return await self._changed(await self._with_saml().saml.keys.rotate(request.principal.id))

    async def finish(self, request: AdminRequest) -> dict[str, Any]:
        check_operator(request)
        return await self._changed(await self._with_saml().saml.keys.finish())

    async def _changed(self, key: OwnKey) -> dict[str, Any]:
        if self._health is not None:
            await self._health.look()
        return {**msgspec.structs.asdict(key.certificate), "state": key.state}

    def _with_saml(self) -> SignOn:
        if self._signon is None or not self._signon.saml.providers:
            raise InvalidCall(
                Refusal.INVALID_REQUEST, "No SAML provider is configured (`sso.saml`), so there is no key."
            )
        return self._signon


def check_operator(request: AdminRequest) -> None:
    """Raises Denied for who belongs to another tenant than the operator's."""
    if request.principal.tenant != HOME:
        message = "How people sign in is the operator's to see and change."
        raise Denied(Refusal.PERMISSION_MISSING, message, rule="operator only")
