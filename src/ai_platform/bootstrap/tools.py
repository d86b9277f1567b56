"""The MCP door. Needs the extra `mcp`; without it nothing imports this."""

from collections.abc import Collection
from functools import partial

from ai_platform.bootstrap.base import Base
from ai_platform.entrypoints.http import Handler, Scope
from ai_platform.entrypoints.mcp.door import PATH, McpDoor
from ai_platform.entrypoints.mcp.gauges import register_mcp_gauges
from ai_platform.entrypoints.signin import gives_mcp_tokens
from ai_platform.entrypoints.signin.clients import challenge, resource_mount
from ai_platform.gateway import Gateway
from ai_platform.mcp.federation import Federation
from ai_platform.sso import SignOn
from ai_platform.telemetry import Meter


async def tools_door(
    base: Base, gateway: Gateway, federation: Federation, meter: Meter, *, signon: SignOn | None
) -> dict[str, Handler]:
    """What answers at `/mcp` and below, and who tells clients where tokens for it are given."""
    settings = base.settings
    tokens = gives_mcp_tokens(signon)
    asking = partial(challenge, base.url) if tokens else _challenge
    door = McpDoor(gateway, federation, base.clock, settings.mcp, settings.server, challenge=asking)
    await base.stack.enter_async_context(door.open())
    register_mcp_gauges(meter, door, federation)
    return {PATH: door.serve, **(resource_mount(base.url) if tokens else {})}


def _challenge(scope: Scope, kinds: Collection[str]) -> bytes:
    """Without sign-in only platform keys are taken, and those are not given by a program."""
    del scope, kinds
    return b'Bearer realm="ai-platform"'
