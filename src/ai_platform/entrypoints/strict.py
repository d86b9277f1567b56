"""What the head of a request must be so that no two readers can read it differently (RFC 9112 2.2, 3.2, 6, 11.2).

The parser (llhttp, strict) has refused what is not HTTP; this refuses what is only doubtful. Above: connection.
"""

from typing import NamedTuple

from ai_platform.domain.call import Headers

MAX_HEAD = 64 * 1024
"""Bytes of a request head; also of chunk extensions and trailers in a row, and of requests sent ahead."""

MAX_FIELDS = 200


class Why(NamedTuple):
    """status: with its phrase, as in the status line."""

    status: bytes
    text: str


class BadRequest(Exception):
    def __init__(self, why: Why) -> None:
        super().__init__(why.text)
        self.why = why


TOO_LARGE = Why(b"431 Request Header Fields Too Large", "The request head exceeds 64 KiB or 200 fields.")
TOO_SLOW = Why(b"408 Request Timeout", "The request head did not arrive in time.")
NOT_HTTP = Why(b"400 Bad Request", "This is not a valid HTTP/1.1 request.")
FULL = Why(b"503 Service Unavailable", "Too many connections are open. Come back in a moment.")
NO_FURTHER = Why(b"400 Bad Request", "Too much was sent ahead of the answers. Wait for each answer.")
NO_HOST = Why(b"400 Bad Request", "A request needs exactly one Host field.")
CODED = Why(b"501 Not Implemented", "Of transfer codings only `chunked` is taken, in HTTP/1.1.")
EXPECTS = Why(b"417 Expectation Failed", "Of expectations only `100-continue` is met.")
VERSION = Why(b"505 HTTP Version Not Supported", "This server speaks HTTP/1.1 (and 1.0).")


def expects_continue(headers: Headers, version: str) -> bool:
    """Whether the client waits for `100 Continue` before it sends the body.

    Raises:
        BadRequest: the head is doubtful, or asks for what is not offered.
    """
    hosts = 0
    expects = False
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding":
            if version != "1.1" or value.lower() != b"chunked":
                raise BadRequest(CODED)
        elif name == b"expect":
            expects = value.lower() == b"100-continue"
            if not expects:
                raise BadRequest(EXPECTS)
    if version not in {"1.0", "1.1"}:
        raise BadRequest(VERSION)
    if hosts > 1 or (version == "1.1" and not hosts):
        raise BadRequest(NO_HOST)
    return expects


def without_upgrade(method: bytes, url: bytes, version: str, headers: Headers) -> bytes:
    """The same head, as a client sends it that asks for no other protocol."""
    closes = any(name == b"connection" and b"close" in value.lower() for name, value in headers)
    fields = [field for field in headers if field[0] not in {b"connection", b"upgrade", b"http2-settings"}]
    fields += [(b"connection", b"close")] if closes else []
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode()), *(b": ".join(field) for field in fields)]
    return b"\r\n".join(lines) + b"\r\n\r\n"
