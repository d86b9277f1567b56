"""Admin endpoints of platform keys: list, create, revoke, and who the caller is."""

from typing import Any

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall
from ai_platform.domain.permission import Permission
from ai_platform.domain.principal import PrincipalKind
from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint
from ai_platform.identity import Keys
from ai_platform.identity.key import Key


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /admin/keys; only `name` is needed. kind: `person` or `service`. expires: `90d`, a date."""

    name: str
    kind: PrincipalKind = PrincipalKind.PERSON
    owner: str = ""
    email: str | None = None
    roles: tuple[str, ...] = ("developer",)
    team: str | None = None
    project: str | None = None
    scopes: tuple[str, ...] = ()
    expires: str | None = None


def endpoints(keys: Keys) -> list[Endpoint]:
    """Routes under /admin/keys and /admin/whoami."""
    routes = KeyRoutes(keys)
    return [
        Endpoint("GET", "/admin/keys", Permission.KEYS_READ, routes.list),
        Endpoint("POST", "/admin/keys", Permission.KEYS_WRITE, routes.create, changes=True),
        Endpoint("DELETE", "/admin/keys/{id}", Permission.KEYS_WRITE, routes.revoke, changes=True),
        Endpoint("GET", "/admin/whoami", Permission.USAGE_READ_OWN, routes.whoami),
    ]


class KeyRoutes:
    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def list(self, request: AdminRequest) -> list[dict[str, Any]]:
        """Query: `all=1` for expired and revoked keys too."""
        everything = request.params.get("all", "") in {"1", "true"}
        found = await self._keys.list(tenant=request.principal.tenant, include_ended=everything)
        return [self._shown(key) for key in found]

    async def create(self, request: AdminRequest) -> dict[str, Any]:
        """The new key; its text is in `key`, this once."""
        try:
            new = msgspec.convert(request.body, NewKey)
        except msgspec.ValidationError as error:
            message = f"The body of POST /admin/keys is not usable: {error}."
            raise InvalidCall(Refusal.INVALID_REQUEST, message) from error
        key, text = await self._keys.create(
            new.name,
            by=request.principal,
            kind=new.kind,
            owner=new.owner,
            email=new.email,
            roles=new.roles,
            team=new.team,
            project=new.project,
            scopes=new.scopes,
            expires=new.expires,
        )
        return {**self._shown(key), "key": text}

    async def revoke(self, request: AdminRequest) -> dict[str, Any]:
        """{id}: the key's id or the name of a key that is not revoked."""
        return self._shown(await self._keys.revoke(request.params["id"], by=request.principal))

    async def whoami(self, request: AdminRequest) -> dict[str, Any]:
        caller = request.principal
        return {**msgspec.structs.asdict(caller), "permissions": sorted(caller.permissions)}

    def _shown(self, key: Key) -> dict[str, Any]:
        return {**msgspec.structs.asdict(key), "status": self._keys.status(key)}
