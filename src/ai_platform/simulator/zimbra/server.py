"""Runs the simulated Zimbra's admin API on its own port inside a running event loop; takes no signals, logs nothing."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import uvicorn

from ai_platform.domain.clock import Clock, SystemClock
from ai_platform.simulator.server import QuietServer
from ai_platform.simulator.zimbra.api import AdminApi
from ai_platform.simulator.zimbra.site import SimulatedSite, example, save


class RunningZimbra:
    """url: `http://host:port`, or https with a certificate. api.site: what it has."""

    def __init__(self, url: str, api: AdminApi) -> None:
        self.url = url
        self.api = api


@contextlib.asynccontextmanager
async def serve_zimbra(
    site: SimulatedSite | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    home: Path | None = None,
    certificate: tuple[Path, Path] | None = None,
    clock: Clock | None = None,
) -> AsyncGenerator[RunningZimbra]:
    """Serve until the block is left. home: a simulated /opt/zimbra whose site.json is kept up to date. certificate: PEM
    files of chain and key, for https.

    Raises:
        OSError: the address cannot be bound, or the certificate read.

    """
    owned = site or example()

    def changed() -> None:
        if home is not None:
            save(owned, home / "site.json")

    api = AdminApi(owned, clock or SystemClock(), changed)
    listener = socket.create_server((host, port))
    pair: dict[str, Any] = {"ssl_certfile": certificate[0], "ssl_keyfile": certificate[1]} if certificate else {}
    config = uvicorn.Config(
        api,  # pyright: ignore[reportArgumentType] - our Scope is a plain dict
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        **pair,
    )
    server = QuietServer(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="simulated Zimbra")
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield RunningZimbra(f"{'https' if certificate else 'http'}://{host}:{listener.getsockname()[1]}", api)
    finally:
        ready.cancel()
        server.should_exit = True
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await task
        listener.close()
