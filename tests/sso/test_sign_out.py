"""Signing out: here, at the provider, everywhere; and when the provider says so, by either channel."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from joserfc.jwk import OctKey, RSAKey
from scripted_provider import ScriptedProvider, scripted
from sso_site import Site, requires_provider, site
from test_sign_in_ends import KEYS, Book

from ai_platform.domain.errors import Unauthenticated
from ai_platform.sso import SignOn, SsoSettings
from ai_platform.sso.devices import Request
from ai_platform.sso.logout_token import EVENT
from ai_platform.sso.mapping import Person
from ai_platform.sso.people import Account
from ai_platform.sso.settings import ProviderSettings
from ai_platform.sso.signon import Tokens
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.testing import FakeClock
from platform_process import clean_environ, until

pytestmark = pytest.mark.anyio


class Room:
    """A sign-on with one scripted provider, and people put in by hand."""

    def __init__(self, signon: SignOn, idp: ScriptedProvider, clock: FakeClock) -> None:
        self.signon = signon
        self.idp = idp
        self.clock = clock

    async def person(self, subject: str, sid: str | None = None, tenant: str | None = None) -> Account:
        person = Person(provider="corp", subject=subject, name=subject, roles=("developer",), sid=sid, tenant=tenant)
        return await self.signon.people.account_of(person)

    async def tokens(self, account: Account) -> Tokens:
        codes = await self.signon.devices.begin(Request(surface="claude_code"))
        assert await self.signon.devices.decide(codes.user_code, account, approve=True)
        tokens = await self.signon.poll(codes.device_code)
        assert isinstance(tokens, Tokens)
        return tokens

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Of a good logout token; None takes a claim away."""
        usual = {"sub": "ann", "jti": "token-1", "events": {EVENT: {}}, "nonce": None, "email": None, "groups": None}
        return self.idp.claims(self.clock.now(), **usual | changes)

    async def said(self, claims: dict[str, Any], **options: Any) -> int:
        return await self.signon.logouts.back_channel("corp", self.idp.token(claims, **options))

    def alive(self, tokens: Tokens) -> bool:
        try:
            self.signon.tokens.principal(tokens.access_token)
        except Unauthenticated:
            return False
        return True


@pytest.fixture
async def room(database: Database, system: SystemDatabase, clock: FakeClock) -> AsyncIterator[Room]:
    with scripted() as idp:
        corp = ProviderSettings(name="corp", issuer=idp.issuer, client_id="platform")
        signon = SignOn(
            SsoSettings(providers=(corp,)),
            database,
            keys=KEYS,
            url="http://p",
            roles=Book(),
            clock=clock,
            environ={},
        )
        await signon.tokens.watch(system)
        yield Room(signon, idp, clock)
        await signon.close()


async def test_one_sign_in_ends_with_its_browser_and_its_programs_and_no_other(room: Room):
    here, there = await room.person("ann", sid="s1"), await room.person("ann", sid="s2")
    first, second = await room.signon.sessions.begin(here), await room.signon.sessions.begin(there)
    program, other = await room.tokens(here), await room.tokens(there)
    assert await room.said(room.claims(sid="s1")) == 2
    assert await room.signon.sessions.get(first) is None
    assert not room.alive(program)
    assert await room.signon.sessions.get(second)
    assert room.alive(other)
    assert await room.said(room.claims(sid="s2", sub=None, jti="token-2")) == 2
    assert await room.signon.sessions.get(second) is None


async def test_a_person_is_out_everywhere_in_whatever_tenant_when_no_sign_in_is_named(room: Room):
    ann, ben = await room.person("ann", sid="s1", tenant="default"), await room.person("ben", sid="s2")
    sessions = [await room.signon.sessions.begin(account) for account in (ann, ann, ben)]
    program, other = await room.tokens(ann), await room.tokens(ben)
    assert await room.said(room.claims()) == 3
    assert [bool(await room.signon.sessions.get(each)) for each in sessions] == [False, False, True]
    assert not room.alive(program)
    assert room.alive(other)
    assert await room.said(room.claims(sub="nobody", jti="token-2")) == 0


