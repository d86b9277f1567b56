"""Replaces the model in a request's JSON body by its bytes alone: every other byte stays as the caller wrote it."""

import re

import msgspec

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)
_VALUE = re.compile(rb'[ \t\r\n]*+:[ \t\r\n]*+("[^"\\]*+(?:\\.[^"\\]*+)*+"|[-+.\w]++)', re.DOTALL)
_OPEN, _CLOSE = b"{[", b"}]"


def with_model(body: bytes, model: str) -> bytes:
    """`body` with each top-level `"model"` value replaced; unchanged when there is none.

    All of them, because readers disagree on which of two equal keys counts. One pass, linear in the body.
    """
    value = msgspec.json.encode(model)
    pieces: list[bytes] = []
    depth = copied = 0
    for token in _TOKEN.finditer(body):
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
    if text == b'"model"':
        return True
    if b"\\" not in text or len(text) > 64:  # "model" with all its letters escaped has 32 bytes
        return False
    try:
        return msgspec.json.decode(text) == "model"
    except msgspec.DecodeError:
        return False
