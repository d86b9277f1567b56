"""The ASGI side of both doors: read a bounded body, send an answer, notice a client that hangs up."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Protocol

from ai_platform.domain.call import Headers
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall, PlatformError
from ai_platform.gateway.defects import defect

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
CONNECTION = "ai_platform.connection"
"""Key of the server's Connection in the scope's extensions."""

SMALL = 64 * 1024
_HOST = re.compile(r"[A-Za-z0-9.\-_]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]


class ClientGoneError(Exception):
    """The client closed its connection; nobody is left to answer."""


def origin_of(scope: Scope) -> str:
    """Where the client says it found this gateway, or the address it is connected to when that is no address.

    Only for what goes back to that client: the Host field is whatever a link said.
    """
    host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
    if not _HOST.fullmatch(host):
        address, port = scope.get("server") or ("127.0.0.1", 80)
        host = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return f"{scope['scheme']}://{host}"


def announced_size(scope: Scope) -> int | None:
    """What the client says of the body's size; None when it comes in chunks."""
    size = 0
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            size = int(value)
        elif name == b"transfer-encoding":
            return None
    return size


def has_arrived(scope: Scope) -> bool:
    """Whether the whole request is here already, so that reading it waits for nobody."""
    connection: Connection | None = scope.get("extensions", {}).get(CONNECTION)
    return connection is not None and connection.whole


def is_small(scope: Scope) -> bool:
    """Whether anybody may send this body; a large one is read from known callers only, or whoever has no key could
    fill this process's memory.
    """
    if has_arrived(scope):
        return True
    size = announced_size(scope)
    return size is not None and size <= SMALL


async def read_body(
    scope: Scope, receive: Receive, *, limit: int, timeout: float, hold: Callable[[int], None] | None = None
) -> bytes:
    """The whole request body. hold: is told how many bytes are to be kept, and may refuse.

    Raises:
        InvalidCall: larger than `limit` bytes, or not complete after `timeout` seconds.
        ClientGoneError: the client left before the end.
    """
    size = announced_size(scope)
    if size is not None:
        if size > limit:
            raise _too_large(limit)
        if hold is not None:
            hold(size)
            hold = None
    if has_arrived(scope):
        return await _read_all(receive, limit, hold)
    try:
        async with asyncio.timeout(timeout):
            return await _read_all(receive, limit, hold)
    except TimeoutError as error:
        raise InvalidCall(
            Refusal.INVALID_REQUEST, f"The request body did not arrive within {timeout:g} seconds. Send it again."
        ) from error


async def _read_all(receive: Receive, limit: int, hold: Callable[[int], None] | None) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        if hold is not None:
            hold(len(chunk))
        chunks.append(chunk)
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


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
    """What the server puts into the scope: `hang_up`, when set, is called once when the client is gone.

    whole: the request has arrived to its last byte.
    """

    hang_up: Callable[[], object] | None
    whole: bool

    @property
    def is_gone(self) -> bool: ...


class DefectsTold:
    """Turns an exception that is none of the platform's own into one: the caller hears of it, the log says where."""

    __slots__ = ("_call_id",)

    def __init__(self, call_id: str) -> None:
        self._call_id = call_id

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, PlatformError | ClientGoneError):
            raise defect(error, self._call_id) from error


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
