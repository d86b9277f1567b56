"""The connections to one upstream: kept, lent, bounded, waited for in order. Knows nothing of HTTP.

Above: peer.py, which lends one per call. Below: dial.py, which makes them, and connection.py, which gives them back.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from ai_platform.upstream.connection import Connection
from ai_platform.upstream.errors import Busy, Closing


class Pool:
    """`take` or `acquire` lends a connection; connections report back by `put` (reusable) and `gone` (closed).

    A slot is one open or opening connection, lent or idle; there are never more than `size`.
    """

    def __init__(
        self, name: str, dial: Callable[["Pool"], Awaitable[Connection]], *, size: int, queue: int, patience: float
    ) -> None:
        self._name = name
        self._dial = dial
        self._size = size
        self._queue = queue
        self._patience = patience
        self._idle: dict[Connection, None] = {}  # ordered: the last put is the first lent, so the rest can expire
        self._all: set[Connection] = set()
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._closed = False
        self._emptied: asyncio.Future[None] | None = None
        self.open = 0

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def waiting(self) -> int:
        return sum(not waiter.done() for waiter in self._waiters)

    def take(self) -> Connection | None:
        """An idle connection that is still usable, without waiting."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.usable:
                return connection
            connection.abort()
        return None

    async def acquire(self) -> Connection:
        """A fresh connection, or the next one that comes back when all slots are taken.

        Raises:
            Busy: the queue is full, or nothing came back in time.
            Failure: the dial failed.

        """
        if self._closed:
            raise self._closing()
        if self.open < self._size:
            self.open += 1
        elif self._idle:
            # A fresh one was wanted although some lie idle (they are under suspicion): the oldest gives up its slot.
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            self._all.discard(oldest)
            oldest.abort()
        else:
            lent = await self._wait()
            if lent is not None:
                return lent if lent.usable else await self.acquire()
        return await self._dial_into_slot()

    def put(self, connection: Connection) -> None:
        """A lent connection comes back, ready for the next call."""
        if self._closed:
            connection.abort()
            return
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(connection)
        else:
            self._idle[connection] = None

    def gone(self, connection: Connection) -> None:
        """A connection was closed, by either side."""
        self._idle.pop(connection, None)
        if connection in self._all:
            self._all.remove(connection)
            self._free_slot()
            if self._emptied is not None and not self._all and not self._emptied.done():
                self._emptied.set_result(None)

    async def close(self) -> None:
        """Abort everything, lent connections included, and wait until the transports are gone."""
        self._closed = True
        self._idle.clear()
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(self._closing())
        if self._all:
            self._emptied = asyncio.get_running_loop().create_future()
            for connection in tuple(self._all):
                connection.abort()
            await self._emptied

    async def _dial_into_slot(self) -> Connection:
        try:
            connection = await self._dial(self)
        except BaseException:
            self._free_slot()
            raise
        self._all.add(connection)
        if self._closed:
            connection.abort()
            raise self._closing()
        return connection

    def _closing(self) -> Closing:
        return Closing(f"the platform is shutting down; {self._name!r} was not asked", target=self._name)

    def _free_slot(self) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(None)  # the slot goes straight to whoever waited longest
        else:
            self.open -= 1

    def _next_waiter(self) -> asyncio.Future[Connection | None] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    async def _wait(self) -> Connection | None:
        if len(self._waiters) >= self._queue:
            self._waiters = deque(waiter for waiter in self._waiters if not waiter.done())
        if len(self._waiters) >= self._queue:
            raise Busy(
                f"all {self._size} connections to {self._name!r} are in use and {self._queue} calls wait already; "
                "raise max_connections or slow down",
                target=self._name,
                retry_after=1.0,
            )
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        served = False
        try:
            async with asyncio.timeout(self._patience):
                lent = await waiter
            served = True
        except TimeoutError:
            raise Busy(
                f"all {self._size} connections to {self._name!r} stayed in use for {self._patience:g} s; "
                "raise max_connections or slow down",
                target=self._name,
                retry_after=1.0,
            ) from None
        finally:
            if not served and waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result())
        return lent

    def _give_back(self, lent: Connection | None) -> None:
        """What was handed to a waiter that had just stopped waiting."""
        if lent is None:
            self._free_slot()
        else:
            self.put(lent)
