"""Calls that wait in this process: woken by a decision made here at once, by one made elsewhere within a second.

Above: approvals. Below: register.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NoReturn

from ai_platform.approvals.register import decided, forget_shown, sweep
from ai_platform.approvals.request import Request, named
from ai_platform.approvals.settings import ApprovalSettings
from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import AuditUnavailable, StoreUnavailable
from ai_platform.stores.postgres import SystemDatabase

SWEEP_SECONDS = 10.0
DAY = 86_400.0


class Waiting:
    """failures: looks that PostgreSQL or the trail did not answer."""

    def __init__(self, settings: ApprovalSettings, clock: Clock, expired: Callable[[Request], Awaitable[None]]) -> None:
        self.failures = 0
        self._settings = settings
        self._clock = clock
        self._expired = expired
        self._events: dict[str, tuple[asyncio.Event, int]] = {}
        self._swept_at = float("-inf")

    def __len__(self) -> int:
        return sum(count for _, count in self._events.values())

    def wake(self, request_id: str) -> None:
        if request_id in self._events:
            self._events[request_id][0].set()

    async def wait(self, request: Request, until: float, tell: Callable[[str], Awaitable[None]]) -> None:
        """Until the request is decided or over, or `until` (monotonic seconds); tells the client every few seconds."""
        sentence = f"Waits for the consent of {named(request.approvers)} ({request.rule}, {request.id})"
        async with self._woken(request.id) as event:
            while not event.is_set():
                left = min(until - self._clock.monotonic(), request.expires_at - self._clock.now())
                if left <= 0:
                    return
                await tell(sentence)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, self._settings.progress_seconds)):
                        await event.wait()

    async def run(self, system: SystemDatabase) -> NoReturn:
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            try:
                await self.look(system)
            except (StoreUnavailable, AuditUnavailable):
                self.failures += 1

    async def look(self, system: SystemDatabase) -> None:
        """Wake those whose request was decided; now and then end what is over, and forget what was shown."""
        if self._events:
            for request_id in await decided(system, list(self._events)):
                self.wake(request_id)
        if self._clock.monotonic() - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = self._clock.monotonic()
            for request in await sweep(system, self._clock.now()):
                await self._expired(request)
            await forget_shown(system, self._clock.now() - self._settings.keep_days * DAY)

    @contextlib.asynccontextmanager
    async def _woken(self, request_id: str) -> AsyncGenerator[asyncio.Event]:
        event, count = self._events.get(request_id, (asyncio.Event(), 0))
        self._events[request_id] = (event, count + 1)
        try:
            yield event
        finally:
            event, count = self._events[request_id]
            if count == 1:
                del self._events[request_id]
            else:
                self._events[request_id] = (event, count - 1)
