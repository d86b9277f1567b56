"""What an admin endpoint is. The router authenticates, checks `permission`, records the action, encodes the result."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall
from ai_platform.domain.permission import Permission
from ai_platform.domain.principal import Principal


class AdminRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated, authorised admin call.

    params: path parameters and query parameters, as text. body: the decoded JSON object, {} when there was none.
    """

    principal: Principal
    params: dict[str, str] = {}
    body: dict[str, Any] = {}


Handler = Callable[[AdminRequest], Awaitable[Any]]
"""Returns something msgspec can encode as JSON, or an async iterator of bytes (sent as application/jsonl)."""

Lines = AsyncIterator[bytes]

_Body = TypeVar("_Body")


def body_as(request: AdminRequest, kind: type[_Body]) -> _Body:
    """The body as this struct. Raises InvalidCall."""
    try:
        return msgspec.convert(request.body, kind)
    except msgspec.ValidationError as error:
        raise InvalidCall(Refusal.INVALID_REQUEST, f"The body is not usable: {error}.") from error


def flag(params: dict[str, str], name: str) -> bool:
    """Raises InvalidCall for anything but 0, 1, true, false or nothing."""
    text = params.get(name, "").lower()
    if text not in {"", "0", "1", "true", "false"}:
        raise InvalidCall(Refusal.INVALID_REQUEST, f"Parameter {name}={text[:60]!r} is not 1 or 0.")
    return text in {"1", "true"}


class Endpoint(msgspec.Struct, frozen=True):
    """method + path (`/admin/keys/{id}`), who may call it, and the function that answers.

    changes: the call changes something, so it is written to the audit log as an admin action.
    Handlers raise domain errors (`InvalidCall` for bad parameters); the router maps them.
    """

    method: str
    path: str
    permission: Permission
    handle: Handler
    changes: bool = False
