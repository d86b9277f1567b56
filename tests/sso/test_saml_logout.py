"""Single logout by SAML: what is taken as the provider's word, and what ends."""

import base64
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from saml_kit import IDP, ISSUER, THIEF, Pair, moment
from test_saml_providers import metadata
from test_sign_in_ends import KEYS, Book

from ai_platform.domain.errors import Unauthenticated
from ai_platform.sso import SignOn, SsoSettings
from ai_platform.sso.devices import Request
from ai_platform.sso.mapping import Person
from ai_platform.sso.people import Account
from ai_platform.sso.saml import reading
from ai_platform.sso.saml.logout import Ending
from ai_platform.sso.saml.messages import LogoutAnswered
from ai_platform.sso.saml.outgoing import LogoutName
from ai_platform.sso.settings import SamlSettings
from ai_platform.sso.signon import Tokens
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.testing import FakeClock

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("ID-1")]

URL = "https://ai.example"
ADDRESS = f"{URL}/saml/logout"
SLO = "https://idp.example/slo?tenant=1"
MORE = "http://www.w3.org/2001/04/xmldsig-more#"
NOW = time.time()
"""One moment for messages that are made when this is loaded and for the clock that they are held against."""

ELLIPTIC = Pair(elliptic=True)
NAMES = 'xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"'


def wish(**changes: Any) -> str:
    """A good LogoutRequest. None takes something away. inner: instead of the name and the sign-in."""
    given = {
        "kind": "LogoutRequest",
        "id": "_logout1",
        "issued": moment(NOW),
        "until": moment(NOW + 300),
        "to": ADDRESS,
        "issuer": ISSUER,
        "inner": "<saml:NameID>ann-0001</saml:NameID><samlp:SessionIndex>_s1</samlp:SessionIndex>",
        "more": "",
    } | changes
    until = f' NotOnOrAfter="{given["until"]}"' if given["until"] else ""
    to = f' Destination="{given["to"]}"' if given["to"] else ""
    return (
        f'<samlp:{given["kind"]} {NAMES} ID="{given["id"]}" Version="2.0" IssueInstant="{given["issued"]}"{to}{until}'
        f"{given['more']}><saml:Issuer>{given['issuer']}</saml:Issuer>{given['inner']}</samlp:{given['kind']}>"
    )


def answered(request: str, status: str = "Success", **changes: Any) -> str:
    inner = f'<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:{status}"/></samlp:Status>'
    usual = {"kind": "LogoutResponse", "until": None, "inner": inner, "more": f' InResponseTo="{request}"'}
    return wish(**usual | changes)


def packed(message: str) -> str:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return quote(base64.b64encode(packer.compress(message.encode()) + packer.flush()), safe="")


def query(
    message: str, *, pair: Pair = IDP, field: str = "SAMLRequest", algorithm: str = f"{MORE}rsa-sha256", relay: str = ""
) -> str:
    """As a provider sends it, signed."""
    text = f"{field}={packed(message)}" + (f"&RelayState={quote(relay, safe='')}" if relay else "")
    text += f"&SigAlg={quote(algorithm, safe='')}"
    return f"{text}&Signature={quote(base64.b64encode(signature(text.encode(), pair)), safe='')}"


def signature(content: bytes, pair: Pair) -> bytes:
    key = serialization.load_pem_private_key(pair.key.encode(), password=None)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(content, padding.PKCS1v15(), hashes.SHA256())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return b"".join(one.to_bytes(32) for one in decode_dss_signature(key.sign(content, ec.ECDSA(hashes.SHA256()))))


class Room:
    """A sign-on with one provider, and people put in by hand."""

    def __init__(self, signon: SignOn) -> None:
        self.signon = signon

    async def person(self, subject: str, sid: str | None) -> Account:
        person = Person(provider="corp", subject=subject, name=subject, roles=("developer",), sid=sid)
        return await self.signon.people.account_of(person)

    async def program(self, account: Account) -> Tokens:
        codes = await self.signon.devices.begin(Request(surface="claude_code"))
        assert await self.signon.devices.decide(codes.user_code, account, approve=True)
        tokens = await self.signon.poll(codes.device_code)
        assert isinstance(tokens, Tokens)
        return tokens

    async def heard(self, text: str) -> Ending | LogoutAnswered:
        return await self.signon.saml.logout.heard("corp", text.encode(), address=ADDRESS)

    async def ended(self, text: str) -> int:
        ending = await self.heard(text)
        assert isinstance(ending, Ending)
        return await self.signon.logouts.by_name("corp", ending.sessions, ending.subject)

    async def refused(self, text: str, why: str) -> None:
        with pytest.raises(Unauthenticated, match=why):
            await self.heard(text)


