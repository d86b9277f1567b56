"""The border to the ASGI server: a request as received, and the outlet an answer goes through.

The outlet knows whether the client is still there and can end a connection badly on purpose (faults). Extension
`ai_platform.transport` in the scope (see `server`) gives it the connection; without it a bad end is a short answer.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ai_platform.simulator.errors import ApiError, ClientGone

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

TRANSPORT = "ai_platform.transport"

SIMULATED: tuple[bytes, bytes] = (b"x-ai-platform-simulated", b"true")


class Request(msgspec.Struct, kw_only=True):
    """headers: names lower-case. host: the Host header. key: label of the credential, "" before authentication."""

    id: str
    method: str
    path: str
    query: str
    headers: Headers
    client_ip: str
    received_at: float
    body: bytes = b""
    key: str = ""

    def header(self, name: bytes) -> bytes | None:
        for key, value in self.headers:
            if key == name:
                return value
        return None


async def read_body(receive: Receive, declared: bytes | None, limit: int) -> bytes:
    """The whole body. One that is too large is read to its end (up to four times the limit) and dropped, so that the
    client gets the answer instead of a broken pipe.

    Raises:
        ApiError: 413.
        ClientGone: the client left.

    """
    parts: list[bytes] = []
    size = 0
    too_large = declared is not None and declared.isdigit() and int(declared) > limit
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part: bytes = message.get("body", b"")
        size += len(part)
        too_large = too_large or size > limit
        if too_large:
            parts.clear()
        elif part:
            parts.append(part)
        if not message.get("more_body", False) or size > 4 * limit:
            break
    if too_large:
        raise ApiError(413, "Request exceeds the maximum size")
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Outlet:
    """Where one answer goes. `watch` before anything that takes long: only then hanging up is noticed."""

    __slots__ = ("_receive", "_transport", "_watcher", "send", "started")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.send = send
        self.started = False
        self._receive = receive
        self._transport: asyncio.Transport | None = scope.get("extensions", {}).get(TRANSPORT)
        self._watcher: asyncio.Task[None] | None = None

    @property
    def gone(self) -> bool:
        return self._watcher is not None and self._watcher.done()

    def watch(self) -> None:
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._until_disconnect())

    async def _until_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def release(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()

    async def start(self, status: int, headers: Headers) -> None:
        self.started = True
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes = b"") -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": False})

    async def pause(self, seconds: float) -> None:
        """Wait, but not for a client that has left.

        Raises:
            ClientGone: the client left.

        """
        self.watch()
        assert self._watcher is not None
        await asyncio.wait({self._watcher}, timeout=seconds)
        if self._watcher.done():
            raise ClientGone

    async def wait_gone(self) -> None:
        self.watch()
        assert self._watcher is not None
        await asyncio.wait({self._watcher})

    async def hang_up(self, *, reset: bool = False) -> None:
        """Close the connection in the middle of the answer; `reset` sends RST instead of FIN."""
        if self._transport is None:
            return
        if reset:
            sock = self._transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.close()
        await self.wait_gone()
