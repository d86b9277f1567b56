"""Calls that wait at a server for an answer of their client, which comes with its next request or never.

What the client gets back is a random name of the wait; only who began the call can go on with it, for the same tool
and arguments. They wait in this process: another replica does not know them. Above: server.
"""

import asyncio
import secrets
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import UpstreamUnreachable
from ai_platform.mcp.flight import Flight, Question

PREFIX = "ai-platform-wait:"


class Owner(msgspec.Struct, frozen=True):
    """Who may go on with a call, and which. what: method, tool and arguments as JSON."""

    tenant: str
    caller: str
    server: str
    what: bytes


class Wait(msgspec.Struct, kw_only=True):
    """task: the request under way at the server. held: what is to be given back when it ends."""

    owner: Owner
    flight: Flight
    task: asyncio.Task[dict[str, Any]]
    held: AsyncExitStack
    questions: dict[str, Question]
    until: float = 0.0

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.flight.land()
        await self.held.aclose()


class Waits:
    """All that wait in this process, of all servers. most, seconds: how many, how long."""

    def __init__(self, most: int, seconds: float, clock: Clock) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._waits: dict[str, Wait] = {}

    def __len__(self) -> int:
        return len(self._waits)

    def keep(self, wait: Wait) -> str:
        """Raises UpstreamUnreachable when as many wait as may."""
        if len(self._waits) >= self._most:
            raise UpstreamUnreachable(
                f"{self._most} calls already wait for answers of their clients (`mcp.max_suspended`)",
                target=wait.owner.server,
                retry_after=10,
            )
        name = PREFIX + secrets.token_urlsafe(24)
        wait.until = self._clock.monotonic() + self._seconds
        self._waits[name] = wait
        return name

    def take(self, name: str, owner: Owner) -> Wait | None:
        """The wait of that name, which is no longer kept; None when there is none of this owner."""
        wait = self._waits.get(name)
        if wait is None or wait.owner != owner:
            return None
        return self._waits.pop(name)

    async def sweep(self) -> None:
        """End those whose client does not come back, or whose server has ended the call."""
        now = self._clock.monotonic()
        for name, wait in list(self._waits.items()):
            if now > wait.until or wait.task.done():
                del self._waits[name]
                await wait.end()

    async def close(self) -> None:
        waits = list(self._waits.values())
        self._waits.clear()
        await asyncio.gather(*(wait.end() for wait in waits))
