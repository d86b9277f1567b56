"""Local administrators: enrolling, second factors that cannot be replayed, and guessing that locks nobody out."""

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pyotp.totp import TOTP
from security_key import SoftKey
from test_sign_in_ends import KEYS, Book

from ai_platform.domain.errors import InvalidCall, NotFound, RateLimited, Unauthenticated
from ai_platform.sso import SignOn, SsoSettings
from ai_platform.sso.breakglass import BreakGlass, factors
from ai_platform.sso.breakglass.emergency import Attempt
from ai_platform.sso.breakglass.kinds import Admin, Site
from ai_platform.sso.breakglass.passwords import Passwords, trouble_with
from ai_platform.sso.devices import Request
from ai_platform.sso.grants import Ended
from ai_platform.sso.people import Account
from ai_platform.sso.seal import Seal
from ai_platform.sso.settings import BreakGlassSettings
from ai_platform.sso.signon import Tokens
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.telemetry import Alert
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse battery staple"
URL = "https://ai.example"
SETTINGS = BreakGlassSettings(enabled=True, failures_per_address=5, failures_per_name=8)


class Alarms:
    def __init__(self) -> None:
        self.sent: list[Alert] = []

    def send(self, alert: Alert) -> bool:
        self.sent.append(alert)
        return True

    def kinds(self) -> list[str]:
        return [alert.kind for alert in self.sent]


class Room:
    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.clock = clock
        self.alarms = Alarms()
        self.glass = BreakGlass(
            SETTINGS,
            database,
            factors=factors,
            seal=Seal(KEYS.seal),
            pepper=KEYS.pepper,
            clock=clock,
            alerts=self.alarms,
            url=URL,
            passwords=Passwords(cost=4),
        )
        self.secrets: dict[str, str] = {}

    async def admin(self, name: str = "night") -> Admin:
        """One with codes, confirmed."""
        admin = await self.glass.enrol(name, PASSWORD, by="usr_admin")
        secret, _ = await self.glass.new_secret(admin)
        self.secrets[name] = secret
        await self.glass.confirm(await self.glass.find(name), self.code(name))
        self.clock.advance(60)
        return await self.glass.find(name)

    def code(self, name: str = "night", *, later: float = 0) -> str:
        return TOTP(self.secrets[name]).at(int(self.clock.now() + later))

    def attempt(
        self, name: str = "night", password: str = PASSWORD, ip: str = "198.51.100.7", ticket: str = ""
    ) -> Attempt:
        return Attempt(name, password, ip, ticket)

    async def fails(self, times: int, **attempt: str) -> None:
        for _ in range(times):
            with pytest.raises(Unauthenticated):
                await self.glass.with_code(self.attempt(**{"password": "wrong", **attempt}), "000000")


@pytest.fixture
async def room(database: Database, clock: FakeClock) -> Room:
    return Room(database, clock)


@pytest.mark.requirement("ID-1")
async def test_password_and_code_let_a_local_administrator_in_for_a_short_while_and_everybody_is_told(room: Room):
    admin = await room.admin()
    account = await room.glass.with_code(room.attempt(), room.code())
    assert (account.roles, account.provider, account.subject) == (("admin",), "break-glass", admin.id)
    assert account.until == room.clock.now() + 1800
    assert [(alert.kind, alert.severity) for alert in room.alarms.sent] == [("break_glass", "critical")]
    assert (await room.glass.find("night")).last_used_at == room.clock.now()
    room.clock.advance(31)
    await room.glass.with_code(room.attempt(), room.code())
    assert room.alarms.kinds() == ["break_glass", "break_glass"], "every use, not the first of a while"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"password": "correct horse battery stapler"}, None),
        ({"password": ""}, None),
        ({"name": "nobody"}, None),
        ({"name": ""}, None),
        ({}, "000000"),
        ({}, ""),
        ({}, "abcdef"),
        ({}, "١٢٣٤٥٦"),
        ({}, "1234567"),
    ],
)
async def test_anything_wrong_is_told_in_the_same_words(room: Room, changes: dict[str, str], code: str | None):
    await room.admin()
    with pytest.raises(Unauthenticated, match=r"second factor is wrong\. The clock here says 12:01:00"):
        await room.glass.with_code(room.attempt(**changes), room.code() if code is None else code)
    assert room.alarms.kinds() == ["break_glass_failed"]


