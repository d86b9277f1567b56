"""A place to run the trail in tests: a fresh database, a data folder, and a wire to PostgreSQL that can break."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from audit_kit import event

from ai_platform.audit import AuditReader, open_trail
from ai_platform.audit.settings import AuditSettings
from ai_platform.audit.trail import PostgresTrail
from ai_platform.audit.verify import Report
from ai_platform.stores.postgres import Database, SystemDatabase, connect, connect_system
from ai_platform.stores.settings import StoresSettings
from ai_platform.testing import FakeClock
from ai_platform.testing.postgres import FreshDatabase

QUICK = AuditSettings(name="test-platform", commit_timeout=1.0, retry_seconds=0.02, slot_wait=0.05, tail_poll=0.01)
STORES = StoresSettings(pool_max=6, connect_timeout=0.5, acquire_timeout=0.5, command_timeout=10.0)


class Site:
    """Closes whatever it opened."""

    def __init__(self, fresh: FreshDatabase, data: Path) -> None:
        self.fresh = fresh
        self.data = data
        self._stack = contextlib.AsyncExitStack()
        self._shared: SystemDatabase | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def wire(self) -> "Wire":
        """Closed after everything that was opened later, so that a trail on it can say good-bye."""
        return await self._stack.enter_async_context(Wire(self.fresh.system_dsn))

    async def system(self, wire: "Wire | None" = None) -> SystemDatabase:
        """One for all, and one of its own for each wire."""
        if wire is None and self._shared:
            return self._shared
        opened = await connect_system(wire.dsn(self.fresh.system_dsn) if wire else self.fresh.system_dsn, STORES)
        self._stack.push_async_callback(opened.close)
        self._shared = self._shared if wire else opened
        return opened

    async def database(self) -> Database:
        opened = await connect(self.fresh.gateway_dsn, STORES)
        self._stack.push_async_callback(opened.close)
        return opened

    async def trail(
        self, settings: AuditSettings = QUICK, *, wire: "Wire | None" = None, data: Path | None = None
    ) -> PostgresTrail:
        trail = await open_trail(await self.system(wire), data or self.data, settings, FakeClock())
        self._stack.push_async_callback(trail.close)
        return trail

    async def reader(self, settings: AuditSettings = QUICK) -> AuditReader:
        return AuditReader.open(await self.database(), await self.system(), self.data, settings, FakeClock())

    async def report(self) -> Report:
        steps = [step async for step in (await self.reader()).verify()]
        assert isinstance(steps[-1], Report)
        return steps[-1]

    async def as_owner(self, sql: str, *args: Any) -> list[Any]:
        connection = await asyncpg.connect(self.fresh.owner_dsn, timeout=10, server_settings={"search_path": "aip"})
        try:
            return await connection.fetch(sql, *args)
        finally:
            await connection.close(timeout=10)

    async def stored_ids(self) -> list[str]:
        return [row[0] for row in await self.as_owner("SELECT event_id FROM audit_leaf ORDER BY log, index")]

    async def probe_table(self) -> None:
        """A table such as the ledger: what other rooms' rows go into."""
        for sql in (
            "CREATE TABLE aip.probe (id text PRIMARY KEY, amount bigint NOT NULL, at timestamptz, told jsonb)",
            "GRANT SELECT, INSERT ON aip.probe TO aip_gateway",
        ):
            await self.as_owner(sql)


class Wire:
    """Forwards TCP to PostgreSQL until told otherwise.

    refusing: new connections are closed at once. frozen: nothing is forwarded. cut_on_request, cut_on_reply: the
    first packet that holds these bytes is swallowed and its connection cut, both ends, once.
    """

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        self._target = (parts.hostname, parts.port)
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.refusing = False
        self.cut_on_request = b""
        self.cut_on_reply = b""
        self.cuts = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server
        self._server.close()
        self.break_off()
        await asyncio.gather(*self._links, return_exceptions=True)

    def dsn(self, dsn: str) -> str:
        assert self._server
        port = self._server.sockets[0].getsockname()[1]
        parts = urlsplit(dsn)
        return urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}"))

    def freeze(self) -> None:
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def break_off(self) -> None:
        """Cut every connection."""
        for link in self._links:
            link.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._links.add(task)
        if self.refusing:
            writer.transport.abort()
            self._links.discard(task)
            return
        up_reader, up_writer = await asyncio.open_connection(*self._target)
        ways = [
            asyncio.create_task(self._forward(reader, up_writer, lambda: self.cut_on_request)),
            asyncio.create_task(self._forward(up_reader, writer, lambda: self.cut_on_reply)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, up_writer):
                end.transport.abort()
            await asyncio.gather(*ways, return_exceptions=True)
            self._links.discard(task)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut_on: Callable[[], bytes]
    ) -> None:
        while data := await reader.read(65536):
            await self._flowing.wait()
            if (marker := cut_on()) and marker in data:
                self.cut_on_request = self.cut_on_reply = b""
                self.cuts += 1
                return
            writer.write(data)
            await writer.drain()


async def some_events(trail: PostgresTrail, count: int, **facts: Any) -> list[str]:
    """Append that many, each acknowledged before the next; their ids."""
    ids: list[str] = []
    for number in range(count):
        made = event(call_id=f"call_{number}", number=number, **facts)
        await trail.append([made])
        ids.append(made.id)
    return ids
