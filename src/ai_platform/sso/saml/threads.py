"""Blocking work in threads, at most a few at once and a bounded number waiting. Above: provider."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import RateLimited

T = TypeVar("T")
AT_ONCE = 2
WAITING = 200


class Threads:
    """refused: work that was turned away, since too much was waiting."""

    def __init__(self, *, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._gate = asyncio.Semaphore(at_once)
        self._most = waiting
        self._waiting = 0
        self.refused = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Raises RateLimited: too many sign-ins are under way."""
        if self._waiting >= self._most:
            self.refused += 1
            message = "Too many people are signing in at this moment. Try again in a few seconds."
            raise RateLimited(Refusal.OVERLOADED, message, retry_after=2)
        self._waiting += 1
        try:
            async with self._gate:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1