async def test_a_code_is_good_once_and_so_is_the_one_of_the_enrolment(room: Room):
    admin = await room.glass.enrol("night", PASSWORD, by="usr_admin")
    room.secrets["night"], _ = await room.glass.new_secret(admin)
    used = room.code()
    await room.glass.confirm(await room.glass.find("night"), used)
    with pytest.raises(Unauthenticated):
        await room.glass.with_code(room.attempt(), used)
    room.clock.advance(31)
    await room.glass.with_code(room.attempt(), room.code())
    with pytest.raises(Unauthenticated):
        await room.glass.with_code(room.attempt(), room.code())
    with pytest.raises(Unauthenticated):
        await room.glass.with_code(room.attempt(), room.code(later=-30))


@pytest.mark.parametrize(("later", "taken"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
async def test_an_authenticators_clock_may_differ_by_half_a_minute(room: Room, later: float, *, taken: bool):
    await room.admin()
    room.clock.advance(300)
    if taken:
        assert await room.glass.with_code(room.attempt(), room.code(later=later))
    else:
        with pytest.raises(Unauthenticated, match="The clock here says"):
            await room.glass.with_code(room.attempt(), room.code(later=later))


async def test_who_was_not_confirmed_cannot_sign_in_and_makes_room(room: Room):
    admin = await room.glass.enrol("night", PASSWORD, by="usr_admin")
    room.secrets["night"], uri = await room.glass.new_secret(admin)
    assert uri.startswith("otpauth://totp/ai-platform%20ai.example:night?secret=")
    with pytest.raises(Unauthenticated):
        await room.glass.with_code(room.attempt(), room.code())
    with pytest.raises(InvalidCall, match="not the code of this moment"):
        await room.glass.confirm(await room.glass.find("night"), "000000")
    again = await room.glass.enrol("night", PASSWORD, by="usr_admin")
    assert again.id != admin.id
    await room.admin("day")
    with pytest.raises(InvalidCall, match="already"):
        await room.glass.enrol("day", PASSWORD, by="usr_admin")


async def test_a_secret_of_somebody_who_is_enrolled_is_not_replaced(room: Room):
    with pytest.raises(InvalidCall, match="has codes already"):
        await room.glass.new_secret(await room.admin())


@pytest.mark.parametrize(
    ("name", "password", "why"),
    [
        ("Night", PASSWORD, "name must be"),
        ("", PASSWORD, "name must be"),
        ("../x", PASSWORD, "name must be"),
        ("night", "short", "16 to 256"),
        ("night", "aaaaaaaaaaaaaaaaaaaaaa", "different characters"),
        ("night", "ab" * 300, "16 to 256"),
    ],
)
async def test_names_and_passwords_have_their_bounds(room: Room, name: str, password: str, why: str):
    with pytest.raises(InvalidCall, match=why):
        await room.glass.enrol(name, password, by="usr_admin")


async def test_the_database_holds_no_password_no_secret_no_link_and_no_challenge(room: Room, database: Database):
    admin = await room.admin()
    link = await room.glass.link(admin, "open")
    key = SoftKey(URL)
    _, challenge = await room.glass.begin_key(await room.glass.link(admin, "key"))
    await room.glass.finish_key(challenge.value, key.create(challenge.options))
    dump = ""
    for table in ("break_glass_admins", "break_glass_keys", "break_glass_once"):
        assert await database.fetch(f"SELECT * FROM {table}") == []
        dump += str([dict(row) for row in await database.within("default").fetch(f"SELECT * FROM {table}")])
    for secret in (PASSWORD, room.secrets["night"], link, challenge.value):
        assert secret not in dump
        assert str(bytes.fromhex(secret) if secret in {link, challenge.value} else secret) not in dump


# --- guessing --------------------------------------------------------------------------------------------------------


async def test_one_address_may_fail_a_few_times_and_others_go_on(room: Room):
    await room.admin()
    await room.fails(5)
    with pytest.raises(RateLimited, match="open NAME") as refusal:
        await room.glass.with_code(room.attempt(), room.code())
    assert 0 < (refusal.value.retry_after or 0) <= 900
    assert await room.glass.with_code(room.attempt(ip="203.0.113.9"), room.code())
    room.clock.advance(901)
    assert await room.glass.with_code(room.attempt(), room.code())


async def test_an_ipv6_caller_is_counted_by_its_network(room: Room):
    await room.admin()
    for host in range(5):
        await room.fails(1, ip=f"2001:db8::{host:x}")
    with pytest.raises(RateLimited):
        await room.glass.with_code(room.attempt(ip="2001:db8::ffff"), room.code())
    assert await room.glass.with_code(room.attempt(ip="2001:db8:0:1::1"), room.code())


async def test_a_name_is_guessed_at_a_few_times_an_hour_from_anywhere_and_other_names_go_on(room: Room):
    await room.admin()
    await room.admin("day")
    for number in range(8):
        await room.fails(1, ip=f"198.51.100.{number}")
    with pytest.raises(RateLimited):
        await room.glass.with_code(room.attempt(ip="203.0.113.9"), room.code())
    assert await room.glass.with_code(room.attempt("day", ip="203.0.113.9"), room.code("day"))
    room.clock.advance(3601)
    assert await room.glass.with_code(room.attempt(ip="203.0.113.9"), room.code())


async def test_the_count_of_a_name_holds_on_every_replica(room: Room, database: Database):
    await room.admin()
    for number in range(8):
        await room.fails(1, ip=f"198.51.100.{number}")
    other = Room(database, room.clock)
    other.secrets = room.secrets
    with pytest.raises(RateLimited):
        await other.glass.with_code(room.attempt(ip="203.0.113.9"), room.code())


async def test_nobody_is_locked_out_who_has_the_machine(room: Room):
    admin = await room.admin()
    await room.fails(5)
    for number in range(3):
        await room.fails(1, ip=f"198.51.101.{number}")
    for ip in ("198.51.100.7", "203.0.113.9"):
        with pytest.raises(RateLimited):
            await room.glass.with_code(room.attempt(ip=ip), room.code())
    link = await room.glass.link(admin, "open")
    assert await room.glass.with_code(room.attempt(ticket=link), room.code())


async def test_a_link_needs_everything_else_too_has_a_bound_of_its_own_and_is_for_one_name(room: Room):
    admin = await room.admin()
    await room.admin("day")
    await room.fails(5)
    link = await room.glass.link(admin, "open")
    with pytest.raises(RateLimited):
        await room.glass.with_code(room.attempt("day", ticket=link), room.code("day"))
    for _ in range(9):
        with pytest.raises(Unauthenticated):
            await room.glass.with_code(room.attempt(password="wrong", ticket=link), room.code())
    with pytest.raises(RateLimited):
        await room.glass.with_code(room.attempt(ticket=link), room.code())
    late = await room.glass.link(admin, "open")
    room.clock.advance(601)
    for bad in (late, "zz", "00" * 32, link[:-2]):
        with pytest.raises(RateLimited):
            await room.glass.with_code(room.attempt(ticket=bad), room.code())


async def test_names_that_do_not_exist_are_bounded_like_those_that_do(room: Room):
    await room.admin()
    for number in range(8):
        await room.fails(1, ip=f"198.51.100.{number}", name="nobody")
    with pytest.raises(RateLimited):
        await room.glass.with_code(room.attempt("nobody", ip="203.0.113.9"), "000000")


def test_a_name_that_does_not_exist_takes_the_same_work_and_never_fits():
    passwords = Passwords(cost=4)
    stored = passwords.hashed(PASSWORD)
    assert stored.startswith("scrypt$4$8$1$")
    assert passwords.matches(PASSWORD, stored)
    assert not passwords.matches(PASSWORD + "x", stored)
    assert not passwords.matches("", None)
    assert passwords.hashed(PASSWORD) != stored
    assert Passwords().hashed(PASSWORD).startswith("scrypt$17$8$1$")
    assert trouble_with(PASSWORD) == ""


# --- security keys ---------------------------------------------------------------------------------------------------


async def with_key(room: Room, name: str = "night", **options: Any) -> SoftKey:
    """An administrator with a security key and no codes."""
    admin = await room.glass.enrol(name, PASSWORD, by="usr_admin")
    key = SoftKey(URL, **options)
    whose, challenge = await room.glass.begin_key(await room.glass.link(admin, "key"))
    assert whose.id == admin.id
    await room.glass.finish_key(challenge.value, key.create(challenge.options))
    return key


@pytest.mark.requirement("ID-1")
async def test_password_and_security_key_let_a_local_administrator_in(room: Room):
    key = await with_key(room)
    for _ in range(2):
        challenge = await room.glass.challenge(room.attempt())
        account = await room.glass.with_key(challenge.value, key.get(challenge.options), ip="198.51.100.7")
        assert account.roles == ("admin",)
    assert room.alarms.kinds() == ["break_glass", "break_glass"]
    with pytest.raises(Unauthenticated):
        await room.glass.with_code(room.attempt(), "000000")


async def test_no_challenge_without_the_password(room: Room):
    await with_key(room)
    with pytest.raises(Unauthenticated):
        await room.glass.challenge(room.attempt(password="wrong"))
    await room.admin("day")
    with pytest.raises(Unauthenticated):
        await room.glass.challenge(room.attempt("day"))


async def test_an_answer_is_good_once_for_its_own_challenge_and_for_minutes(room: Room):
    key = await with_key(room)
    first, second = [await room.glass.challenge(room.attempt()) for _ in range(2)]
    answer = key.get(first.options)
    with pytest.raises(Unauthenticated):
        await room.glass.with_key(second.value, answer, ip="")
    assert await room.glass.with_key(first.value, answer, ip="")
    with pytest.raises(Unauthenticated, match="too long"):
        await room.glass.with_key(first.value, answer, ip="")
    late = await room.glass.challenge(room.attempt())
    answer = key.get(late.options)
    room.clock.advance(301)
    with pytest.raises(Unauthenticated, match="too long"):
        await room.glass.with_key(late.value, answer, ip="")
    for challenge in ("", "zz", "00" * 32):
        with pytest.raises(Unauthenticated):
            await room.glass.with_key(challenge, answer, ip="")


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://ai.example"},
        {"origin": "https://ai.example:444"},
        {"origin": "https://ai.example.evil.example"},
        {"rpId": "evil.example", "origin": URL},
        {"up": False},
    ],
)
async def test_an_answer_of_another_site_or_without_a_touch_is_refused(room: Room, changes: dict[str, Any]):
    key = await with_key(room)
    challenge = await room.glass.challenge(room.attempt())
    with pytest.raises(Unauthenticated):
        await room.glass.with_key(challenge.value, key.get(challenge.options, **changes), ip="")
    assert room.alarms.kinds()[-1] == "break_glass_failed"


