"""The ASGI side of both doors: read a bounded body, send an answer, notice a client that hangs up."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from ai_platform.domain.call import Headers
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
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


@asynccontextmanager
async def while_connected(receive: Receive) -> AsyncGenerator[None]:
    """Cancel the block when the client hangs up, and raise ClientGoneError from it.

    The request body must have been read: the next thing ASGI can receive is the disconnect.
    """
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def listen() -> None:
        nonlocal gone
        message = await receive()
        if message["type"] == "http.disconnect":
            gone = True
            task.cancel()

    listener = asyncio.ensure_future(listen())
    try:
        yield
    except asyncio.CancelledError:
        if gone and task.uncancel() == 0:
            raise ClientGoneError from None
        raise
    finally:
        listener.cancel()
