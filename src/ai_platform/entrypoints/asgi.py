"""Every route of the platform in one table, and the ASGI application that follows it.

POST     /v1/messages                            Messages API                flow
POST     /v1/messages/count_tokens               token counting              flow
POST GET /v1/messages/batches                    Message Batches             flow
*        /v1/messages/batches/ID[/...]           the same                    flow
GET      /v1/models[/ID]                         models                      flow
POST GET /v1/files                               Files                       flow
*        /v1/files/ID[/content]                  the same                    flow
*        /admin/...                              admin API                   entrypoints/admin
GET POST /.well-known/oauth-authorization-server, /oauth/...  tokens         entrypoints/signin/oauth
GET POST /auth/...                               signing in with a browser   entrypoints/signin/browser
GET POST /saml/...                               signing in by SAML          entrypoints/signin/saml
GET POST /device                                 approving a program         entrypoints/signin/device
GET POST /oauth/authorize, /oauth/consent        access for MCP clients      entrypoints/signin/authorize
GET POST /.well-known/oauth-protected-resource[/mcp[/NAME]], /oauth/register  entrypoints/signin/clients
GET      /managed/settings /api/oauth/usage      for signed-in Claude Code   entrypoints/signin/claude_code
POST     /v1/metrics /v1/logs /v1/traces         its telemetry               the same
GET HEAD /metrics /healthz /readyz               operations, no credential   entrypoints/operations
GET HEAD /                                       what this is                entrypoints/operations
"""

import re
import time
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from ai_platform.domain.call import Operation
from ai_platform.domain.identifiers import new_id
from ai_platform.entrypoints.errors import envelope
from ai_platform.entrypoints.http import Handler, Receive, Scope, Send, send_whole
from ai_platform.entrypoints.messages import MessagesDoor
from ai_platform.entrypoints.operations import Operations

EXACT: MappingProxyType[tuple[str, str], Operation] = MappingProxyType(
    {
        ("POST", "/v1/messages"): Operation.MESSAGES_CREATE,
        ("POST", "/v1/messages/count_tokens"): Operation.COUNT_TOKENS,
        ("POST", "/v1/messages/batches"): Operation.BATCHES_CREATE,
        ("GET", "/v1/messages/batches"): Operation.BATCHES,
        ("GET", "/v1/models"): Operation.MODELS,
        ("POST", "/v1/files"): Operation.FILES_CREATE,
        ("GET", "/v1/files"): Operation.FILES,
    }
)

BELOW: tuple[tuple[str, str, frozenset[str], Operation], ...] = (
    ("/v1/messages/batches/", "", frozenset({"GET", "DELETE"}), Operation.BATCHES),
    ("/v1/messages/batches/", "/results", frozenset({"GET"}), Operation.BATCHES),
    ("/v1/messages/batches/", "/cancel", frozenset({"POST"}), Operation.BATCHES),
    ("/v1/models/", "", frozenset({"GET"}), Operation.MODELS),
    ("/v1/files/", "", frozenset({"GET", "DELETE"}), Operation.FILES),
    ("/v1/files/", "/content", frozenset({"GET"}), Operation.FILES),
)
"""What stands before and behind an identifier, methods, operation. What is not in these tables does not exist."""

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._:@~-]*")
_DOUBTFUL = re.compile(rb"[\x00-\x20\x7f%\\;?#]|(?:^|/)\.{0,2}(?:/|$)")


class Application:
    """The ASGI application: looks the route up and hands over.

    handlers: further routes, by method and path. mounts: who answers every path that begins so (`/admin/`).
    """

    def __init__(
        self,
        door: MessagesDoor,
        operations: Operations,
        *,
        handlers: Mapping[tuple[str, str], Handler],
        mounts: Mapping[str, Handler],
    ) -> None:
        self._mounts = tuple(mounts.items())
        self._handlers: dict[tuple[str, str], Handler] = {
            route: partial(door.serve, operation) for route, operation in EXACT.items()
        }
        self._handlers |= operations.handlers()
        self._handlers |= handlers
        self._below = [
            (before, behind, methods, partial(door.serve, operation)) for before, behind, methods, operation in BELOW
        ]
        self._methods: dict[str, list[str]] = {}
        for method, path in self._handlers:
            self._methods.setdefault(path, []).append(method)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["raw_path"].decode("latin-1")  # as sent: what is matched here is what the upstream sees
        handler = self._handlers.get((scope["method"], path)) or self._find(scope["method"], path)
        await handler(scope, receive, send)

    def _find(self, method: str, path: str) -> Handler:
        for mount, handler in self._mounts:
            if path.startswith(mount):
                return handler
        allowed = list(self._methods.get(path, ()))
        for before, behind, methods, handler in self._below:
            if path.startswith(before) and path.endswith(behind):
                identifier = path[len(before) : len(path) - len(behind)]
                if _is_identifier(identifier, slashes=before == "/v1/models/"):
                    if method in methods:
                        return handler
                    allowed += methods
        return partial(_wrong_method, sorted(allowed)) if allowed else _not_found


def _is_identifier(text: str, *, slashes: bool) -> bool:
    """Nothing that an upstream could resolve to another path, encoded or not. Names of models may hold slashes."""
    if _PLAIN.fullmatch(text):
        return True
    plain = unquote_to_bytes(text)
    return "/" not in text and not _DOUBTFUL.search(plain) and (slashes or b"/" not in plain)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    del receive
    message = f"This gateway serves no {scope['path'][:200]}. Its API begins at /v1/messages."
    await _refuse(send, 404, "not_found_error", message)


async def _wrong_method(allowed: list[str], scope: Scope, receive: Receive, send: Send) -> None:
    del receive
    names = ", ".join(allowed)
    message = f"{scope['path'][:200]} does not take {scope['method']}, but {names}."
    await _refuse(send, 405, "invalid_request_error", message, (b"allow", names.encode()))


async def _refuse(send: Send, status: int, kind: str, message: str, *fields: tuple[bytes, bytes]) -> None:
    request_id = new_id("req", time.time())
    body = envelope(kind, message, request_id)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"request-id", request_id.encode()),
        (b"x-should-retry", b"false"),
        *fields,
    ]
    await send_whole(send, status, headers, body)
