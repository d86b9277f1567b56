"""Admin endpoints of accounts at MCP servers: which are connected, entering a token for somebody, disconnecting.

Nothing secret is ever shown. Above: router. Below: sso/connections.
"""

from typing import Any

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall
from ai_platform.domain.permission import Permission
from ai_platform.domain.principal import HOME
from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint
from ai_platform.mcp.settings import CredentialMode
from ai_platform.sso.connections.flow import Flow
from ai_platform.sso.connections.store import PLATFORM, Owner

SELF = "platform"
"""Names the platform's own account where a person would stand."""


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /admin/mcp/credentials. person: e-mail address or name of a person or service account."""

    server: str
    person: str
    token: str


def endpoints(flow: Flow) -> list[Endpoint]:
    """Routes under /admin/mcp/credentials."""
    routes = CredentialRoutes(flow)
    base = "/admin/mcp/credentials"
    return [
        Endpoint("GET", base, Permission.SERVERS_READ, routes.connected),
        Endpoint("POST", base, Permission.SERVERS_WRITE, routes.enter, changes=True),
        Endpoint("DELETE", f"{base}/{{id}}", Permission.SERVERS_WRITE, routes.disconnect, changes=True),
    ]


class CredentialRoutes:
    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    async def connected(self, request: AdminRequest) -> list[dict[str, Any]]:
        """Of the caller's tenant: server, whose, kind, issuer, since when, until when, and what is wrong with it."""
        rows = await self._flow.connections.of(request.principal.tenant)
        return [{**dict(row), "person": row["person"] if row["principal_id"] else SELF} for row in rows]

    async def enter(self, request: AdminRequest) -> dict[str, Any]:
        """For who has no browser, such as a service account."""
        try:
            new = msgspec.convert(request.body, NewToken)
        except msgspec.ValidationError as error:
            raise InvalidCall(Refusal.INVALID_REQUEST, f"The body is not usable: {error}.") from error
        server = self._flow.server(new.server)
        if server is None or server.credentials is not CredentialMode.PERSON:
            message = f"There is no MCP server '{new.server[:60]}' with `credentials: person`."
            raise InvalidCall(Refusal.INVALID_REQUEST, message)
        owner = await self._owner(request, new.person)
        await self._flow.enter_for(server, owner, new.token, by=request.principal.id)
        return {"server": server.name, "person": new.person}

    async def disconnect(self, request: AdminRequest) -> dict[str, Any]:
        """{id}: the server. Query: `person`, or `platform` for its own account."""
        person = request.params.get("person", "")
        own = person == SELF and request.principal.tenant == HOME
        owner = PLATFORM if own else await self._owner(request, person)
        return {"disconnected": await self._flow.disconnect(request.params["id"], owner)}

    async def _owner(self, request: AdminRequest, who: str) -> Owner:
        tenant = request.principal.tenant
        found = await self._flow.connections.principal(tenant, who)
        if found is None:
            message = f"There is nobody called '{who[:60]}' here: give an e-mail address, or a service account's name."
            raise InvalidCall(Refusal.INVALID_REQUEST, message)
        return Owner(tenant, found)
