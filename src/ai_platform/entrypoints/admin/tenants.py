"""Admin endpoints of tenants, for who runs the platform: permissions of the scope `platform` are good in the operator's
own tenant only.
"""

from typing import Any

import msgspec

from ai_platform.directory import Tenants
from ai_platform.domain.permission import Permission
from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint, body_as


class NewTenant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /admin/tenants."""

    name: str
    title: str = ""


def endpoints(tenants: Tenants) -> list[Endpoint]:
    """Routes under /admin/tenants."""
    routes = TenantRoutes(tenants)
    write = Permission.TENANTS_WRITE
    return [
        Endpoint("GET", "/admin/tenants", Permission.TENANTS_READ, routes.list),
        Endpoint("GET", "/admin/tenants/{id}", Permission.TENANTS_READ, routes.show),
        Endpoint("POST", "/admin/tenants", write, routes.create, changes=True),
        Endpoint("POST", "/admin/tenants/{id}/disable", write, routes.disable, changes=True),
        Endpoint("POST", "/admin/tenants/{id}/enable", write, routes.enable, changes=True),
        Endpoint("POST", "/admin/tenants/{id}/admin-key", write, routes.new_admin_key, changes=True),
    ]


class TenantRoutes:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def list(self, request: AdminRequest) -> Any:
        del request
        return await self._tenants.list()

    async def show(self, request: AdminRequest) -> Any:
        return await self._tenants.get(request.params["id"])

    async def create(self, request: AdminRequest) -> dict[str, Any]:
        """The tenant; the text of its first admin key is in `key`, this once."""
        new = body_as(request, NewTenant)
        tenant, key = await self._tenants.create(new.name, new.title, by=request.principal)
        return {**msgspec.structs.asdict(tenant), "key": key}

    async def disable(self, request: AdminRequest) -> Any:
        return await self._tenants.disable(request.params["id"], by=request.principal)

    async def enable(self, request: AdminRequest) -> Any:
        return await self._tenants.enable(request.params["id"])

    async def new_admin_key(self, request: AdminRequest) -> dict[str, str]:
        name = request.params["id"]
        return {"tenant": name, "key": await self._tenants.new_admin_key(name)}
