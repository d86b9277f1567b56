"""Server-sent events as bytes (WHATWG HTML, "Server-sent events"): split a byte stream, name an event's kind.

Nothing is decoded that need not be: an event that no control changes leaves as the bytes that came.
"""

import re
from collections.abc import Iterator
from enum import Enum

import msgspec

_BOUNDARY = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
"""An empty line, whatever ends the lines; they may be mixed."""

_NAME = re.compile(rb"event: ?([^\r\n]*)")
_DATA_TYPE = re.compile(rb'^data: ?\{\s*"type"\s*:\s*"([a-z_]+)"', re.MULTILINE)
MAX_EVENT = 16 * 1024 * 1024


class Kind(Enum):
    DELTA = "content_block_delta"
    MESSAGE_START = "message_start"
    MESSAGE_DELTA = "message_delta"
    MESSAGE_STOP = "message_stop"
    BLOCK_START = "content_block_start"
    BLOCK_STOP = "content_block_stop"
    PING = "ping"
    ERROR = "error"
    OTHER = ""


class _Typed(msgspec.Struct):
    type: str = ""


_typed = msgspec.json.Decoder(_Typed)
_KINDS = {kind.value.encode(): kind for kind in Kind}


class EventSplitter:
    """feed(chunk) yields complete events, each with its blank line; `rest` is what has not ended yet."""

    __slots__ = ("rest",)

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Raises ValueError when one event exceeds 16 MiB."""
        data = self.rest + chunk if self.rest else chunk
        if b"\r" in data:
            yield from self._feed_any_newline(data)
            return
        parts = data.split(b"\n\n")
        self.rest = parts.pop()
        for part in parts:
            yield part + b"\n\n"
        self._check()

    def _feed_any_newline(self, data: bytes) -> Iterator[bytes]:
        start = 0
        for match in _BOUNDARY.finditer(data):
            if match.end() == len(data) and data.endswith(b"\r"):
                break  # may be the middle of \r\n split by the network
            yield data[start : match.end()]
            start = match.end()
        self.rest = data[start:]
        self._check()

    def _check(self) -> None:
        if len(self.rest) > MAX_EVENT:
            raise ValueError("one streamed event exceeds 16 MiB")


def kind_of(event: bytes) -> Kind:
    """The event's kind by its `event:` line, else by the `type` its data begins with."""
    if event.startswith(b"event: content_block_delta\n"):
        return Kind.DELTA
    if named := _NAME.match(event):
        return _KINDS.get(named[1].strip(), Kind.OTHER)
    if match := _DATA_TYPE.search(event):
        return _KINDS.get(match[1], Kind.OTHER)
    try:  # not as the Messages API writes it, but as a compatible server may
        return _KINDS.get(_typed.decode(data_of(event)).type.encode(), Kind.OTHER)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Kind.OTHER


def data_of(event: bytes) -> bytes:
    """The event's data, lines joined as the standard says; empty when it has none."""
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    return lines[0] if len(lines) == 1 else b"\n".join(lines)


def error_event(kind: str, message: str) -> bytes:
    """The event Claude's stream uses to end in an error; clients print its message."""
    body = msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})
    return b"event: error\ndata: " + body + b"\n\n"
