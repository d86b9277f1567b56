"""How sign-ins end: limits, sign-out, removal at the provider, a store that is away; and guessing of codes."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sso_site import requires_provider, site

from ai_platform.domain.errors import Denied, StoreUnavailable, Unauthenticated, UpstreamUnreachable
from ai_platform.entrypoints.http import Handler, Message
from ai_platform.entrypoints.signin.account import AccountPage
from ai_platform.entrypoints.signin.browser import Browser
from ai_platform.entrypoints.signin.record import Recorder
from ai_platform.entrypoints.signin.web import Page, Visit
from ai_platform.policy import Roles
from ai_platform.sso import SignOn, SsoSettings
from ai_platform.sso.devices import Poll, Request
from ai_platform.sso.grants import Ended
from ai_platform.sso.mapping import Person
from ai_platform.sso.people import Account
from ai_platform.sso.settings import ProviderSettings, SessionSettings, TokenSettings
from ai_platform.sso.signon import Keys, Tokens
from ai_platform.sso.tokens import BLIND_SECONDS
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.testing import FakeClock, MemoryTrail
from platform_process import clean_environ, until

pytestmark = pytest.mark.anyio
ANN = Person(provider="corp", subject="1", name="Ann", email="ann@example.com", roles=("developer",))
KEYS = Keys(b"p" * 32, b"s" * 32, b"t" * 32)


class Book:
    version = "1"

    def permissions(self, roles: tuple[str, ...]) -> frozenset[str]:
        return Roles({}).permissions(roles)

    def role_names(self) -> tuple[str, ...]:
        return Roles({}).names()


class Room(SignOn):
    """Sign-in without a provider in front: people are put in by hand."""

    async def tokens_of(self, account: Account) -> Tokens:
        codes = await self.devices.begin(Request(surface="claude_code"))
        assert await self.devices.decide(codes.user_code, account, approve=True)
        tokens = await self.poll(codes.device_code)
        assert isinstance(tokens, Tokens)
        return tokens


def _room(database: Database, clock: FakeClock, settings: SsoSettings | None = None) -> Room:
    settings = settings or SsoSettings()
    return Room(settings, database, keys=KEYS, url="http://p", roles=Book(), clock=clock, environ={})  # type: ignore[arg-type]


@pytest.fixture
async def room(database: Database, clock: FakeClock, system: SystemDatabase) -> AsyncIterator[Room]:
    made = _room(database, clock)
    await made.tokens.watch(system)
    yield made
    await made.close()


@pytest.fixture
async def ann(room: Room) -> Account:
    return await room.people.account_of(ANN)


@pytest.mark.requirement("ID-1")
async def test_a_session_ends_when_idle_and_in_any_case(database: Database, clock: FakeClock, ann: Account):
    limits = SessionSettings(idle_seconds=600, absolute_seconds=3600)
    room = _room(database, clock, SsoSettings(sessions=limits))
    idle, busy = [await room.sessions.begin(ann) for _ in range(2)]
    for _ in range(5):
        clock.advance(500)
        assert await room.sessions.get(busy)
    assert await room.sessions.get(idle) is None
    clock.advance(500)
    assert await room.sessions.get(busy)
    clock.advance(601)
    assert await room.sessions.get(busy) is None, "an hour is over, busy or not"


@pytest.mark.requirement("ID-1")
async def test_the_id_of_a_session_changes_and_the_old_one_is_worth_nothing(
    database: Database, clock: FakeClock, ann: Account
):
    room = _room(database, clock, SsoSettings(sessions=SessionSettings(rotate_seconds=900, absolute_seconds=3600)))
    first = await room.sessions.begin(ann, provider_token="sealed")
    clock.advance(890)
    young = await room.sessions.get(first, renew=True)
    assert young
    assert not young.renewed
    clock.advance(20)
    form = await room.sessions.get(first)
    assert form
    assert not form.renewed, "a form that is sent changes nothing"
    both = await asyncio.gather(*(room.sessions.get(first, renew=True) for _ in range(5)))
    new = [one.renewed for one in both if one and one.renewed]
    assert (len(both), len(new)) == (5, 1), "requests at the same time are one session and get one new id"
    assert {one.csrf for one in both if one} == {young.csrf}, "a page that is open can still be sent"
    later = await room.sessions.get(new[0], renew=True)
    assert later
    assert (later.csrf, later.renewed) == (young.csrf, "")
    assert 2600 < later.left < 2700, "a new id makes the session no longer"
    clock.advance(31)
    assert await room.sessions.get(first, renew=True) is None
    assert await room.sessions.take_provider_token(new[0])
    clock.advance(900)
    renewed = await room.sessions.get(new[0], renew=True)
    assert renewed
    assert renewed.renewed
    assert len(await room.sessions.open_of(ann.id, tenant="default")) == 1
    clock.advance(1800)
    assert await room.sessions.get(renewed.renewed) is None, "an hour is over"


async def test_signing_out_with_an_id_that_was_just_replaced_ends_the_session(
    database: Database, clock: FakeClock, ann: Account
):
    room = _room(database, clock)
    for end in ("one", "all"):
        old = await room.sessions.begin(ann)
        clock.advance(901)
        session = await room.sessions.get(old, renew=True)
        assert session
        if end == "one":
            await room.sessions.end(old)
        else:
            assert await room.sessions.end_all(ann.id, tenant="default") == 1
        assert await room.sessions.get(old) is None
        assert await room.sessions.get(session.renewed) is None


async def test_the_browser_gets_the_new_id_with_a_page_and_goes_on(database: Database, clock: FakeClock, ann: Account):
    room = _room(database, clock)
    record = Recorder(MemoryTrail(), clock)
    browser = Browser(room, record, clock)
    page = AccountPage(room, browser, record, clock).handlers()["GET", "/auth/session"]
    old = await room.sessions.begin(ann)
    clock.advance(901)
    cookie = await _set_cookie(page, old)
    assert cookie.startswith("aip-session=")
    assert "HttpOnly; SameSite=Lax; Max-Age=42299" in cookie
    new = cookie.partition("=")[2].partition(";")[0]
    assert new != old
    assert await _set_cookie(page, new) == ""


async def _set_cookie(page: Handler, cookie: str) -> str:
    """What the page gives the browser to keep."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"cookie", f"aip-session={cookie}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/auth/session", "query_string": b"", "headers": headers}
    await page(scope, receive, send)
    assert sent[0]["status"] == 200
    return b"".join(value for name, value in sent[0]["headers"] if name == b"set-cookie").decode()


