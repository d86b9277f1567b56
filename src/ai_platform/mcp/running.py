"""One server with all that belongs to it: connections, lists, the task that keeps both. Above: federation."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
from mcp.client.streamable_http import streamable_http_client

from ai_platform.domain.breaker import Breaker, BreakerSettings
from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import UpstreamUnreachable
from ai_platform.domain.principal import Principal
from ai_platform.mcp.catalogue import Catalogue
from ai_platform.mcp.clients import Clients
from ai_platform.mcp.hub import Hub, Owner
from ai_platform.mcp.keeper import Keeper
from ai_platform.mcp.line import Lines
from ai_platform.mcp.link import Streams
from ai_platform.mcp.needs import Kind, Launcher, ServerCredentials, Trust
from ai_platform.mcp.post import Posts
from ai_platform.mcp.program import running_program
from ai_platform.mcp.server import Server
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.mcp.waiting import Waits
from ai_platform.mcp.wire import client_for


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How a server stands, for people. problem: why it cannot be used, "" when it can.

    dropped: notifications that clients did not take in time.
    version, info: of the protocol, and what the server says of itself. tools, prompts, resources: how many it offers.
    """

    name: str
    title: str
    breaker: str
    problem: str
    version: str
    info: dict[str, Any]
    calls: int
    waiting: int
    connections: int
    dropped: int
    tools: int
    prompts: int
    resources: int


class Running:
    def __init__(
        self,
        settings: McpServerSettings,
        *,
        breaker: BreakerSettings,
        waits: Waits,
        hub: Hub,
        trust: Trust,
        credentials: ServerCredentials,
        launcher: Launcher,
        clock: Clock,
    ) -> None:
        self.settings = settings
        self._trust = trust
        self._credentials = credentials
        self._launcher = launcher
        self._clients = Clients(partial(client_for, settings, credentials))
        self.lines = Lines(settings, self._reach, clock, self._heard)
        self.server = Server(settings, self.lines, Breaker(breaker, clock), waits)
        self.catalogue = Catalogue(settings, self.lines, trust, clock, self._changed)
        self.keeper = Keeper(self.server, self.catalogue, hub, self._tidy)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self.keeper.run(), name=f"mcp {self.settings.name} keeper")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.keeper.close()
        await self.catalogue.close()
        await self.lines.close()
        await self._clients.close()

    async def forget(self, owner: Owner) -> None:
        """The account of this owner there is another now, or none: end what was made with it."""
        self.keeper.forget(owner)
        self.catalogue.forget(owner)
        await self._clients.retire(owner)
        await self.lines.end_owner(owner)
        self.keeper.wake()

    def may_be_seen_by(self, caller: Principal) -> bool:
        settings = self.settings
        return (
            (not settings.teams or caller.team in settings.teams)
            and (not settings.regions or caller.region in settings.regions)
            and (not settings.tenants or caller.tenant in settings.tenants)
        )

    def state(self) -> State:
        manners, problem = self.lines.manners, self.keeper.problem
        return State(
            name=self.settings.name,
            title=self.settings.title or self.settings.name,
            breaker=self.server.breaker.state.value,
            problem="it has not been reached yet" if problem is None else problem,
            version=manners.version,
            info=manners.info,
            calls=self.server.calls,
            waiting=self.server.waiting,
            connections=self.lines.count,
            dropped=self.server.dropped,
            tools=self._count(Kind.TOOLS),
            prompts=self._count(Kind.PROMPTS),
            resources=self._count(Kind.RESOURCES),
        )

    def _count(self, kind: Kind) -> int:
        listing = self.catalogue.known(kind, None)
        return len(listing.items) if listing else 0

    async def _tidy(self) -> None:
        """Close connections nobody uses, and what only they used."""
        await self.lines.sweep()
        await self._clients.tidy()

    def _heard(self, owner: Owner, method: str, params: Mapping[str, Any]) -> None:
        self.keeper.heard(owner, method, params)

    def _changed(self, kind: Kind, caller: Principal | None) -> None:
        self.keeper.changed(kind, caller)

    def _reach(self, owner: Principal | None) -> Streams:
        """The streams of a new connection, with the credentials of `owner`."""
        settings = self.settings
        if why := self._trust.quarantined(settings.name):
            raise UpstreamUnreachable(f"the MCP server '{settings.name}' is in quarantine: {why}", target=settings.name)
        if settings.command:
            return self._program()
        return self._http(owner)

    @asynccontextmanager
    async def _http(self, owner: Principal | None) -> AsyncGenerator[tuple[Any, Any, Posts]]:
        most = self.settings.max_message_bytes
        async with (
            self._clients.held(owner) as client,
            streamable_http_client(self.settings.url, http_client=client, max_sse_event_size=most) as streams,
        ):
            yield *streams, Posts(client, self.settings.url, longest=most)

    @asynccontextmanager
    async def _program(self) -> AsyncGenerator[tuple[Any, Any, None]]:
        settings = self.settings
        async with (
            self._launcher.prepare(settings) as program,
            running_program(settings.name, program, longest_line=settings.max_message_bytes) as streams,
        ):
            yield *streams, None