@pytest.fixture
async def room(database: Database, system: SystemDatabase, tmp_path: Path) -> AsyncIterator[Room]:
    slo = f'<md:SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="{SLO}"/>'
    document = metadata(IDP, ELLIPTIC).replace(b"<md:SingleSignOnService", slo.encode() + b"<md:SingleSignOnService")
    file = tmp_path / "metadata.xml"
    file.write_bytes(document)
    saml = SamlSettings(name="corp", issuer=ISSUER, metadata_file=file, sign_out=True)
    clock = FakeClock(NOW)
    settings = SsoSettings(saml=(saml,))
    roles: Any = Book()
    signon = SignOn(settings, database, keys=KEYS, url=URL, roles=roles, clock=clock, environ={}, reading=reading)
    await signon.saml.keys.ensure()
    await signon.tokens.watch(system)
    yield Room(signon)
    await signon.close()


async def test_one_sign_in_ends_with_its_browser_and_its_programs_and_the_answer_goes_back(room: Room):
    ann, other = await room.person("ann-0001", "_s1"), await room.person("ann-0001", "_s2")
    here, there = await room.signon.sessions.begin(ann), await room.signon.sessions.begin(other)
    program = await room.program(ann)
    ending = await room.heard(query(wish(), relay="their own & state"))
    assert isinstance(ending, Ending)
    assert await room.signon.logouts.by_name("corp", ending.sessions, ending.subject) == 2
    assert await room.signon.sessions.get(here) is None
    assert await room.signon.sessions.get(there), "another sign-in of theirs"
    with pytest.raises(Unauthenticated, match="ended"):
        room.signon.tokens.principal(program.access_token)
    assert ending.onward.startswith(f"{SLO}&SAMLResponse=")
    sent = parse_qs(urlsplit(ending.onward).query)
    assert sent["RelayState"] == ["their own & state"]
    document = zlib.decompress(base64.b64decode(sent["SAMLResponse"][0]), -15).decode()
    assert 'InResponseTo="_logout1"' in document
    assert "status:Success" in document
    assert sent.keys() >= {"SigAlg", "Signature"}


async def test_without_a_sign_in_named_everything_of_the_person_there_ends_and_nobody_elses(room: Room):
    sessions = [await room.signon.sessions.begin(await room.person("ann-0001", sid)) for sid in ("_s1", "_s2")]
    bob = await room.signon.sessions.begin(await room.person("bob-0002", "_s1"))
    assert await room.ended(query(wish(inner="<saml:NameID>ann-0001</saml:NameID>"))) == 2
    assert [await room.signon.sessions.get(one) for one in sessions] == [None, None]
    assert await room.signon.sessions.get(bob)
    both = "<saml:NameID>nobody</saml:NameID><samlp:SessionIndex>_s1</samlp:SessionIndex>"
    assert await room.ended(query(wish(id="_logout2", inner=both))) == 0, "the sign-in is not that person's"
    assert await room.signon.sessions.get(bob)


