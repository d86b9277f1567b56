"""A gateway that forwards bytes and nothing else, and can be told to do one thing wrong.

Good: checks the key, replaces it, refuses one text and one model, streams, passes hang-ups on. Each fault is a field.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from ai_platform.conformance.wire import LINE_LIMIT, Body, Fields, Head, chunk, read_head, render_head

KEY = "key-of-the-gateway-under-test"
REFUSED_TEXT = "the launch code is lemon"
REFUSED_MODEL = "claude-forbidden-1"


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """What this gateway does wrong; the defaults do nothing wrong."""

    body: Callable[[bytes], bytes] = lambda body: body
    fields: Callable[[Fields], Fields] = lambda fields: fields
    path: Callable[[str], str] = lambda path: path
    answer_head: Callable[[Head], Head] = lambda head: head
    answer_body: Callable[[int, bytes], bytes] | None = None
    part: Callable[[bytes], bytes] = lambda part: part
    buffers: bool = False
    finishes_cuts: bool = False
    ignores_hang_ups: bool = False
    credentials: tuple[str, ...] = ("authorization", "x-api-key")
    leaks_key: bool = False
    checks_key: bool = True
    mixes_streams: bool = False
    closes: bool = False
    closes_after_stream: bool = False
    stale_pool: bool = False
    holds_errors: bool = False
    refusal_status: int = 451
    refusal_body: bytes = b'{"type":"error","error":{"type":"permission_error","message":"Refused by rule 7."}}'
    unauthenticated: tuple[tuple[bytes, bytes], ...] = ((b"x-should-retry", b"false"),)
    sends_refused: bool = False
    needs_length: bool = False
    chokes_on_expect: bool = False
    largest: int = 10_000_000
    without: tuple[str, ...] = ()
    breaks_on_hello: bool = False


class Forwarder:
    """One client connection after another, each request on a fresh upstream connection."""

    def __init__(self, upstream: str, faults: Faults) -> None:
        self._host, _, port = upstream.removeprefix("http://").rpartition(":")
        self._port = int(port)
        self._faults = faults
        self._latest = b""
        self._pooled: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._closed = False
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:  # it was on its way in
            writer.close()
            return
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving[task] = writer
        task.add_done_callback(self._serving.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await read_head(reader)) is not None:
                if head.get(b"expect") is not None:
                    if self._faults.chokes_on_expect:
                        await self._reply(writer, 417, b"{}")
                        return
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                if head.get(b"transfer-encoding") is not None and self._faults.needs_length:
                    await self._reply(writer, 411, b"{}")
                    return
                body = await Body(reader, head, until_close=False).read_all()
                if not await self._handle(head, body, reader, writer) or self._faults.closes:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def close(self) -> None:
        self._closed = True
        for task, writer in self._serving.items():
            task.cancel()
            writer.close()  # a task that was cancelled before its first step does not
        await asyncio.gather(*self._serving, return_exceptions=True)
        if self._pooled is not None:
            self._pooled[1].close()

    async def _handle(
        self, head: Head, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """True when the connection can go on."""
        method, path, _ = head.start.decode().split(" ")
        if method == "HEAD":
            status = b"500 Broken" if self._faults.breaks_on_hello else b"404 Not Found"
            writer.write(render_head(b"HTTP/1.1 " + status, [(b"Content-Length", b"0")]))
            return True
        if self._faults.checks_key and not self._known(head):
            error = b'{"type":"error","error":{"type":"authentication_error","message":"Which key?"}}'
            await self._reply(writer, 401, error, list(self._faults.unauthenticated))
            return True
        if any(part in path for part in self._faults.without):
            await self._reply(writer, 404, b'{"type":"error"}')
            return True
        if len(body) > self._faults.largest:
            await self._reply(writer, 413, b"{}")
            return True
        if REFUSED_TEXT.encode() in body or REFUSED_MODEL.encode() in body:
            await self._reply(writer, self._faults.refusal_status, self._faults.refusal_body)
            if not self._faults.sends_refused:
                return True
            return await self._forward(Head(head.start, head.fields), body, reader, _Nowhere())
        return await self._forward(head, body, reader, writer)

    def _known(self, head: Head) -> bool:
        given = {
            name: (head.get(name.encode()) or b"").decode().removeprefix("Bearer ") for name in self._faults.credentials
        }
        return KEY in given.values()

    async def _forward(
        self, head: Head, body: bytes, reader: asyncio.StreamReader, writer: "asyncio.StreamWriter | _Nowhere"
    ) -> bool:
        up_reader, up_writer = await self._connect()
        hung_up = asyncio.ensure_future(reader.read(1))  # clients of the suite never pipeline
        relay = asyncio.ensure_future(self._exchange(head, body, up_reader, up_writer, writer))
        try:
            waiting = {relay} if self._faults.ignores_hang_ups else {relay, hung_up}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return relay.result() if relay.done() else False
        finally:
            hung_up.cancel()
            relay.cancel()
            if not self._faults.stale_pool:
                up_writer.close()
            await asyncio.gather(hung_up, relay, return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._pooled is not None:
            return self._pooled
        opened = await asyncio.open_connection(self._host, self._port, limit=LINE_LIMIT)
        if self._faults.stale_pool:
            self._pooled = opened
        return opened

    async def _exchange(
        self,
        head: Head,
        body: bytes,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
        writer: "asyncio.StreamWriter | _Nowhere",
    ) -> bool:
        await self._send(head, body, up_writer)
        return await self._relay(up_reader, writer)

    async def _send(self, head: Head, body: bytes, writer: asyncio.StreamWriter) -> None:
        method, path, version = head.start.decode().split(" ")
        start = f"{method} {self._faults.path(path)} {version}".encode()
        dropped = {b"authorization", b"x-api-key", b"content-length", b"transfer-encoding", b"expect", b"host"}
        if self._faults.leaks_key:
            dropped -= {b"authorization", b"x-api-key"}
        kept = [(name, value) for name, value in head.fields if name.lower() not in dropped]
        body = self._faults.body(body)
        own = [(b"Host", self._host.encode()), (b"x-api-key", b"upstream"), (b"Content-Length", b"%d" % len(body))]
        writer.write(render_head(start, self._faults.fields([*own, *kept])) + body)
        await writer.drain()

    async def _relay(self, reader: asyncio.StreamReader, writer: "asyncio.StreamWriter | _Nowhere") -> bool:
        head = await read_head(reader)
        if head is None:
            await self._reply(writer, 502, b"{}")
            return False
        status = int(head.start.split(b" ")[1])
        if status >= 400 and self._faults.holds_errors:
            await asyncio.Event().wait()
        answer = Body(reader, head, until_close=True)
        shown = self._faults.answer_head(head)
        if self._faults.buffers or self._faults.answer_body is not None:
            whole = await answer.read_all()
            whole = self._faults.answer_body(status, whole) if self._faults.answer_body else whole
            fields = [
                field for field in shown.fields if field[0].lower() not in {b"content-length", b"transfer-encoding"}
            ]
            writer.write(render_head(shown.start, [*fields, (b"Content-Length", b"%d" % len(whole))]) + whole)
            await writer.drain()
            return True
        return await self._stream(shown, answer, writer)

    async def _stream(self, head: Head, answer: Body, writer: "asyncio.StreamWriter | _Nowhere") -> bool:
        chunked = head.get(b"transfer-encoding") is not None
        writer.write(render_head(head.start, head.fields))
        while part := await answer.read():
            if self._faults.mixes_streams:
                part, self._latest = self._latest or part, part
            changed = self._faults.part(part)
            if changed:
                writer.write(chunk(changed) if chunked else changed)
                await writer.drain()
        if chunked and (answer.complete or self._faults.finishes_cuts):
            writer.write(chunk(b""))
        return answer.complete and not (chunked and self._faults.closes_after_stream)

    async def _reply(
        self, writer: "asyncio.StreamWriter | _Nowhere", status: int, body: bytes, more: Fields | None = None
    ) -> None:
        fields = [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(body)), *(more or [])]
        writer.write(render_head(b"HTTP/1.1 %d Own" % status, fields) + body)
        await writer.drain()


class _Nowhere:
    """Swallows the answer to a call that was refused and sent anyway."""

    def write(self, data: bytes) -> None:
        pass

    async def drain(self) -> None:
        pass


@asynccontextmanager
async def forwarding(upstream: str, faults: Faults | None = None) -> AsyncIterator[str]:
    """The gateway's address."""
    forwarder = Forwarder(upstream, faults or Faults())
    server = await asyncio.start_server(forwarder.accept, "127.0.0.1", 0, limit=LINE_LIMIT)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await forwarder.close()


def without(*names: bytes) -> Callable[[Fields], Fields]:
    """Drops request fields whose name begins with one of `names`."""
    return lambda fields: [field for field in fields if not field[0].lower().startswith(names)]


def replaced(name: bytes, change: Callable[[bytes], bytes]) -> Callable[[Fields], Fields]:
    return lambda fields: [(key, change(value) if key.lower() == name else value) for key, value in fields]


def answer_without(*names: bytes) -> Callable[[Head], Head]:
    return lambda head: Head(head.start, without(*names)(head.fields))


def as_json(change: Callable[[dict], object]) -> Callable[[bytes], bytes]:  # type: ignore[type-arg]
    """Decode, change, encode with the same spelling as the suite's compact bodies."""

    def rewrite(body: bytes) -> bytes:
        if not body:
            return body
        value = json.loads(body)
        change(value)
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()

    return rewrite
