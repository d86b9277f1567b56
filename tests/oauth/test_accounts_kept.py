"""Accounts at MCP servers as they are kept: who can open them, who renews them, and when nothing is left of them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from guarded_server import Guarded, guarded

from ai_platform.domain.errors import UpstreamUnreachable
from ai_platform.domain.principal import Principal
from ai_platform.mcp.needs import NotConnected, Rejected
from ai_platform.mcp.registry import read_server
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.sso.connections.client import OAuthClient
from ai_platform.sso.connections.credentials import Credentials
from ai_platform.sso.connections.store import PLATFORM, Connections, Owner, Token
from ai_platform.sso.seal import Seal
from ai_platform.stores.postgres import Database, Gone, SystemDatabase, connect
from ai_platform.testing import FakeClock
from ai_platform.testing.eventually import eventually
from ai_platform.testing.postgres import FreshDatabase

pytestmark = pytest.mark.anyio
OLD, NEW = b"o" * 32, b"n" * 32
ANN = Principal(id="usr_ann", name="Ann")
ANNS, BENS = Owner("default", "usr_ann"), Owner("default", "usr_ben")
BACK = "http://127.0.0.1:8080/auth/connections/callback/mine"
SHOWN = "authorization"


@pytest.fixture
def there() -> Iterator[Guarded]:
    with guarded() as found:
        yield found


@pytest.fixture
def server(there: Guarded) -> McpServerSettings:
    return read_server({"name": "mine", "url": there.url, "credentials": "person", "oauth": {}})


@pytest.fixture(autouse=True)
async def _people(system: SystemDatabase) -> None:
    for name in ("ann", "ben"):
        await system.execute(
            "INSERT INTO principals (id, tenant, kind, handle, name) VALUES ($1, 'default', 'person', $2, $2)",
            f"usr_{name}",
            name,
        )


class Replica:
    """One process of the platform, as far as accounts go."""

    def __init__(self, database: Database, clock: FakeClock, *keys: bytes) -> None:
        self.kept = Connections(database, Seal(*(keys or (OLD,))), clock)
        self.client = OAuthClient(self.kept, url="http://127.0.0.1:9", environ={}, clock=clock, seconds=10.0)
        self.credentials = Credentials(self.kept, self.client, url=self.client.url, environ={}, clock=clock)

    async def shown(self, server: McpServerSettings) -> str:
        return (await self.credentials.headers(server, ANN))[SHOWN].removeprefix("Bearer ")

    async def connect(self, server: McpServerSettings, there: Guarded, *, seconds: float, owner: Owner = ANNS) -> Token:
        """As if its owner had agreed: the issuer knows the refresh token."""
        token = Token(
            access=f"first-{owner.principal}",
            refresh=f"renews-{owner.principal}",
            expires_at=FakeClock().now() + seconds,
            issuer=there.origin,
            token_endpoint=f"{there.origin}/token",
            client_id="client",
            resource=there.url,
        )
        there.refreshes[token.refresh] = there.tokens[token.access] = owner.principal
        await self.kept.put(server, owner, token, kind="oauth", by=owner.principal)
        return token


@pytest.fixture
async def one(database: Database, clock: FakeClock) -> Replica:
    return Replica(database, clock)


@pytest.fixture
async def two(own_database: FreshDatabase, clock: FakeClock) -> AsyncIterator[Replica]:
    connected = await connect(own_database.gateway_dsn)
    yield Replica(connected, clock)
    await connected.close()


def renewals(there: Guarded) -> int:
    return [path for path, _ in there.requests].count("/token")


class TestRenewal:
    async def test_of_many_calls_on_two_replicas_is_one(
        self, one: Replica, two: Replica, server: McpServerSettings, there: Guarded
    ):
        await one.connect(server, there, seconds=-5)
        shown = await asyncio.gather(*(replica.shown(server) for replica in (one, two) for _ in range(20)))
        assert renewals(there) == 1, "a refresh token that is used twice ends the account at many issuers"
        assert len(set(shown)) == 1
        assert there.tokens[shown[0]] == "usr_ann"

    async def test_of_many_refused_calls_on_two_replicas_is_one(
        self, one: Replica, two: Replica, server: McpServerSettings, there: Guarded
    ):
        await one.connect(server, there, seconds=3600)
        before = await asyncio.gather(one.shown(server), two.shown(server))
        refusal = Rejected(401, "Bearer", {SHOWN: f"Bearer {before[0]}"})
        again = await asyncio.gather(
            *(replica.credentials.rejected(server, ANN, refusal) for replica in (one, two) for _ in range(10))
        )
        assert all(again), "each call is tried again, with the one token that was got for all"
        assert renewals(there) == 1
        assert await one.shown(server) == await two.shown(server) != before[0]

    async def test_of_a_token_that_is_refused_at_once_again_is_not_repeated(
        self, one: Replica, server: McpServerSettings, there: Guarded
    ):
        await one.connect(server, there, seconds=3600)
        for expected in (True, False, False):
            refusal = Rejected(401, "Bearer", {SHOWN: f"Bearer {await one.shown(server)}"})
            assert await one.credentials.rejected(server, ANN, refusal) is expected
        assert renewals(there) == 1

    async def test_never_puts_an_account_over_one_that_was_connected_meanwhile(
        self, one: Replica, two: Replica, server: McpServerSettings, there: Guarded
    ):
        await one.connect(server, there, seconds=-5)
        there.hold()
        renewing = asyncio.create_task(one.shown(server))
        await eventually(lambda: renewals(there) == 1)
        other = Token(access="other-account", issuer=there.origin)
        await two.kept.put(server, ANNS, other, kind="oauth", by="usr_ann")
        there.go_on()
        assert await renewing == "other-account"
        assert await two.shown(server) == "other-account"

    async def test_never_brings_back_an_account_that_was_disconnected_meanwhile(
        self, one: Replica, two: Replica, server: McpServerSettings, there: Guarded
    ):
        await one.connect(server, there, seconds=-5)
        there.hold()
        renewing = asyncio.create_task(one.shown(server))
        await eventually(lambda: renewals(there) == 1)
        assert await two.kept.remove(server.name, ANNS)
        one.credentials.forget(server.name, ANNS)
        there.go_on()
        with pytest.raises(NotConnected):
            await renewing
        with pytest.raises(NotConnected):
            await one.shown(server)

    async def test_that_its_issuer_refused_is_not_asked_for_with_every_call(
        self, one: Replica, two: Replica, server: McpServerSettings, there: Guarded
    ):
        await one.connect(server, there, seconds=-5)
        there.refreshes.clear()
        for replica in (one, two, one, two):
            with pytest.raises(NotConnected, match="ended there"):
                await replica.shown(server)
        assert renewals(there) == 1

    async def test_by_a_process_that_died_is_taken_over(
        self, one: Replica, two: Replica, server: McpServerSettings, there: Guarded, clock: FakeClock
    ):
        await one.connect(server, there, seconds=-5)
        known = await one.kept.get(server, ANNS)
        assert known is not None
        assert await one.kept.claim(server, ANNS, known.changed_at)
        assert not await two.kept.claim(server, ANNS, known.changed_at)
        clock.advance(31)
        assert there.tokens[await two.shown(server)] == "usr_ann"

    async def test_when_the_issuer_is_down_fails_the_call_and_keeps_the_account(
        self, one: Replica, server: McpServerSettings, there: Guarded
    ):
        await one.connect(server, there, seconds=-5)
        await one.kept.renewed(
            server,
            ANNS,
            Token(access="a", refresh="r", expires_at=0.0, token_endpoint="http://127.0.0.1:9/token"),
            seen=await changed(one, server),
        )
        with pytest.raises(UpstreamUnreachable):
            await one.shown(server)
        known = await one.kept.get(server, ANNS)
        assert known is not None
        assert known.problem is None


async def changed(replica: Replica, server: McpServerSettings) -> Any:
    known = await replica.kept.get(server, ANNS)
    assert known is not None
    return known.changed_at


class TestSealed:
    async def test_a_row_that_is_moved_to_somebody_else_opens_nothing(
        self, one: Replica, server: McpServerSettings, there: Guarded, system: SystemDatabase
    ):
        """Who can write the table, and has no key, cannot use Ann's account as Ben."""
        await one.connect(server, there, seconds=3600, owner=ANNS)
        await one.connect(server, there, seconds=3600, owner=BENS)
        sealed = await system.fetchval("SELECT sealed FROM mcp_connections WHERE principal_id = 'usr_ann'")
        await system.execute("UPDATE mcp_connections SET sealed = $1 WHERE principal_id = 'usr_ben'", sealed)
        moved = await one.kept.get(server, BENS)
        assert moved is not None
        assert moved.token is None
        with pytest.raises(NotConnected):
            await one.credentials.headers(server, Principal(id="usr_ben", name="Ben"))

    @pytest.mark.parametrize("change", [{"url": "https://elsewhere.example/mcp"}, {"name": "other"}])
    async def test_a_server_that_is_pointed_elsewhere_gets_nothing(
        self, one: Replica, server: McpServerSettings, there: Guarded, change: dict[str, str]
    ):
        await one.connect(server, there, seconds=3600)
        await one.shown(server)
        settings = {"name": "mine", "url": there.url, "credentials": "person", "oauth": {}}
        with pytest.raises(NotConnected):
            await one.credentials.headers(read_server(settings | change), ANN)

    async def test_nobody_of_another_tenant_is_taken_for_who_has_the_same_id(
        self, one: Replica, server: McpServerSettings, there: Guarded
    ):
        await one.connect(server, there, seconds=3600)
        with pytest.raises(NotConnected):
            await one.credentials.headers(server, Principal(id="usr_ann", name="Ann", tenant="acme"))

    async def test_nothing_of_a_token_is_in_the_table(
        self, one: Replica, server: McpServerSettings, there: Guarded, system: SystemDatabase
    ):
        token = await one.connect(server, there, seconds=3600)
        await one.kept.keep_client(server, there.origin, ("client", "client-secret"), BACK)
        rows = [
            dict(row) for table in ("mcp_connections", "mcp_clients") for row in await system.fetch(f"TABLE {table}")
        ]
        for secret in (token.access, token.refresh, "client-secret"):
            assert secret not in str(rows)

    async def test_a_key_is_changed_without_connecting_again(
        self, database: Database, system: SystemDatabase, server: McpServerSettings, there: Guarded, clock: FakeClock
    ):
        before = Replica(database, clock, OLD)
        token = await before.connect(server, there, seconds=3600)
        await before.kept.keep_client(server, there.origin, ("client", "secret"), BACK)
        both = Replica(database, clock, NEW, OLD)
        assert await both.shown(server) == token.access
        assert await both.kept.reseal(system, {server.name: server}) == 2
        assert await both.kept.reseal(system, {server.name: server}) == 0
        after = Replica(database, clock, NEW)
        assert await after.shown(server) == token.access
        assert await after.kept.client(server, there.origin, BACK) == ("client", "secret")
        assert await after.kept.client(server, there.origin, f"{BACK}-of-another") is None
        with pytest.raises(NotConnected):
            await Replica(database, clock, OLD).shown(server)


