"""A server that does, byte by byte, what a test's script says; and short ways to make settings, calls and routes."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from ai_platform.domain.breaker import BreakerSettings
from ai_platform.domain.call import Answer, Call, Door, Head, Operation
from ai_platform.domain.errors import UpstreamError
from ai_platform.domain.principal import Credentials
from ai_platform.domain.route import Route, Target
from ai_platform.testing import FakeClock
from ai_platform.testing.eventually import eventually
from ai_platform.upstream import Upstream, UpstreamsSettings
from ai_platform.upstream.settings import RetrySettings, UpstreamSettings

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
BODY = b'{"model":"claude-sonnet-5-5","max_tokens":8,"messages":[]}'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answer(status: int, body: bytes = b"", *lines: bytes) -> bytes:
    fields = b"".join(line + b"\r\n" for line in lines)
    return b"HTTP/1.1 %d Reason\r\n%bcontent-length: %d\r\n\r\n%b" % (status, fields, len(body), body)


class Request:
    """What the server read."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.line, *lines = head.split(b"\r\n")
        self.fields = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
        self.body = body

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]


class Wire:
    """One accepted connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: "Scripted") -> None:
        self.reader = reader
        self.writer = writer
        self.server = server
        self.number = server.connections

    async def request(self) -> Request:
        head = (await self.reader.readuntil(b"\r\n\r\n"))[:-4]
        request = Request(head, b"")
        length = request.all(b"content-length")
        request.body = await self.reader.readexactly(int(length[0])) if length else b""
        self.server.requests.append(request)
        return request

    async def send(self, *pieces: bytes) -> None:
        """Each piece is flushed before the next, so that it has a good chance of being read alone."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def hung_up(self) -> None:
        """Returns when the other side has closed."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass

    def reset(self) -> None:
        self.writer.transport.abort()


Script = Callable[[Wire], Awaitable[None]]


class Scripted:
    """connections: accepted so far. requests: read whole, in order. log: whatever scripts write down."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[Request] = []
        self.log: list[Any] = []
        self.host = ""
        self.port = 0
        self.secure = False

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"


@asynccontextmanager
async def serving(
    script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", **options: Any
) -> AsyncIterator[Scripted]:
    scripted = Scripted()
    running: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        scripted.connections += 1
        try:
            await script(Wire(reader, writer, scripted))
            await until(lambda: not writer.transport.get_write_buffer_size())
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client went: what the tests are about is seen at the client or in `log`
        finally:
            running.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(accepted, host, 0, ssl=tls, **options)
    scripted.host, scripted.port = host, server.sockets[0].getsockname()[1]
    scripted.secure = tls is not None
    try:
        yield scripted
    finally:
        server.close()
        for task in tuple(running):
            task.cancel()
        if running:
            await asyncio.wait(tuple(running))
        await asyncio.sleep(0)


def replies(*pieces: bytes) -> Script:
    """Answers every request on every connection with the same pieces, then keeps the connection."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.send(*pieces)

    return script


def sequence(*answers: bytes) -> Script:
    """The n-th request, whatever its connection, gets the n-th answer; the last one repeats. b"" = hang up."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            text = answers[min(len(wire.server.requests), len(answers)) - 1]
            if not text:
                return
            await wire.send(text)

    return script


class Pause:
    """A sleep that does not wait: it notes the seconds and moves the clock."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)


def spec(server: Scripted | str, name: str = "one", **changes: Any) -> UpstreamSettings:
    url = server if isinstance(server, str) else server.url
    return UpstreamSettings(name=name, url=url, **changes)


@asynccontextmanager
async def upstreams(
    *specs: UpstreamSettings,
    clock: FakeClock | None = None,
    environ: Mapping[str, str] | None = None,
    retry: RetrySettings | None = None,
    breaker: BreakerSettings | None = None,
    pause: Pause | None = None,
    jitter: float = 1.0,
) -> AsyncIterator[Upstream]:
    clock = clock or FakeClock()
    settings = UpstreamsSettings(upstreams=specs, retry=retry or RetrySettings(), breaker=breaker or BreakerSettings())
    upstream = Upstream(settings, clock, environ=environ or {}, sleep=pause or Pause(clock), jitter=lambda: jitter)
    try:
        yield upstream
    finally:
        async with asyncio.timeout(5):
            await upstream.close()


def route(*names: str, model: str | None = None) -> Route:
    return Route(model=model, targets=tuple(Target(name=name, model=model) for name in names or ("one",)))


def call(**changes: Any) -> Call:
    facts: dict[str, Any] = {
        "id": "call_test",
        "door": Door.MESSAGES,
        "operation": Operation.MESSAGES_CREATE,
        "method": "POST",
        "path": "/v1/messages",
        "headers": [(b"content-type", b"application/json")],
        "body": BODY,
        "head": Head(model="claude-sonnet-5-5"),
        "credentials": Credentials("platform-key", "x-api-key"),
    }
    return Call(**{**facts, **changes})


def get(path: str = "/v1/models", **changes: Any) -> Call:
    return call(method="GET", path=path, body=b"", head=Head(), operation=Operation.MODELS, **changes)


async def read(answer: Answer) -> bytes:
    return b"".join([piece async for piece in answer.body])


async def fetch(upstream: Upstream, request: Call | None = None, to: Route | None = None) -> tuple[Answer, bytes]:
    async with asyncio.timeout(10):
        async with upstream.open(to or route(), request or call()) as given:
            return given, await read(given)


async def pieces_until_failure(upstream: Upstream, request: Call | None = None) -> tuple[list[bytes], UpstreamError]:
    """What arrived of an answer that breaks off, and how it broke off."""
    got: list[bytes] = []
    try:
        async with asyncio.timeout(10), upstream.open(route(), request or call()) as given:
            async for piece in given.body:
                got.append(piece)  # noqa: PERF401 - a comprehension would lose what arrived before the failure
    except UpstreamError as error:
        return got, error
    raise AssertionError(f"the answer ended well: {got!r}")


async def read_until_failure(upstream: Upstream, request: Call | None = None) -> tuple[bytes, UpstreamError]:
    pieces, error = await pieces_until_failure(upstream, request)
    return b"".join(pieces), error


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until something has happened; bounded."""
    await eventually(condition, within=5)


async def pace(seconds: float) -> None:
    """A scripted server takes its time: its slowness is what the test is about, nothing waits for it blindly."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.get_running_loop().create_future(), seconds)
