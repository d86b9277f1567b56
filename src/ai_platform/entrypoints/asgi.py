"""Every route of the platform in one table, and the ASGI application that follows it.

POST /v1/messages                    Messages API                        flow
POST /v1/messages/count_tokens       token counting                      flow
*    /v1/messages/batches[...]       Message Batches                     flow
GET  /v1/models[/ID]                 models                              flow
*    /v1/files[...]                  Files                               flow
*    /admin/...                      admin API                           entrypoints/admin
GET  /metrics /healthz /readyz       operations, no credential           entrypoints/operations
GET  /                               what this is                        entrypoints/operations
"""

from collections.abc import Mapping
from functools import partial

from ai_platform.domain.call import Operation
from ai_platform.entrypoints.admin.router import AdminRouter
from ai_platform.entrypoints.errors import envelope
from ai_platform.entrypoints.http import Handler, Receive, Scope, Send, send_whole
from ai_platform.entrypoints.messages import MessagesDoor
from ai_platform.entrypoints.operations import Operations

EXACT: dict[tuple[str, str], Operation] = {
    ("POST", "/v1/messages"): Operation.MESSAGES_CREATE,
    ("POST", "/v1/messages/count_tokens"): Operation.COUNT_TOKENS,
    ("POST", "/v1/messages/batches"): Operation.BATCHES_CREATE,
    ("GET", "/v1/messages/batches"): Operation.BATCHES,
    ("GET", "/v1/models"): Operation.MODELS,
    ("POST", "/v1/files"): Operation.FILES_CREATE,
    ("GET", "/v1/files"): Operation.FILES,
}

BELOW: tuple[tuple[str, frozenset[str], Operation], ...] = (
    ("/v1/messages/batches/", frozenset({"GET", "POST", "DELETE"}), Operation.BATCHES),
    ("/v1/models/", frozenset({"GET"}), Operation.MODELS),
    ("/v1/files/", frozenset({"GET", "DELETE"}), Operation.FILES),
)
"""Prefix, methods, operation. What is not in these tables does not exist."""


class Application:
    """The ASGI application: looks the route up and hands over. signin: the routes of sign-in, by method and path."""

    def __init__(
        self,
        door: MessagesDoor,
        admin: AdminRouter,
        operations: Operations,
        signin: Mapping[tuple[str, str], Handler] | None = None,
    ) -> None:
        self._door = door
        self._admin = admin
        self._handlers: dict[tuple[str, str], Handler] = {
            route: partial(door.serve, operation) for route, operation in EXACT.items()
        }
        self._handlers |= operations.handlers()
        self._handlers |= signin or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["raw_path"].decode("latin-1")  # as sent: what is matched here is what the upstream sees
        handler = self._handlers.get((scope["method"], path)) or self._below(scope["method"], path)
        await handler(scope, receive, send)

    def _below(self, method: str, path: str) -> Handler:
        if path.startswith("/admin/"):
            return self._admin
        for prefix, methods, operation in BELOW:
            if path.startswith(prefix) and len(path) > len(prefix) and _is_plain(path):
                return partial(self._door.serve, operation) if method in methods else _wrong_method
        known = any(path == known_path for _, known_path in self._handlers)
        return _wrong_method if known else _not_found


def _is_plain(path: str) -> bool:
    """No dot or empty segments, which an upstream could resolve to another path."""
    return not {".", "..", ""} & set(path[1:].split("/"))


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    del receive
    await _plain_error(send, 404, f"This gateway serves no {scope['path']}. Its API begins at /v1/messages.")


async def _wrong_method(scope: Scope, receive: Receive, send: Send) -> None:
    del receive
    await _plain_error(send, 405, f"{scope['path']} does not take {scope['method']}.")


async def _plain_error(send: Send, status: int, message: str) -> None:
    body = envelope("not_found_error" if status == 404 else "invalid_request_error", message, "")
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send_whole(send, status, headers, body)
