"""ID tokens that must not be taken, and providers that must not be asked."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from authority import Authority
from joserfc.jwk import ECKey, OctKey, RSAKey
from scripted_provider import ScriptedProvider, scripted

from ai_platform.domain.errors import ConfigError, Denied, Unauthenticated, UpstreamBroken, UpstreamUnreachable
from ai_platform.sso.fetch import Fetcher, _is_allowed
from ai_platform.sso.keyring import KEYS_PAUSE
from ai_platform.sso.mapping import Person, person_of, said_by_claims
from ai_platform.sso.provider import Provider
from ai_platform.sso.settings import ClaimNames, GroupRule, ProviderSettings
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def idp() -> Iterator[ScriptedProvider]:
    with scripted() as provider:
        yield provider


@pytest.fixture
async def client(idp: ScriptedProvider, clock: FakeClock) -> AsyncIterator[Provider]:
    settings = ProviderSettings(name="corp", issuer=idp.issuer, client_id="platform")
    provider = Provider(settings, secret="s", clock=clock, skew=60.0, seconds=5.0)
    yield provider
    await provider.close()


@pytest.mark.requirement("ID-1")
async def test_a_good_token_is_taken(idp: ScriptedProvider, client: Provider, clock: FakeClock):
    claims = await client.checked(idp.token(idp.claims(clock.now())), "n")
    assert claims["sub"] == "ann"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"aud": "other"}, "another application"),
        ({"aud": ["platform", "other"]}, "issued to another"),
        ({"aud": ["platform", "other"], "azp": "other"}, "issued to another"),
        ({"azp": "other"}, "issued to another"),
        ({"aud": None}, "another application"),
        ({"nonce": "m"}, "another sign-in"),
        ({"nonce": None}, "another sign-in"),
        ({"sub": None}, "names nobody"),
        ({"sub": ""}, "names nobody"),
        ({"exp": None}, "when it is valid"),
        ({"exp": "soon"}, "when it is valid"),
        ({"exp": True}, "when it is valid"),
        ({"iat": None}, "when it is valid"),
    ],
)
async def test_a_claim_that_is_wrong_is_refused(
    idp: ScriptedProvider, client: Provider, clock: FakeClock, changes: dict[str, Any], why: str
):
    with pytest.raises(Unauthenticated, match=why):
        await client.checked(idp.token(idp.claims(clock.now(), **changes)), "n")


@pytest.mark.parametrize(
    ("seconds", "accepted"), [(-355, True), (-361, False), (-700, False), (55, True), (65, False), (300, False)]
)
async def test_a_providers_clock_may_differ_by_a_minute(
    idp: ScriptedProvider, client: Provider, clock: FakeClock, *, seconds: int, accepted: bool
):
    """seconds: how far the provider's clock is ahead when it makes the token; one is good for 300 seconds."""
    token = idp.token(idp.claims(clock.now() + seconds))
    if accepted:
        assert await client.checked(token, "n")
    else:
        with pytest.raises(Unauthenticated, match="clock"):
            await client.checked(token, "n")


async def test_no_signature_and_shared_secrets_are_refused(idp: ScriptedProvider, client: Provider, clock: FakeClock):
    claims = idp.claims(clock.now())
    secret = OctKey.import_key("platform-secret-of-the-client-0123456789")
    forged = {
        "none": idp.unsigned(claims),
        "public key as secret": idp.signed_with_the_public_key(claims),
        "client secret": idp.token(claims, key=secret, algorithm="HS256"),
        "no token": "a.b.c",
        "empty": "",
        "huge": "e" * 100_000,
    }
    taken: list[str] = []
    for name, token in forged.items():
        try:
            await client.checked(token, "n")
        except Unauthenticated:
            continue
        taken.append(name)
    assert taken == []


async def test_a_key_of_somebody_else_is_refused(idp: ScriptedProvider, client: Provider, clock: FakeClock):
    claims = idp.claims(clock.now())
    stranger = RSAKey.generate_key(2048)
    with pytest.raises(Unauthenticated, match="signature"):
        await client.checked(idp.token(claims, key=stranger), "n")
    elliptic = ECKey.generate_key("P-256")
    with pytest.raises(Unauthenticated, match="no key"):
        await client.checked(idp.token(claims, key=elliptic, algorithm="ES256"), "n")
    good = idp.token(claims)
    head, body, signature = good.split(".")
    with pytest.raises(Unauthenticated, match="signature"):
        await client.checked(f"{head}.{body[:-2]}AA.{signature}", "n")


async def test_a_symmetric_key_among_the_providers_keys_is_never_used(
    idp: ScriptedProvider, client: Provider, clock: FakeClock
):
    idp.shown = [{"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ", "kid": "one"}]
    with pytest.raises(UpstreamBroken, match="no keys"):
        await client.checked(idp.token(idp.claims(clock.now())), "n")


async def test_a_new_key_is_found_and_forged_ids_do_not_flood_the_provider(
    idp: ScriptedProvider, client: Provider, clock: FakeClock
):
    await client.checked(idp.token(idp.claims(clock.now())), "n")
    fresh = RSAKey.generate_key(2048, {"kid": "two", "use": "sig"})
    idp.shown = [dict(fresh.as_dict(private=False))]
    clock.advance(KEYS_PAUSE + 1)
    await client.checked(idp.token(idp.claims(clock.now()), key=fresh, kid="two"), "n")
    asked = idp.asked.count("/keys")
    for number in range(20):
        with pytest.raises(Unauthenticated, match="no key"):
            await client.checked(idp.token(idp.claims(clock.now()), kid=f"forged-{number}"), "n")
    assert idp.asked.count("/keys") == asked
    with pytest.raises(Unauthenticated):
        await client.checked(idp.token(idp.claims(clock.now())), "n")