async def test_a_sign_in_of_somebody_else_does_not_end(room: Room):
    cookie = await room.signon.sessions.begin(await room.person("ann", sid="s1"))
    assert await room.said(room.claims(sub="ben", sid="s1")) == 0
    assert await room.signon.sessions.get(cookie)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"nonce": "n"}, "not a logout token|ID token"),
        ({"events": None}, "not a logout token"),
        ({"events": {}}, "not a logout token"),
        ({"events": {EVENT: "x"}}, "not a logout token"),
        ({"events": [EVENT]}, "not a logout token"),
        ({"events": {"other": {}}}, "not a logout token"),
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"aud": "other"}, "another application"),
        ({"jti": None}, "no identifier"),
        ({"jti": 7}, "no identifier"),
        ({"sub": None}, "names nobody"),
        ({"sub": 7, "sid": "s1"}, "names nobody"),
        ({"sid": "x" * 300}, "names nobody"),
        ({"exp": 1}, "expired"),
        ({"iat": None}, "when it is valid"),
    ],
)
async def test_a_token_that_is_no_logout_token_ends_nothing(room: Room, changes: dict[str, Any], why: str):
    cookie = await room.signon.sessions.begin(await room.person("ann", sid="s1"))
    with pytest.raises(Unauthenticated, match=why):
        await room.said(room.claims(**changes))
    assert await room.signon.sessions.get(cookie)


async def test_an_id_token_ends_nothing(room: Room):
    with pytest.raises(Unauthenticated):
        await room.said(room.idp.claims(room.clock.now(), jti="x"))


async def test_a_logout_token_is_good_once_not_forged_and_not_from_the_future(room: Room):
    token = room.claims()
    assert await room.said(token) == 0
    with pytest.raises(Unauthenticated, match="used already"):
        await room.said(token)
    for key, algorithm in ((RSAKey.generate_key(2048), "RS256"), (OctKey.generate_key(256), "HS256")):
        with pytest.raises(Unauthenticated):
            await room.said(room.claims(jti="other"), key=key, algorithm=algorithm)
    with pytest.raises(Unauthenticated):
        await room.signon.logouts.back_channel("corp", room.idp.unsigned(room.claims(jti="none")))
    with pytest.raises(Unauthenticated, match="5 minutes ahead of the clock of this machine"):
        await room.said(room.claims(jti="late", iat=int(room.clock.now()) + 300, exp=int(room.clock.now()) + 900))


async def test_a_provider_that_gives_no_expiry_is_understood(room: Room):
    assert await room.said(room.claims(exp=None)) == 0
    with pytest.raises(Unauthenticated, match="expired"):
        await room.said(room.claims(exp=None, jti="old", iat=int(room.clock.now()) - 300))


async def test_the_front_channel_ends_the_sign_in_it_names(room: Room):
    cookie = await room.signon.sessions.begin(await room.person("ann", sid="s1"))
    for issuer, sid in (("https://evil.example", "s1"), (room.idp.issuer, ""), ("", "s1")):
        with pytest.raises(Unauthenticated):
            await room.signon.logouts.front_channel("corp", issuer, sid)
    assert await room.signon.logouts.front_channel("corp", room.idp.issuer, "guessed") == 0
    assert await room.signon.sessions.get(cookie)
    assert await room.signon.logouts.front_channel("corp", room.idp.issuer, "s1") == 1
    assert await room.signon.sessions.get(cookie) is None


async def test_the_database_holds_no_name_of_a_sign_in_by_which_it_could_be_ended(room: Room, database: Database):
    await room.signon.sessions.begin(await room.person("ann", sid="s1"))
    assert await database.fetch("SELECT * FROM sso_sessions") == []
    rows = await database.within("default").fetch("SELECT sid_hash FROM sso_sessions")
    assert len(rows[0]["sid_hash"]) == 32


# --- with a real provider --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("out") / "site", provider_lines="      sign_out: true") as found:
        yield found