async def test_the_database_holds_no_cookie_no_code_and_no_token(room: Room, ann: Account, system: SystemDatabase):
    cookie = await room.sessions.begin(ann, provider_token=room._sealed("provider-secret"))
    codes = await room.devices.begin(Request())
    tokens = await room.tokens_of(ann)
    dump = ""
    for table in ("sso_sessions", "sso_devices", "sso_grants", "sso_identities"):
        dump += str([dict(row) for row in await system.fetch(f"SELECT * FROM {table}")])
    secrets = (cookie, *codes, tokens.access_token, tokens.refresh_token, tokens.refresh_token[-64:], "provider-secret")
    assert [secret for secret in secrets if secret in dump] == []


async def test_codes_expire(room: Room, ann: Account, clock: FakeClock):
    codes = await room.devices.begin(Request())
    clock.advance(601)
    assert await room.devices.look(codes.user_code) is None
    assert await room.devices.decide(codes.user_code, ann, approve=True) is None
    assert await room.poll(codes.device_code) is Poll.EXPIRED


async def test_a_code_is_decided_once(room: Room, ann: Account):
    codes = await room.devices.begin(Request())
    assert await room.devices.decide(codes.user_code.lower().replace("-", " "), ann, approve=False)
    assert await room.devices.decide(codes.user_code, ann, approve=True) is None
    assert await room.poll(codes.device_code) is Poll.DENIED


async def test_asking_too_often_makes_the_wait_longer(room: Room, clock: FakeClock):
    codes = await room.devices.begin(Request())
    assert await room.poll(codes.device_code) is Poll.PENDING
    clock.advance(2)
    assert await room.poll(codes.device_code) is Poll.SLOW_DOWN
    clock.advance(6)
    assert await room.poll(codes.device_code) is Poll.SLOW_DOWN, "it is ten seconds now"
    clock.advance(15)
    assert await room.poll(codes.device_code) is Poll.PENDING


