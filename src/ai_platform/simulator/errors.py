"""The API's errors: one exception that carries status, type and message, and the envelope it becomes on the wire."""

from collections.abc import Sequence

import msgspec

ERROR_TYPES: dict[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""HTTP status -> `error.type` (platform.claude.com, "Errors"); any other 4xx/5xx see `error_type`."""

DEFAULT_MESSAGES: dict[int, str] = {
    429: "This request would exceed your organization's rate limit (simulated).",
    500: "Internal server error",
    529: "Overloaded",
}


def error_type(status: int) -> str:
    if status in ERROR_TYPES:
        return ERROR_TYPES[status]
    return "api_error" if status >= 500 else "invalid_request_error"


def envelope(kind: str, message: str, request_id: str | None) -> bytes:
    """`{"type":"error","error":{"type","message"},"request_id"}`; the last field is left out when it is None (SSE)."""
    body: dict[str, object] = {"type": "error", "error": {"type": kind, "message": message}}
    if request_id is not None:
        body["request_id"] = request_id
    return msgspec.json.encode(body)


class ApiError(Exception):
    """An error answer. headers: extra response headers, e.g. retry-after."""

    def __init__(
        self, status: int, message: str, *, kind: str | None = None, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind or error_type(status)
        self.headers = list(headers)


def invalid(message: str) -> ApiError:
    return ApiError(400, message)


def not_found(message: str) -> ApiError:
    return ApiError(404, message)


class ClientGone(Exception):
    """The client hung up; there is nobody to answer."""