class TestEnds:
    async def test_nothing_stays_of_who_was_removed_and_nothing_begins(
        self, one: Replica, server: McpServerSettings, there: Guarded, system: SystemDatabase
    ):
        await one.connect(server, there, seconds=3600, owner=ANNS)
        await one.connect(server, there, seconds=3600, owner=BENS)
        await system.execute("UPDATE principals SET state = 'suspended', ended_at = now() WHERE id = 'usr_ann'")
        assert await one.kept.get(server, ANNS), "who is suspended may come back"
        await system.execute("UPDATE principals SET state = 'removed' WHERE id = 'usr_ann'")
        rows = await system.fetch("SELECT principal_id FROM mcp_connections")
        assert [row["principal_id"] for row in rows] == ["usr_ben"]
        with pytest.raises(Gone):
            await one.connect(server, there, seconds=3600, owner=ANNS)

    async def test_nothing_stays_of_a_server_that_was_removed(
        self, one: Replica, server: McpServerSettings, there: Guarded, system: SystemDatabase
    ):
        await one.connect(server, there, seconds=3600)
        await one.kept.keep_client(server, there.origin, ("client", ""), BACK)
        await one.kept.put(server, PLATFORM, Token(access="ours"), kind="oauth", by="usr_ann")
        await one.kept.forget_server(server.name, system)
        assert await one.kept.get(server, ANNS) is None
        assert await one.kept.get(server, PLATFORM) is None
        assert await one.kept.client(server, there.origin, BACK) is None
