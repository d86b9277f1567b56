"""The API's usage JSON, typed, tolerant: a field of a wrong type is absent, everything unknown is ignored.

Source: platform.claude.com, Messages API, `usage`; anthropic SDK 2.12 `types/usage.py`, `types/beta/beta_usage.py`.
"""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec

MOST_TOKENS = 1_000_000_000
"""No request has more; a larger number is a defect of the other side and counts as absent."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]
S = TypeVar("S", bound=msgspec.Struct)


class Creation(msgspec.Struct, frozen=True):
    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class PassUsage(msgspec.Struct, frozen=True):
    """One entry of `iterations`."""

    type: str | None = None
    model: str | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: Creation | None = None


class OutputDetails(msgspec.Struct, frozen=True):
    thinking_tokens: Count | None = None


class ServerTools(msgspec.Struct, frozen=True):
    web_search_requests: Count | None = None
    web_fetch_requests: Count | None = None


class WireUsage(msgspec.Struct, frozen=True):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: Creation | None = None
    output_tokens_details: OutputDetails | None = None
    server_tool_use: ServerTools | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    iterations: tuple[PassUsage, ...] | None = None


class Message(msgspec.Struct, frozen=True):
    """A whole answer, or the `message` of message_start."""

    model: str | None = None
    stop_reason: str | None = None
    usage: WireUsage | None = None


class MessageStart(msgspec.Struct, frozen=True):
    message: Message = Message()


class Stop(msgspec.Struct, frozen=True):
    stop_reason: str | None = None


class MessageDelta(msgspec.Struct, frozen=True):
    delta: Stop = Stop()
    usage: WireUsage | None = None


_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Message, MessageStart, MessageDelta)
}


def decode(data: bytes | memoryview, kind: type[S]) -> tuple[S, bool]:
    """(value, clean). clean: every field we read had its type; otherwise the odd ones count as absent.

    What is not a JSON object at all is an empty value: the upstream's answer is not ours to judge.
    """
    try:
        return _DECODERS[kind].decode(data), True
    except (msgspec.ValidationError, RecursionError):
        pass
    except (msgspec.DecodeError, UnicodeDecodeError):
        return kind(), False
    try:
        return _lenient(msgspec.json.decode(data), kind), False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return kind(), False


def convert(value: Any, kind: type[S]) -> tuple[S, bool]:
    """The same for JSON that is decoded already."""
    try:
        return msgspec.convert(value, kind), True
    except (msgspec.ValidationError, RecursionError):
        return _lenient(value, kind), False


def _lenient(value: Any, kind: type[S]) -> S:
    """Field by field: what does not fit is left out."""
    if not isinstance(value, dict):
        return kind()
    readers = _READERS[kind]
    fields = {name: readers[name](value[name]) for name in readers if name in value}
    return kind(**{name: field for name, field in fields.items() if field is not None})


def _count(value: Any) -> int | None:
    """A whole float is what some proxies make of an integer."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= MOST_TOKENS and value == int(value) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _struct(kind: type[msgspec.Struct]) -> Callable[[Any], Any]:
    return lambda value: _lenient(value, kind) if isinstance(value, dict) else None


def _passes(value: Any) -> tuple[PassUsage, ...] | None:
    return tuple(_lenient(entry, PassUsage) for entry in value) if isinstance(value, list) else None


Readers = dict[str, Callable[[Any], Any]]

_CREATION: Readers = {"ephemeral_5m_input_tokens": _count, "ephemeral_1h_input_tokens": _count}
_COUNTS: Readers = {
    "input_tokens": _count,
    "output_tokens": _count,
    "cache_read_input_tokens": _count,
    "cache_creation_input_tokens": _count,
    "cache_creation": _struct(Creation),
}

_READERS: dict[type, Readers] = {
    Creation: _CREATION,
    PassUsage: _COUNTS | {"type": _text, "model": _text},
    OutputDetails: {"thinking_tokens": _count},
    ServerTools: {"web_search_requests": _count, "web_fetch_requests": _count},
    WireUsage: _COUNTS
    | {
        "output_tokens_details": _struct(OutputDetails),
        "server_tool_use": _struct(ServerTools),
        "service_tier": _text,
        "speed": _text,
        "inference_geo": _text,
        "iterations": _passes,
    },
    Message: {"model": _text, "stop_reason": _text, "usage": _struct(WireUsage)},
    MessageStart: {"message": _struct(Message)},
    Stop: {"stop_reason": _text},
    MessageDelta: {"delta": _struct(Stop), "usage": _struct(WireUsage)},
}
