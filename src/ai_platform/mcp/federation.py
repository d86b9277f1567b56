"""All servers as one: what a caller may see of them, where a call goes, and the call itself.

The gateway's destination for the MCP door: `choose` and `open`, as for models. It knows no permissions of tools (policy
decides those) but a server's own limits to teams, regions and tenants. Above: gateway, the door. Below: server.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, cast

import msgspec
from mcp_types import INVALID_PARAMS

from ai_platform.domain.call import Answer, Call, Operation
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied, InvalidCall, Refused, UpstreamError
from ai_platform.domain.money import Micros
from ai_platform.domain.principal import Principal
from ai_platform.domain.route import Route, Target
from ai_platform.mcp.catalogue import Listing
from ai_platform.mcp.hub import Change, Hub, Owner
from ai_platform.mcp.line import Way
from ai_platform.mcp.link import RpcError
from ai_platform.mcp.needs import Kind, Launcher, NotConnected, ServerCredentials, Trust
from ai_platform.mcp.running import Running, State
from ai_platform.mcp.server import Done, Job, Server
from ai_platform.mcp.settings import McpServerSettings, McpSettings
from ai_platform.mcp.waiting import Waits

PLATFORM = "mcp"
"""Of the targets of tool calls, where models have `anthropic` and the like."""

METHODS: MappingProxyType[Operation, tuple[str, Kind | None]] = MappingProxyType(
    {
        Operation.TOOLS_CALL: ("tools/call", Kind.TOOLS),
        Operation.RESOURCES_READ: ("resources/read", None),
        Operation.RESOURCES_SUBSCRIBE: ("resources/subscribe", None),
        Operation.RESOURCES_COMPLETE: ("completion/complete", None),
        Operation.PROMPTS_GET: ("prompts/get", Kind.PROMPTS),
        Operation.PROMPTS_COMPLETE: ("completion/complete", Kind.PROMPTS),
    }
)
"""Operation -> method, and the list that must hold what it names."""

SWEEP_SECONDS = 5.0
CONNECT = "connect_account"

_REPEATABLE = frozenset(set(METHODS) - {Operation.TOOLS_CALL})
_HEADERS = [(b"content-type", b"application/json")]
_encode = msgspec.json.Encoder().encode


class Federation:
    """hub: tells of changes. waits: calls that wait for their client."""

    def __init__(
        self,
        settings: McpSettings,
        *,
        trust: Trust,
        credentials: ServerCredentials,
        launcher: Launcher,
        clock: Clock,
    ) -> None:
        self.hub = Hub()
        self.waits = Waits(settings.max_suspended, settings.suspended_timeout, clock)
        self._settings = settings
        self._trust = trust
        self._credentials = credentials
        self._launcher = launcher
        self._clock = clock
        self._sweeping: asyncio.Task[None] | None = None
        self._running: dict[str, Running] = {}
        for server in settings.servers:
            if server.enabled:
                self._running[server.name] = self._made(server)

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect to every server, and stay so until `close`; nobody waits for any of them."""
        for running in self._running.values():
            running.start()
        self._sweeping = asyncio.create_task(self._sweep(), name="mcp waits")

    async def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        await self.waits.close()
        await asyncio.gather(*(running.close() for running in self._running.values()))

    async def put(self, server: McpServerSettings) -> None:
        """A new server, or other settings for one; its calls under way end as broken."""
        await self.remove(server.name)
        if server.enabled:
            running = self._running[server.name] = self._made(server)
            running.start()
        self._tell(server.name)

    async def remove(self, name: str) -> None:
        running = self._running.pop(name, None)
        if running is not None:
            await running.close()
            self._tell(name)

    def _tell(self, name: str) -> None:
        for kind in (Kind.TOOLS, Kind.PROMPTS, Kind.RESOURCES):
            self.hub.tell(Change(server=name, kind=kind))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.waits.sweep()

    def _made(self, server: McpServerSettings) -> Running:
        return Running(
            server,
            breaker=self._settings.breaker,
            waits=self.waits,
            hub=self.hub,
            trust=self._trust,
            credentials=self._credentials,
            launcher=self._launcher,
            clock=self._clock,
        )

    # --- what there is ----------------------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        return tuple(self._running)

    def visible(self, caller: Principal) -> tuple[str, ...]:
        """The servers this caller may know of, in the order of the settings."""
        return tuple(name for name, running in self._running.items() if running.may_be_seen_by(caller))

    async def listing(self, server: str, kind: Kind, caller: Principal) -> Listing:
        """Raises UpstreamError, Refused: it cannot be had now."""
        if self._trust.quarantined(server):
            return Listing(items={}, fetched=0, until=0, digest=0)
        return await self._running[server].catalogue.listing(kind, caller)

    async def item(self, server: str, kind: Kind, caller: Principal, name: str) -> bool:
        """Whether the server has it, approved. Raises UpstreamError, Refused: that cannot be said now."""
        if self._trust.quarantined(server):
            return True  # the call itself says why it is not made
        return await self._running[server].catalogue.item(kind, caller, name) is not None

    async def listings(self, servers: Sequence[str], kind: Kind, caller: Principal) -> dict[str, Listing]:
        """The lists of many servers; one that is down, slow or refuses is left out, and waited for only so long."""

        async def one(server: str) -> tuple[str, Listing | None]:
            try:
                async with asyncio.timeout(self._settings.list_timeout):
                    return server, await self.listing(server, kind, caller)
            except NotConnected as error:
                return server, _how_to_connect(error) if kind is Kind.TOOLS else None
            except (UpstreamError, Refused, TimeoutError):
                return server, None

        fresh = {name: known for name in servers if (known := self._fresh(name, kind, caller)) is not None}
        missing = [name for name in servers if name not in fresh]
        found = fresh | dict(await asyncio.gather(*(one(name) for name in missing)))
        return {name: listing for name in servers if (listing := found[name]) is not None}

    def _fresh(self, server: str, kind: Kind, caller: Principal) -> Listing | None:
        known = self._running[server].catalogue.known(kind, caller)
        usable = known is not None and self._clock.monotonic() < known.until and not self._trust.quarantined(server)
        return known if usable else None

    def known(self, server: str, kind: Kind, caller: Principal | None) -> Listing | None:
        """The last list that was fetched of a server, fresh or not."""
        running = self._running.get(server)
        return running.catalogue.known(kind, caller) if running is not None else None

    def refresh(self, server: str) -> None:
        """Its definitions were approved, rejected or quarantined: look at them anew and tell clients."""
        if running := self._running.get(server):
            running.catalogue.expire()
            running.keeper.wake()

    async def connected(self, server: str, owner: Owner) -> None:
        """An account there was connected or disconnected. owner: whose; None = the platform's own."""
        if running := self._running.get(server):
            await running.forget(owner)
        for kind in (Kind.TOOLS, Kind.PROMPTS, Kind.RESOURCES):
            self.hub.tell(Change(server=server, kind=kind, owner=owner))

    def states(self) -> list[State]:
        return [running.state() for running in self._running.values()]

    def is_looked_at(self, name: str) -> bool:
        """Whether it is known of the server if it can be used."""
        return self._running[name].keeper.problem is not None

    def server(self, name: str) -> Server:
        return self._running[name].server

    def instructions(self, name: str) -> str:
        """What the server tells models about itself, as far as it is approved."""
        listing = self._running[name].catalogue.known(Kind.INSTRUCTIONS, None)
        return next(iter(listing.items), "") if listing and not self._trust.quarantined(name) else ""

    # --- calls ------------------------------------------------------------------------------------------------------

    def choose(self, caller: Principal, call: Call) -> Route:
        """The one server that a call names.

        Raises:
            InvalidCall: there is no such server for this caller. Denied: it is in quarantine.
        """
        name = call.head.server or ""
        running = self._running.get(name)
        if running is None or not running.may_be_seen_by(caller):
            raise InvalidCall(Refusal.INVALID_REQUEST, f"There is no MCP server '{name[:60]}'. {_LISTS}")
        if why := self._trust.quarantined(name):
            raise Denied(
                Refusal.TOOL_NOT_ALLOWED, f"The MCP server '{name}' is in quarantine: {why[:300]}", rule="quarantine"
            )
        settings = running.settings
        price = settings.price_of(call.head.tool or "") if call.operation is Operation.TOOLS_CALL else Micros(0)
        return Route(
            model=None, targets=(Target(name=name, platform=PLATFORM, price=price),), reason="the call names it"
        )

    @asynccontextmanager
    async def open(self, caller: Principal, route: Route, call: Call) -> AsyncGenerator[Answer]:
        """Carry the call out. The answer is the server's result as JSON, or its error (fact `rpc_error`).

        Raises:
            UpstreamError: no answer. Refused, InvalidCall: it may not be asked, or not so.
        """
        target = route.targets[0]
        running = self._running[target.name]
        sent_at = self._clock.monotonic()
        facts: dict[str, Any] = {"target": target, "sent_at": sent_at}
        try:
            done = await self._carried_out(running, caller, call)
        except RpcError as error:
            body = _encode({"code": error.code, "message": error.message, "data": error.data})
            yield Answer(_status_of(error), _HEADERS, _once(body), rpc_error=True, attempts=(1,), **facts)
            return
        result = dict(done.result)
        facts |= {"attempts": tuple(range(done.attempts)), "questions": done.questions}
        facts["request_state"] = result.pop("requestState", None)
        yield Answer(200, _HEADERS, _once(_encode(result)), **facts)

    async def _carried_out(self, running: Running, caller: Principal, call: Call) -> Done:
        method, kind = METHODS[call.operation]
        tool = call.head.tool or ""
        found = await running.catalogue.item(kind, caller, tool) if kind is not None else None
        if kind is not None and found is None:  # it was approved when it was named; it must be when it is dispatched
            raise RpcError(INVALID_PARAMS, f"Unknown {'tool' if kind is Kind.TOOLS else 'prompt'}: {tool}")
        params = _params(call)
        if call.operation is Operation.RESOURCES_SUBSCRIBE:
            await running.keeper.watch(caller, str(params.get("uri")))
            return Done(result={})
        settings = running.settings
        job = Job(
            method=method,
            params=params,
            meta=call.meta,
            way=_way(caller, call, settings),
            peer=call.peer,
            repeatable=call.operation in _REPEATABLE or settings.may_repeat(tool),
            headers=found[1].headers.get(tool, {}) if found is not None else {},
        )
        try:
            return await running.server.call(job)
        except UpstreamError:
            running.keeper.wake()  # it finds out whether the server is still there
            raise

    async def unwatch(self, server: str, caller: Principal, uri: str) -> None:
        if running := self._running.get(server):
            await running.keeper.unwatch(caller, uri)

    # --- sessions of clients ----------------------------------------------------------------------------------------

    async def tell_servers(self, session: str, method: str, params: Mapping[str, Any]) -> None:
        """A notification of a client with a session, for the servers that have one for it."""
        for running in self._running.values():
            for line in running.lines.session_lines(session):
                await line.link.notify(method, params)

    async def end_session(self, session: str) -> None:
        for running in self._running.values():
            await running.lines.end_session(session)


