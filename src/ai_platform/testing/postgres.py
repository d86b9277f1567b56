"""A real PostgreSQL for tests: one server a test run, one fresh migrated database a test.

Not a fake: the server is the embedded one. A new database is a copy of a migrated template, so it costs a few
hundredths of a second. Above: test suites. Below: stores.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec

from ai_platform.stores.embedded import PostgresServer, embedded_postgres
from ai_platform.stores.migrate import migrate
from ai_platform.stores.settings import StoresSettings

TEMPLATE = "template_migrated"


class FreshDatabase(msgspec.Struct, frozen=True):
    """A database of one's own: as owner for what a test arranges, as gateway for what the product does in answer to a
    request, as system for what it does in the background.
    """

    name: str
    owner_dsn: str
    gateway_dsn: str

    @property
    def system_dsn(self) -> str:
        return StoresSettings().system_of(self.gateway_dsn)


class TestPostgres:
    """A running server with a migrated template in it."""

    __test__ = False

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._numbers = count(1)

    async def make_template(self) -> None:
        await self._administer(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0")
        await migrate(_renamed(self.server.owner_dsn, TEMPLATE), _renamed(self.server.gateway_dsn, TEMPLATE))

    @asynccontextmanager
    async def fresh_database(self, template: str = TEMPLATE) -> AsyncGenerator[FreshDatabase]:
        """A new database, dropped at the end. template: `template0` for one without migrations."""
        name = f"test_{next(self._numbers)}"
        await self._administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield FreshDatabase(name, _renamed(self.server.owner_dsn, name), _renamed(self.server.gateway_dsn, name))
        finally:
            await self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    async def _administer(self, command: str) -> None:
        connection = await asyncpg.connect(self.server.owner_dsn, database="postgres", timeout=10)
        try:
            await connection.execute(command, timeout=30)
        finally:
            await connection.close(timeout=10)


@asynccontextmanager
async def postgres_for_tests(folder: Path) -> AsyncGenerator[TestPostgres]:
    """Start the server below `folder` and migrate the template."""
    async with embedded_postgres(folder) as server:
        postgres = TestPostgres(server)
        await postgres.make_template()
        yield postgres


def _renamed(dsn: str, database: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))
