"""One HTTP/1.1 connection to an upstream: writes a request, parses the answer, keeps the deadlines.

One answer at a time. Not the place for retries or waiting in line. Above: pool.py lends it; below: httptools
(llhttp in strict mode) and an asyncio transport. Sources: RFC 9112; every refusal names what was wrong.
"""

import asyncio
import math
from typing import Protocol, cast

import httptools

from ai_platform.domain.call import Headers
from ai_platform.domain.errors import UpstreamError
from ai_platform.upstream.errors import AnswerTimeout, AnswerTooLarge, CallerStalled, ConnectionDied, NotUnderstood
from ai_platform.upstream.framing import read_answer_head
from ai_platform.upstream.reply import Reply
from ai_platform.upstream.wire import Limits, Outgoing

HIGH_WATER = 64 * 1024
"""Bytes of an answer that wait for a slow reader before the connection stops reading."""

SLICE = 256 * 1024
"""A larger body is written in slices, each after the transport took the one before."""


class Owner(Protocol):
    """Whoever lends the connection out."""

    def put(self, connection: "Connection") -> None: ...

    def gone(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """Made by the dialler; `start` sends a request, the Reply it returns is filled as data arrives.

    One timer serves every deadline: moving a deadline later costs one assignment, the timer catches up when it rings.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits, owner: Owner) -> None:
        self._loop = loop
        self._limits = limits
        self._owner = owner
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._reply: Reply | None = None
        self._used = False
        self._lost = False
        self.paused = False
        self._writable: asyncio.Future[None] | None = None
        self._write_paused = False
        self._deadline = math.inf
        self._total_at = math.inf
        self._timer_at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._keep_alive = limits.keep_alive
        self._begin()

    def _begin(self) -> None:
        """The parsing state of a new answer."""
        self._fields: Headers = []
        self._interim = False
        self._complete = False
        self._keep = True
        self._until_close = False
        self._eof = False
        self._uploading = False
        self._bodiless = False
        self._incoming = 0
        self._barren = 0  # bytes received since the last byte of body: heads, chunk extensions, trailers
        self._why: UpstreamError | None = None

    # -- lending

    @property
    def usable(self) -> bool:
        """Nothing is known against sending a request."""
        transport = self._transport
        return transport is not None and self._reply is None and not self._lost and not transport.is_closing()

    def start(self, request: Outgoing) -> Reply:
        """Send a request (of a large body: the head; call `upload` next).

        Raises:
            ConnectionDied: the connection closed meanwhile; nothing was sent.

        """
        transport = self._transport
        if transport is None or not self.usable:
            name = self._limits.name
            raise ConnectionDied(f"upstream {name!r} closed the connection before it was asked", target=name)
        reply = Reply(self, reused=self._used)
        if self._used:
            self._begin()
        self._used = True
        self._reply = reply
        self._bodiless = request.bodiless_answer
        now = self._loop.time()
        self._total_at = now + self._limits.total
        body = request.body
        if len(body) <= SLICE:
            self._expire_at(now + self._limits.first_byte)
            transport.write(request.head + body if body else request.head)
        else:
            self._uploading = True
            self._expire_at(now + self._limits.idle)
            transport.write(request.head)
        return reply

    async def upload(self, reply: Reply, body: bytes) -> None:
        """Write a large body at the pace the upstream reads it; stops when the answer comes first."""
        if not self._uploading:
            return
        view = memoryview(body)
        for start in range(0, len(view), SLICE):
            if reply.status or reply.error is not None or self._transport is None:
                return  # `_uploading` stays: a half-sent request makes the connection useless afterwards
            self._transport.write(view[start : start + SLICE])
            if self._write_paused:
                self._writable = self._loop.create_future()
                await self._writable
            self._expire_at(self._loop.time() + self._limits.idle)
        self._uploading = False
        if not reply.status and reply.error is None:
            self._expire_at(self._loop.time() + self._limits.first_byte)

    def abort(self) -> None:
        """Close now, unsent data included."""
        self._lost = True
        if self._transport is not None:
            self._transport.abort()

    # -- what the Reply asks for

    def resume(self) -> None:
        """The reader took what was kept: read on."""
        if self._transport is not None and self.paused:
            self.paused = False
            self._expire_at(self._loop.time() + self._limits.idle)
            self._transport.resume_reading()

    def leave(self) -> None:
        """The reader goes before the end: the upstream is hung up on, at once."""
        self._reply = None
        self.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None:
            # Nothing was asked. Whatever this is, the next answer must not begin with it.
            self.abort()
            return
        before = reply.received
        self._incoming = len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                self._fail(self._why or self._not_understood(str(error) or type(error).__name__))
                return
            self._keep = False  # a whole answer, then bytes nobody asked for
        if self._complete:
            self._finish(reply)
            return
        if reply.received == before:
            self._barren += self._incoming
            if self._barren > self._limits.max_head:
                self._fail(self._not_understood(f"more than {self._limits.max_head} bytes without content"))
                return
        else:
            self._barren = 0
            self._expire_at(self._loop.time() + self._limits.idle)
            if reply.buffered > HIGH_WATER and not self.paused and self._transport is not None:
                self.paused = True
                self._transport.pause_reading()
        if reply.status:
            reply.wake()

    def eof_received(self) -> bool:
        self._eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._release_writer()
        reply = self._reply
        if reply is not None:
            if self._until_close and self._eof and exc is None:
                self._reply = None
                reply.finish()
            else:
                self._fail(self._died(reply, exc))
        self._transport = None
        del self._parser  # it holds this object's callbacks: without this only the garbage collector frees both
        self._owner.gone(self)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._release_writer()

    # -- parser callbacks

    def on_message_begin(self) -> None:
        if self._complete:
            raise self._refuse("a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 200 <= status <= 599:
            self._read_head(status)
        elif 100 <= status < 200 and status != 101:
            self._interim = True
            self._fields = []
        else:
            raise self._refuse(f"status {status}, which was not asked for or does not exist")

    def on_body(self, data: bytes) -> None:
        reply = self._reply
        if reply is None or self._complete:
            raise self._refuse("content that was not announced")
        if reply.received + len(data) > self._limits.max_body:
            raise self._too_large()
        reply.feed(data)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        self._complete = True
        self._keep = self._keep and self._parser.should_keep_alive()

    def _read_head(self, status: int) -> None:
        reply = self._reply
        if reply is None:
            raise self._refuse("an answer after its call had ended")
        fields, self._fields = self._fields, []
        if self._barren + self._incoming > self._limits.max_head:
            size = sum(len(name) + len(value) + 4 for name, value in fields)
            if size > self._limits.max_head:
                raise self._refuse(f"a head of more than {self._limits.max_head} bytes")
        try:
            head = read_answer_head(fields)
        except ValueError as error:
            raise self._refuse(str(error)) from None
        if self._bodiless:
            # The parser does not know that the request was HEAD and would wait for content: done, and not reused.
            self._complete = True
            self._keep = False
        elif status not in {204, 304}:
            self._until_close = head.length is None and not head.chunked
            if head.length is not None and head.length > self._limits.max_body:
                raise self._too_large()
        if head.keep_alive is not None:
            # A second earlier than announced, so that a request does not cross with the upstream's closing.
            self._keep_alive = min(self._limits.keep_alive, max(0.0, head.keep_alive - 1.0))
        reply.headers = head.headers
        reply.encoding = head.encoding
        reply.status = status
        self._release_writer()
        self._expire_at(self._loop.time() + self._limits.idle)

    # -- ends

    def _finish(self, reply: Reply) -> None:
        """The answer arrived whole: it needs the connection no more, whether or not it was read."""
        self._reply = None
        reply.finish()
        transport = self._transport
        if (
            transport is None
            or not self._keep
            or self._uploading
            or self._keep_alive <= 0
            or transport.is_closing()
            or transport.get_write_buffer_size()  # an early answer: the rest of the request is still on its way
        ):
            self.abort()
            return
        if self.paused:
            self.paused = False
            transport.resume_reading()
        self._total_at = math.inf
        self._expire_at(self._loop.time() + self._keep_alive)
        self._owner.put(self)

    def _fail(self, error: UpstreamError) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.fail(error)
        self._release_writer()
        self.abort()

    def _release_writer(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # -- deadlines

    def _expire_at(self, when: float) -> None:
        when = min(when, self._total_at)
        self._deadline = when
        if when < self._timer_at and not self._lost:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = when
            self._timer = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        now = self._loop.time()
        self._timer_at = math.inf
        self._timer = None
        if now < self._deadline:
            self._expire_at(self._deadline)
        elif self._reply is None:
            self.abort()
        else:
            self._fail(self._timed_out(self._reply, now))

    def _timed_out(self, reply: Reply, now: float) -> UpstreamError:
        name, limits = self._limits.name, self._limits
        if self.paused:
            limit = f"{limits.total:g} s (total_timeout)" if now >= self._total_at else f"{limits.idle:g} s"
            return CallerStalled(f"the caller did not take the answer within {limit}", target=name, sent=True)
        if now >= self._total_at:
            message = f"upstream {name!r} took longer than {limits.total:g} s (total_timeout)"
        elif reply.status:
            message = f"upstream {name!r} fell silent for {limits.idle:g} s in its answer (idle_timeout)"
        elif self._uploading:
            message = f"upstream {name!r} took nothing of the request for {limits.idle:g} s (idle_timeout)"
        else:
            message = f"upstream {name!r} did not begin its answer within {limits.first_byte:g} s (first_byte_timeout)"
        return AnswerTimeout(message, target=name, sent=True)

    # -- errors

    def _died(self, reply: Reply, exc: Exception | None) -> ConnectionDied:
        how = f": {exc}" if exc is not None else ""
        when = f"after {reply.received} bytes of its answer" if reply.status else "before it answered"
        error = ConnectionDied(
            f"upstream {self._limits.name!r} closed the connection {when}{how}", target=self._limits.name, sent=True
        )
        error.silent = not reply.status and not self._barren
        return error

    def _refuse(self, what: str) -> UpstreamError:
        """Remember the reason, and give it as the exception that stops the parser."""
        self._why = self._not_understood(what)
        return self._why

    def _not_understood(self, what: str) -> NotUnderstood:
        name = self._limits.name
        return NotUnderstood(f"upstream {name!r} sent no acceptable HTTP answer: {what}", target=name, sent=True)

    def _too_large(self) -> AnswerTooLarge:
        limit, name = self._limits.max_body, self._limits.name
        error = AnswerTooLarge(
            f"the answer of upstream {name!r} exceeds {limit} bytes (max_response_bytes)", target=name, sent=True
        )
        self._why = error
        return error
