"""How a person's access ends: everything they hold, in every process, whoever says so; and who must not end whom."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ai_platform.directory import People, Teams, Tenants
from ai_platform.directory.person import State
from ai_platform.directory.teams import Label
from ai_platform.domain.call import Client
from ai_platform.domain.errors import Denied, InvalidCall, NotFound, Unauthenticated
from ai_platform.domain.principal import Credentials, Principal
from ai_platform.identity import Authenticator, Keys
from ai_platform.policy import Roles
from ai_platform.sso import SignOn, SsoSettings
from ai_platform.sso.devices import Poll, Request
from ai_platform.sso.grants import Ended
from ai_platform.sso.mapping import Person
from ai_platform.sso.people import Account
from ai_platform.sso.signon import Keys as SignOnKeys
from ai_platform.sso.signon import Tokens
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.testing import FakeClock

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("ID-3")]
ANN = Person(provider="corp", subject="1", name="Ann", email="ann@example.com", roles=("developer",))


class Book:
    version = "1"

    def permissions(self, roles: Any) -> frozenset[str]:
        return Roles({}).permissions(roles)

    def role_names(self) -> tuple[str, ...]:
        return Roles({}).names()


class Process:
    """What one platform process has of people: keys, sign-in, the directory."""

    def __init__(self, database: Database, system: SystemDatabase, clock: FakeClock) -> None:
        self.system = system
        book: Any = Book()
        secrets = SignOnKeys(b"p" * 32, b"s" * 32, b"t" * 32)
        self.signon = SignOn(SsoSettings(), database, keys=secrets, url="http://p", roles=book, clock=clock, environ={})
        self.auth = Authenticator(database, pepper=b"p" * 32, roles=book, clock=clock, tokens=self.signon.tokens)
        self.keys = Keys(database, pepper=b"p" * 32, roles=book, clock=clock, forget=self.auth.forget)
        self.people = People(database, keys=self.keys, roles=book, ended=self.auth.ended, clock=clock)
        self.teams = Teams(database)
        self.tenants = Tenants(system, keys=self.keys, ended=self.auth.ended)

    async def look(self) -> None:
        """The watches of a second."""
        await self.auth.watch(self.system)
        await self.signon.tokens.watch(self.system)

    async def enter(self, text: str) -> Principal:
        return await self.auth.authenticate(Credentials(text), Client(ip="192.0.2.1"))

    async def refused(self, text: str) -> bool:
        try:
            await self.enter(text)
        except Unauthenticated:
            return True
        return False

    async def tokens_of(self, account: Account) -> Tokens:
        codes = await self.signon.devices.begin(Request(surface="claude_code"))
        assert await self.signon.devices.decide(codes.user_code, account, approve=True)
        tokens = await self.signon.poll(codes.device_code)
        assert isinstance(tokens, Tokens)
        return tokens


@pytest.fixture
async def here(database: Database, system: SystemDatabase, clock: FakeClock) -> AsyncIterator[Process]:
    process = Process(database, system, clock)
    await process.look()
    yield process
    await process.signon.close()


@pytest.fixture
async def there(database: Database, system: SystemDatabase, clock: FakeClock) -> AsyncIterator[Process]:
    """Another replica."""
    process = Process(database, system, clock)
    await process.look()
    yield process
    await process.signon.close()


@pytest.fixture
async def boss(here: Process) -> Principal:
    return await here.enter(await here.keys.ensure_admin_key() or "")


@pytest.mark.parametrize("state", [State.SUSPENDED, State.REMOVED])
async def test_an_end_is_everything_and_everywhere(here: Process, there: Process, boss: Principal, state: State):
    account = await here.signon.people.account_of(ANN)
    _, key = await here.keys.create("laptop", by=boss, email=ANN.email)
    tokens = await here.tokens_of(account)
    cookie = await here.signon.sessions.begin(account)
    pending = await here.signon.devices.begin(Request())
    await here.signon.devices.decide(pending.user_code, account, approve=True)
    for process in (here, there):
        caller = await process.enter(key)
        assert (await process.enter(tokens.access_token)).id == caller.id == account.id

    ended = await here.people.end("ann@example.com", state, by=boss)
    assert (ended.state, ended.keys, ended.sign_ins) == (state, 0, 0)
    assert here.auth.ended.holds(caller), "answers under way are cut"
    for text in (key, tokens.access_token):
        assert await here.refused(text), "at once in the process that did it"
    await there.look()
    assert there.auth.ended.holds(caller)
    for text in (key, tokens.access_token):
        assert await there.refused(text), "at the next look in any other"
    assert await there.signon.sessions.get(cookie) is None
    assert await there.signon.refresh(tokens.refresh_token) is Ended.REVOKED
    assert await there.signon.poll(pending.device_code) is Poll.DENIED, "a code approved before"
    with pytest.raises(Denied, match=f"is {state.value}"):
        await there.signon.people.account_of(ANN)
    with pytest.raises(Denied, match="was ended"):
        await there.signon.sessions.begin(account)
    with pytest.raises(InvalidCall, match="suspended or removed"):
        await there.keys.create("again", by=boss, email=ANN.email)


async def test_who_comes_back_begins_anew(here: Process, there: Process, boss: Principal):
    account = await here.signon.people.account_of(ANN)
    _, key = await here.keys.create("laptop", by=boss, email=ANN.email)
    await here.people.end(account.id, State.SUSPENDED, by=boss)
    back = await here.people.resume("Ann", by=boss)
    assert (back.state, back.ended_at) == (State.ACTIVE, None)
    for process in (here, there):
        await process.look()
        assert await process.refused(key), "what has ended stays ended"
    _, fresh = await here.keys.create("laptop", by=boss, email=ANN.email)
    assert (await there.enter(fresh)).id == account.id
    assert (await there.signon.people.account_of(ANN)).id == account.id


async def test_an_end_and_a_beginning_at_the_same_moment_leave_nothing_open(
    here: Process, boss: Principal, system: SystemDatabase
):
    """Whichever comes first: a session, a sign-in or a key that begins beside the end is ended by it or refused."""
    for round_ in range(12):
        person = Person(
            provider="corp", subject=f"r{round_}", name="R", email=f"r{round_}@example.com", roles=("developer",)
        )
        account = await here.signon.people.account_of(person)

        async def begin(account: Account = account) -> None:
            await here.signon.sessions.begin(account)

        async def key(number: int, email: str | None = person.email, round_: int = round_) -> None:
            await here.keys.create(f"k{round_}-{number}", by=boss, email=email)

        work = [begin() for _ in range(3)] + [key(number) for number in range(3)]
        work.insert(round_ % 7, here.people.end(account.id, State.REMOVED, by=boss))
        await asyncio.gather(*work, return_exceptions=True)
        left = await system.fetchrow(
            "SELECT (SELECT count(*) FROM keys WHERE principal_id = $1 AND revoked_at IS NULL) AS keys,"
            " (SELECT count(*) FROM sso_sessions WHERE principal_id = $1 AND ended_at IS NULL) AS sessions",
            account.id,
        )
        assert dict(left) == {"keys": 0, "sessions": 0}


async def test_nobody_ends_themselves_or_the_last_administrator_or_who_may_do_more(here: Process, boss: Principal):
    with pytest.raises(InvalidCall, match="your own access"):
        await here.people.end(boss.id, State.REMOVED, by=boss)
    _, key = await here.keys.create("second", by=boss, email="second@example.com", roles=["admin"])
    second = await here.enter(key)
    _, key = await here.keys.create(
        "desk", by=boss, email="desk@example.com", roles=["admin"], scopes=["identity:people:write"]
    )
    desk = await here.enter(key)
    with pytest.raises(Denied, match="may do more than you"):
        await here.people.end(second.id, State.SUSPENDED, by=desk)
    await here.people.end(boss.id, State.REMOVED, by=second)
    _, key = await here.keys.create("other", by=second, email="other@example.com")
    outsider = Principal(id="usr_operator", name="operator", permissions=frozenset({"*"}))
    with pytest.raises(InvalidCall, match="last key that may do everything"):
        await here.people.end(second.id, State.REMOVED, by=outsider)


async def test_two_administrators_who_end_each_other_at_once_leave_one(here: Process, boss: Principal):
    _, key = await here.keys.create("second", by=boss, email="second@example.com", roles=["admin"])
    second = await here.enter(key)
    outcomes = await asyncio.gather(
        here.people.end(second.id, State.REMOVED, by=boss),
        here.people.end(boss.id, State.REMOVED, by=second),
        return_exceptions=True,
    )
    assert sorted(isinstance(outcome, InvalidCall) for outcome in outcomes) == [False, True], outcomes
    one, two = [await here.people.get(who.id, tenant="default") for who in (boss, second)]
    assert sorted((one.state, two.state)) == [State.ACTIVE, State.REMOVED]


async def test_people_are_found_by_address_id_and_name_in_their_tenant_only(here: Process, boss: Principal):
    for name, email in (("Bo", "bo@example.com"), ("Bo", "bo2@example.com"), ("Cy", None)):
        await here.keys.create(f"{name} {email}", by=boss, owner=name, email=email)
    bo = await here.people.get("BO@example.com", tenant="default")
    assert await here.people.get(bo.id, tenant="default") == bo
    with pytest.raises(InvalidCall, match="Several are called 'bo'"):
        await here.people.get("bo", tenant="default")
    assert (await here.people.get("cy", tenant="default")).email is None
    for wanted in (bo.id, "bo@example.com", "nobody", "' OR true --", "\0"):
        with pytest.raises(NotFound):
            await here.people.get(wanted, tenant="acme")
    await here.people.end(bo.id, State.REMOVED, by=boss)
    assert bo.id not in {one.id for one in await here.people.list(tenant="default")}
    assert bo.id in {one.id for one in await here.people.list(tenant="default", removed=True)}


async def test_a_team_is_whose_limits_apply(here: Process, there: Process, boss: Principal):
    _, key = await here.keys.create("laptop", by=boss, email=ANN.email)
    _, fixed = await here.keys.create("fixed", by=boss, email=ANN.email, team="blue")
    assert [one.name for one in await here.teams.list(Label.TEAM, tenant="default")] == ["blue"]
    assert (await there.enter(key)).team is None
    await here.teams.create(Label.TEAM, "red", "The Reds", by=boss)
    moved = await here.people.assign("ann@example.com", "red", tenant="default")
    assert moved.team == "red"
    await there.look()
    assert (await there.enter(key)).team == "red"
    assert (await there.enter(fixed)).team == "blue", "a key's own team stays"
    assert (await here.signon.people.account_of(ANN)).team == "red"
    told = Person(provider="corp", subject="1", name="Ann", email="ann@example.com", roles=("developer",), team="green")
    assert (await here.signon.people.account_of(told)).team == "green", "the provider's word wins, and is kept"
    assert [one.email for one in await here.people.list(tenant="default", team="green")] == ["ann@example.com"]
    with pytest.raises(InvalidCall, match="has 1 members"):
        await here.teams.remove(Label.TEAM, "green", by=boss)
    await here.people.leave("ann@example.com", "green", tenant="default")
    await here.teams.remove(Label.TEAM, "green", by=boss)
    with pytest.raises(NotFound):
        await here.people.leave("ann@example.com", "green", tenant="default")
    for bad in ("", "-x", "a" * 65, "a\nb", "'; DROP TABLE teams; --"):
        with pytest.raises(InvalidCall):
            await here.teams.create(Label.PROJECT, bad, "", by=boss)


@pytest.mark.requirement("ID-5")
async def test_a_sign_in_for_an_organisation_that_is_not_there_or_disabled_is_refused(here: Process, boss: Principal):
    stranger = Person(provider="p", subject="1", name="X", email="x@acme.example", roles=("member",), tenant="acme")
    with pytest.raises(Denied, match="'acme' does not exist"):
        await here.signon.people.account_of(stranger)
    await here.tenants.create("acme", "", by=boss)
    account = await here.signon.people.account_of(stranger)
    tokens, cookie = await here.tokens_of(account), await here.signon.sessions.begin(account)
    await here.tenants.disable("acme", by=boss)
    assert await here.refused(tokens.access_token)
    assert await here.signon.sessions.get(cookie) is None
    assert await here.signon.refresh(tokens.refresh_token) is Ended.REVOKED
    with pytest.raises(Denied, match="is disabled"):
        await here.signon.people.account_of(stranger)
    with pytest.raises(Denied, match="was ended"):
        await here.signon.sessions.begin(account)