async def test_a_key_of_the_other_kind_signs_too(room: Room):
    assert isinstance(await room.heard(query(wish(), pair=ELLIPTIC, algorithm=f"{MORE}ecdsa-sha256")), Ending)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"SAMLRequest={packed(wish())}", "not signed"),
        (query(wish()).partition("&Signature")[0], "not signed"),
        (query(wish()).replace("SigAlg", "Sigalg"), "not signed"),
        (query(wish(), pair=THIEF), "signature is wrong"),
        (query(wish(), relay="a").replace("RelayState=a", "RelayState=b"), "signature is wrong"),
        (query(wish(), relay="a").replace("&RelayState=a", ""), "signature is wrong"),
        (query(wish(), algorithm="http://www.w3.org/2000/09/xmldsig#rsa-sha1"), "algorithm"),
        (query(wish(), algorithm="http://www.w3.org/2000/09/xmldsig#hmac-sha1"), "algorithm"),
        (query(wish(), algorithm=""), "algorithm"),
        (query(wish(), algorithm=f"{MORE}ecdsa-sha256"), "signature is wrong"),
        (query(wish(), pair=ELLIPTIC), "signature is wrong"),
        (query(wish(), algorithm=f"{MORE}rsa-sha512"), "signature is wrong"),
        (f"{query(wish())}&SAMLRequest={packed(wish(id='_evil'))}", "twice"),
        (f"SAMLRequest={packed(wish(id='_evil'))}&{query(wish())}", "twice"),
        (f"{query(wish())}&SAMLResponse={packed(answered('_r'))}", "not one SAML message"),
        (f"{query(wish())}&SAMLEncoding=other", "packed in a way"),
        (query(wish(), relay="x" * 1025), "RelayState"),
        (f"{query(wish())}&x={'x' * 70_000}", "too long"),
        (query("x" * 2_000_000), "too long"),
        ("", "not one SAML message"),
        ("SAMLRequest=%FF&SigAlg=x&Signature=AAAA", "algorithm"),
    ],
)
async def test_a_message_that_the_provider_did_not_sign_so_ends_nothing(room: Room, text: str, why: str):
    await room.refused(text, why)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"to": f"{URL}/saml/other/logout"}, "another address"),
        ({"to": f"{ADDRESS}/more"}, "another address"),
        ({"to": None}, "another address"),
        ({"issuer": "https://evil.example"}, "another issuer"),
        ({"until": moment(NOW - 120)}, "expired"),
        ({"issued": moment(NOW - 3600)}, "too old"),
        ({"issued": moment(NOW + 3600)}, "future"),
        ({"kind": "AuthnRequest", "inner": "", "until": None}, "no LogoutRequest"),
        ({"inner": "<saml:NameID>ann<!---->-0001</saml:NameID>"}, "comment"),
        ({"inner": "<saml:NameID>ann-0001</saml:NameID>" * 2}, "schema"),
        ({"inner": "<samlp:SessionIndex>_s1</samlp:SessionIndex>"}, "schema"),
        ({"inner": "<saml:NameID> </saml:NameID>"}, "names nobody"),
        (
            {"inner": "<saml:NameID>a</saml:NameID>" + "<samlp:SessionIndex>x</samlp:SessionIndex>" * 51},
            "far too many",
        ),
        ({"more": ' xmlns:evil="x" evil:y="1"'}, "schema"),
    ],
)
async def test_a_signed_message_that_is_not_for_us_or_not_of_now_ends_nothing(
    room: Room, changes: dict[str, Any], why: str
):
    await room.refused(query(wish(**changes)), why)


async def test_document_types_are_refused_before_they_are_read(room: Room):
    await room.refused(query('<!DOCTYPE x [<!ENTITY a "b">]>' + wish()), "document type")


async def test_a_message_is_taken_once(room: Room):
    text = query(wish())
    assert isinstance(await room.heard(text), Ending)
    await room.refused(text, "used already")


async def test_our_own_wish_is_signed_names_the_person_as_the_provider_does_and_its_answer_is_taken_once(room: Room):
    name = LogoutName("ann-0001", "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent", "q", "sp", "_s1")
    url = await room.signon.saml.logout.begin("corp", name)
    assert url
    sent = parse_qs(urlsplit(url).query)
    document = zlib.decompress(base64.b64decode(sent["SAMLRequest"][0]), -15).decode()
    for part in (">ann-0001<", 'NameQualifier="q"', 'SPNameQualifier="sp"', "<samlp:SessionIndex>_s1<"):
        assert part in document
    request = document.partition(' ID="')[2].partition('"')[0]
    await room.refused(query(answered("_made-up"), field="SAMLResponse"), "nobody here asked")
    for wrong in (answered(request, to=f"{URL}/other"), answered(request, issuer="https://evil.example")):
        await room.refused(query(wrong, field="SAMLResponse"), "another")
    await room.refused(f"SAMLResponse={packed(answered(request))}", "not signed")
    good = query(answered(request), field="SAMLResponse")
    assert await room.heard(good) == LogoutAnswered(request=request, succeeded=True)
    await room.refused(good, "nobody here asked")


async def test_a_provider_that_did_not_end_everything_is_not_said_to_have(room: Room):
    url = await room.signon.saml.logout.begin("corp", LogoutName("ann-0001"))
    assert url
    document = zlib.decompress(base64.b64decode(parse_qs(urlsplit(url).query)["SAMLRequest"][0]), -15).decode()
    request = document.partition(' ID="')[2].partition('"')[0]
    answer = await room.heard(query(answered(request, "Responder"), field="SAMLResponse"))
    assert answer == LogoutAnswered(request=request, succeeded=False)


async def test_a_request_to_sign_in_is_no_request_to_sign_out(room: Room):
    """An identifier of ours that waits for an answer is spent by an answer of its own kind only."""
    asked = await room.signon.saml.begin("corp", "/auth/session")
    document = zlib.decompress(base64.b64decode(parse_qs(urlsplit(asked.url).query)["SAMLRequest"][0]), -15).decode()
    request = document.partition(' ID="')[2].partition('"')[0]
    await room.refused(query(answered(request), field="SAMLResponse"), "nobody here asked")