_LISTS = "The lists of this endpoint say what there is."


def _how_to_connect(error: NotConnected) -> Listing:
    """In place of the server's tools one that says where its caller connects an account; calling it says so again."""
    item = {"name": CONNECT, "description": str(error), "inputSchema": {"type": "object", "properties": {}}}
    return Listing(items={CONNECT: item}, fetched=0, until=0, digest=0)


def _way(caller: Principal, call: Call, settings: McpServerSettings) -> Way:
    peer = call.peer
    if peer is None:
        return Way(caller=caller)
    return Way(
        caller=caller,
        session=peer.session,
        capabilities={name: value for name, value in peer.capabilities.items() if name in settings.may_ask},
        log_level=peer.log_level,
    )


def _params(call: Call) -> dict[str, Any]:
    """The parameters as the server knows them, with what is in the call's body after inspection."""
    said = cast("dict[str, Any]", msgspec.json.decode(call.body or b"{}"))
    name = call.head.tool
    if call.operation in {Operation.TOOLS_CALL, Operation.PROMPTS_GET}:
        said["name"] = name
    elif call.operation is Operation.PROMPTS_COMPLETE:
        said["ref"] = {"type": "ref/prompt", "name": name}
    elif call.operation is Operation.RESOURCES_COMPLETE:
        said["ref"] = {"type": "ref/resource", "uri": said.pop("uri", name)}
    if call.head.request_state is not None:
        said["requestState"] = call.head.request_state
    return said


def _status_of(error: RpcError) -> int:
    return 400 if -32700 <= error.code <= -32600 and error.code != -32603 else 500


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
