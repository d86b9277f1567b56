"""One HTTP/1.1 connection from a client: strict parsing, answers in order, every wait and every buffer bounded.

What could be read in two ways is refused (RFC 9112 11.2); what follows a refusal is not looked at. Answers are made
one at a time: what a client sends ahead of its turn waits unparsed. Above: server. Below: exchange, httptools.
"""

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.server import ServerState

from ai_platform.domain.call import Headers
from ai_platform.domain.identifiers import new_id
from ai_platform.entrypoints.errors import internal_answer
from ai_platform.entrypoints.exchange import Exchange
from ai_platform.entrypoints.http import CONNECTION, Receive, Scope, Send
from ai_platform.entrypoints.patience import Patience
from ai_platform.entrypoints.settings import ServerSettings
from ai_platform.entrypoints.strict import (
    FULL,
    MAX_FIELDS,
    MAX_HEAD,
    NO_FURTHER,
    NOT_HTTP,
    TOO_LARGE,
    TOO_SLOW,
    BadRequest,
    Why,
    expects_continue,
    without_upgrade,
)

RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing resets the connection."""

LINGER = 30.0
"""Seconds in which a client that was refused may go on sending, so that it reads the refusal instead of an error."""

App = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]


class Traffic:
    """What the server counts of what never became a call. refused: connections over the limit. malformed: requests
    that are not HTTP, or ambiguous. slow: heads that did not arrive in time. stalled: clients that took nothing.
    """

    __slots__ = ("malformed", "refused", "slow", "stalled")

    def __init__(self) -> None:
        self.refused = self.malformed = self.slow = self.stalled = 0


class Connection(asyncio.Protocol):
    """`exchanges`: requests that were parsed and not answered yet; the first is being answered."""

    def __init__(self, app: App, settings: ServerSettings, state: ServerState, traffic: Traffic, most: int) -> None:
        self._app = app
        self._settings = settings
        self._state = state
        self._traffic = traffic
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchanges: deque[Exchange] = deque()
        self._last: Exchange | None = None
        self._ahead = bytearray()
        self._url = b""
        self._headers: Headers = []
        self._head_bytes = 0
        self._barren = 0  # bytes received in a row without getting further: an endless field, extension or trailer
        self._in_head = False
        self._progress = False
        self._why: Why | None = None
        self._closing = False  # nothing that still comes is looked at
        self._shut = False
        self._drained: asyncio.Future[None] | None = None
        self._is_due = False  # the next exchange, once the last answer is taken
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int] | None = None
        self._is_left = False  # hung up on; what is still written is on its way
        self._patience = Patience(self, for_taking=settings.write_timeout)

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._client = _address(transport.get_extra_info("peername"))
        self._server = _address(transport.get_extra_info("sockname"))
        self._state.connections.add(self)  # type: ignore[arg-type]
        self._patience.hear_within(self._settings.head_timeout)
        if len(self._state.connections) > self._most:
            self._traffic.refused += 1
            self._refuse(FULL)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._is_due or (self._exchanges and (len(self._exchanges) > 1 or self._exchanges[0].whole)):
            self._ahead += data
            if len(self._ahead) > MAX_HEAD:  # refused, not paused: a paused connection does not notice a hang-up
                self._refuse(NO_FURTHER)
        else:
            self._feed(data)

    def eof_received(self) -> bool:
        """A client that will say nothing more is taken for one that left: nobody can tell them apart."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._state.connections.discard(self)  # type: ignore[arg-type]
        self._patience.end()
        self.resume_writing()
        if self._exchanges:
            self._exchanges[0].lost()
        self._exchanges.clear()
        del self._parser  # it holds this object's callbacks: without this only the garbage collector frees both

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()
        self._patience.watch_taking()

    def resume_writing(self) -> None:
        self._patience.taken()
        if self._drained is not None:
            if not self._drained.done():
                self._drained.set_result(None)
            self._drained = None
        if self._is_due:
            self._is_due = False
            self._next()

    # -- parsing

    def _feed(self, data: bytes) -> None:
        self._progress = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_without_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(self._why or NOT_HTTP)
            return
        if self._progress:
            self._barren = 0
            return
        self._barren += len(data)
        if self._barren > MAX_HEAD:
            self._refuse(TOO_LARGE if self._in_head else NOT_HTTP)

    def _feed_without_upgrade(self, rest: bytes) -> None:
        """An upgrade is not made (RFC 9110 7.8), but the parser stops at one: another reads the request without it."""
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refuse(NOT_HTTP)
            return
        head = without_upgrade(method, self._url, self._parser.get_http_version(), self._headers)
        self._parser = httptools.HttpRequestParser(self)
        self._feed(head + rest)

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._head_bytes = 0
        self._in_head = self._progress = True
        if not self._exchanges:
            self._patience.hear_within(self._settings.head_timeout)

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else a trailer, which must not pass for a header field (RFC 9110 6.5.1)
            self._headers.append((name.lower(), value))
            self._count(len(name) + len(value) + 4)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD or len(self._headers) > MAX_FIELDS:
            self._why = TOO_LARGE
            raise BadRequest(TOO_LARGE)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._progress = True
        if self._closing or self._parser.should_upgrade():
            return
        version = self._parser.get_http_version()
        keep = self._parser.should_keep_alive() and version == "1.1"
        try:
            expects = expects_continue(self._headers, version)
        except BadRequest as error:
            self._why = error.why
            raise
        self._last = Exchange(self, self._scope(version), keep=keep, expects_continue=expects)
        self._exchanges.append(self._last)
        if len(self._exchanges) == 1:
            self._begin(self._last)

    def on_body(self, body: bytes) -> None:
        self._progress = True
        if self._last is not None and self._last.feed(body) and self._transport is not None:
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._progress = True
        if self._last is not None:
            self._last.complete()
            self._last = None

    def _scope(self, version: str) -> Scope:
        url = httptools.parse_url(self._url)
        path: bytes = url.path or b"/"
        text = path.decode("latin-1")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": "http",
            "method": self._parser.get_method().decode("ascii"),
            "root_path": "",
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": url.query or b"",
            "headers": self._headers,
            "extensions": {},
        }

    # -- answering

    def _begin(self, exchange: Exchange) -> None:
        self._patience.rest()
        exchange.scope["extensions"][CONNECTION] = exchange
        task = self._loop.create_task(self._app(exchange.scope, exchange.receive, exchange.send))
        self._state.tasks.add(task)
        task.add_done_callback(lambda done: self._done(exchange, done))

    def _done(self, exchange: Exchange, task: "asyncio.Task[None]") -> None:
        """The application has finished, with the answer or without."""
        self._state.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if exchange.is_ended or self._transport is None:
            return
        if exchange.is_started or task.cancelled():
            self._break_off(exchange)
        elif exchange.is_broken:
            exchange.is_ended = True
            self.ended(exchange)
        else:
            exchange.keep = False
            exchange.answer(*internal_answer(error, new_id("req", time.time())))

    def ended(self, exchange: Exchange) -> None:
        """The answer is written: the next request, in order."""
        self._exchanges.popleft()
        if exchange.is_broken and exchange.is_started:
            self._why = None  # it was answered before its defect came
        if not exchange.keep or self._shut or (self._closing and not self._exchanges):
            self._close(linger=self._closing or not exchange.whole)
            return
        if self._drained is None:
            self._next()
        else:
            self._is_due = True  # when this answer is taken, or answers to a client that takes none would pile up

    def _next(self) -> None:
        if self._exchanges:
            self._begin(self._exchanges[0])
        else:
            patience = self._settings.head_timeout if self._in_head else self._settings.idle_timeout
            self._patience.hear_within(patience)
        self.read_on()
        if self._ahead and not (self._exchanges and self._exchanges[0].whole):
            ahead = bytes(self._ahead)
            self._ahead.clear()
            self._feed(ahead)

    @property
    def is_gone(self) -> bool:
        return self._transport is None

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def read_on(self) -> None:
        if self._transport is not None and not self._transport.is_reading() and not self._transport.is_closing():
            self._transport.resume_reading()

    async def drain(self) -> None:
        if self._drained is not None:
            await self._drained

    # -- ends

    def shutdown(self) -> None:
        """The server stops: no further request after those under way."""
        self._shut = True
        for exchange in self._exchanges:
            exchange.keep = False
        if not self._exchanges:
            self._close(linger=False)

    def _break_off(self, exchange: Exchange) -> None:
        """What broke off must look broken off: a missing end does, unless the connection's end is the answer's."""
        if exchange.ends_by_closing and self._transport is not None:
            found: Any = self._transport.get_extra_info("socket")
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()
        else:
            self._close(linger=False)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _refuse(self, why: Why) -> None:
        """Say why, after the answers that are due, and close."""
        self._traffic.malformed += why not in (FULL, TOO_SLOW)
        self._hear_no_more()
        self._why = why
        if self._last is not None:
            self._last.lost()  # its rest will not come
        if not self._exchanges:
            self._close(linger=why is not FULL)

    def _hear_no_more(self) -> None:
        self._closing = True
        self._ahead.clear()
        self.read_on()  # to notice the end

    def _close(self, *, linger: bool) -> None:
        """Send what is written, then hang up. linger: the client may still be sending, and closing on it would
        destroy the answer before it is read (RFC 9112 9.6), so that what comes is discarded for a while.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._closing = True
        self._exchanges.clear()
        if self._why is not None:
            text = self._why.text.encode()
            transport.write(
                b"HTTP/1.1 %b\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
                % (self._why.status, len(text), text)
            )
            self._why = None
        self._is_left = True
        self._patience.rest()
        if linger:
            self._patience.hear_within(LINGER)
            self.read_on()
            transport.write_eof()
        else:
            transport.close()
        if self.unsent():
            self._patience.watch_taking()

    # -- patience

    def unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def took_nothing(self) -> None:
        self._traffic.stalled += 1
        self._abort()

    def said_nothing(self) -> None:
        if self._is_left:
            self._abort()
        elif self._in_head:
            self._traffic.slow += 1
            self._refuse(TOO_SLOW)
        else:
            self._close(linger=False)


def _address(value: object) -> tuple[str, int] | None:
    """Host and port of a socket's name; None for what is no internet address."""
    return (str(value[0]), int(value[1])) if isinstance(value, tuple) and len(value) >= 2 else None