async def test_a_copied_key_is_noticed_by_its_count(room: Room):
    key = await with_key(room, counter=10)
    challenge = await room.glass.challenge(room.attempt())
    assert await room.glass.with_key(challenge.value, key.get(challenge.options), ip="")
    key.device.counter = 5
    challenge = await room.glass.challenge(room.attempt())
    with pytest.raises(Unauthenticated):
        await room.glass.with_key(challenge.value, key.get(challenge.options), ip="")


async def test_a_key_of_somebody_else_is_refused(room: Room):
    await with_key(room)
    others = await with_key(room, "day")
    challenge = await room.glass.challenge(room.attempt())
    with pytest.raises(Unauthenticated, match="not registered"):
        await room.glass.with_key(challenge.value, others.get(challenge.options), ip="")
    challenge = await room.glass.challenge(room.attempt())
    with pytest.raises(Unauthenticated):
        await room.glass.with_key(challenge.value, "{}", ip="")


async def test_a_registration_is_for_this_site_this_challenge_and_a_good_link(room: Room):
    admin = await room.glass.enrol("night", PASSWORD, by="usr_admin")
    link = await room.glass.link(admin, "key")
    key = SoftKey(URL)
    _, challenge = await room.glass.begin_key(link)
    with pytest.raises(Unauthenticated):
        await room.glass.finish_key(challenge.value, key.create(challenge.options, origin="https://evil.example"))
    _, challenge = await room.glass.begin_key(link)
    _, other = await room.glass.begin_key(link)
    with pytest.raises(Unauthenticated):
        await room.glass.finish_key(other.value, key.create(challenge.options))
    with pytest.raises(Unauthenticated, match="not good any more"):
        await room.glass.begin_key(link)
    opening = await room.glass.link(admin, "open")
    with pytest.raises(Unauthenticated, match="not good any more"):
        await room.glass.begin_key(opening)
    assert not (await room.glass.find("night")).active_at


