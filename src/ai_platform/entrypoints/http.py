"""The ASGI side of both doors: read a bounded body, send an answer, notice a client that hangs up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Protocol

from ai_platform.domain.call import Headers
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
CONNECTION = "ai_platform.connection"
"""Key of the server's Connection in the scope's extensions."""

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]


class ClientGoneError(Exception):
    """The client closed its connection; nobody is left to answer."""


async def read_body(scope: Scope, receive: Receive, *, limit: int, timeout: float) -> bytes:
    """The whole request body.

    Raises:
        InvalidCall: larger than `limit` bytes, or not complete after `timeout` seconds.
        ClientGoneError: the client left before the end.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        return body
    try:
        async with asyncio.timeout(timeout):
            return await _read_rest(message, receive, limit)
    except TimeoutError as error:
        raise InvalidCall(
            Refusal.INVALID_REQUEST, f"The request body did not arrive within {timeout:g} seconds. Send it again."
        ) from error


async def _read_rest(message: Message, receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()


def _too_large(limit: int) -> InvalidCall:
    return InvalidCall(
        Refusal.TOO_LARGE,
        f"The request body is larger than this gateway's limit of {limit >> 20} MiB. Send less, or ask whoever runs"
        " it to raise `server.max_body_bytes`.",
    )


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_chunks(send: Send, body: AsyncIterator[bytes]) -> None:
    """Everything after the response start; each chunk is on the wire before the next is asked for."""
    async for chunk in body:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class Connection(Protocol):
    """What the server puts into the scope: `hang_up`, when set, is called once when the client is gone."""

    hang_up: Callable[[], object] | None
    is_gone: bool


class WhileConnected:
    """Cancels the block when the client hangs up, and raises ClientGoneError from it."""

    __slots__ = ("_connection", "_gone", "_task")

    def __init__(self, scope: Scope) -> None:
        self._connection: Connection = scope["extensions"][CONNECTION]
        self._gone = False
        self._task: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> None:
        if self._connection.is_gone:
            raise ClientGoneError
        self._task = asyncio.current_task()
        self._connection.hang_up = self._cancel

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.hang_up = None
        if self._gone and self._task is not None and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise ClientGoneError from None

    def _cancel(self) -> None:
        self._gone = True
        assert self._task is not None
        self._task.cancel()
