"""Fixtures every suite shares. No test may reach an address outside loopback."""

import ipaddress
import signal
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from ai_platform.stores.postgres import Database, SystemDatabase, connect, connect_system
from ai_platform.testing import FakeClock
from ai_platform.testing.postgres import FreshDatabase, TestPostgres, postgres_for_tests
from no_skips import pytest_make_collect_report, pytest_runtest_makereport

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]  # hooks


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
async def postgres_server(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestPostgres]:
    """One server for the run (one for each worker of pytest-xdist)."""
    async with postgres_for_tests(tmp_path_factory.mktemp("postgres")) as postgres:
        yield postgres


@pytest.fixture
async def own_database(postgres_server: TestPostgres) -> AsyncIterator[FreshDatabase]:
    """A fresh database with every migration applied."""
    async with postgres_server.fresh_database() as fresh:
        yield fresh


@pytest.fixture
async def database(own_database: FreshDatabase) -> AsyncIterator[Database]:
    """The fresh database, connected as the gateway's role: one tenant at a time."""
    connected = await connect(own_database.gateway_dsn)
    yield connected
    await connected.close()


@pytest.fixture
async def system(own_database: FreshDatabase) -> AsyncIterator[SystemDatabase]:
    """The same, connected as the system's role: every tenant."""
    connected = await connect_system(own_database.system_dsn)
    yield connected
    await connected.close()


@pytest.fixture(autouse=True, scope="session")
def _signals_as_in_a_terminal() -> None:
    """In the background of a script these are ignored from birth, and programs that tests start would inherit it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(autouse=True, scope="session")
def _loopback_only() -> Iterator[None]:
    """The kill switch: connecting anywhere but loopback or a unix socket is an error."""
    original = socket.socket.connect

    def connect(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0])  # type: ignore[index]
            if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
                raise RuntimeError(f"a test tried to reach {host}: only loopback is allowed")
        original(self, address)  # type: ignore[arg-type]

    socket.socket.connect = connect  # type: ignore[method-assign]
    yield
    socket.socket.connect = original  # type: ignore[method-assign]
