"""SAML providers over time: metadata that moves, is signed, is away; certificates that change; our own key."""

import base64
import copy
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import lxml.etree as xml
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509 import load_pem_x509_certificate
from saml_kit import ISSUER, Pair, posted, sign, signed
from scripted_provider import ScriptedProvider, scripted

from ai_platform.domain.clock import SystemClock
from ai_platform.domain.errors import (
    ConfigError,
    InvalidCall,
    RateLimited,
    Unauthenticated,
    UpstreamBroken,
)
from ai_platform.sso.fetch import _is_allowed
from ai_platform.sso.saml import reading
from ai_platform.sso.saml.keys import OwnKeys
from ai_platform.sso.saml.messages import Facts
from ai_platform.sso.saml.provider import STALE_SECONDS, SamlProvider
from ai_platform.sso.saml.threads import Threads
from ai_platform.sso.seal import Seal
from ai_platform.sso.settings import SamlSettings
from ai_platform.stores.postgres import Database
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.anyio

REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
OLD, NEW, SIGNER = Pair(), Pair(), Pair()
URL = "https://ai.example"


def metadata(*pairs: Pair, **changes: str) -> bytes:
    """changes: entity, binding, location, attributes of the root and of the role, use."""
    given = {
        "entity": ISSUER,
        "binding": REDIRECT,
        "location": "https://idp.example/sso",
        "root": "",
        "role": "",
        "use": 'use="signing"',
    } | changes
    keys = "".join(
        f'<md:KeyDescriptor {given["use"]}><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data>'
        f"<ds:X509Certificate>{pair.bare}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
        for pair in pairs
    )
    return (
        f'<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" ID="_m" entityID="{given["entity"]}"'
        f" {given['root']}><md:IDPSSODescriptor {given['role']}"
        f' protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">{keys}'
        f'<md:SingleSignOnService Binding="{given["binding"]}" Location="{given["location"]}"/>'
        "</md:IDPSSODescriptor></md:EntityDescriptor>"
    ).encode()


def read(document: bytes, **options: Any) -> Any:
    return reading.described(document, **{"issuer": ISSUER, "signer": None, "now": time.time()} | options)


def test_metadata_says_where_people_go_and_whose_signature_counts():
    found = read(metadata(OLD, NEW, role='WantAuthnRequestsSigned="true"'))
    assert found.sso_url == "https://idp.example/sso"
    assert [each.pem.strip() for each in found.certificates] == [OLD.certificate.strip(), NEW.certificate.strip()]
    assert found.wants_signed
    many = f'<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">{metadata(OLD).decode()}'
    other = metadata(NEW, entity="https://other.example").decode().replace("_m", "_n")
    assert (
        read(f"{many}{other}</md:EntitiesDescriptor>".encode()).certificates[0].pem.strip() == OLD.certificate.strip()
    )
    assert read(metadata(OLD, location="http://127.0.0.1:9/sso")).sso_url.startswith("http://127.0.0.1")


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (metadata(OLD, entity="https://other.example"), "does not describe .* but 'https://other.example'"),
        (metadata(OLD, binding=REDIRECT.replace("Redirect", "POST")), "HTTP-Redirect"),
        (metadata(OLD, location="http://idp.example/sso"), "no https address"),
        (metadata(OLD, location="javascript:alert(1)"), "no https address"),
        (metadata(OLD, location="https://"), "no https address"),
        (metadata(), "no signing certificate"),
        (metadata(Pair(bits=1024)), "no signing certificate"),
        (metadata(OLD, use='use="encryption"'), "no signing certificate"),
        (metadata(OLD, root='validUntil="2020-01-01T00:00:00Z"'), "expired on 2020-01-01"),
        (metadata(OLD, root='validUntil="later"'), "no moment"),
        (metadata(OLD).replace(b"IDPSSODescriptor", b"SPSSODescriptor"), "no SAML 2.0 identity provider"),
        (b"<!DOCTYPE x>" + metadata(OLD), "document type"),
        (b"<html>", "well-formed"),
        (b"", "well-formed"),
    ],
)
def test_metadata_that_cannot_be_used_is_told(document: bytes, why: str):
    with pytest.raises(ConfigError, match=why):
        read(document)


