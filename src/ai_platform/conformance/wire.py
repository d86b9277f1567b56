"""HTTP/1.1 as bytes on a socket, for both ends of the suite: nothing is normalised, so nothing can hide.

Not a general client or server: it reads what a correct peer sends (RFC 9112) and says so when a message ends early.
"""

import asyncio
import zlib
from collections.abc import Iterable
from typing import NamedTuple

Fields = list[tuple[bytes, bytes]]
"""Header fields in order, names as written."""

LINE_LIMIT = 1 << 20


class WireError(Exception):
    """The peer sent something that is not HTTP/1.1."""


class Head(NamedTuple):
    """start: request line or status line, without the line end."""

    start: bytes
    fields: Fields

    def get(self, name: bytes) -> bytes | None:
        """The first value of a field; `name` lower-case."""
        return next((value for key, value in self.fields if key.lower() == name), None)

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next message's head; None when the peer closed before it began.

    Raises:
        WireError: the head is cut off or malformed.

    """
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise WireError("the connection closed in the middle of a header") from error
    except (asyncio.LimitOverrunError, ConnectionError) as error:
        raise WireError(f"no header could be read: {error}") from error
    start, *lines = raw[:-4].split(b"\r\n")
    fields: Fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise WireError(f"a header line without a colon: {line[:60]!r}")
        fields.append((name, value.strip(b" \t")))
    return Head(start, fields)


class Body:
    """The payload of one message as it arrives. `complete` turns True only when the message ended as it announced."""

    def __init__(self, reader: asyncio.StreamReader, head: Head, *, bodiless: bool = False, until_close: bool) -> None:
        self._reader = reader
        self._chunked = b"chunked" in (head.get(b"transfer-encoding") or b"").lower()
        length = head.get(b"content-length")
        self._until_close = until_close and length is None and not self._chunked
        self._left = 0 if bodiless or self._chunked or length is None else int(length)
        self.complete = bodiless or not (self._chunked or self._left or self._until_close)
        self._bodiless = bodiless

    async def read(self) -> bytes:
        """Bytes that have arrived, or b"" at the end (look at `complete` then)."""
        if self.complete or self._bodiless:
            return b""
        try:
            if self._until_close:
                return await self._rest()
            if self._chunked and not self._left and not await self._next_chunk():
                return b""
            return await self._take()
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def read_all(self) -> bytes:
        parts: list[bytes] = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)

    async def _rest(self) -> bytes:
        data = await self._reader.read(65536)
        self.complete = not data
        return data

    async def _take(self) -> bytes:
        data = await self._reader.read(min(self._left, 65536))
        self._left -= len(data)
        if data and not self._left:
            if self._chunked:
                await self._reader.readexactly(2)
            else:
                self.complete = True
        return data

    async def _next_chunk(self) -> bool:
        line = await self._reader.readuntil(b"\r\n")
        try:
            self._left = int(line.split(b";")[0], 16)
        except ValueError as error:
            raise WireError(f"not a chunk size: {line[:40]!r}") from error
        if self._left:
            return True
        while await self._reader.readuntil(b"\r\n") != b"\r\n":
            pass  # trailer fields
        self.complete = True
        return False


def render_head(start: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"\r\n".join([start, *(name + b": " + value for name, value in fields), b"", b""])


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; the last chunk for b""."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def decoded(body: bytes, encoding: bytes | None) -> bytes:
    """The content behind Content-Encoding.

    Raises:
        WireError: an encoding other than gzip, deflate or identity, or broken data.

    """
    kind = (encoding or b"identity").strip().lower()
    if kind == b"identity":
        return body
    if kind not in {b"gzip", b"deflate"}:
        raise WireError(f"the answer has the content encoding {kind.decode('latin-1')}, which nobody asked for")
    try:
        return zlib.decompress(body, wbits=47)
    except zlib.error as error:
        raise WireError(f"the answer says it is {kind.decode()} but is not: {error}") from error
