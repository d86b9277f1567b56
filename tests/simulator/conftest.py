"""One simulated upstream for the whole suite, empty at the start of every test, and a client for it."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from ai_platform.simulator import SimulatorSettings, serve
from ai_platform.simulator.server import Running
from ai_platform.testing import FakeClock

HEADERS = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01"}


@pytest.fixture(scope="session")
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
async def shared(clock: FakeClock) -> AsyncIterator[Running]:
    async with serve(SimulatorSettings(keep_bodies=True), clock=clock) as upstream:
        yield upstream


@pytest.fixture(scope="session")
async def client(shared: Running) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=shared.url, headers=HEADERS, timeout=20) as client:
        yield client


@pytest.fixture
async def http(client: httpx2.AsyncClient) -> httpx2.AsyncClient:
    await client.post("/_sim/reset")
    return client


@pytest.fixture
def running(shared: Running, http: httpx2.AsyncClient) -> Running:
    """The shared upstream after its reset."""
    return shared
