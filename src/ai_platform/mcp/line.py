"""A link with the calls that are on it, and the keeping of lines: shared ones, and callers' own.

A server of 2025-11-25 keeps state for a session and asks its client in the middle of calls, so that such a session
must not be shared by callers; where it is shared all the same (a program), the server is told that its client can
answer nothing. Above: server. Below: link, flight.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import msgspec
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import UpstreamBroken, UpstreamError, UpstreamUnreachable
from ai_platform.domain.principal import Principal
from ai_platform.mcp.flight import Flight
from ai_platform.mcp.hub import Owner, owner_of
from ai_platform.mcp.link import Hello, Link, RpcError, Streams
from ai_platform.mcp.manners import Manners
from ai_platform.mcp.settings import CredentialMode, McpServerSettings, Protocol, Sharing

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0

Heard = Callable[[Owner, str, Mapping[str, Any]], None]


class Line:
    """link, with the flights on it. own: it belongs to one caller. owner: whose credentials it carries. used: when it
    was last used, monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        streams: Callable[[], Streams],
        hello: Hello,
        *,
        own: bool,
        owner: Owner,
        heard: Heard,
    ) -> None:
        self.owner = owner
        self.link = Link(name, streams, hello, self)
        self.own = own
        self.used = 0.0
        self._flights: list[Flight] = []
        self._level: str | None = None
        self._heard = heard

    @property
    def busy(self) -> bool:
        return bool(self._flights)

    def board(self, flight: Flight) -> None:
        self._flights.append(flight)

    def leave(self, flight: Flight) -> None:
        if flight in self._flights:
            self._flights.remove(flight)

    async def speak_up(self, level: str | None) -> None:
        """Have the server send log messages from this level on, as the session's client asked the door."""
        if level is not None and level != self._level and "logging" in self.link.manners.capabilities:
            self._level = level
            with suppress(RpcError):
                await self.link.request("logging/setLevel", {"level": level})

    async def asked(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The newest call is the one that is asked about: all on a line of their own are of one client."""
        if not self.own or not self._flights:
            raise MCPError(INVALID_REQUEST, "No call of a client that could answer this is under way.")
        return await self._flights[-1].asked(method, params)

    def heard(self, method: str, params: Mapping[str, Any]) -> None:
        """A log message names no call: it is passed on only where it can be one caller's alone. On a shared line that
        is while one call is under way, for the calls of those who do not listen write such messages too.
        """
        if method in {"notifications/message", "notifications/elicitation/complete"}:
            for flight in self._flights[-1:] if self.own or len(self._flights) == 1 else ():
                if self.own or flight.wants_logs:
                    flight.heard(method, params)
            return
        self._heard(self.owner, method, params)


class Pause:
    """How long to leave a server alone after failures to connect: twice as long each time, up to half a minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._length = 0.0
        self._until = 0.0

    @property
    def left(self) -> float:
        return max(0.0, self._until - self._clock.monotonic())

    def failed(self) -> None:
        self._length = min(LONGEST_PAUSE, self._length * 2 or FIRST_PAUSE)
        self._until = self._clock.monotonic() + self._length

    def worked(self) -> None:
        self._length = self._until = 0.0


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """For whom a line is wanted.

    session: of a client of 2025-11-25 at the door. capabilities: what the client can do. log_level: the least severity
    of log messages it asked for.
    """

    caller: Principal | None = None
    session: str | None = None
    capabilities: Mapping[str, Any] = {}
    log_level: str | None = None


class Lines:
    """All lines to one server. reach: makes the streams of a new connection for the credentials of a person."""

    def __init__(
        self,
        settings: McpServerSettings,
        reach: Callable[[Principal | None], Streams],
        clock: Clock,
        heard: Heard,
    ) -> None:
        self.pause = Pause(clock)
        self._settings = settings
        self._reach = reach
        self._clock = clock
        self._heard = heard
        self._kept: dict[Hashable, Line] = {}
        self._opening: dict[Hashable, asyncio.Task[Line]] = {}
        self._idle: dict[Hashable, list[Line]] = {}
        self._leased = 0
        self._ended = 0
        self._offers_sessions = settings.protocol is not Protocol.STATELESS

    @property
    def manners(self) -> Manners:
        """What the server said of itself when it was last connected to."""
        line = self._kept.get(("shared", None))
        return line.link.manners if line is not None else Manners()

    @property
    def count(self) -> int:
        return len(self._kept) + self._leased + sum(map(len, self._idle.values()))

    async def shared(self, caller: Principal | None) -> Line:
        """The line that everybody with these credentials uses.

        Raises:
            UpstreamError, Refused, ConfigError: there is none.
        """
        owner = self._owner(caller)
        key = ("shared", None if owner is None else (owner.tenant, owner.id))
        return await self._keep(key, owner, Hello(protocol=self._settings.protocol, seconds=self._patience))

    @asynccontextmanager
    async def line(self, way: Way) -> AsyncGenerator[Line]:
        """The line for one call: the caller's own where the server has sessions and callers are kept apart, else the
        shared one. It is not given to others while the block runs, unless it is shared.
        """
        if way.session is not None and self._keeps_apart and self._offers_sessions:
            line = await self._of_session(way)
            if line is not None:
                await line.speak_up(way.log_level)
                yield line
                return
        shared = await self.shared(way.caller)
        if shared.link.stateless and way.log_level is not None and self._settings.url:
            async with self._alone(way, shared) as line:
                yield line
            return
        if shared.link.stateless or not self._keeps_apart or not way.capabilities:
            yield shared
            return
        async with self._lease(way) as line:
            yield line

    def session_lines(self, session: str) -> list[Line]:
        return [line for key, line in self._kept.items() if isinstance(key, tuple) and key[:2] == ("session", session)]

    async def end_session(self, session: str) -> None:
        """A client's session at the door has ended, and with it the one here."""
        for key in [key for key in self._kept if isinstance(key, tuple) and key[:2] == ("session", session)]:
            await self._kept.pop(key).link.close()

    async def end_owner(self, owner: Owner) -> None:
        """Close what carries this owner's credential. None: all, where it is the platform's own."""
        self._ended += 1
        kept = [self._kept.pop(key) for key, line in list(self._kept.items()) if owner in {None, line.owner}]
        idle = [line for lines in self._idle.values() for line in lines if owner in {None, line.owner}]
        self._idle = {key: [line for line in lines if line not in idle] for key, lines in self._idle.items()}
        await asyncio.gather(*(line.link.close() for line in (*kept, *idle)))

    async def sweep(self) -> None:
        """Close what is over, and callers' own lines that were not used for a while."""
        now = self._clock.monotonic()
        for key, line in list(self._kept.items()):
            idle = not line.busy and now - line.used > self._settings.idle_timeout and key != ("shared", None)
            if idle or not line.link.alive:
                del self._kept[key]
                await line.link.close()
        for key, lines in list(self._idle.items()):
            old = [line for line in lines if now - line.used > self._settings.idle_timeout or not line.link.alive]
            self._idle[key] = [line for line in lines if line not in old]
            if not self._idle[key]:
                del self._idle[key]
            for line in old:
                await line.link.close()

    async def close(self) -> None:
        for task in self._opening.values():
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        lines = [*self._kept.values(), *(line for lines in self._idle.values() for line in lines)]
        self._kept.clear()
        self._idle.clear()
        await asyncio.gather(*(line.link.close() for line in lines))

    def drop(self, line: Line) -> None:
        """It is of no use any more: the next call gets another."""
        for key, kept in list(self._kept.items()):
            if kept is line:
                del self._kept[key]
        line.link.over.set()

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _keeps_apart(self) -> bool:
        sharing = self._settings.sharing
        return sharing is Sharing.CALLER or (sharing is Sharing.AUTO and bool(self._settings.url))

    @property
    def _patience(self) -> float:
        return self._settings.connect_timeout

    def _owner(self, caller: Principal | None) -> Principal | None:
        return caller if self._settings.credentials is CredentialMode.PERSON else None

    async def _of_session(self, way: Way) -> Line | None:
        """None: the server has no sessions to offer."""
        assert way.caller is not None
        key = ("session", way.session, way.caller.tenant, way.caller.id)
        hello = Hello(protocol=Protocol.SESSIONS, capabilities=dict(way.capabilities), seconds=self._patience)
        try:
            return await self._keep(key, self._owner(way.caller), hello, own=True)
        except UpstreamBroken:
            if not (await self.shared(way.caller)).link.stateless:
                raise
            self._offers_sessions = False
            return None

    @asynccontextmanager
    async def _lease(self, way: Way) -> AsyncGenerator[Line]:
        """An own session for the time of one call, for a client without sessions that can be asked."""
        assert way.caller is not None
        key = (way.caller.tenant, way.caller.id, msgspec.json.encode(way.capabilities, order="deterministic"))
        line = self._from_idle(key)
        self._leased += 1
        try:
            if line is None:
                await self._make_room()
                hello = Hello(protocol=Protocol.SESSIONS, capabilities=dict(way.capabilities), seconds=self._patience)
                line = await self._open(self._owner(way.caller), hello, own=True)
            yield line
        finally:
            self._leased -= 1
            if line is not None and line.link.alive and not line.busy:
                line.used = self._clock.monotonic()
                self._idle.setdefault(key, []).append(line)
            elif line is not None:
                line.link.over.set()

    @asynccontextmanager
    async def _alone(self, way: Way, like: Line) -> AsyncGenerator[Line]:
        """For one call: log messages name no call, so that only on a connection of its own they can be told apart."""
        await self._make_room()
        self._leased += 1
        line = self._line(self._owner(way.caller), Hello(seconds=self._patience, like=like.link.manners), own=True)
        try:
            await line.link.open()
            yield line
        finally:
            self._leased -= 1
            await line.link.close()

    def _from_idle(self, key: Hashable) -> Line | None:
        waiting = self._idle.get(key, [])
        while waiting:
            line = waiting.pop()
            if line.link.alive:
                return line
        return None

    async def _keep(self, key: Hashable, owner: Principal | None, hello: Hello, *, own: bool = False) -> Line:
        """The line under this key, opened once however many ask at the same time."""
        line = self._kept.get(key)
        if line is not None and line.link.alive:
            line.used = self._clock.monotonic()
            return line
        task = self._opening.get(key)
        if task is None:
            task = asyncio.create_task(self._open_kept(key, owner, hello, own=own))
            self._opening[key] = task
            task.add_done_callback(lambda done: self._opened(key, done))
        return await asyncio.shield(task)

    def _opened(self, key: Hashable, done: asyncio.Task[Line]) -> None:
        self._opening.pop(key, None)
        if not done.cancelled():
            done.exception()  # whoever still waits for it is told; nobody is no mistake

    async def _open_kept(self, key: Hashable, owner: Principal | None, hello: Hello, *, own: bool) -> Line:
        old = self._kept.pop(key, None)
        if old is not None:
            await old.link.close()
        if own:
            await self._make_room()
        ended = self._ended
        line = await self._open(owner, hello, own=own)
        if ended != self._ended:  # it may have begun with a credential that has ended since
            await line.link.close()
            line = await self._open(owner, hello, own=own)
        self._kept[key] = line
        return line

    async def _open(self, owner: Principal | None, hello: Hello, *, own: bool) -> Line:
        name = self._settings.name
        if wait := self.pause.left:
            raise UpstreamUnreachable(
                f"the MCP server '{name}' could not be reached a moment ago and is tried again soon",
                target=name,
                retry_after=wait,
            )
        line = self._line(owner, hello, own=own)
        try:
            await line.link.open()
        except UpstreamError:
            if not own:  # that it offers no sessions, or too few, is no reason to leave it alone
                self.pause.failed()
            raise
        self.pause.worked()
        line.used = self._clock.monotonic()
        return line

    def _line(self, owner: Principal | None, hello: Hello, *, own: bool) -> Line:
        streams = partial(self._reach, owner)
        return Line(self._settings.name, streams, hello, own=own, owner=owner_of(owner), heard=self._heard)

    async def _make_room(self) -> None:
        """Raises UpstreamUnreachable when every connection is in use; one that waits idly makes way."""
        if self.count <= self._settings.max_connections:
            return
        idle = [(line.used, key) for key, lines in self._idle.items() for line in lines[:1]]
        if not idle:
            raise UpstreamUnreachable(
                f"the MCP server '{self._settings.name}' has as many connections as it may"
                f" ({self._settings.max_connections}, `max_connections`)",
                target=self._settings.name,
                retry_after=5,
            )
        _, key = min(idle, key=lambda each: each[0])
        await self._idle[key].pop(0).link.close()
