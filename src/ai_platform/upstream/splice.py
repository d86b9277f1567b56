"""Replaces the model in a request's JSON body by its bytes alone: every other byte stays as the caller wrote it."""

import re

import msgspec

MAX_TOKENS = 100_000
"""Strings and brackets looked at in the slow way, some tens of milliseconds: the event loop waits for no caller."""

_KEY = b'"model"'
_OTHER = b'"-----"'
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)
_VALUE = re.compile(rb'[ \t\r\n]*+:[ \t\r\n]*+("[^"\\]*+(?:\\.[^"\\]*+)*+"|[-+.\w]++)', re.DOTALL)
_OPEN, _CLOSE = b"{[", b"}]"


class _Top(msgspec.Struct):
    model: msgspec.Raw = msgspec.Raw()


_DECODER = msgspec.json.Decoder(_Top)


def with_model(body: bytes, model: str) -> bytes:
    """`body` with each top-level `"model"` value replaced; unchanged when there is none.

    All of them, because readers disagree on which of two equal keys counts.

    Raises:
        ValueError: not a JSON object, or so many values before the model that finding it would take too long.

    """
    value = msgspec.json.encode(model)
    # Nearly always the model stands first or last; two passes of the C parser prove that this was the only one.
    for place in (body.find(_KEY), body.rfind(_KEY)):
        after = place + len(_KEY)
        found = _VALUE.match(body, after) if place >= 0 else None
        if found is not None:
            changed = body[: found.start(1)] + value + body[found.end(1) :]
            if _model_in(changed) == value and not _model_in(body[:place] + _OTHER + body[after:]):
                return changed
    return _searched(body, value)


def _model_in(body: bytes) -> bytes:
    """The last top-level model as it is written, b"" for none."""
    return bytes(_DECODER.decode(body).model)  # its DecodeError is a ValueError


def _searched(body: bytes, value: bytes) -> bytes:
    """The general way: walk over strings and brackets, wherever the key stands and however it is spelt."""
    pieces: list[bytes] = []
    depth = copied = 0
    for number, token in enumerate(_TOKEN.finditer(body)):
        if number > MAX_TOKENS:
            raise ValueError(f"more than {MAX_TOKENS} values around the model")
        first = body[token.start()]
        if first in _OPEN:
            depth += 1
        elif first in _CLOSE:
            depth -= 1
        elif depth == 1 and _is_model(token[0]):
            found = _VALUE.match(body, token.end())
            # A string without a colon after it is a value that happens to read "model".
            if found is not None:
                pieces += (body[copied : found.start(1)], value)
                copied = found.end(1)
    if not pieces:
        return body
    return b"".join((*pieces, body[copied:]))


def _is_model(text: bytes) -> bool:
    if text == _KEY:
        return True
    # "model" with all its letters escaped has 32 bytes
    return b"\\" in text and len(text) <= 32 and msgspec.json.decode(text) == "model"
