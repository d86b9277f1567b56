"""The doors of sign-in in this process: where people are led to, cookies, limits, and a wall around every form."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from scripted_provider import ScriptedProvider, scripted
from test_sign_in_ends import KEYS, Book

from ai_platform.entrypoints.http import Message
from ai_platform.entrypoints.signin import MyAccounts, sign_in_handlers
from ai_platform.entrypoints.signin.connections import PAGE as CONNECTIONS
from ai_platform.sso import SignOn, SsoSettings
from ai_platform.sso.mapping import Person
from ai_platform.sso.people import Account
from ai_platform.sso.saml import reading
from ai_platform.sso.settings import BreakGlassSettings, ProviderSettings, SamlSettings
from ai_platform.stores.postgres import Database
from ai_platform.telemetry import Meter
from ai_platform.telemetry.settings import MetricsSettings
from ai_platform.testing import FakeClock, MemoryTrail

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("ID-1")]

URL = "https://ai.example"


class Answer:
    def __init__(self, sent: list[Message]) -> None:
        self.status: int = sent[0]["status"]
        self.headers: list[tuple[bytes, bytes]] = sent[0]["headers"]
        self.text = b"".join(message.get("body", b"") for message in sent[1:]).decode()

    def all(self, name: bytes) -> list[str]:
        return [value.decode() for key, value in self.headers if key == name]

    @property
    def leads_to(self) -> str:
        return next(iter(self.all(b"location")), "")


class Doors:
    def __init__(self, signon: SignOn, clock: FakeClock) -> None:
        nothing: Any = _NoClaudeCode()
        flow: Any = _NotAsked()  # of accounts at MCP servers
        accounts = MyAccounts(flow, manages=_manages_nothing)
        meter = Meter(MetricsSettings(), clock=clock, known_model=bool)
        self.handlers = sign_in_handlers(signon, nothing, MemoryTrail(), meter, clock, accounts=accounts)

    async def ask(
        self, method: str, path: str, *, form: dict[str, str] | None = None, ip: str = "192.0.2.1", **headers: str
    ) -> Answer:
        parts, body = urlsplit(path), urlencode(form or {}).encode()
        fields = {b"content-length": str(len(body)).encode()} | {
            name.replace("_", "-").encode(): value.encode() for name, value in headers.items()
        }
        scope = {
            "type": "http",
            "method": method,
            "path": parts.path,
            "query_string": parts.query.encode(),
            "headers": list(fields.items()),
            "client": (ip, 1234),
        }
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.handlers[method, parts.path](scope, receive, send)
        return Answer(sent)


class _NotAsked:
    """What is wired and never reached by these tests."""

    def __getattr__(self, name: str) -> None:
        return None


def _manages_nothing(account: Account) -> bool:
    del account
    return False


class _NoClaudeCode:
    received: dict[str, int] = {}

    def handlers(self) -> dict[tuple[str, str], Any]:
        return {}


@pytest.fixture
async def doors(database: Database, clock: FakeClock, idp: ScriptedProvider) -> AsyncIterator[Doors]:
    def provider(name: str, domain: str, tenant: str = "") -> ProviderSettings:
        return ProviderSettings(
            name=name, title=name.title(), issuer=idp.issuer, client_id="x", email_domains=(domain,), tenant=tenant
        )

    settings = SsoSettings(
        providers=(
            provider("acme", "acme.example", "acme"),
            provider("bees", "bees.example", "bees"),
            provider("corp", "example.com"),
        ),
        contact="Ask Bo.",
        device_requests_per_minute=3,
    )
    roles: Any = Book()
    signon = SignOn(settings, database, keys=KEYS, url=URL, roles=roles, clock=clock, environ={})
    yield Doors(signon, clock)
    await signon.close()


@pytest.fixture
def idp() -> Iterator[ScriptedProvider]:
    with scripted() as found:
        yield found


async def test_of_several_providers_a_person_chooses_and_sees_whom_each_is_for(doors: Doors):
    page = await doors.ask("GET", "/auth/login?return_to=/device")
    for words in ("Acme", "@acme.example", "Bees", "Corp", "@example.com", "return_to=%2Fdevice"):
        assert words in page.text
    chosen = await doors.ask("GET", "/auth/login?provider=bees")
    assert parse_qs(urlsplit(chosen.leads_to).query)["redirect_uri"] == [f"{URL}/auth/callback/bees"]


async def test_a_link_of_an_organisation_shows_its_providers_and_those_of_everybody(doors: Doors):
    page = await doors.ask("GET", "/auth/login?tenant=acme")
    assert ("Acme" in page.text, "Bees" in page.text, "Corp" in page.text) == (True, False, True)
    kept = await doors.ask("GET", "/auth/login?tenant=acme&email=ann@bees.example")
    assert kept.leads_to == ""
    assert "Nobody here signs in with ann@bees.example. Choose below. Ask Bo." in kept.text
    assert "Bees" not in kept.text


async def test_an_address_leads_to_the_provider_of_its_domain_which_is_told_the_address(doors: Doors):
    for email in ("ann@bees.example", " Ann@BEES.example "):
        page = await doors.ask("GET", f"/auth/login?{urlencode({'email': email})}")
        assert "You are led to Bees." in page.text
        onward = page.text.partition("0;url=")[2].partition('"')[0].replace("&amp;", "&")
        query = parse_qs(urlsplit(onward).query)
        assert (query["redirect_uri"], query["login_hint"]) == ([f"{URL}/auth/callback/bees"], [email.strip()])
        assert page.all(b"set-cookie"), "the sign-in is bound to this browser"
    odd = await doors.ask("GET", f"/auth/login?{urlencode({'email': '<b>x</b>&redirect_uri=y@bees.example'})}")
    assert "<b>x" not in odd.text
    onward = odd.text.partition("0;url=")[2].partition('"')[0].replace("&amp;", "&")
    assert parse_qs(urlsplit(onward).query)["redirect_uri"] == [f"{URL}/auth/callback/bees"]


async def test_over_https_every_cookie_belongs_to_this_host_alone(doors: Doors):
    """A sign-in under way too: a sibling host could put its own in the place of ours, and the person would end up in
    the account of whoever began it.
    """
    begun = await doors.ask("GET", "/auth/login?provider=corp")
    (cookie,) = begun.all(b"set-cookie")
    assert cookie.startswith("__Host-aip-login-")
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax; Max-Age=600; Secure")
    name, _, value = cookie.partition(";")[0].partition("=")
    state = parse_qs(urlsplit(begun.leads_to).query)["state"][0]
    tossed = await doors.ask(
        "GET", f"/auth/callback/corp?state={state}&code=x", cookie=f"{name.removeprefix('__Host-')}={value}"
    )
    assert tossed.status == 400
    assert "this browser did not ask for it" in tossed.text


async def test_limits_count_the_network_of_an_ipv6_caller_and_not_each_of_its_addresses(doors: Doors):
    """A /64 has more addresses than anybody can count."""
    path = "/oauth/device_authorization"
    answers = [await doors.ask("POST", path, ip=f"2001:db8:0:1::{number:x}") for number in range(1, 6)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert (await doors.ask("POST", path, ip="2001:db8:0:2::1")).status == 200


WALLS = {
    "/auth/logout": "session",
    "/device": "session",
    "/oauth/consent": "session",
    CONNECTIONS: "session",
    "/auth/break-glass": "same site",
    "/auth/break-glass/answer": "same site",
    "/auth/break-glass/key": "same site",
    "/auth/backchannel/corp": "a token signed by the provider",
    "/saml/acs": "an answer signed by the provider, and the browser's cookie at /saml/finish",
    "/saml/saml/acs": "as /saml/acs",
    "/oauth/token": "no cookie is looked at",
    "/oauth/revoke": "no cookie is looked at",
    "/oauth/device_authorization": "no cookie is looked at",
    "/oauth/register": "no cookie is looked at",
}
"""Every POST of sign-in, and what keeps another site's page from sending it in somebody's name."""


async def test_no_form_does_anything_for_another_site(database: Database, clock: FakeClock, tmp_path: Any):
    (tmp_path / "metadata.xml").write_text("<x/>")
    settings = SsoSettings(
        providers=(ProviderSettings(name="corp", issuer="http://127.0.0.1:9", client_id="x", email_domains=("*",)),),
        saml=(
            SamlSettings(
                name="saml", issuer="x", metadata_file=tmp_path / "metadata.xml", email_domains=("a.example",)
            ),
        ),
        break_glass=BreakGlassSettings(enabled=True),
    )
    roles: Any = Book()
    emergency: Any = _NeverAsked()
    signon = SignOn(
        settings,
        database,
        keys=KEYS,
        url=URL,
        roles=roles,
        clock=clock,
        environ={},
        reading=reading,
        emergency=emergency,
    )
    doors = Doors(signon, clock)
    posts = {path for method, path in doors.handlers if method == "POST"}
    assert posts == set(WALLS), "a new form: say what keeps other sites from sending it"
    from_elsewhere = {"sec_fetch_site": "cross-site", "origin": "https://evil.example"}
    ann = await signon.people.account_of(
        Person(provider="corp", subject="1", name="Ann", email="ann@example.com", roles=("developer",))
    )
    session = await signon.sessions.begin(ann)
    known = await signon.sessions.get(session)
    assert known
    signed_in = {"cookie": f"__Host-aip-session={session}"}
    for path, wall in WALLS.items():
        form = {"name": "night", "password": "x" * 20, "code": "123456", "challenge": "00", "answer": "{}"}
        if wall == "same site":
            answer = await doors.ask("POST", path, form=form, **from_elsewhere)
            assert (answer.status, "Nothing was done" in answer.text) == (403, True), path
        if wall == "session" and path != "/oauth/consent":  # that one wants a cookie of its own before
            for more, fields in ((signed_in, form), (signed_in | from_elsewhere, form | {"csrf": known.csrf})):
                answer = await doors.ask("POST", path, form=fields, **more)
                assert (answer.status, "Nothing was done" in answer.text) == (403, True), path
    assert await signon.sessions.get(session)
    for path in ("/auth/login", "/auth/session", "/device", "/auth/break-glass"):
        page = await doors.ask("GET", path)
        assert dict(page.headers)[b"x-frame-options"] == b"DENY", path
        assert dict(page.headers)[b"cache-control"] == b"no-store", path
    await signon.close()


async def test_without_a_provider_emergency_access_is_the_only_way(database: Database, clock: FakeClock):
    roles: Any = Book()
    emergency: Any = _NeverAsked()
    settings = SsoSettings(break_glass=BreakGlassSettings(enabled=True))
    signon = SignOn(settings, database, keys=KEYS, url=URL, roles=roles, clock=clock, environ={}, emergency=emergency)
    page = await Doors(signon, clock).ask("GET", "/auth/login?return_to=/device")
    assert "Emergency access" in page.text
    assert "/auth/break-glass?return_to=%2Fdevice" in page.text
    await signon.close()


class _NeverAsked:
    """Emergency access that must not be reached."""

    async def sweep(self, system: Any) -> None:
        del system
