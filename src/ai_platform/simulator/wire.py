"""Server-sent events of the Messages API as bytes, encoded once before the stream starts.

Event shapes: platform.claude.com "Streaming messages". Nothing here waits or writes.
"""

from typing import Any

import msgspec

from ai_platform.simulator.errors import envelope

Json = dict[str, Any]

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
BROKEN = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_del\n\n'
"""A frame whose JSON is cut off: the `malformed` fault."""


def event(name: str, data: Json) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))


def message_start(message: Json) -> bytes:
    return event("message_start", {"type": "message_start", "message": message})


def block_start(index: int, block: Json) -> bytes:
    return event("content_block_start", {"type": "content_block_start", "index": index, "content_block": block})


def block_stop(index: int) -> bytes:
    return event("content_block_stop", {"type": "content_block_stop", "index": index})


def delta(index: int, kind: str, field: str, value: str) -> bytes:
    """`kind` is the delta's type (text_delta, thinking_delta, input_json_delta, signature_delta), `field` its key."""
    return (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%s","%s":%s}}\n\n'
        % (index, kind.encode(), field.encode(), msgspec.json.encode(value))
    )


def message_delta(delta_fields: Json, usage: Json, extra: Json) -> bytes:
    return event("message_delta", {"type": "message_delta", "delta": delta_fields, "usage": usage, **extra})


def error(kind: str, message: str) -> bytes:
    return b"event: error\ndata: %s\n\n" % envelope(kind, message, None)
