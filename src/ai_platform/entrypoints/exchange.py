"""One request on a connection and its answer, as an ASGI application sees them (asgi.readthedocs.io, HTTP 2.3).

It frames the answer (RFC 9112 6); its connection parses requests and keeps the deadlines. Above: server.
"""

import asyncio
import http
from collections.abc import Callable
from typing import Protocol

from ai_platform.domain.call import Headers
from ai_platform.entrypoints.http import Message, Scope

HIGH_WATER = 256 * 1024
"""Bytes of a request body that wait to be read before the connection stops reading."""

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}
_NO_CONTENT = frozenset({204, 304})
_FRAMING = frozenset({b"connection", b"content-length", b"transfer-encoding"})


class Carrier(Protocol):
    """What an exchange needs of its connection."""

    @property
    def is_gone(self) -> bool: ...

    def write(self, data: bytes) -> None: ...

    def read_on(self) -> None: ...

    async def drain(self) -> None: ...

    def ended(self, exchange: "Exchange") -> None: ...


class Exchange:
    """hang_up: called once when the client goes. whole: the request has arrived. is_started, is_ended: the answer's.

    keep: the connection may serve another request afterwards.
    """

    __slots__ = (
        "_arrived",
        "_body",
        "_carrier",
        "_chunked",
        "_continue",
        "_head",
        "_left",
        "_size",
        "_waiter",
        "hang_up",
        "is_broken",
        "is_ended",
        "is_started",
        "keep",
        "scope",
        "whole",
    )

    def __init__(self, carrier: Carrier, scope: Scope, *, keep: bool, expects_continue: bool) -> None:
        self._carrier = carrier
        self.scope = scope
        self.keep = keep
        self.whole = False
        self.is_broken = False
        self.is_started = False
        self.is_ended = False
        self.hang_up: Callable[[], object] | None = None
        self._continue = expects_continue
        self._body: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._arrived = False
        self._chunked = False
        self._left: int | None = None
        self._head = b""

    @property
    def is_gone(self) -> bool:
        """The client closed its connection, or the rest of its request cannot be read."""
        return self._carrier.is_gone or self.is_broken

    @property
    def ends_by_closing(self) -> bool:
        """The answer has neither a length nor chunks: an older client takes the connection's end for its end."""
        return self.is_started and not self._chunked and self._left is None

    # -- the connection's side

    def feed(self, data: bytes) -> bool:
        """A piece of the request body; True when enough waits to be read."""
        if self.is_ended:
            return False
        self._body.append(data)
        self._size += len(data)
        self._wake()
        return self._size > HIGH_WATER

    def complete(self) -> None:
        self.whole = True
        self._wake()

    def lost(self) -> None:
        """The client is gone, or sent what cannot be read."""
        self.is_broken = True
        self._wake()
        if self.hang_up is not None:
            hang_up, self.hang_up = self.hang_up, None
            hang_up()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- the application's side

    async def receive(self) -> Message:
        """The body in the pieces that have come, then `http.disconnect` when the client goes or is answered."""
        while not (self.is_gone or self.is_ended or self._body or (self.whole and not self._arrived)):
            if self._continue and not self.is_started:
                self._continue = False
                self._carrier.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._carrier.read_on()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self.is_gone or self.is_ended:
            return {"type": "http.disconnect"}
        pieces, self._body, self._size = self._body, [], 0
        self._arrived = self.whole
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return {"type": "http.request", "body": body, "more_body": not self.whole}

    async def send(self, message: Message) -> None:
        """Write the answer's head or a piece of its body; waits while the client does not take what was written.

        Raises:
            ValueError: a field could be read as something else; a body longer or shorter than announced.
        """
        if self._carrier.is_gone or self.is_ended:
            return
        if not self.is_started:
            self._begin(message["status"], message["headers"])
            # It leaves with the first piece of the body, in one write; alone when that piece is not there yet.
            asyncio.get_running_loop().call_soon(self._flush)
            return
        more = message.get("more_body", False)
        self._content(message.get("body", b""), last=not more)
        if more:
            await self._carrier.drain()

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer, when there is no application to send it."""
        self._begin(status, headers)
        self._content(body, last=True)

    def _begin(self, status: int, headers: Headers) -> None:
        lines = [name + b": " + value for name, value in headers if name not in _FRAMING]
        has_content = status not in _NO_CONTENT
        is_head = self.scope["method"] == "HEAD"
        length = next((value for name, value in headers if name == b"content-length"), None) if has_content else None
        if length is not None:
            lines.append(b"content-length: " + length)
            self._left = 0 if is_head else int(length)
        elif is_head or not has_content:
            self._left = 0
        elif self.scope["http_version"] == "1.1":
            lines.append(b"transfer-encoding: chunked")
            self._chunked = True
        else:  # RFC 9112 6.1: an older client gets no chunks; the end of the connection is the end of the answer
            self.keep = False
        if not self.whole or (b"connection", b"close") in headers:
            self.keep = False  # the rest of the request would be read as the next one's beginning
        if not self.keep:
            lines.append(b"connection: close")
        head = b"\r\n".join([*lines, b""])
        if head.count(b"\r") != len(lines) or head.count(b"\n") != len(lines) or b"\0" in head:
            raise ValueError("a header field of the answer holds a line break")
        self.is_started = True
        line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d Status\r\n" % status
        self._head = line + head + b"\r\n"

    def _flush(self) -> None:
        if self._head:
            self._write(b"")

    def _write(self, data: bytes) -> None:
        head, self._head = self._head, b""
        self._carrier.write(head + data)

    def _content(self, body: bytes, *, last: bool) -> None:
        if self._chunked:
            if body:
                end = b"\r\n0\r\n\r\n" if last else b"\r\n"
                self._write(b"%x\r\n%b%b" % (len(body), body, end))
            elif last:
                self._write(b"0\r\n\r\n")
        elif self._left is None:
            if body:
                self._write(body)
        elif self.scope["method"] != "HEAD" and body:
            if len(body) > self._left:
                raise ValueError("an answer longer than announced")
            self._left -= len(body)
            self._write(body)
        if last:
            if self._left:
                raise ValueError("an answer shorter than announced")
            self._flush()
            self.is_ended = True
            self._carrier.ended(self)
