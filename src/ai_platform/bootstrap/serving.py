"""The listening socket, the server on it, and the file that tells commands where the platform is."""

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from ai_platform.audit.reader import AuditReader
from ai_platform.audit.trail import PostgresTrail
from ai_platform.domain.breaker import BreakerState
from ai_platform.entrypoints.operations import Check
from ai_platform.entrypoints.server import Server
from ai_platform.stores.postgres import Database
from ai_platform.upstream import Upstream


def checks_of(database: Database, trail: PostgresTrail, upstream: Upstream) -> dict[str, Check]:
    """What /readyz depends on."""

    def breakers() -> str | None:
        is_open = all(one.breaker is BreakerState.OPEN for one in upstream.health())
        return "every upstream's circuit breaker is open" if is_open else None

    return {
        "postgresql": lambda: None if database.healthy else "PostgreSQL does not answer",
        "audit": lambda: trail.writer.unavailable or None,
        "upstreams": breakers,
    }


async def serving(stack: AsyncExitStack, server: Server, listener: socket.socket, reader: AuditReader) -> None:
    task = asyncio.create_task(server.serve(sockets=[listener]), name="server")
    await asyncio.wait({task, asyncio.create_task(server.ready.wait())}, return_when=asyncio.FIRST_COMPLETED)

    async def stop() -> None:
        reader.stop_following()  # the server waits for answers under way, and these would never end
        server.should_exit = True
        await task

    stack.push_async_callback(stop)
    if task.done():
        await task


def url_of(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


def write_run_file(stack: AsyncExitStack, data: Path, url: str) -> None:
    """Tells commands where the platform is, for as long as it runs."""
    path = data / "run.json"
    temporary = data / f".run.json.{os.getpid()}"
    temporary.write_bytes(msgspec.json.encode({"url": url, "pid": os.getpid()}))
    temporary.replace(path)
    stack.callback(path.unlink, missing_ok=True)