def test_an_answer_made_in_a_frame_or_too_long_is_refused():
    site, challenge = Site("ai.example", URL), os.urandom(32)
    options = factors.registration(site, admin="bga_1", name="night", challenge=challenge, known=[])
    key = SoftKey(URL)
    assert factors.registered(site, answer=key.create(options), challenge=challenge)

    framed = SoftKey(URL)
    plain = framed.device.build_client_data_JSON
    framed.device.build_client_data_JSON = lambda pk: plain(pk)[:-1] + ', "crossOrigin": true}'
    for answer in (framed.create(options), " " * 20_000, "[]", "x", '{"id": 1}'):
        with pytest.raises(Unauthenticated):
            factors.registered(site, answer=answer, challenge=challenge)


# --- what comes of it ------------------------------------------------------------------------------------------------


@pytest.fixture
async def signon(room: Room, database: Database, system: SystemDatabase) -> AsyncIterator[SignOn]:
    made = SignOn(
        SsoSettings(),
        database,
        keys=KEYS,
        url=URL,
        roles=Book(),
        clock=room.clock,
        environ={},
        emergency=room.glass,
    )
    await made.tokens.watch(system)
    yield made
    await made.close()


async def _tokens(signon: SignOn, account: Account) -> Tokens:
    codes = await signon.devices.begin(Request(surface="ai_platform"))
    assert await signon.devices.decide(codes.user_code, account, approve=True)
    tokens = await signon.poll(codes.device_code)
    assert isinstance(tokens, Tokens)
    return tokens


