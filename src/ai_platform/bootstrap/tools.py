"""The servers behind the MCP door, and the door. Needs the extra `mcp`; without it nothing imports this."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ai_platform.bootstrap.base import Base
from ai_platform.entrypoints.http import Handler, Scope
from ai_platform.entrypoints.mcp.door import PATH, McpDoor
from ai_platform.gateway import Gateway
from ai_platform.mcp.federation import Federation
from ai_platform.mcp.needs import EnvironmentCredentials, Program, TrustAll, variable_of
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.sandbox import Folders, Sandbox
from ai_platform.sandbox import Program as SandboxProgram


async def federation_of(base: Base) -> Federation:
    """The servers, connected to from now on.

    Raises:
        ConfigError: a server cannot be run or connected to as it is written.
    """
    settings = base.settings.mcp
    sandbox = Sandbox(settings.sandbox, base.settings.data, clock=base.clock)
    if any(server.command for server in settings.servers):
        await sandbox.probe()
    federation = Federation(
        settings,
        trust=TrustAll(),
        credentials=EnvironmentCredentials(settings.servers, base.environ),
        launcher=_Launcher(sandbox, base),
        clock=base.clock,
    )
    base.stack.push_async_callback(federation.close)
    federation.start()
    return federation


async def tools_door(base: Base, gateway: Gateway, federation: Federation) -> dict[str, Handler]:
    """What answers at `/mcp` and below."""
    settings = base.settings
    door = McpDoor(gateway, federation, base.clock, settings.mcp, settings.server, challenge=_challenge)
    await base.stack.enter_async_context(door.open())
    return {PATH: door.serve}


def _challenge(scope: Scope) -> bytes:
    del scope
    return b'Bearer realm="ai-platform"'


class _Launcher:
    """Programs of servers in the sandbox, with the environment that their settings give them."""

    def __init__(self, sandbox: Sandbox, base: Base) -> None:
        self._sandbox = sandbox
        self._environ = base.environ

    @asynccontextmanager
    async def prepare(self, server: McpServerSettings) -> AsyncGenerator[Program]:
        taken = {name: variable_of(server, variable, self._environ) for name, variable in server.env_from.items()}
        program = SandboxProgram(
            name=server.name,
            command=server.command,
            environment=server.env | taken,
            folders=Folders(read=server.read, write=server.write),
            folder=server.cwd,
            state=server.state,
            network=server.network,
            trusted=server.trusted,
        )
        async with self._sandbox.prepared(program) as prepared:
            yield Program(argv=prepared.argv, env=prepared.env, cwd=prepared.cwd, stderr=prepared.stderr)
