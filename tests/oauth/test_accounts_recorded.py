"""No account at an MCP server is kept that the audit log does not know: the event is durable before it."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from guarded_server import Guarded, guarded

from ai_platform.domain.errors import AuditUnavailable, InvalidCall
from ai_platform.mcp.registry import read_server
from ai_platform.sso.connections.client import OAuthClient
from ai_platform.sso.connections.credentials import Credentials
from ai_platform.sso.connections.flow import Flow, Recorded
from ai_platform.sso.connections.store import Connections, Owner
from ai_platform.sso.people import Account
from ai_platform.sso.seal import Seal
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.anyio
ANN = Account(id="usr_ann", name="Ann", provider="corp", subject="1")


@pytest.fixture
def there() -> Iterator[Guarded]:
    with guarded() as found:
        yield found


class House:
    """seen: for each event, whether an account was kept already when it was written."""

    def __init__(self, database: Database, clock: FakeClock, there: Guarded) -> None:
        seal = Seal(b"k" * 32)
        settings: list[dict[str, Any]] = [
            {"name": "mine", "url": there.url, "credentials": "person", "oauth": {}},
            {"name": "typed", "url": there.url, "credentials": "person"},
        ]
        self.servers = {each["name"]: read_server(each) for each in settings}
        self.kept = Connections(database, seal, clock)
        self.there = there
        client = OAuthClient(self.kept, url="http://127.0.0.1:9", environ={}, clock=clock, seconds=10.0)
        self.flow = Flow(
            self.kept,
            client,
            Credentials(self.kept, client, url=client.url, environ={}, clock=clock),
            servers=lambda: self.servers,
            seal=seal,
            clock=clock,
            changed=self._changed,
        )
        self.seen: list[bool] = []
        self.failing = False

    async def _changed(self, name: str, owner: Owner) -> None:
        """Nobody waits for it here."""

    async def has(self, name: str) -> bool:
        return await self.kept.get(self.servers[name], Owner("default", ANN.id)) is not None

    def recorded(self) -> Recorded:
        async def note(name: str) -> None:
            self.seen.append(await self.has(name))
            if self.failing:
                raise AuditUnavailable("PostgreSQL is away.")

        return note

    async def connect(self) -> str:
        leaving = await self.flow.leave("mine", ANN, manages=False)
        async with httpx2.AsyncClient(trust_env=False) as browser:
            answer = await browser.get(leaving.url)
        query = dict(httpx2.URL(answer.headers["location"]).params)
        return await self.flow.arrive("mine", query, leaving.cookie, ANN, self.recorded())


@pytest.fixture
async def house(database: Database, clock: FakeClock, there: Guarded, system: SystemDatabase) -> House:
    await system.execute(
        "INSERT INTO principals (id, tenant, kind, handle, name) VALUES ($1, 'default', 'person', 'ann', 'Ann')", ANN.id
    )
    return House(database, clock, there)


async def test_an_account_is_kept_after_its_event_is_durable(house: House):
    assert await house.connect() == "mine"
    await house.flow.enter("typed", ANN, "a-token", house.recorded())
    assert house.seen == [False, False]
    assert [await house.has("mine"), await house.has("typed")] == [True, True]


async def test_without_its_event_no_account_is_kept_and_its_token_is_ended_where_it_was_given(
    house: House, there: Guarded
):
    house.failing = True
    with pytest.raises(AuditUnavailable):
        await house.connect()
    with pytest.raises(AuditUnavailable):
        await house.flow.enter("typed", ANN, "a-token", house.recorded())
    assert [await house.has("mine"), await house.has("typed")] == [False, False]
    assert [path for path, _ in there.requests].count("/revoke") == 1


async def test_what_is_no_token_is_no_event(house: House):
    with pytest.raises(InvalidCall):
        await house.flow.enter("typed", ANN, "two\nlines", house.recorded())
    assert house.seen == []
    assert not await house.has("typed")


async def test_a_person_who_was_removed_meanwhile_has_no_account_and_its_token_is_ended(
    house: House, there: Guarded, system: SystemDatabase
):
    await system.execute("UPDATE principals SET state = 'removed', ended_at = now() WHERE id = $1", ANN.id)
    with pytest.raises(InvalidCall):
        await house.connect()
    assert not await house.has("mine")
    assert [path for path, _ in there.requests].count("/revoke") == 1
