"""The MCP servers behind the door: which there are, which are trusted, how programs are run, and the admin API of it.

Needs the extra `mcp`; without it nothing imports this.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from ai_platform.bootstrap.accounts import accounts_of
from ai_platform.bootstrap.base import Base
from ai_platform.domain.errors import ConfigError, UpstreamUnreachable
from ai_platform.entrypoints.admin.endpoint import Endpoint
from ai_platform.entrypoints.admin.mcp import Condition, endpoints
from ai_platform.entrypoints.admin.mcp_credentials import endpoints as credential_endpoints
from ai_platform.mcp.federation import Federation
from ai_platform.mcp.needs import Program, variable_of
from ai_platform.mcp.registry import Registry
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.mcp.trust.pins import Pins
from ai_platform.sandbox import Folders, Sandbox
from ai_platform.sandbox import Program as SandboxProgram
from ai_platform.sso.connections.flow import Flow
from ai_platform.sso.connections.store import Connections
from ai_platform.telemetry import Meter
from ai_platform.telemetry.scrub import scrub_text


class Fleet(msgspec.Struct, frozen=True):
    """accounts: how people connect theirs at the servers."""

    federation: Federation
    endpoints: list[Endpoint]
    accounts: Flow


async def fleet_of(base: Base, meter: Meter) -> Fleet:
    """The servers, connected to from now on, and followed as they are added, removed, approved and quarantined.

    Raises:
        ConfigError: a server of the configuration names a variable that is not set.
        StoreUnavailable: those that were added cannot be read.
    """
    settings = base.settings.mcp
    news = News()
    accounts = await accounts_of(base)
    registry = Registry(settings.servers, base.system, changed=news.servers, notices=base.happenings)
    pins = Pins(base.system, settings_of=registry.get, notices=base.happenings, changed=news.trust)
    await registry.watch()
    await accounts.connections.reseal(base.system, registry.servers)
    await pins.watch()
    sandbox = Sandbox(settings.sandbox, base.settings.data, clock=base.clock, clean=scrub_text)
    launcher = _Launcher(sandbox, pins, base)
    federation = Federation(
        msgspec.structs.replace(settings, servers=tuple(registry.servers.values())),
        trust=pins,
        credentials=accounts.credentials,
        launcher=launcher,
        clock=base.clock,
    )
    base.stack.push_async_callback(federation.close)
    federation.start()
    _gauges(meter, pins, registry, sandbox)
    news.clear()
    await base.in_background(news.follow(federation, registry, pins), "mcp servers")
    await base.in_background(registry.run(), "mcp registry watch")
    await base.in_background(pins.run(), "mcp trust watch")
    flow = accounts.flow(base, lambda: registry.servers, federation.connected)
    routes = endpoints(registry, pins, _Servers(federation, launcher, sandbox, accounts.connections))
    return Fleet(federation, [*routes, *credential_endpoints(flow)], flow)


def _gauges(meter: Meter, pins: Pins, registry: Registry, sandbox: Sandbox) -> None:
    meter.gauge(
        "aip_mcp_definitions_held",
        "Definitions of the MCP server that wait for approval.",
        lambda: {(server, kind): count for (server, kind), count in pins.waiting.items() if registry.get(server)},
        labels=("server", "kind"),
    )
    meter.gauge("aip_mcp_servers_quarantined", "MCP servers in quarantine.", pins.quarantines)
    meter.counter(
        "aip_mcp_definitions_dropped_total", "Definitions that cannot be reviewed by anybody.", lambda: pins.dropped
    )
    meter.counter(
        "aip_sandbox_unwalled_total", "Untrusted programs started without a sandbox.", lambda: sandbox.unwalled
    )


class News:
    """What changed and has not been carried out yet; one task does it, so that two changes never cross."""

    def __init__(self) -> None:
        self._servers: set[str] = set()
        self._trust: set[str] = set()
        self._any = asyncio.Event()

    def servers(self, names: frozenset[str]) -> None:
        self._servers |= names
        self._any.set()

    def trust(self, name: str) -> None:
        self._trust.add(name)
        self._any.set()

    def clear(self) -> None:
        self._servers.clear()
        self._trust.clear()
        self._any.clear()

    async def follow(self, federation: Federation, registry: Registry, pins: Pins) -> None:
        """Until cancelled."""
        away: set[str] = set()
        while True:
            await self._any.wait()
            servers, trust = set(self._servers), set(self._trust)
            self.clear()
            for name in sorted(servers):
                server = registry.get(name)
                await (federation.put(server) if server is not None else federation.remove(name))
            for name in sorted(trust - servers):
                server, is_away = registry.get(name), bool(pins.quarantined(name))
                if server is not None and is_away != (name in away):
                    await federation.put(server)  # what is under way with it ends now
                else:
                    federation.refresh(name)
                away = away | {name} if is_away else away - {name}


class _Launcher:
    """Programs of servers in the sandbox, with the environment that their settings give them."""

    def __init__(self, sandbox: Sandbox, pins: Pins, base: Base) -> None:
        self._sandbox = sandbox
        self._pins = pins
        self._environ = base.environ

    async def check(self, server: McpServerSettings) -> None:
        """Raises ConfigError: it cannot be run, or a variable that it needs is not set."""
        secret = [server.oauth.client_secret_env] if server.oauth and server.oauth.client_secret_env else []
        for variable in (*server.env_from.values(), *server.headers_env.values(), *secret):
            variable_of(server, variable, self._environ)
        if server.command and server.enabled:
            await self._sandbox.ready()
            self._sandbox.check(self._program(server))

    @asynccontextmanager
    async def prepare(self, server: McpServerSettings) -> AsyncGenerator[Program]:
        if why := self._pins.quarantined(server.name):
            raise UpstreamUnreachable(f"the MCP server '{server.name}' is in quarantine: {why}", target=server.name)
        async with self._sandbox.prepared(self._program(server)) as prepared:
            yield Program(argv=prepared.argv, env=prepared.env, cwd=prepared.cwd, stderr=prepared.stderr)

    def _program(self, server: McpServerSettings) -> SandboxProgram:
        taken = {name: variable_of(server, variable, self._environ) for name, variable in server.env_from.items()}
        return SandboxProgram(
            name=server.name,
            command=server.command,
            environment=server.env | taken,
            folders=Folders(read=server.read, write=server.write),
            folder=server.cwd,
            state=server.state,
            network=server.network,
            trusted=server.trusted,
            limits=msgspec.structs.replace(self._sandbox.limits, **server.limits),
        )


class _Servers:
    """What the admin API needs of the servers."""

    def __init__(self, federation: Federation, launcher: _Launcher, sandbox: Sandbox, connections: Connections) -> None:
        self._federation = federation
        self._launcher = launcher
        self._sandbox = sandbox
        self._connections = connections

    def conditions(self) -> Sequence[Condition]:
        return [
            Condition(
                name=state.name,
                breaker=state.breaker,
                problem=state.problem,
                version=state.version,
                calls=state.calls,
                tools=state.tools,
                prompts=state.prompts,
                resources=state.resources,
            )
            for state in self._federation.states()
        ]

    def log(self, name: str, last: int) -> Sequence[str]:
        try:
            return self._sandbox.journal(name).tail(last)
        except ConfigError:
            return ()

    async def check(self, server: McpServerSettings) -> None:
        await self._launcher.check(server)

    async def forget(self, name: str, connection: Any) -> None:
        await self._connections.forget_server(name, connection)
