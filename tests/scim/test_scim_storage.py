"""scim2-server's own rules for a storage, and what the storage means for people."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from scim2_models import ScimProvider
from scim2_server.storage import AsyncScimStorage, ScimStorage
from scim2_server.testing import AsyncScimStorageContract, BlockingStorage

from ai_platform.domain.clock import SystemClock
from ai_platform.scim.service import provider_of
from ai_platform.scim.settings import ScimSettings
from ai_platform.scim.storage import TenantStorage
from ai_platform.stores.postgres import Database, SystemDatabase, connect, connect_system
from ai_platform.testing.postgres import postgres_for_tests


class Server:
    """A PostgreSQL for these tests, which bring an event loop of their own for each."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self._manager = postgres_for_tests(folder)
        self.postgres = self.runner.run(self._manager.__aenter__())

        self._fresh = self.postgres.fresh_database()
        fresh = self.runner.run(self._fresh.__aenter__())
        self.database = self.runner.run(_connected(fresh.gateway_dsn))
        self.system = self.runner.run(_connected_system(fresh.system_dsn))
        self._tenants = itertools.count(1)

    def tenant(self) -> str:
        """A new one, with nothing in it."""
        name = f"t{next(self._tenants)}"
        self.runner.run(
            self.system.execute("INSERT INTO tenants (name, title, created_by) VALUES ($1, '', 'test')", name)
        )
        return name

    def close(self) -> None:
        for opened in (self.database, self.system):
            self.runner.run(opened.close())
        self.runner.run(self._fresh.__aexit__(None, None, None))
        self.runner.run(self._manager.__aexit__(None, None, None))
        self.runner.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("scim"))
    yield made
    made.close()


@pytest.mark.requirement("ID-4")
class TestTheContractOfStorages(AsyncScimStorageContract):
    @pytest.fixture
    def provider(self) -> ScimProvider:
        return provider_of(ScimSettings())

    @pytest.fixture
    def storage(self, server: Server, provider: ScimProvider) -> Iterator[ScimStorage]:
        made = TenantStorage(server.database, server.tenant(), provider, clock=SystemClock(), settings=ScimSettings())
        with provider:
            yield BlockingStorage(made, server.runner)


for name in [name for name in dir(AsyncScimStorageContract) if name.startswith("test_cursor")]:
    setattr(TestTheContractOfStorages, name, None)  # no cursors are announced


async def _connected(dsn: str) -> Database:
    return await connect(dsn)


async def _connected_system(dsn: str) -> SystemDatabase:
    return await connect_system(dsn)


def test_the_storage_is_of_the_kind_that_the_contract_is_for():
    assert issubclass(TenantStorage, AsyncScimStorage)
