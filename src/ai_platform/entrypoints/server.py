"""The listening side: uvicorn's server loop over connections of our own (`connection.py`), and its socket.

Above: bootstrap. It serves one ASGI application; it knows no route.
"""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from ai_platform.entrypoints.connection import App, Connection, Traffic
from ai_platform.entrypoints.settings import ServerSettings

UNWINDING_SECONDS = 5.0
"""How long calls that were cut off at a stop may take to be recorded."""


class Server(uvicorn.Server):
    """A uvicorn server on an already bound socket, without signal handlers of its own. traffic: its counters."""

    def __init__(self, app: App, settings: ServerSettings) -> None:
        self.ready = asyncio.Event()
        self.traffic = Traffic()
        most = min(settings.max_connections, _files_allowed() * 3 // 4)

        def connection(server_state: ServerState, **_: Any) -> Connection:
            return Connection(app, settings, server_state, self.traffic, most)

        super().__init__(
            uvicorn.Config(
                app,
                http=connection,  # type: ignore[arg-type] - what it calls to make a protocol
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=settings.shutdown_seconds,
                backlog=2048,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does it; then calls that are still under way are cut off, and unwind before this returns."""
        await super().shutdown(sockets)
        tasks = set(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=UNWINDING_SECONDS)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """The command that runs the platform decides what a signal does."""
        yield


def _files_allowed() -> int:
    """How many files this process may have open, after asking for as many as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, min(hard, 10_240) if hard > 0 else 10_240):  # macOS says "unlimited" and means 10,240
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
            break
    return soft if soft > 0 else 1_000_000


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
