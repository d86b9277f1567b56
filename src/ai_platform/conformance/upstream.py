"""The upstream's end: a server that records every request as bytes and answers with the bytes it was told to.

The gateway under test is configured to call it. Requests are told apart by a marker in the body, so that a late
retry of one case cannot disturb the next; requests without a marker get an ordinary answer by their path.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from ai_platform.conformance.wire import LINE_LIMIT, Body, Head, WireError, read_head

MARKER = re.compile(rb"conformance-[a-z0-9-]+-\d+")


class Recorded(NamedTuple):
    """A request as it reached the upstream. path: with query."""

    method: str
    path: str
    head: Head
    body: bytes

    def get(self, name: bytes) -> bytes | None:
        return self.head.get(name)

    @property
    def everything(self) -> bytes:
        """All that the gateway disclosed, for searching."""
        fields = b"\n".join(name + b": " + value for name, value in self.head.fields)
        return b"\n".join((self.head.start, fields, self.body))


class Conversation:
    """What a script answers on. gone: set when the gateway closed its side (it gave the request up)."""

    def __init__(self, request: Recorded, writer: asyncio.StreamWriter, gone: asyncio.Event) -> None:
        self.request = request
        self.gone = gone
        self.open = True
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Exactly these bytes, flushed to the socket."""
        self._writer.write(data)
        await self._writer.drain()

    def cut(self) -> None:
        """End the connection here, whatever the framing announced."""
        self.open = False
        self._writer.close()


Script = Callable[[Conversation], Awaitable[None]]


class _Watched(asyncio.StreamReaderProtocol):
    """Knows at once, also while nobody reads, that the peer has gone."""

    def __init__(self, accepted: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]) -> None:
        super().__init__(asyncio.StreamReader(limit=LINE_LIMIT), accepted)
        self.gone = asyncio.Event()

    def eof_received(self) -> bool | None:
        self.gone.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        super().connection_lost(exc)


class RecordingUpstream:
    """expect() names the script for a marker; requests() returns what arrived with it."""

    def __init__(self, otherwise: Script) -> None:
        self._otherwise = otherwise
        self._scripts: dict[bytes, Script] = {}
        self._recorded: defaultdict[bytes, list[Recorded]] = defaultdict(list)
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._over = False
        self.url = ""
        self.calls = 0

    def expect(self, marker: str, script: Script) -> None:
        self._scripts[marker.encode()] = script

    def requests(self, marker: str) -> list[Recorded]:
        return list(self._recorded[marker.encode()])

    def forget(self, marker: str) -> None:
        self._scripts.pop(marker.encode(), None)
        self._recorded.pop(marker.encode(), None)

    @asynccontextmanager
    async def listening(self, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator["RecordingUpstream"]:
        """Serve on host:port (0 = any free one) until the block is left; `url` is set."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Watched(self._accepted), host, port)
        self.url = f"http://{host}:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            self._over = True
            for task, writer in self._serving.items():
                task.cancel()
                writer.close()  # a task that is cancelled before its first step does not
            await asyncio.gather(*self._serving, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._over:  # the connection was on its way in
            writer.close()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving[task] = writer
        task.add_done_callback(self._serving.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        except (WireError, ConnectionError):
            pass  # the gateway's connection broke; the case that cares sees it at its own end
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = writer.transport.get_protocol()
        assert isinstance(protocol, _Watched)
        while (head := await read_head(reader)) is not None:
            if (head.get(b"expect") or b"").lower() == b"100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = Body(reader, head, until_close=False)
            content = await body.read_all()
            if not body.complete:
                return
            method, path, _ = head.start.decode("latin-1").split(" ", 2)
            request = Recorded(method, path, head, content)
            found = MARKER.search(content)
            marker = found.group() if found else b""
            self.calls += 1
            self._recorded[marker].append(request)
            conversation = Conversation(request, writer, protocol.gone)
            await self._scripts.get(marker, self._otherwise)(conversation)
            if not conversation.open:
                return
