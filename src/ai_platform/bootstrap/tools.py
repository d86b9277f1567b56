"""The MCP door. Needs the extra `mcp`; without it nothing imports this."""

from ai_platform.bootstrap.base import Base
from ai_platform.entrypoints.http import Handler, Scope
from ai_platform.entrypoints.mcp.door import PATH, McpDoor
from ai_platform.entrypoints.mcp.gauges import register_mcp_gauges
from ai_platform.gateway import Gateway
from ai_platform.mcp.federation import Federation
from ai_platform.telemetry import Meter


async def tools_door(base: Base, gateway: Gateway, federation: Federation, meter: Meter) -> dict[str, Handler]:
    """What answers at `/mcp` and below."""
    settings = base.settings
    door = McpDoor(gateway, federation, base.clock, settings.mcp, settings.server, challenge=_challenge)
    await base.stack.enter_async_context(door.open())
    register_mcp_gauges(meter, door, federation)
    return {PATH: door.serve}


def _challenge(scope: Scope) -> bytes:
    del scope
    return b'Bearer realm="ai-platform"'