def test_metadata_can_be_required_to_be_signed():
    whole = xml.tostring(sign(xml.fromstring(metadata(OLD)), SIGNER))
    assert read(whole, signer=SIGNER.certificate)
    for other, why in (
        (xml.tostring(sign(xml.fromstring(metadata(OLD)), OLD)), "not of the certificate given"),
        (metadata(OLD), "not signed"),
        (whole.replace(b"idp.example/sso", b"evil.example/sso"), "not of the certificate given"),
    ):
        with pytest.raises(ConfigError, match=why):
            read(other, signer=SIGNER.certificate)


def test_signed_metadata_cannot_be_wrapped():
    whole = sign(xml.fromstring(metadata(OLD)), SIGNER)
    evil = xml.fromstring(metadata(NEW, entity=ISSUER).replace(b'"_m"', b'"_evil"'))
    holder = xml.Element("{urn:oasis:names:tc:SAML:2.0:metadata}EntitiesDescriptor")
    holder.append(evil)
    holder.append(copy.deepcopy(whole))
    with pytest.raises(ConfigError):
        read(xml.tostring(holder), signer=SIGNER.certificate)


# --- a provider over time --------------------------------------------------------------------------------------------


@pytest.fixture
async def keys(database: Database) -> OwnKeys:
    made = OwnKeys(database, Seal(b"k" * 32), SystemClock(), name="ai.example")
    await made.ensure()
    return made


class Site:
    """A provider whose metadata lies on a real server, with a clock that can be moved."""

    def __init__(self, idp: ScriptedProvider, keys: OwnKeys, clock: FakeClock, **changes: Any) -> None:
        self.idp = idp
        self.clock = clock
        settings = SamlSettings(
            **{"name": "corp", "issuer": ISSUER, "metadata_url": f"{idp.issuer}/metadata"} | changes
        )
        self.provider = SamlProvider(
            settings,
            reading=reading,
            threads=Threads(),
            keys=keys,
            clock=clock,
            url=URL,
            prefix="/saml",
            skew=60.0,
            seconds=5.0,
        )

    def serve(self, document: bytes, status: int = 200) -> None:
        self.idp.answers["/metadata"] = (status, document)

    async def takes(self, pair: Pair) -> Facts:
        value = posted(signed(pair, now=self.clock.now()))
        return await self.provider.verified(
            await self.provider.opened(value), request="_request0123456789", acs=f"{URL}/saml/acs"
        )


@pytest.fixture
async def here(keys: OwnKeys) -> AsyncIterator[Site]:
    with scripted() as idp:
        site = Site(idp, keys, FakeClock(time.time()))
        site.serve(metadata(OLD))
        yield site
        await site.provider.close()


async def test_a_new_certificate_counts_after_the_metadata_was_read_again(here: Site):
    assert await here.takes(OLD)
    here.serve(metadata(OLD, NEW))
    with pytest.raises(Unauthenticated):
        await here.takes(NEW)
    # The library beside us knows no clock but the machine's, so the interval moves and not the time.
    here.provider._read_at -= 3600
    here.clock.advance(11)
    assert await here.takes(NEW)
    assert await here.takes(OLD)
    here.serve(metadata(NEW))
    here.provider._read_at -= 3600
    here.clock.advance(11)
    assert await here.takes(NEW)
    with pytest.raises(Unauthenticated):
        await here.takes(OLD)


