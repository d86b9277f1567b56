"""Whether somebody who signed in still is, and as what: asked when a decision of theirs takes effect later."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from ai_platform.domain.principal import Principal
from ai_platform.policy import Roles
from ai_platform.sso import SignOn, SsoSettings
from ai_platform.sso.devices import Request
from ai_platform.sso.mapping import Person
from ai_platform.sso.signon import Keys, Tokens
from ai_platform.sso.standing import standing_of
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.testing import FakeClock

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("PO-7")]
BOB = Person(
    provider="corp",
    subject="1",
    name="Bob",
    email="bob@example.com",
    roles=("reviewer",),
    groups=("on-call",),
    team="red",
)


class Book:
    version = "1"

    def permissions(self, roles: Any) -> frozenset[str]:
        return Roles({}).permissions(roles)

    def role_names(self) -> tuple[str, ...]:
        return Roles({}).names()


class House:
    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.database = database
        self.clock = clock
        keys = Keys(b"p" * 32, b"s" * 32, b"t" * 32)
        self.room = SignOn(
            SsoSettings(),
            database,
            keys=keys,
            url="http://p",
            roles=Book(),
            clock=clock,
            environ={},  # type: ignore[arg-type]
        )

    async def now(self, principal_id: str, tenant: str = "default") -> Principal | None:
        return await standing_of(
            self.database, tenant, principal_id, roles=Book(), clock=self.clock, session_seconds=3600
        )

    async def program(self, account: Any) -> Tokens:
        codes = await self.room.devices.begin(Request(surface="claude_code"))
        await self.room.devices.decide(codes.user_code, account, approve=True)
        tokens = await self.room.poll(codes.device_code)
        assert isinstance(tokens, Tokens)
        return tokens


@pytest.fixture
async def house(database: Database, clock: FakeClock, system: SystemDatabase) -> AsyncIterator[House]:
    made = House(database, clock)
    await made.room.tokens.watch(system)
    yield made
    await made.room.close()


async def test_who_is_signed_in_at_a_program_is_known_with_roles_groups_and_team(house: House):
    account = await house.room.people.account_of(BOB)
    assert await house.now(account.id) is None
    tokens = await house.program(account)
    found = await house.now(account.id)
    assert found is not None
    assert (found.id, found.roles, found.groups, found.team) == (account.id, ("reviewer",), ("on-call",), "red")
    assert found == house.room.tokens.principal(tokens.access_token)
    assert await house.now(account.id, "other") is None


async def test_what_narrows_a_sign_in_narrows_whoever_is_asked_for_later(house: House):
    account = msgspec.structs.replace(
        await house.room.people.account_of(BOB), scopes=("model:claude-haiku-*", "tool:wiki/*", "read_code")
    )
    tokens = await house.program(account)
    found = await house.now(account.id)
    assert found is not None
    assert (found.models, found.tools, found.narrowed) == (("claude-haiku-*",), ("wiki/*",), True)
    assert found == house.room.tokens.principal(tokens.access_token) == account.principal(Book())


async def test_after_the_sign_in_ended_nobody_is_there(house: House, system: SystemDatabase):
    account = await house.room.people.account_of(BOB)
    await house.program(account)
    await system.execute("UPDATE sso_grants SET revoked_at = now(), revoked_why = 'removed'")
    assert await house.now(account.id) is None


async def test_a_browser_counts_until_it_signs_out_or_its_day_is_over(house: House):
    account = await house.room.people.account_of(BOB)
    cookie = await house.room.sessions.begin(account)
    assert await house.now(account.id) is not None
    await house.room.sessions.end(cookie)
    assert await house.now(account.id) is None
    await house.room.sessions.begin(account)
    house.clock.advance(3601)
    assert await house.now(account.id) is None
