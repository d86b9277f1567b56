"""One HTTP request at the MCP door: who makes it, from where, and the session it belongs to."""

from typing import Any

import msgspec
from mcp.server.context import ServerRequestContext

from ai_platform.domain.call import Client
from ai_platform.domain.principal import Credentials, Principal

KEY = "ai_platform.visit"
"""Where a request's scope holds it."""

Context = ServerRequestContext[Any, Any]


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """session: the client's session id, None for one without (2026-07-28) or before it has one."""

    principal: Principal
    credentials: Credentials
    client: Client
    session: str | None = None
    path: str = "/mcp"


def visit_of(context: Context) -> Visit:
    """The request that a message of the protocol came with."""
    assert context.request is not None
    visit: Visit = context.request.scope[KEY]
    return visit