async def test_session_programs_and_tokens_end_with_the_short_sign_in(
    room: Room, signon: SignOn, system: SystemDatabase
):
    await room.admin()
    account = await room.glass.with_code(room.attempt(), room.code())
    session = (await signon.enter_local(account, "/auth/session", before=None)).cookie
    room.clock.advance(1500)
    tokens = await _tokens(signon, account)
    assert tokens.expires_in == 300
    await signon.tokens.watch(system)
    assert "*" in signon.tokens.principal(tokens.access_token).permissions
    renewed = await signon.refresh(tokens.refresh_token)
    assert isinstance(renewed, Tokens)
    assert await signon.sessions.get(session)
    room.clock.advance(301)
    await signon.tokens.watch(system)
    assert await signon.sessions.get(session) is None
    with pytest.raises(Unauthenticated, match="expired"):
        signon.tokens.principal(renewed.access_token)
    assert await signon.refresh(renewed.refresh_token) is Ended.EXPIRED


async def test_who_is_removed_is_out_at_once(room: Room, signon: SignOn, system: SystemDatabase):
    admin = await room.admin()
    account = await room.glass.with_code(room.attempt(), room.code())
    session = (await signon.enter_local(account, "/auth/session", before=None)).cookie
    tokens = await _tokens(signon, account)
    await room.glass.remove(admin, by="usr_admin")
    assert await signon.sessions.get(session) is None
    assert await signon.refresh(tokens.refresh_token) is Ended.REVOKED
    await signon.tokens.watch(system)
    with pytest.raises(Unauthenticated):
        signon.tokens.principal(tokens.access_token)
    room.clock.advance(60)
    with pytest.raises(Unauthenticated):
        await room.glass.with_code(room.attempt(), room.code())
    with pytest.raises(NotFound):
        await room.glass.find("night")
    assert await room.admin(), "the name is free again"