@pytest.mark.requirement("ID-1")
@requires_provider
def test_signing_out_at_the_provider_too_leads_there_and_back_and_its_word_ends_the_programs(there: Site):
    with there.browser() as browser:
        page = browser.sign_in("ann")
        started = there.begin()
        browser.approve(started["user_code"])
        tokens = there.poll(started["device_code"]).json()
        assert there.get("/v1/models", tokens["access_token"]).status_code == 200
        page = browser.get(f"{there.url}/auth/session")
        assert "Sign out here and at Work account" in page.text
        assert "Claude Code from 127.0.0.1" in page.text
        left = browser.submit(page, way="provider")
        assert browser.session_cookie() is None
        assert 'http-equiv="refresh"' in left.text
        url = left.text.partition("0;url=")[2].partition('"')[0].replace("&amp;", "&")
        query = parse_qs(urlsplit(url).query)
        assert url.startswith(there.provider.issuer)
        assert query["post_logout_redirect_uri"] == [f"{there.url}/auth/signed-out"]
        assert query["id_token_hint"][0].count(".") == 2
        page = browser.get(url)
        page = browser.submit(page, logout="yes")
        assert str(page.url).startswith(f"{there.url}/auth/signed-out")
        assert "at your identity provider" in page.text
        until(lambda: there.get("/v1/models", tokens["access_token"]).status_code == 401)
        assert there.refresh(tokens["refresh_token"]).status_code == 401
        page = browser.get(f"{there.url}/auth/session")
        assert 'name="login"' in page.text, "the provider asks again who it is"
    assert [event["ended"] for event in there.events("sign_out") if event.get("ended")] == [1]


@requires_provider
def test_the_doors_of_both_channels_answer_as_the_standards_say(there: Site):
    with httpx2.Client(trust_env=False) as client:
        for form in ({}, {"logout_token": "x.y.z"}, {"logout_token": "eyJhbGciOiJub25lIn0.e30."}):
            answer = client.post(f"{there.url}/auth/backchannel/corp", data=form)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
            assert answer.headers["cache-control"] == "no-store"
        assert client.get(f"{there.url}/auth/backchannel/corp").status_code == 405
        assert client.post(f"{there.url}/auth/backchannel/other", data={}).status_code == 404
        query = {"iss": there.provider.issuer, "sid": "guessed"}
        framed = client.get(f"{there.url}/auth/frontchannel/corp", params=query)
        assert framed.status_code == 200
        assert f"frame-ancestors {there.provider.issuer}" in framed.headers["content-security-policy"]
        assert "x-frame-options" not in framed.headers
        assert client.get(f"{there.url}/auth/frontchannel/corp").status_code == 400


@pytest.mark.requirement("ID-1")
@requires_provider
def test_signing_out_everywhere_from_the_page_and_from_the_command(there: Site, tmp_path: Path):
    environ = clean_environ() | {"XDG_CONFIG_HOME": str(tmp_path / "config")}

    def run(*arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "ai_platform", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def signed_in() -> dict[str, Any]:
        tokens = there.sign_in("ben")
        kept = tmp_path / "config" / "ai-platform" / "sign-in.json"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({**tokens, "url": there.url, "expires_at": 0}))
        return tokens

    with there.browser() as browser, there.browser() as second:
        other = there.sign_in("ben")
        second.sign_in("ben")
        signed_in()
        assert "everywhere" in run("logout", "--everywhere")
        assert there.get("/v1/models", other["access_token"]).status_code == 401
        second.follow_redirects = False
        assert second.get(f"{there.url}/auth/session").status_code == 303
        assert "not signed in" in run("logout", "--everywhere", code=1)
        dead = signed_in()
        there.revoke(dead["refresh_token"])
        assert "has ended" in run("logout", "--everywhere", code=1)
        third = there.sign_in("ben")
        page = browser.sign_in("ben")
        assert "signed out everywhere" in browser.submit(page, way="everywhere").text
        assert there.get("/v1/models", third["access_token"]).status_code == 401


@requires_provider
def test_an_access_token_alone_does_not_end_everything(there: Site):
    tokens, other = there.sign_in("ann"), there.sign_in("ann")
    there.revoke(tokens["access_token"], everywhere="true")
    assert there.get("/v1/models", tokens["access_token"]).status_code == 401
    assert there.get("/v1/models", other["access_token"]).status_code == 200
    there.revoke(other["refresh_token"] + "x", everywhere="true")
    assert there.get("/v1/models", other["access_token"]).status_code == 200
