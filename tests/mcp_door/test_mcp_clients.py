"""HTTP clients to servers: closed when nobody holds them, and never while somebody does."""

import httpx2
import pytest

from ai_platform.domain.principal import Principal
from ai_platform.mcp.clients import Clients

pytestmark = pytest.mark.anyio
ANN = Principal(id="ann", name="Ann")
ANNS = ("default", "ann")


@pytest.fixture
def clients() -> Clients:
    return Clients(lambda _: httpx2.AsyncClient(trust_env=False))


async def test_what_is_held_is_not_closed_by_tidying(clients: Clients):
    async with clients.held(ANN) as client:
        await clients.tidy()
        assert not client.is_closed
        async with clients.held(ANN) as same:
            assert same is client
    assert not client.is_closed, "the next connection of the same person uses it again"
    await clients.tidy()
    assert client.is_closed


async def test_one_whose_credential_ended_is_closed_when_its_last_call_is_over(clients: Clients):
    async with clients.held(ANN) as client:
        await clients.retire(ANNS)
        assert not client.is_closed
        async with clients.held(ANN) as another:
            assert another is not client
    assert client.is_closed
    assert not another.is_closed
    await clients.close()
    assert another.is_closed


async def test_the_platforms_own_stays(clients: Clients):
    async with clients.held(None) as client:
        pass
    await clients.tidy()
    assert not client.is_closed
    await clients.close()
    assert client.is_closed
