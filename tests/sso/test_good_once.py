"""What is good once is good once, however many come with it at the same moment."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ai_platform.domain.errors import StoreUnavailable
from ai_platform.sso.breakglass.store import Store
from ai_platform.sso.devices import Request
from ai_platform.sso.grants import Grants
from ai_platform.sso.mapping import Person
from ai_platform.sso.oauth.asked import Asked
from ai_platform.sso.oauth.clients import Source
from ai_platform.sso.oauth.codes import Codes, Redeemed, Used, challenge_of
from ai_platform.sso.people import People
from ai_platform.sso.saml.outgoing import LogoutName
from ai_platform.sso.saml.requests import Requests
from ai_platform.sso.settings import TokenSettings
from ai_platform.stores.postgres import Database
from ai_platform.testing import FakeClock

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("ID-1")]

ANN = Person(provider="corp", subject="1", name="Ann", email="ann@example.com", roles=("developer",))
PEPPER = b"p" * 32
AT_ONCE = 8


async def at_once(one: Callable[[], Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*(one() for _ in range(AT_ONCE)))


async def test_an_authorisation_code(database: Database, clock: FakeClock):
    codes = Codes(database, pepper=PEPPER, clock=clock, seconds=60)
    account = await People(database, clock, contact="").account_of(ANN)
    verifier = "v" * 43
    asked = Asked(
        client_id="https://client.example/id",
        client_name="Client",
        source=Source.DOCUMENT,
        redirect_uri="http://127.0.0.1:1/back",
        state=None,
        challenge=challenge_of(verifier),
        resource="/mcp",
        scopes=("mcp:tools",),
    )
    code = await codes.make(asked, account, None)
    given = {"client_id": asked.client_id, "redirect_uri": asked.redirect_uri, "verifier": verifier}
    grants = Grants(database, pepper=PEPPER, clock=clock, settings=TokenSettings())

    async def become(found: Redeemed, connection: Any) -> str:
        return (await grants.begin_in(connection, found.account, Request())).grant.id

    async def failing(found: Redeemed, connection: Any) -> str:
        await become(found, connection)
        raise StoreUnavailable("PostgreSQL went away.")

    with pytest.raises(StoreUnavailable):
        await codes.redeem(code, resource=None, become=failing, **given)
    outcomes = await at_once(lambda: codes.redeem(code, resource=None, become=become, **given))
    assert [type(outcome) for outcome in outcomes].count(Redeemed) == 1
    begun = [row["id"] for row in await database.within("default").fetch("SELECT id FROM sso_grants")]
    assert len(begun) == 1, "of the try that failed nothing is left, neither the grant nor the code's use"
    others = [outcome for outcome in outcomes if not isinstance(outcome, Redeemed)]
    assert others == [Used(begun[0])] * (AT_ONCE - 1), "whoever came second finds what has to end"


async def test_a_saml_request_an_assertion_and_a_ticket(database: Database, clock: FakeClock):
    requests = Requests(database, pepper=PEPPER, clock=clock)
    request = await requests.begin("corp")
    assert sum(await at_once(lambda: requests.use(request, "corp"))) == 1
    until = clock.now() + 600
    seen = await at_once(lambda: requests.first_time("corp", "_a1", tenant="default", until=until))
    assert seen.count(True) == 1
    ticket = await requests.arrived(request, ANN, LogoutName("1"))
    people = await at_once(lambda: requests.finish(request, ticket))
    assert [person for person in people if person] == [(ANN, LogoutName("1"))]


async def test_a_code_a_challenge_and_a_count_of_emergency_access(database: Database, clock: FakeClock):
    store = Store(database, pepper=PEPPER, clock=clock, failures=20, seconds=3600)
    admin = await store.add("night", password="scrypt$x", by="test")
    assert sum(await at_once(lambda: store.take_step(admin, 1000))) == 1
    assert not await store.take_step(admin, 999), "nor one before it"
    challenge = await store.give(admin, "sign in", seconds=300)
    assert [one for one in await at_once(lambda: store.take("sign in", challenge)) if one] == [admin.id]
    other = await store.give(admin, "register", seconds=300)
    assert await store.take("sign in", other) is None, "of another purpose"
    await at_once(lambda: store.failed(admin))
    for _ in range(20 - AT_ONCE - 1):
        await store.failed(admin)
    assert (await store.of("night")).open_at == 0.0
    await store.failed(admin)
    assert (await store.of("night")).open_at > clock.now(), "no failure is lost among others of the same moment"
