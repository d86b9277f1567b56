"""Wrong keys per client address, counted in a bounded table, so that guessing costs the guesser and not the store.

An address over its limit is not locked out: keys it presented rightly before are cached and pass untouched, and a key
that is new here waits at a narrow gate. Only when that gate's queue is full is a caller told to come back.
"""

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import RateLimited

WINDOW = 60.0
MOST_ADDRESSES = 10_000
GATE = 2
QUEUE = 64


class Attempts:
    """failures: wrong keys in all. refused: callers turned away at a full gate."""

    def __init__(self, clock: Clock, *, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._gate = asyncio.Semaphore(GATE)
        self._waiting = 0
        self.failures = 0
        self.refused = 0

    def failed(self, ip: str) -> None:
        self.failures += 1
        key = network(ip)
        now = self._clock.monotonic()
        began, count = self._counts.pop(key, (now, 0))
        self._counts[key] = (now, 1) if now - began >= WINDOW else (began, count + 1)
        if len(self._counts) > MOST_ADDRESSES:
            self._counts.popitem(last=False)

    def over_limit(self, ip: str) -> bool:
        began, count = self._counts.get(network(ip), (0.0, 0))
        return count >= self._limit and self._clock.monotonic() - began < WINDOW

    @asynccontextmanager
    async def admitted(self, ip: str) -> AsyncGenerator[None]:
        """Around one look-up in the store. Raises RateLimited when too many suspicious ones wait already."""
        if not self.over_limit(ip):
            yield
            return
        if self._waiting >= QUEUE:
            self.refused += 1
            message = "Too many wrong keys came from your network address. Try again in a few seconds."
            raise RateLimited(Refusal.RATE_LIMIT, message, retry_after=2)
        self._waiting += 1
        try:
            async with self._gate:
                yield
        finally:
            self._waiting -= 1


def network(ip: str) -> str:
    """An IPv6 caller owns a /64, so that is what is counted."""
    if ":" not in ip:
        return ip
    try:
        address = ipaddress.IPv6Address(ip.partition("%")[0])
    except ValueError:
        return ip
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64))