async def test_metadata_that_is_away_stays_in_force_for_a_while_and_is_not_asked_for_at_every_sign_in(here: Site):
    assert await here.takes(OLD)
    here.serve(b"gone", status=503)
    here.provider._read_at -= 3600
    here.clock.advance(11)
    assert await here.takes(OLD)
    assert "answers with status 503" in here.provider.problem
    asked = here.idp.asked.count("/metadata")
    assert await here.takes(OLD)
    assert here.idp.asked.count("/metadata") == asked
    assert "503" in await here.provider.look()
    here.provider._read_at -= STALE_SECONDS
    with pytest.raises(UpstreamBroken, match="cannot be used now"):
        await here.takes(OLD)
    here.serve(metadata(OLD))
    here.clock.advance(11)
    assert await here.takes(OLD)
    assert await here.provider.look() == ""


async def test_a_file_is_read_again_when_it_changes(keys: OwnKeys, tmp_path: Path):
    file = tmp_path / "idp.xml"
    file.write_bytes(metadata(OLD))
    with scripted() as idp:
        here = Site(idp, keys, FakeClock(time.time()), metadata_url="", metadata_file=file)
        assert await here.takes(OLD)
        file.write_bytes(metadata(OLD, NEW))
        here.clock.advance(11)
        assert await here.takes(NEW)
        file.unlink()
        here.clock.advance(11)
        assert await here.takes(NEW)
        assert "cannot be read" in here.provider.problem


async def test_an_expired_certificate_counts_only_when_the_settings_say_so(keys: OwnKeys):
    with scripted() as idp:
        here = Site(idp, keys, FakeClock(time.time()))
        late = Pair(days=-1)
        here.serve(metadata(late))
        with pytest.raises(UpstreamBroken, match="has expired"):
            await here.takes(late)
        assert "has expired" in await here.provider.look()
        lenient = Site(idp, keys, FakeClock(time.time()), accept_expired_certificate=True)
        lenient.serve(metadata(late))
        assert await lenient.takes(late)
        both = Site(idp, keys, FakeClock(time.time()))
        both.serve(metadata(late, NEW))
        assert await both.takes(NEW)
        with pytest.raises(Unauthenticated):
            await both.takes(late)
        for site in (here, lenient, both):
            await site.provider.close()


async def test_the_metadata_address_is_fetched_as_carefully_as_every_other(here: Site):
    here.idp.headers = {"location": f"{here.idp.issuer}/secret"}
    here.serve(b"", status=302)
    with pytest.raises(UpstreamBroken, match="302"):
        await here.takes(OLD)
    assert "/secret" not in here.idp.asked
    here.idp.headers = {}
    here.clock.advance(11)
    here.serve(b"x" * (5 * 1024 * 1024))
    with pytest.raises(UpstreamBroken, match="too much"):
        await here.takes(OLD)
    assert not _is_allowed("169.254.169.254", loopback=False)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "idp.example/metadata"])
def test_metadata_lies_at_an_http_address(url: str):
    with pytest.raises(ConfigError, match="must begin with https"):
        SamlProvider(
            SamlSettings(name="corp", issuer=ISSUER, metadata_url=url),
            reading=reading,
            threads=Threads(),
            keys=None,  # type: ignore[arg-type]
            clock=SystemClock(),
            url=URL,
            prefix="/saml",
            skew=60.0,
            seconds=5.0,
        )


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({}, "ann-0001"),
        ({"subject": "employeeNumber"}, "4711"),
        ({"subject": "missing"}, None),
    ],
)
async def test_what_names_a_person_for_good(keys: OwnKeys, changes: dict[str, str], subject: str | None):
    with scripted() as idp:
        here = Site(idp, keys, FakeClock(time.time()), **changes)
        facts = Facts(
            assertion="_a",
            name_id="ann-0001",
            name_format="persistent",
            attributes={"employeeNumber": ["4711"], "mail": ["Ann@Example.com"], "memberOf": ["a", "b"]},
            session=None,
            until=None,
            expires=0,
        )
        if subject is None:
            with pytest.raises(Unauthenticated, match="names nobody"):
                here.provider.said(facts)
        else:
            said = here.provider.said(facts)
            assert (said.subject, said.email, said.groups) == (subject, "Ann@Example.com", {"a", "b"})
        await here.provider.close()


