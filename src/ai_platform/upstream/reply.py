"""One answer being received: head, then body in the pieces the network delivered. Filled by its Connection.

Back-pressure: what is not taken is kept up to a high-water mark, then the connection stops reading.
"""

import asyncio
from typing import Protocol

from ai_platform.domain.call import Headers
from ai_platform.domain.errors import UpstreamError
from ai_platform.upstream.errors import Left


class Source(Protocol):
    """What a Reply needs of its connection while the answer is under way.

    paused: it stopped reading. resume: read on. leave: hang up.
    """

    paused: bool

    def resume(self) -> None: ...

    def leave(self) -> None: ...


class Reply:
    """An async iterator over the body; `status` and `headers` are set once `head` returned.

    encoding: the content-encoding, lower-case, b"" for none. received: body bytes so far.
    finished: arrived whole. error: why it will not.
    """

    __slots__ = (
        "_buffer",
        "_connection",
        "_waiter",
        "buffered",
        "encoding",
        "error",
        "finished",
        "headers",
        "received",
        "reused",
        "status",
    )

    def __init__(self, connection: Source, *, reused: bool) -> None:
        self._connection: Source | None = connection
        self._buffer: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self.status = 0
        self.headers: Headers = []
        self.encoding = b""
        self.error: UpstreamError | None = None
        self.finished = False
        self.received = 0
        self.buffered = 0
        self.reused = reused

    async def head(self) -> None:
        """Wait for status and headers.

        Raises:
            UpstreamError: there will be none.

        """
        while not self.status:
            if self.error is not None:
                raise self.error
            await self._wait()

    def __aiter__(self) -> "Reply":
        return self

    async def __anext__(self) -> bytes:
        """Everything that has arrived since the last time, at least one byte. May be cancelled without loss.

        Raises:
            UpstreamError: after the last byte that did arrive.

        """
        while not self._buffer:
            if self.error is not None:
                raise self.error
            if self.finished:
                raise StopAsyncIteration
            await self._wait()
        buffer = self._buffer
        chunk = buffer[0] if len(buffer) == 1 else b"".join(buffer)
        buffer.clear()
        self.buffered = 0
        if self._connection is not None and self._connection.paused:
            self._connection.resume()
        return chunk

    def close(self) -> None:
        """Stop receiving: hangs up on the upstream unless the answer has already arrived whole."""
        if self._connection is not None:
            self._connection.leave()
        if self._connection is not None or self._buffer:
            # A later reader must not take the rest of the answer for its end.
            self.fail(Left("the answer was read after its call had ended"))
        self._buffer.clear()

    def feed(self, data: bytes) -> None:
        self._buffer.append(data)
        size = len(data)
        self.received += size
        self.buffered += size

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def finish(self) -> None:
        self.finished = True
        self._connection = None
        self.wake()

    def fail(self, error: UpstreamError) -> None:
        self.error = error
        self._connection = None
        self.wake()

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("an answer is read by one reader at a time")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
