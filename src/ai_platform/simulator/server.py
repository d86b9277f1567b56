"""Runs the simulated upstream on its own port inside a running event loop; takes no signals and logs nothing."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Generator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ai_platform.domain.clock import Clock
from ai_platform.simulator.app import Simulator, create_app
from ai_platform.simulator.asgi import TRANSPORT
from ai_platform.simulator.settings import SimulatorSettings

_BACKLOG = 4096


class _Protocol(HttpToolsProtocol):
    """Hands the connection to the application, which ends some of them badly on purpose."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # pyright: ignore[reportAssignmentType] - a TypedDict of known keys
        scope["extensions"] = {TRANSPORT: self.transport}


class QuietServer(uvicorn.Server):
    """ready: it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """The host program owns the signals."""
        yield


class Running:
    """A simulated upstream that is serving. url: `http://host:port` without a trailing slash."""

    def __init__(self, url: str, simulator: Simulator) -> None:
        self.url = url
        self.simulator = simulator


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol left at 0 asyncio does not set TCP_NODELAY on accepted connections: 40 ms per answer.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


@contextlib.asynccontextmanager
async def serve(
    settings: SimulatorSettings | None = None, host: str = "127.0.0.1", port: int = 0, *, clock: Clock | None = None
) -> AsyncGenerator[Running]:
    """Serve until the block is left; then open answers are cut off and the port is free again.

    Raises:
        OSError: the address cannot be bound.

    """
    simulator = create_app(settings, clock=clock)
    sock = _listen(host, port)
    config = uvicorn.Config(
        simulator,  # pyright: ignore[reportArgumentType] - our Scope is a plain dict
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=75,
    )
    server = QuietServer(config)
    task = asyncio.create_task(server.serve(sockets=[sock]), name="simulated upstream")
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        name = f"[{host}]" if ":" in host else host
        yield Running(f"http://{name}:{sock.getsockname()[1]}", simulator)
    finally:
        ready.cancel()
        server.should_exit = True
        for connection in list(server.server_state.connections):
            # A stream that is waiting for its next event would otherwise hold the port for as long.
            connection.transport.abort()
        await task
        sock.close()