async def test_two_polls_at_once_give_one_token(room: Room, ann: Account):
    codes = await room.devices.begin(Request())
    await room.devices.decide(codes.user_code, ann, approve=True)
    outcomes = await asyncio.gather(*(room.poll(codes.device_code) for _ in range(5)))
    assert [type(outcome) for outcome in outcomes].count(Tokens) == 1


async def test_an_access_token_ends_by_itself_and_the_sign_in_after_a_day(
    database: Database, clock: FakeClock, ann: Account, system: SystemDatabase
):
    settings = SsoSettings(tokens=TokenSettings(access_seconds=900, sign_in_seconds=3600))
    room = _room(database, clock, settings)
    await room.tokens.watch(system)
    # Nobody configured a provider here, so that a refresh would find it gone: grants are asked directly.
    tokens = await room.tokens_of(ann)
    assert room.tokens.principal(tokens.access_token).id == ann.id
    clock.advance(901)
    await room.tokens.watch(system)
    with pytest.raises(Unauthenticated, match="expired"):
        room.tokens.principal(tokens.access_token)
    assert not isinstance(await room.grants.look(tokens.refresh_token), Ended)
    clock.advance(2700)
    assert await room.grants.look(tokens.refresh_token) is Ended.EXPIRED


async def test_a_provider_taken_out_of_the_configuration_ends_its_sign_ins(room: Room, ann: Account):
    tokens = await room.tokens_of(ann)
    assert await room.refresh(tokens.refresh_token) is Ended.REVOKED
    with pytest.raises(Unauthenticated, match="ended"):
        room.tokens.principal(tokens.access_token)


async def test_another_process_hears_of_an_end_at_its_next_look(
    room: Room, ann: Account, database: Database, clock: FakeClock, system: SystemDatabase
):
    other = _room(database, clock)
    await other.tokens.watch(system)
    tokens = await room.tokens_of(ann)
    assert other.tokens.principal(tokens.access_token)
    assert await room.end_all(ann.id, "test", tenant="default") == 1
    await other.tokens.watch(system)
    with pytest.raises(Unauthenticated, match="ended"):
        other.tokens.principal(tokens.access_token)


async def test_a_process_that_cannot_look_for_ends_takes_nobody(
    room: Room, ann: Account, clock: FakeClock, system: SystemDatabase
):
    tokens = await room.tokens_of(ann)
    clock.advance(BLIND_SECONDS + 1)
    with pytest.raises(StoreUnavailable):
        room.tokens.principal(tokens.access_token)
    assert room.tokens.blind == 1
    await room.tokens.watch(system)
    assert room.tokens.principal(tokens.access_token)


async def test_an_address_that_moves_to_another_account_is_not_taken_over(room: Room, ann: Account):
    successor = Person(provider="corp", subject="2", name="Ann B.", email="ann@example.com", roles=("developer",))
    with pytest.raises(Denied, match="belongs to another account"):
        await room.people.account_of(successor)
    renamed = Person(provider="corp", subject="1", name="Ann C.", email="ann.c@example.com", roles=("developer",))
    assert (await room.people.account_of(renamed)).id == ann.id
    elsewhere = Person(provider="second", subject="9", name="Ann", email="ann@example.com", roles=("developer",))
    assert (await room.people.account_of(elsewhere)).id == ann.id


async def test_over_https_the_cookie_cannot_be_set_by_a_sibling_host(
    database: Database, clock: FakeClock, ann: Account
):
    room = Room(SsoSettings(), database, keys=KEYS, url="https://p.example", roles=Book(), clock=clock, environ={})  # type: ignore[arg-type]
    browser = Browser(room, Recorder(MemoryTrail(), clock), clock)
    scope = {"query_string": b"", "headers": [], "path": "/auth/logout", "method": "POST"}
    answer = await AccountPage(room, browser, Recorder(MemoryTrail(), clock), clock).logout(Visit(scope, b""))
    assert isinstance(answer, Page)
    cookie = answer.headers[0][1].decode()
    assert cookie.startswith("__Host-aip-session=;")
    assert "; Secure" in cookie
    assert "Path=/;" in cookie
    session = await room.sessions.begin(ann)
    scope["headers"] = [(b"cookie", f"aip-session={session}".encode())]
    assert await browser.session(Visit(scope, b"")) is None, "the unprotected name does not count over https"
    scope["headers"] = [(b"cookie", f"a=b; __Host-aip-session={session}".encode())]
    assert await browser.session(Visit(scope, b""))


