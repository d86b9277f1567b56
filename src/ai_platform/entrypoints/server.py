"""uvicorn with the limits a door to the outside needs: header bytes, header count, time to send the headers.

Above: bootstrap. It serves one ASGI application; it knows no route.
"""

import asyncio
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ai_platform.entrypoints.http import CONNECTION

MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 200
HEADER_SECONDS = 30.0


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request head is too large (431) or too slow in coming (408)."""

    head_bytes = 0
    head_timer: asyncio.TimerHandle | None = None
    hang_up: Callable[[], object] | None = None
    is_gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_done()
        self.is_gone = True
        super().connection_lost(exc)
        if self.hang_up is not None:
            self.hang_up()
            self.hang_up = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: self}  # type: ignore[typeddict-item]
        self.head_bytes = 0
        if self.head_timer is None:
            self._await_head()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_done()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        if not self.transport.is_closing():
            super().data_received(data)

    def _count(self, size: int) -> None:
        self.head_bytes += size
        if self.head_bytes > MAX_HEADER_BYTES or len(self.headers) >= MAX_HEADERS:
            self._close_with(
                b"431 Request Header Fields Too Large",
                b"The request head is too large: at most 64 KiB in 200 fields.",
            )
            raise ValueError("request head too large")

    def _await_head(self) -> None:
        self.head_timer = self.loop.call_later(HEADER_SECONDS, self._too_slow)

    def _head_done(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def _too_slow(self) -> None:
        self.head_timer = None
        if getattr(self.cycle, "response_complete", True):
            self._close_with(b"408 Request Timeout", b"The request head did not arrive in time.")

    def _close_with(self, status: bytes, text: bytes) -> None:
        head = b"HTTP/1.1 " + status + b"\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: "
        self.transport.write(head + str(len(text)).encode() + b"\r\n\r\n" + text)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            super().send_400_response(msg)


class Server(uvicorn.Server):
    """A uvicorn server on an already bound socket, without signal handlers of its own."""

    def __init__(self, app: Any, *, shutdown_seconds: int = 30) -> None:
        self.ready = asyncio.Event()
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=shutdown_seconds,
                backlog=2048,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """The command that runs the platform decides what a signal does."""
        yield


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        OSError: the address is in use or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY by it
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(False)
    return listener
