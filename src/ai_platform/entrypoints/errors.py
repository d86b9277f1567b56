"""One table: domain error -> HTTP status, Anthropic error type and retry headers.

The statuses are chosen by how real clients react: Claude Code re-sends a 400 or 422 several times at once and hides
the message of a 404 or 413, but shows a 451 once and verbatim; `x-should-retry: false` stops Anthropic's SDKs.
"""

import math

import msgspec

from ai_platform.domain.call import Headers
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import (
    ApprovalNeeded,
    AuditUnavailable,
    Blocked,
    ConfigError,
    Denied,
    InvalidCall,
    NotFound,
    OverBudget,
    PlatformError,
    RateLimited,
    Refused,
    StoreUnavailable,
    Unauthenticated,
    UpstreamBroken,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from ai_platform.gateway.defects import defect

LONGEST_CLIENT_WAIT = 60.0
"""Claude Code waits for a retry-after up to this many seconds; beyond it, it shows the message at once."""


class Shape(msgspec.Struct, frozen=True):
    status: int
    type: str
    retry: bool
    retry_after: float | None = None


SHAPES: tuple[tuple[type[PlatformError], Shape], ...] = (
    (Unauthenticated, Shape(401, "authentication_error", retry=False)),
    (Blocked, Shape(451, "permission_error", retry=False)),
    (Denied, Shape(451, "permission_error", retry=False)),
    (ApprovalNeeded, Shape(451, "permission_error", retry=False)),
    (RateLimited, Shape(429, "rate_limit_error", retry=True, retry_after=30)),
    (OverBudget, Shape(429, "billing_error", retry=False)),
    (NotFound, Shape(404, "not_found_error", retry=False)),
    (InvalidCall, Shape(400, "invalid_request_error", retry=False)),
    (Refused, Shape(451, "permission_error", retry=False)),
    (UpstreamUnreachable, Shape(503, "api_error", retry=True, retry_after=5)),
    (UpstreamTimeout, Shape(504, "timeout_error", retry=True)),
    (UpstreamBroken, Shape(502, "api_error", retry=True)),
    (AuditUnavailable, Shape(503, "api_error", retry=True, retry_after=5)),
    (StoreUnavailable, Shape(503, "api_error", retry=True, retry_after=5)),
    (ConfigError, Shape(500, "api_error", retry=False)),
    (PlatformError, Shape(500, "api_error", retry=True)),
)

BY_REASON: dict[Refusal, Shape] = {
    Refusal.TOO_LARGE: Shape(413, "request_too_large", retry=False),
    Refusal.OVERLOADED: Shape(503, "overloaded_error", retry=True, retry_after=1),
    Refusal.INSPECTION_FAILED: Shape(451, "permission_error", retry=False),
}
"""Reasons whose answer differs from that of their error class."""


def shape_of(error: PlatformError) -> Shape:
    """The answer to this error, with its own retry_after when it has one."""
    if isinstance(error, Refused) and error.reason in BY_REASON:
        shape = BY_REASON[error.reason]
    else:
        shape = next(shape for kind, shape in SHAPES if isinstance(error, kind))
    wait = getattr(error, "retry_after", None)
    if wait is None:
        return shape
    retry = shape.retry and wait <= LONGEST_CLIENT_WAIT
    return msgspec.structs.replace(shape, retry=retry, retry_after=wait)


def envelope(kind: str, message: str, request_id: str) -> bytes:
    """The error body of the Messages API (platform.claude.com, "Errors")."""
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id})


def internal_answer(error: BaseException | None, request_id: str) -> tuple[int, Headers, bytes]:
    """The answer when an exception that is none of the platform's reached the outer border (None: no answer came)."""
    return answer_to(defect(error, request_id), request_id)


def sentence(error: PlatformError) -> str:
    """What the caller reads: for a failure of the other side also what to do about it."""
    text = str(error)
    if not isinstance(error, UpstreamError):
        return text
    advice = "" if "hoever runs" in text else " Try again; if it stays so, tell whoever runs this gateway."
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}{advice}"


def answer_to(error: PlatformError, request_id: str) -> tuple[int, Headers, bytes]:
    """Status, headers and body for a call that ends in this error."""
    shape = shape_of(error)
    body = envelope(shape.type, sentence(error), request_id)
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"request-id", request_id.encode()),
        (b"x-should-retry", b"true" if shape.retry else b"false"),
    ]
    if shape.retry_after is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(shape.retry_after))).encode()))
    if shape.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="ai-platform"'))
    return shape.status, headers, body
