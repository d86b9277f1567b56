"""A platform's identity room on a real database, and a second process on the same one."""

from collections.abc import Callable, Iterable

import pytest

from ai_platform.domain.call import Client
from ai_platform.domain.permission import EVERYTHING
from ai_platform.domain.principal import Credentials, Principal
from ai_platform.identity import Authenticator, IdentitySettings, Keys
from ai_platform.policy import Roles
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.testing import FakeClock

PEPPER = b"pepper" * 6
CLIENT = Client(ip="192.0.2.1")


class RolesNow:
    """A role book whose content a test may replace, as a hot reload does."""

    def __init__(self) -> None:
        self.roles = Roles({})
        self.version = "1"

    def replace(self, listed: dict[str, tuple[str, ...]]) -> None:
        self.roles = Roles(listed)
        self.version += "x"

    def permissions(self, roles: Iterable[str]) -> frozenset[str]:
        return self.roles.permissions(roles)

    def role_names(self) -> tuple[str, ...]:
        return self.roles.names()


class Room:
    """One process: keys, authenticator, and short ways to use them."""

    def __init__(
        self, database: Database, system: SystemDatabase, clock: FakeClock, book: RolesNow, settings: IdentitySettings
    ) -> None:
        self.system = system
        self.database = database
        self.clock = clock
        self.book = book
        self.auth = Authenticator(database, pepper=PEPPER, roles=book, clock=clock, settings=settings)
        self.keys = Keys(database, pepper=PEPPER, roles=book, clock=clock, forget=self.auth.forget)
        self.admin = Principal(id="usr_admin", name="root", permissions=frozenset({EVERYTHING}))

    async def make(self, name: str = "ann", **options: object) -> str:
        _, text = await self.keys.create(name, by=self.admin, **options)  # type: ignore[arg-type]
        return text

    async def enter(self, text: str | None, ip: str = CLIENT.ip) -> Principal:
        return await self.auth.authenticate(Credentials(text, "authorization"), Client(ip=ip))


@pytest.fixture
def book() -> RolesNow:
    return RolesNow()


@pytest.fixture
async def room(database: Database, system: SystemDatabase, clock: FakeClock, book: RolesNow) -> Room:
    return Room(database, system, clock, book, IdentitySettings())


@pytest.fixture
async def other(database: Database, system: SystemDatabase, clock: FakeClock, book: RolesNow) -> Room:
    """Another replica over the same database."""
    return Room(database, system, clock, book, IdentitySettings(watch_seconds=0.001, flush_seconds=0))


@pytest.fixture
def with_settings(database: Database, system: SystemDatabase, clock: FakeClock, book: RolesNow) -> Callable[..., Room]:
    return lambda **settings: Room(database, system, clock, book, IdentitySettings(**settings))
