"""The caller's end: sends a request byte for byte and shows the answer as it arrives."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import msgspec

from ai_platform.conformance.wire import (
    LINE_LIMIT,
    Body,
    Fields,
    Head,
    WireError,
    chunk,
    decoded,
    read_head,
    render_head,
)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """path: with query, below the base URL. fields: without host and framing fields, which are added.

    chunked: send the body in chunks instead of with a length. expect: ask for `100 Continue` first.
    """

    method: str = "POST"
    path: str
    fields: Fields
    body: bytes = b""
    chunked: bool = False
    expect: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. complete: the message ended as its framing announced (False = it was cut off)."""

    status: int
    head: Head
    raw: bytes
    complete: bool

    @property
    def content(self) -> bytes:
        """The body behind any content encoding."""
        return decoded(self.raw, self.head.get(b"content-encoding"))

    def get(self, name: bytes) -> bytes | None:
        return self.head.get(name)


class Exchange:
    """One request under way on a connection: `answer_head()`, then `read()` until b"", or `rest()`."""

    def __init__(self, reader: asyncio.StreamReader, method: str) -> None:
        self._reader = reader
        self._method = method
        self.head: Head | None = None
        self.body: Body | None = None
        self.continued = False

    @property
    def status(self) -> int:
        assert self.head is not None
        return _status(self.head)

    async def answer_head(self) -> Head:
        """Raises WireError when the connection ends without an answer."""
        while self.head is None:
            head = await read_head(self._reader)
            if head is None:
                raise WireError("the connection was closed without an answer")
            if 100 <= _status(head) < 200:
                self.continued = True
                continue
            self.head = head
            bodiless = self._method == "HEAD" or _status(head) in {204, 304}
            self.body = Body(self._reader, head, bodiless=bodiless, until_close=True)
        return self.head

    async def read(self) -> bytes:
        await self.answer_head()
        assert self.body is not None
        return await self.body.read()

    async def rest(self) -> Answer:
        head = await self.answer_head()
        assert self.body is not None
        raw = await self.body.read_all()
        return Answer(status=_status(head), head=head, raw=raw, complete=self.body.complete)


class Connection:
    """One TCP or TLS connection to the gateway; requests one after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, base: str) -> None:
        self._reader = reader
        self._writer = writer
        parts = urlsplit(base)
        self._host = parts.netloc.rpartition("@")[2].encode()
        self._prefix = parts.path.rstrip("/")

    async def send(self, request: Request) -> Exchange:
        """Write the request. With `expect`, the body follows the interim answer (or half a second of silence)."""
        start = f"{request.method} {self._prefix}{request.path} HTTP/1.1".encode()
        framing: Fields = []
        if request.chunked:
            framing = [(b"Transfer-Encoding", b"chunked")]
        elif request.body or request.method == "POST":
            framing = [(b"Content-Length", b"%d" % len(request.body))]
        if request.expect:
            framing.append((b"Expect", b"100-continue"))
        self._writer.write(render_head(start, [(b"Host", self._host), *request.fields, *framing]))
        exchange = Exchange(self._reader, request.method)
        if request.expect:
            await self._writer.drain()
            await self._interim(exchange)
        if exchange.head is None:
            await self._send_body(request)
        return exchange

    def abort(self) -> None:
        """Hang up at once, as a killed client does."""
        self._writer.transport.abort()

    async def _interim(self, exchange: Exchange) -> None:
        try:
            async with asyncio.timeout(0.5):
                head = await read_head(self._reader)
        except TimeoutError:
            return  # RFC 9110 10.1.1: a client does not wait for ever
        if head is None:
            raise WireError("the connection was closed instead of 100 Continue")
        if _status(head) != 100:  # a final answer without the body, which is the server's right
            exchange.head = head
            exchange.body = Body(self._reader, head, until_close=True)
        exchange.continued = True

    async def _send_body(self, request: Request) -> None:
        if not request.chunked:
            self._writer.write(request.body)
        else:
            for start in range(0, len(request.body), 1500):
                self._writer.write(chunk(request.body[start : start + 1500]))
            self._writer.write(chunk(b""))
        try:
            await self._writer.drain()
        except ConnectionError:
            return  # an early answer may close the connection; it is read next


@asynccontextmanager
async def connected(base: str) -> AsyncGenerator[Connection]:
    """A connection to the gateway at `base` (http or https), closed at the end."""
    parts = urlsplit(base)
    secure = parts.scheme == "https"
    reader, writer = await asyncio.open_connection(
        parts.hostname,
        parts.port or (443 if secure else 80),
        ssl=ssl.create_default_context() if secure else None,
        limit=LINE_LIMIT,
    )
    try:
        yield Connection(reader, writer, base)
    finally:
        writer.close()


def _status(head: Head) -> int:
    parts = head.start.split(b" ", 2)
    if len(parts) < 2 or not parts[1].isdigit():
        raise WireError(f"not a status line: {head.start[:60]!r}")
    return int(parts[1])
