"""Reads the head of an answer: what travels on, and how its content is delimited (RFC 9112 6). Pure."""

import re

import msgspec

from ai_platform.domain.call import Headers
from ai_platform.upstream.headers import ANSWER_DROPPED, connection_options

MAX_FIELDS = 256

_WATCHED = ANSWER_DROPPED | {b"content-length", b"content-encoding"}
_ROUTINE = frozenset({b"close", b"keep-alive"})
_KEEP_ALIVE_TIMEOUT = re.compile(rb"timeout\s*=\s*(\d{1,6})")


class AnswerHead(msgspec.Struct):
    """headers: those that travel on. length: of the content, None when not announced; chunked: it comes in chunks.

    encoding: content-encoding, lower-case. keep_alive: seconds the upstream will keep the connection, if it said.
    """

    headers: Headers
    length: int | None = None
    chunked: bool = False
    encoding: bytes = b""
    keep_alive: float | None = None


def read_answer_head(fields: Headers) -> AnswerHead:
    """Sort the fields of an answer (names lower-case).

    Raises:
        ValueError: two readers could see different messages, or there are too many fields.

    """
    if len(fields) > MAX_FIELDS:
        raise ValueError(f"more than {MAX_FIELDS} header fields")
    headers: Headers = []
    head = AnswerHead(headers)
    named: frozenset[bytes] = frozenset()
    for field in fields:
        name = field[0]
        if name not in _WATCHED:
            headers.append(field)
            continue
        value = field[1].strip(b" \t")
        if name == b"content-length":
            if head.length is not None or not value.isdigit():
                raise ValueError("a content-length that is unclear")
            head.length = int(value)
            headers.append(field)
        elif name == b"transfer-encoding":
            if head.chunked or value.lower() != b"chunked":
                raise ValueError("a transfer-encoding other than `chunked`, once")
            head.chunked = True
        elif name == b"content-encoding":
            # Two codings, in one field or in two, never compare equal to one that can be decoded.
            head.encoding = b",".join(filter(None, (head.encoding, value.lower())))
            headers.append(field)
        elif name == b"connection":
            if value not in _ROUTINE:
                named = connection_options(fields)
        elif name == b"keep-alive":
            match = _KEEP_ALIVE_TIMEOUT.search(value)
            head.keep_alive = float(match[1]) if match is not None else None
    if head.chunked and head.length is not None:
        raise ValueError("both transfer-encoding and content-length")
    if named:
        head.headers = [field for field in headers if field[0] not in named]
    return head