async def test_a_provider_that_is_away_stops_a_renewal_only_after_a_while(database: Database, clock: FakeClock):
    away = ProviderSettings(name="corp", issuer="http://127.0.0.1:9", client_id="x")
    room = _room(database, clock, SsoSettings(providers=(away,), fetch_seconds=2))
    ann = await room.people.account_of(ANN)
    codes = await room.devices.begin(Request())
    sealed = room._sealed("the provider's")
    await room.devices.decide(codes.user_code, ann, approve=True, provider_token=sealed)
    tokens = await room.poll(codes.device_code)
    assert isinstance(tokens, Tokens)
    clock.advance(1800)
    renewed = await room.refresh(tokens.refresh_token)
    assert isinstance(renewed, Tokens)
    clock.advance(1801)
    with pytest.raises(UpstreamUnreachable):
        await room.refresh(renewed.refresh_token)
    await room.close()


@requires_provider
def test_wrong_codes_are_counted_and_then_refused_for_a_while(tmp_path: Path):
    with site(tmp_path / "site") as here:
        started = here.begin()
        with here.browser() as browser:
            page = browser.sign_in("ann", "/device")
            for _ in range(5):
                page = browser.submit(page, user_code="BBBB-BBBB", action="look")
                assert "No sign-in waits under this code" in page.text
            page = browser.submit(page, user_code=started["user_code"], action="look")
            assert page.status_code == 429
            assert "Too many wrong codes" in page.text
            csrf = {"csrf": "x", "user_code": started["user_code"], "action": "approve"}
            assert browser.post(f"{here.url}/device", data=csrf).status_code in {403, 429}
        assert here.poll(started["device_code"]).json()["error"] == "authorization_pending"


@requires_provider
def test_who_is_removed_at_the_provider_is_out_at_the_next_refresh(tmp_path: Path):
    with site(tmp_path / "site", scopes="[openid, email, profile, groups, offline_access]") as here:
        tokens = here.sign_in("ann")
        tokens = here.refresh(tokens["refresh_token"]).json()
        assert here.get("/v1/models", tokens["access_token"]).status_code == 200
        tokens = here.refresh(tokens["refresh_token"]).json()
        here.provider.forget("ann")
        gone = here.refresh(tokens["refresh_token"])
        assert (gone.status_code, gone.json()["error"]) == (401, "invalid_grant")
        assert here.get("/v1/models", tokens["access_token"]).status_code == 401
        assert here.events("token_refused")


@requires_provider
def test_the_commands_sign_in_say_who_one_is_renew_and_sign_out(tmp_path: Path):
    environ = clean_environ() | {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    kept = tmp_path / "config" / "ai-platform" / "sign-in.json"

    def run(*arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "ai_platform", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    with site(tmp_path / "site", sso="  tokens: {device_interval: 1, access_seconds: 61}") as here:
        assert "ai-platform login" in run("whoami", code=1)
        login = subprocess.Popen(
            [sys.executable, "-m", "ai_platform", "login", "--url", here.url, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
        )
        assert login.stderr is not None
        assert f"{here.url}/device?user_code=" in login.stderr.readline()
        user_code = login.stderr.readline().split()[-1]
        with here.browser() as browser:
            browser.sign_in("ann")
            assert "the ai-platform command line" in browser.approve(user_code).text
        out, _ = login.communicate(timeout=60)
        assert json.loads(out) == {"url": here.url, "email": "ann@example.com"}
        assert kept.stat().st_mode & 0o777 == 0o600
        assert "team blue" in run("whoami")
        first = run("token").strip()
        assert here.get("/v1/models", first).status_code == 200
        before = json.loads(kept.read_text())
        until(lambda: before["expires_at"] - time.time() < 59)
        second = run("token").strip()
        assert second != first
        assert here.get("/v1/models", second).status_code == 200
        run("logout")
        assert not kept.exists()
        assert here.get("/v1/models", second).status_code == 401