async def test_the_metadata_cannot_send_the_platform_elsewhere(idp: ScriptedProvider, client: Provider):
    metadata = {
        "issuer": idp.issuer,
        "authorization_endpoint": f"{idp.issuer}/authorize",
        "token_endpoint": "http://169.254.169.254/latest/meta-data",
        "jwks_uri": f"{idp.issuer}/keys",
    }
    idp.answers["/.well-known/openid-configuration"] = (200, metadata)
    with pytest.raises(UpstreamBroken, match="neither its own host nor listed"):
        await client.exchange("code", redirect_uri="x", nonce="n", verifier="v", issuer=None)
    idp.answers["/.well-known/openid-configuration"] = (200, metadata | {"issuer": "https://evil.example"})
    client._metadata = None
    with pytest.raises(UpstreamBroken, match="is of the issuer"):
        await client.exchange("code", redirect_uri="x", nonce="n", verifier="v", issuer=None)


async def test_a_redirect_is_not_followed_and_too_much_is_not_read(idp: ScriptedProvider):
    fetcher = Fetcher(idp.issuer, (), seconds=5, name="corp")
    idp.answers["/moved"] = (302, {})
    idp.headers = {"location": f"{idp.issuer}/secret"}
    assert (await fetcher.get(f"{idp.issuer}/moved")).status == 302
    assert "/secret" not in idp.asked
    idp.headers = {}
    idp.answers["/big"] = (200, b"x" * (2 * 1024 * 1024))
    with pytest.raises(UpstreamBroken, match="too much"):
        await fetcher.get(f"{idp.issuer}/big")
    await fetcher.close()


async def test_a_provider_that_is_down_is_told_apart():
    fetcher = Fetcher("http://127.0.0.1:9", (), seconds=2, name="corp")
    with pytest.raises(UpstreamUnreachable, match="does not answer"):
        await fetcher.get("http://127.0.0.1:9/x")
    await fetcher.close()


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", True),
        ("203.0.113.9", True),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
    ],
)
def test_over_https_the_machine_itself_and_cloud_metadata_are_not_asked(address: str, *, allowed: bool):
    assert _is_allowed(address, loopback=False) is allowed
    assert _is_allowed(address, loopback=True) is (address in {"127.0.0.1", "::1", "::ffff:127.0.0.1"})


CORP = ProviderSettings(
    name="corp",
    issuer="https://idp.example.com",
    client_id="x",
    email_domains=("example.com",),
    claims=ClaimNames(groups="realm.roles"),
    groups=(
        GroupRule(group="dev", roles=("developer",), team="web"),
        GroupRule(group="sec", roles=("security_auditor",), team="sec", region="eu"),
    ),
)
GOOD = {
    "sub": "1",
    "email": "Ann@Example.com",
    "email_verified": True,
    "name": "Ann",
    "realm": {"roles": ["dev", "sec"]},
}


def _person(claims: dict[str, Any]) -> Person:
    return person_of(said_by_claims(claims, CORP.claims), CORP, CORP.groups, contact="Ask Bo.")


@pytest.mark.requirement("ID-1")
def test_groups_add_up_and_the_first_team_counts():
    person = _person(GOOD)
    assert (person.roles, person.team, person.region) == (("developer", "security_auditor"), "web", "eu")
    assert person.email == "ann@example.com"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"realm": {"roles": ["chess"]}}, "none of its groups"),
        ({"realm": {}}, "no group"),
        ({"email": "ann@evil.com"}, "evil.com may not"),
        ({"email": "ann@example.com.evil.com"}, "may not"),
        ({"email": "ann@evil.com@example.com"}, "not verified|no e-mail"),
        ({"email_verified": False}, "not verified"),
        ({"email_verified": None}, "not verified"),
        ({"email": None}, "no e-mail"),
    ],
)
def test_who_may_not_be_here_is_told_whom_to_ask(changes: dict[str, Any], why: str):
    with pytest.raises(Denied, match=why) as refusal:
        _person(GOOD | changes)
    assert "Ask Bo." in str(refusal.value)


class Nearby(Fetcher):
    """Finds every host on this machine, as a name server would that knows the test's names."""

    async def _address(self, url: httpx2.URL) -> str:
        assert url.host.endswith(".example")
        return "127.0.0.1"


async def test_over_https_the_certificate_must_be_of_the_hosts_name_although_an_address_is_connected_to(tmp_path: Path):
    authority = Authority(tmp_path)
    with scripted(authority.server("idp.example")) as idp:
        port = idp.issuer.rpartition(":")[2]
        for host, ca_file, answers in (
            ("idp.example", Path(authority.file), True),
            ("other.example", Path(authority.file), False),
            ("idp.example", None, False),
        ):
            fetcher = Nearby(f"https://{host}:{port}", (), seconds=5, name="corp", ca_file=ca_file)
            if answers:
                assert (await fetcher.get(f"https://{host}:{port}/keys")).status == 200
            else:
                with pytest.raises(UpstreamUnreachable):
                    await fetcher.get(f"https://{host}:{port}/keys")
            await fetcher.close()


def test_a_file_of_an_authority_that_is_missing_is_told():
    with pytest.raises(ConfigError, match="ca_file"):
        Fetcher("https://idp.example", (), seconds=5, name="corp", ca_file=Path("/nowhere.pem"))
