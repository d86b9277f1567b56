"""What streams in an event of the Messages API: its usual shape, and how the most forgiving client reads another.

Above: stream.py. Below: nothing.
"""

from typing import Any

import msgspec

STREAMED = ("text", "partial_json", "thinking")
"""Members whose text goes on in the next event."""

_OPAQUE = frozenset({"type", "signature", "data", "encrypted_content", "stop_reason", "stop_sequence"})


class Delta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    estimated_tokens: int | None = None


class Event(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    type: str = ""
    index: int = 0
    delta: Delta | None = None


decode = msgspec.json.Decoder(Event).decode


def texts_in(delta: Delta) -> int:
    return sum(value is not None for value in (delta.text, delta.partial_json, delta.thinking, delta.signature))


def drop_others(members: dict[str, Any], name: str) -> bool:
    """Of several texts in one event only one is followed, and passed on. Were there others?"""
    others = [other for other in STREAMED if name and other != name and other in members]
    for other in others:
        del members[other]
    return bool(others)


def index_of(document: dict[str, Any]) -> int | str:
    index = document.get("index", 0)
    return index if isinstance(index, int) else repr(index)


def streamed(delta: dict[str, Any]) -> str:
    """The member of a delta that is a piece of a longer text."""
    for name in STREAMED:
        if isinstance(delta.get(name), str):
            return name
    return next((name for name, value in delta.items() if isinstance(value, str) and name not in _OPAQUE), "")
