"""Which header fields travel, and how a request's head is written. Bytes in, bytes out; no input or output.

RFC 9110 7.6.1 (connection fields), RFC 9112 6 (one length, ours) and 11.2 (request smuggling).
"""

import re

from ai_platform.domain.call import Headers
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall

TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
"""RFC 9110 5.6.2 without upper case: names are lower-case in the platform, and only so do the sets below hold."""

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
CREDENTIALS = frozenset({b"authorization", b"x-api-key"})

_PRIVATE = frozenset(
    {
        b"cookie",
        b"host",
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"content-length",
        b"expect",
        b"x-claude-code-managed-settings-checksum",
    }
)
"""Of the caller and the platform only: where the call came from, what a browser holds, the framing we redo, and a hash
that guesses at the organisation's settings could be tested with.
"""

_OVERRIDES = frozenset(
    {b"x-http-method-override", b"x-http-method", b"x-method-override", b"x-original-url", b"x-rewrite-url"}
)
"""Some servers take these for the request's method or path, which were decided on as they stand."""

REQUEST_DROPPED = HOP_BY_HOP | CREDENTIALS | _PRIVATE | _OVERRIDES | {b"accept-encoding"}
"""What a request loses; accept-encoding because the platform reads the answer and asks for it uncompressed."""

REFUSED_EXTRA = REQUEST_DROPPED | {b"set-cookie"}
IDENTITY = b"accept-encoding: identity\r\n"

ANSWER_DROPPED = HOP_BY_HOP | {
    b"set-cookie",
    b"set-cookie2",
    b"alt-svc",
    b"strict-transport-security",
    b"clear-site-data",
}
"""Besides hop-by-hop: what would act on the platform's own origin in a browser instead of on the upstream's."""

_FORWARDED = b"x-forwarded-"
_SIMPLE_PATH = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
_ALLOWED_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_DOT_SEGMENT = re.compile(r"(?i)(?:/|\\|%2f|%5c)(?:\.|%2e){1,2}(?:/|\\|%2f|%5c|;|$)")
_QUERY = re.compile(rb"[!\"$-~\x80-\xff]*")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ROUTINE = ([], [b"keep-alive"], [b"close"])


def request_line(method: str, base: bytes, path: str, query: bytes) -> bytes:
    """`POST /base/path?query HTTP/1.1` and line end.

    Raises:
        InvalidCall: the parts could be read as something else by the upstream, or climb out of the base path.

    """
    if not _SIMPLE_PATH.fullmatch(path):
        path = _checked(path)
    if method not in _METHODS:
        raise _invalid(f"method {method!r} is not passed on")
    if not query:
        return b"%b %b%b HTTP/1.1\r\n" % (method.encode(), base, path.encode())
    if not _QUERY.fullmatch(query):
        raise _invalid("the query holds characters that must be percent-encoded")
    return b"%b %b%b?%b HTTP/1.1\r\n" % (method.encode(), base, path.encode(), query)


def write_head(start: bytes, fields: Headers, *, dropped: frozenset[bytes], own: bytes, length: int | None) -> bytes:
    """The head of a request: `start` (request line, host), the caller's fields in order, then `own` and the length.

    dropped: names that do not travel, besides `x-forwarded-*`. length: None sends none (a request without content).

    Raises:
        InvalidCall: a name or value that could end its line or start another one.

    """
    if [value for name, value in fields if name == b"connection"] not in _ROUTINE:
        dropped |= connection_options(fields)
    kept = [field for field in fields if field[0] not in dropped]
    names = b"\n".join([field[0] for field in kept])
    if b"_" in names or _FORWARDED in names:
        kept = [field for field in kept if _travels(field[0].replace(b"_", b"-"), dropped)]
        names = b"\n".join([field[0] for field in kept])
    size = b"" if length is None else b"content-length: %d\r\n" % length
    if not kept:
        return b"%b%b%b\r\n" % (start, own, size)
    lines = b"\r\n".join(map(b": ".join, kept))
    ends = len(kept) - 1
    if (
        len(lines) - len(lines.translate(None, b"\r\n\0")) != 2 * ends  # no line ends but those between the fields
        or names.translate(None, TOKEN) != b"\n" * ends
        or lines.startswith(b":")
        or b"\n:" in lines  # a name is not empty
    ):
        raise _invalid("a header field holds characters that HTTP does not allow there")
    return b"%b%b\r\n%b%b\r\n" % (start, lines, own, size)


def _travels(name: bytes, dropped: frozenset[bytes]) -> bool:
    """name: with `-` for `_`, because servers that take both for one would read a forged `x_api_key`."""
    return name not in dropped and not name.startswith(_FORWARDED)


def connection_options(fields: Headers) -> frozenset[bytes]:
    """What every `connection` field names, lower-case (RFC 9110 7.6.1)."""
    options = (option for name, value in fields if name == b"connection" for option in value.split(b","))
    return frozenset(option.strip(b" \t").lower() for option in options)


def _checked(path: str) -> str:
    """The path as it may stand in a request line; what was received decoded is encoded again, the rest stays."""
    if not path.startswith("/") or _DOT_SEGMENT.search(path):
        raise _invalid("the path must start with `/` and must not hold `.` or `..` segments")
    if _ALLOWED_PATH.fullmatch(path):
        return path
    return "".join(letter if _ALLOWED_PATH.fullmatch("/" + letter) else _percent(letter) for letter in path)


def _percent(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogatepass"))


def _invalid(message: str) -> InvalidCall:
    return InvalidCall(Refusal.INVALID_REQUEST, message)