async def test_a_name_that_changes_with_every_sign_in_is_told_apart(here: Site):
    facts = await here.takes(OLD)
    with pytest.raises(Unauthenticated, match="transient"):
        here.provider.said(Facts(**{**_fields(facts), "name_format": "transient"}))
    with pytest.raises(Unauthenticated, match="names nobody"):
        here.provider.said(Facts(**{**_fields(facts), "name_id": ""}))


def _fields(facts: Facts) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in facts.__struct_fields__}


# --- our own key -----------------------------------------------------------------------------------------------------


async def test_a_request_is_signed_when_the_provider_wants_it_and_the_signature_is_ours(here: Site, keys: OwnKeys):
    plain = parse_qs(urlsplit(await here.provider.request_url("_r1")).query)
    request = xml.fromstring(zlib.decompress(base64.b64decode(plain["SAMLRequest"][0]), -15))
    assert request.get("AssertionConsumerServiceURL") == f"{URL}/saml/acs"
    assert (request.get("ID"), request.get("Destination")) == ("_r1", "https://idp.example/sso")
    here.serve(metadata(OLD, role='WantAuthnRequestsSigned="true"', location="https://idp.example/sso?a=b"))
    here.provider._read_at -= 3600
    here.clock.advance(11)
    query = urlsplit(await here.provider.request_url("_r2")).query
    assert query.startswith("a=b&SAMLRequest=")
    covered = query.partition("&Signature=")[0].removeprefix("a=b&")
    own = (await keys.all())[0].certificate.pem
    public: Any = load_pem_x509_certificate(own.encode()).public_key()
    signature = base64.b64decode(parse_qs(query)["Signature"][0])
    public.verify(signature, covered.encode(), padding.PKCS1v15(), hashes.SHA256())


async def test_our_key_changes_in_two_steps_during_which_both_are_shown_and_open_answers(
    here: Site, keys: OwnKeys, database: Database
):
    first = (await keys.all())[0]
    second = await keys.rotate("usr_admin")
    assert [key.certificate.sha256 for key in await keys.all()] == [first.certificate.sha256, second.certificate.sha256]
    shown = (await here.provider.metadata()).decode()
    assert shown.count('use="signing"') == 2
    assert shown.count('use="encryption"') == 1
    encryption = shown.partition('use="encryption"')[2]
    assert "".join(second.certificate.pem.split("-----")[2].split()) in encryption
    with pytest.raises(InvalidCall, match="Finish that change first"):
        await keys.rotate("usr_admin")
    replica = OwnKeys(database, Seal(b"k" * 32), SystemClock(), name="x")
    assert len(await replica.all()) == 2
    assert (await keys.finish()).certificate.sha256 == second.certificate.sha256
    assert [key.state for key in await keys.all()] == ["current"]
    with pytest.raises(InvalidCall, match="no next key"):
        await keys.finish()


async def test_replicas_that_start_together_make_one_key_and_the_database_holds_none_in_the_clear(database: Database):
    replicas = [OwnKeys(database, Seal(b"k" * 32), SystemClock(), name="ai.example") for _ in range(2)]
    for replica in replicas:
        await replica.ensure()
    assert len({(await replica.all())[0].certificate.sha256 for replica in replicas}) == 1
    rows = await database.within("default").fetch("SELECT * FROM saml_keys")
    assert len(rows) == 1
    assert "PRIVATE" not in str([dict(row) for row in rows])
    assert await database.fetch("SELECT * FROM saml_keys") == []
    stranger = OwnKeys(database, Seal(b"x" * 32), SystemClock(), name="ai.example")
    with pytest.raises(ConfigError, match=r"another `secret\.key`"):
        await stranger.all()


async def test_only_a_bounded_number_of_answers_waits_to_be_read():
    threads = Threads(at_once=1, waiting=0)
    with pytest.raises(RateLimited, match="Too many people"):
        await threads.run(lambda: None)
    assert threads.refused == 1
