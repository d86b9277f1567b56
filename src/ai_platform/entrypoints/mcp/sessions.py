"""Sessions of clients of 2025-11-25: whose they are, how many each caller has, and what happens when one ends.

The SDK keeps a session's state and gives it to its owner only; here is what the platform adds. Above: door.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import structlog
from mcp.server.session import ServerSession

from ai_platform.domain.clock import Clock
from ai_platform.domain.principal import Principal
from ai_platform.mcp.hub import Change

SWEEP_SECONDS = 30.0
_log = structlog.get_logger(__name__)


class Session:
    """channel: how the client is reached outside of requests, once it said that it is ready. uris: resources it wants
    to hear of, as it calls them -> (server, its own URI). level: of log messages, None while it never asked.
    """

    def __init__(self, identifier: str, mount: str, owner: Principal) -> None:
        self.id = identifier
        self.mount = mount
        self.owner = owner
        self.channel: ServerSession | None = None
        self.level: str | None = None
        self.uris: dict[str, tuple[str, str]] = {}
        self.requests = 0
        self.used = 0.0
        self.news: dict[Change, None] = {}
        self.telling: asyncio.Task[None] | None = None


class Sessions:
    """ended: is told of each session that is over. seconds: how long one is kept unused, as the SDK keeps it."""

    def __init__(
        self, *, most_each: int, seconds: float, clock: Clock, ended: Callable[[Session], Awaitable[None]]
    ) -> None:
        self._most_each = most_each
        self._seconds = seconds
        self._clock = clock
        self._ended = ended
        self._sessions: dict[str, Session] = {}
        self._each: Counter[tuple[str, str]] = Counter()

    def __len__(self) -> int:
        return len(self._sessions)

    def all(self) -> list[Session]:
        return list(self._sessions.values())

    def get(self, identifier: str | None) -> Session | None:
        return self._sessions.get(identifier) if identifier is not None else None

    def has_room(self, owner: Principal) -> bool:
        return self._each[(owner.tenant, owner.id)] < self._most_each

    @contextmanager
    def beginning(self, owner: Principal) -> Generator[None]:
        """While a session of this owner may be beginning it counts already."""
        key = (owner.tenant, owner.id)
        self._each[key] += 1
        try:
            yield
        finally:
            self._forget(key)

    def begin(self, identifier: str, mount: str, owner: Principal) -> None:
        session = Session(identifier, mount, owner)
        session.used = self._clock.monotonic()
        self._sessions[identifier] = session
        self._each[(owner.tenant, owner.id)] += 1

    async def end(self, identifier: str) -> None:
        session = self._sessions.pop(identifier, None)
        if session is None:
            return
        self._forget((session.owner.tenant, session.owner.id))
        if session.telling is not None:
            session.telling.cancel()
        await self._ended(session)

    def _forget(self, key: tuple[str, str]) -> None:
        self._each[key] -= 1
        if not self._each[key]:
            del self._each[key]

    def enter(self, identifier: str | None) -> None:
        if session := self.get(identifier):
            session.requests += 1

    def leave(self, identifier: str | None) -> None:
        if session := self.get(identifier):
            session.requests -= 1
            session.used = self._clock.monotonic()

    async def run(self) -> None:
        """Forget those that the SDK has ended because nobody used them, until cancelled."""
        while True:
            await asyncio.sleep(min(SWEEP_SECONDS, self._seconds))
            await self.sweep()

    async def sweep(self) -> None:
        now = self._clock.monotonic()
        for session in self.all():
            if not session.requests and now - session.used > self._seconds:
                await self.end(session.id)

    async def close(self) -> None:
        for session in self.all():
            await self.end(session.id)
