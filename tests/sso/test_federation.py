"""Tokens of other issuers that become a service account's, and those that must not."""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey
from scripted_provider import ScriptedProvider, part, scripted

from ai_platform.domain.errors import ConfigError, Denied, Unauthenticated, UpstreamError
from ai_platform.domain.principal import HOME, PrincipalKind
from ai_platform.policy import Roles
from ai_platform.sso import SignOn, SsoSettings
from ai_platform.sso.devices import Request
from ai_platform.sso.federation import Exchanged
from ai_platform.sso.grants import Ended
from ai_platform.sso.issuers import FederatedAccount, FederationSettings
from ai_platform.sso.keyring import FAILURE_PAUSE, KEYS_PAUSE
from ai_platform.sso.signon import Keys
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.testing import FakeClock

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("ID-3")]
URL = "https://ai.example.com"
KEYS = Keys(b"p" * 32, b"s" * 32, b"t" * 32)
WEB = FederatedAccount(
    name="ci-web",
    claims={"repository": "acme/web", "ref": ("refs/heads/main", "refs/tags/v*")},
    roles=("developer",),
    team="web",
    project="web-ci",
    scopes=("model:claude-haiku-*",),
    access_seconds=300,
)


class Book:
    version = "1"

    def permissions(self, roles: Iterable[str]) -> frozenset[str]:
        return Roles({}).permissions(roles)

    def role_names(self) -> tuple[str, ...]:
        return Roles({}).names()


@pytest.fixture
def issuer() -> Iterator[ScriptedProvider]:
    with scripted() as provider:
        yield provider


def settings_of(issuer: ScriptedProvider, *accounts: FederatedAccount, **changes: Any) -> SsoSettings:
    one = FederationSettings(name="github", issuer=issuer.issuer, accounts=accounts or (WEB,), **changes)
    return SsoSettings(federation=(one,), fetch_seconds=2)


def room_of(settings: SsoSettings, database: Database, clock: FakeClock) -> SignOn:
    return SignOn(settings, database, keys=KEYS, url=URL, roles=Book(), clock=clock, environ={})


@pytest.fixture
async def room(
    issuer: ScriptedProvider, database: Database, system: SystemDatabase, clock: FakeClock
) -> AsyncIterator[SignOn]:
    made = room_of(settings_of(issuer), database, clock)
    await made.tokens.watch(system)
    yield made
    await made.close()


def claims_of(issuer: ScriptedProvider, clock: FakeClock, **changes: Any) -> dict[str, Any]:
    """As GitHub Actions writes them."""
    usual = {
        "aud": URL,
        "sub": "repo:acme/web:ref:refs/heads/main",
        "jti": "one",
        "repository": "acme/web",
        "ref": "refs/heads/main",
        "nonce": None,
        "email": None,
        "email_verified": None,
        "groups": None,
    }
    return issuer.claims(clock.now(), **(usual | changes))


async def exchange(room: SignOn, text: str) -> Exchanged:
    return await room.federation.exchange(text, Request(surface="federation", ip="127.0.0.1"))


async def refused(room: SignOn, text: str, why: str) -> None:
    with pytest.raises(Unauthenticated, match=why):
        await exchange(room, text)


class TestAGoodToken:
    async def test_becomes_the_service_account_that_fits(
        self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock
    ):
        done = await exchange(room, issuer.token(claims_of(issuer, clock)))
        assert done.expires_in == 300
        assert done.claims == {"repository": "acme/web", "ref": "refs/heads/main"}
        caller = room.tokens.principal(done.access_token)
        assert (caller.kind, caller.name, caller.id[:4]) == (PrincipalKind.SERVICE, "ci-web", "svc_")
        assert (caller.team, caller.project, caller.models) == ("web", "web-ci", ("claude-haiku-*",))
        assert caller.permissions == Roles({}).permissions(("developer",))
        assert (caller.email, caller.signed_in) == (None, False)

    async def test_lives_for_minutes_and_nothing_renews_it(
        self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock, system: SystemDatabase
    ):
        done = await exchange(room, issuer.token(claims_of(issuer, clock)))
        salt = await system.fetchval("SELECT salt FROM sso_grants WHERE id = $1", done.grant)
        mac = hmac.digest(KEYS.pepper, salt + f"aipr_{done.grant}.1".encode(), "sha256").hex()
        assert await room.refresh(f"aipr_{done.grant}.1.{mac}") is Ended.UNKNOWN, (
            "not even with the family's own secret"
        )
        await refused(room, done.access_token, "its issuer is not listed")
        clock.advance(301)
        with pytest.raises(Unauthenticated, match="expired"):
            room.tokens.principal(done.access_token)

    async def test_is_the_same_caller_as_the_keys_of_that_service_account(
        self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock
    ):
        first, second = [
            await exchange(room, issuer.token(claims_of(issuer, clock, jti=name))) for name in ("one", "two")
        ]
        assert first.account.id == second.account.id
        assert first.grant != second.grant

    async def test_may_name_several_audiences_and_an_array_of_values(
        self, database: Database, issuer: ScriptedProvider, clock: FakeClock
    ):
        rule = FederatedAccount(name="ci", claims={"teams": "infra"}, roles=("developer",))
        room = room_of(settings_of(issuer, rule, audience=("ai", "other")), database, clock)
        claims = claims_of(issuer, clock, aud=["x", "other"], teams=["web", "infra"])
        assert (await exchange(room, issuer.token(claims))).account.name == "ci"
        await room.close()

    async def test_of_a_cluster_is_checked_with_keys_in_a_file(
        self, database: Database, issuer: ScriptedProvider, clock: FakeClock, tmp_path: Path
    ):
        keys = tmp_path / "jwks.json"
        keys.write_text(json.dumps({"keys": issuer.shown}))
        rule = FederatedAccount(
            name="batch",
            claims={"kubernetes.io.namespace": "ci", "kubernetes.io.serviceaccount.name": "runner"},
            roles=("developer",),
        )
        room = room_of(settings_of(issuer, rule, jwks_file=keys, single_use=False), database, clock)
        inside = {"namespace": "ci", "serviceaccount": {"name": "runner", "uid": "1"}}
        text = issuer.token(claims_of(issuer, clock, **{"kubernetes.io": inside}))
        assert await exchange(room, text)
        assert await exchange(room, text), "its file holds the same token for an hour, and single_use is off"
        assert issuer.asked == []
        keys.write_text("{")
        clock.advance(KEYS_PAUSE + 1)
        other = RSAKey.generate_key(2048, {"kid": "new"})
        with pytest.raises(UpstreamError, match="cannot be used"):
            await exchange(room, issuer.token(claims_of(issuer, clock), key=other, kid="new"))
        await room.close()


class TestTheToken:
    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"aud": "https://sts.example"}, "another audience"),
            ({"aud": None}, "another audience"),
            ({"aud": ["a", "b"]}, "another audience"),
            ({"aud": {"0": URL}}, "another audience"),
            ({"iss": "https://evil.example"}, "not listed"),
            ({"iss": None}, "not a signed token"),
            ({"iss": ["x"]}, "not listed"),
            ({"exp": None}, "when it is valid"),
            ({"iat": None}, "when it is valid"),
            ({"exp": float("nan")}, "not a signed token"),
            ({"exp": True}, "when it is valid"),
            ({"sub": None}, "names nobody"),
            ({"sub": "a\nb"}, "names nobody"),
            ({"repository": None}, "fits no service account"),
            ({"repository": "acme/webx"}, "fits no service account"),
            ({"repository": "ACME/WEB"}, "fits no service account"),
            ({"repository": {"acme/web": 1}}, "fits no service account"),
            ({"ref": "refs/heads/main\n"}, "fits no service account"),
            ({"ref": "refs/pull/1/merge"}, "fits no service account"),
        ],
    )
    async def test_with_a_wrong_or_missing_claim_is_refused(
        self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock, changes: dict[str, Any], why: str
    ):
        await refused(room, issuer.token(claims_of(issuer, clock, **changes)), why)

    @pytest.mark.parametrize(
        ("times", "why"), [((-400, 300), "has expired"), ((120, 300), "from the future"), ((0, 90_000), "a day")]
    )
    async def test_out_of_its_time_is_refused(
        self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock, times: tuple[int, int], why: str
    ):
        starts, lasts = times
        begin = int(clock.now()) + starts
        await refused(room, issuer.token(claims_of(issuer, clock, iat=begin, exp=begin + lasts)), why)

    async def test_with_another_signature_algorithm_or_none_is_refused(
        self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock
    ):
        claims = claims_of(issuer, clock)
        await refused(room, issuer.unsigned(claims), "not allowed")
        await refused(room, issuer.signed_with_the_public_key(claims), "not allowed")
        secret = OctKey.import_key(b"k" * 32)
        await refused(room, issuer.token(claims, key=secret, algorithm="HS256"), "not allowed")
        await refused(room, issuer.token(claims, key=ECKey.generate_key("P-256"), algorithm="ES256"), "no key of that")

    async def test_of_another_key_is_refused_whatever_its_header_offers(
        self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock
    ):
        thief = RSAKey.generate_key(2048)
        claims = claims_of(issuer, clock)
        await refused(room, issuer.token(claims, key=thief), "signature is wrong")
        good = issuer.token(claims)
        header = {"alg": "RS256", "kid": "one", "jwk": thief.as_dict(private=False), "jku": "http://127.0.0.1:9/k"}
        body = f"{part(json.dumps(header).encode())}.{good.split('.')[1]}"
        await refused(room, f"{body}.{good.split('.')[2]}", "signature is wrong")
        assert issuer.asked.count("/keys") == 1

    async def test_of_one_issuer_is_not_taken_with_the_keys_of_another(
        self, database: Database, issuer: ScriptedProvider, clock: FakeClock
    ):
        with scripted() as second:
            second.key = RSAKey.generate_key(2048, {"kid": "one"})
            one = FederationSettings(name="one", issuer=issuer.issuer, accounts=(WEB,))
            two = FederationSettings(name="two", issuer=second.issuer, accounts=(WEB,))
            room = room_of(SsoSettings(federation=(one, two)), database, clock)
            claims = claims_of(issuer, clock)
            await refused(room, second.token(claims), "signature is wrong")
            assert second.asked == [], "the other issuer's keys are not even read"
            await room.close()

    @pytest.mark.parametrize("text", ["", "a", "a.b.c", "eyJ.e30.x", "." * 100, "ü.ü.ü", "e30." + "A" * 13_000 + ".x"])
    async def test_that_is_none_is_refused_and_no_issuer_is_asked(
        self, room: SignOn, issuer: ScriptedProvider, text: str
    ):
        await refused(room, text, "cannot be exchanged")
        assert issuer.asked == []

    async def test_deeply_nested_is_refused(self, room: SignOn, issuer: ScriptedProvider):
        nested = b"[" * 4000 + b"]" * 4000
        await refused(room, f"{part(b'{}')}.{part(_in(b'iss', nested))}.x", "not a signed token")
        named = part(json.dumps({"iss": issuer.issuer}).encode())
        await refused(room, f"{part(_in(b'alg', nested))}.{named}.x", "not a signed token")


def _in(name: bytes, value: bytes) -> bytes:
    return b'{"' + name + b'":' + value + b"}"


class TestOnce:
    async def test_a_token_is_exchanged_once(self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock):
        text = issuer.token(claims_of(issuer, clock))
        await exchange(room, text)
        await refused(room, text, "exchanged before")
        same_name = issuer.token(claims_of(issuer, clock, extra="x"))
        await refused(room, same_name, "exchanged before")
        assert room.federation.replayed == 2

    async def test_without_a_name_what_was_signed_counts_and_not_how_the_signature_is_written(
        self, database: Database, clock: FakeClock
    ):
        with scripted() as issuer:
            key = ECKey.generate_key("P-256", {"kid": "ec"})
            issuer.shown = [dict(key.as_dict(private=False))]
            room = room_of(settings_of(issuer), database, clock)
            text = issuer.token(claims_of(issuer, clock, jti=None), key=key, algorithm="ES256", kid="ec")
            head, _, signature = text.rpartition(".")
            raw = base64.urlsafe_b64decode(signature + "==")
            order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
            twin = raw[:32] + (order - int.from_bytes(raw[32:])).to_bytes(32)
            await exchange(room, text)
            await refused(room, f"{head}.{part(twin)}", "exchanged before")
            await room.close()

    async def test_of_many_at_once_one_wins(self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock):
        text = issuer.token(claims_of(issuer, clock))
        outcomes = await asyncio.gather(*(exchange(room, text) for _ in range(8)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes].count(Exchanged) == 1

    async def test_a_refused_token_is_not_used_up(self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock):
        await refused(room, issuer.token(claims_of(issuer, clock, repository="acme/x")), "fits no")
        await exchange(room, issuer.token(claims_of(issuer, clock)))

    async def test_what_is_remembered_is_forgotten_when_it_could_not_come_again(
        self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock, system: SystemDatabase
    ):
        await exchange(room, issuer.token(claims_of(issuer, clock)))
        await room.federation.sweep(system)
        assert await system.fetchval("SELECT count(*) FROM sso_assertions") == 1
        clock.advance(400)
        await room.federation.sweep(system)
        assert await system.fetchval("SELECT count(*) FROM sso_assertions") == 0


class TestKeys:
    async def test_a_new_key_is_found_and_the_old_one_is_gone(
        self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock
    ):
        await exchange(room, issuer.token(claims_of(issuer, clock)))
        new = RSAKey.generate_key(2048, {"kid": "two"})
        issuer.shown = [dict(new.as_dict(private=False))]
        clock.advance(KEYS_PAUSE + 1)
        text = issuer.token(claims_of(issuer, clock, jti="two"), key=new, kid="two")
        assert await exchange(room, text)
        await refused(room, issuer.token(claims_of(issuer, clock, jti="three")), "no key of that id")

    async def test_forged_tokens_do_not_make_the_platform_flood_the_issuer(
        self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock
    ):
        for number in range(20):
            text = issuer.token(claims_of(issuer, clock), kid=f"k{number}")
            await refused(room, text, "no key of that id")
        assert issuer.asked.count("/keys") == 1

    async def test_an_issuer_that_is_away_is_asked_again_after_a_pause(
        self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock
    ):
        issuer.answers["/keys"] = (500, {})
        text = issuer.token(claims_of(issuer, clock))
        for _ in range(5):
            with pytest.raises(UpstreamError):
                await exchange(room, text)
        assert issuer.asked.count("/keys") == 1
        del issuer.answers["/keys"]
        clock.advance(FAILURE_PAUSE + 0.1)
        assert await exchange(room, text)

    @pytest.mark.parametrize(
        "elsewhere", ["http://169.254.169.254/keys", "http://localhost.evil.example/keys", "file:///etc"]
    )
    async def test_metadata_cannot_send_the_platform_elsewhere(
        self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock, elsewhere: str
    ):
        path = "/.well-known/openid-configuration"
        issuer.answers[path] = (200, {"issuer": issuer.issuer, "jwks_uri": elsewhere})
        with pytest.raises(UpstreamError, match="not asked"):
            await exchange(room, issuer.token(claims_of(issuer, clock)))
        assert issuer.asked == [path]

    async def test_metadata_of_another_issuer_is_not_taken(
        self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock
    ):
        path = "/.well-known/openid-configuration"
        issuer.answers[path] = (200, {"issuer": "https://x.example", "jwks_uri": f"{issuer.issuer}/keys"})
        with pytest.raises(UpstreamError, match="does not describe"):
            await exchange(room, issuer.token(claims_of(issuer, clock)))


class TestDisabled:
    async def test_a_disabled_service_account_gets_no_token_until_it_is_enabled(
        self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock
    ):
        done = await exchange(room, issuer.token(claims_of(issuer, clock)))
        principal = await room.federation.services.disable("CI-Web", by="usr_admin")
        assert principal == done.account.id
        assert await room.end_all(principal, "disabled", tenant=HOME) == 1
        with pytest.raises(Unauthenticated, match="ended"):
            room.tokens.principal(done.access_token)
        with pytest.raises(Denied, match="disabled"):
            await exchange(room, issuer.token(claims_of(issuer, clock, jti="two")))
        await room.federation.services.enable("ci-web")
        assert await exchange(room, issuer.token(claims_of(issuer, clock, jti="two")))

    async def test_one_that_never_came_can_be_disabled(self, room: SignOn, issuer: ScriptedProvider, clock: FakeClock):
        assert [one.id for one in await room.federation.services.list()] == [None]
        await room.federation.services.disable("ci-web", by="usr_admin")
        with pytest.raises(Denied, match="disabled"):
            await exchange(room, issuer.token(claims_of(issuer, clock)))


def account(**claims: Any) -> dict[str, Any]:
    return {"name": "ci", "claims": claims, "roles": ["developer"]}


GITHUB = "https://token.actions.githubusercontent.com"


class TestSettings:
    @pytest.mark.parametrize(
        ("issuer", "one", "why"),
        [
            ("https://x.example", account(), "has no claims"),
            ("https://x.example", account(sub="*"), "must say more"),
            ("https://x.example", account(sub=["good", "**"]), "must say more"),
            ("https://x.example", account(sub=[]), "must say more"),
            ("https://x.example", account(sub="x") | {"access_seconds": 7200}, "3600"),
            ("ftp://x.example", account(sub="x"), "https"),
            (GITHUB, account(ref="refs/heads/main"), "everybody can get a token"),
            (GITHUB, account(repository="*/web"), "everybody can get a token"),
            (GITHUB, account(repository=["acme/web", "*/web"]), "everybody can get a token"),
            (GITHUB, account(sub="repo:*:ref:refs/heads/main"), "everybody can get a token"),
            (GITHUB, account(repository_owner="acme*"), "everybody can get a token"),
            (GITHUB + "/", account(job_workflow_ref="acme/w/.github/workflows/x.yml@refs/heads/main"), "everybody"),
            ("https://gitlab.com", account(ref="main"), "everybody can get a token"),
        ],
    )
    def test_that_let_strangers_in_are_refused(self, issuer: str, one: dict[str, Any], why: str):
        with pytest.raises(msgspec.ValidationError, match=why):
            msgspec.convert({"name": "x", "issuer": issuer, "accounts": [one]}, FederationSettings)

    @pytest.mark.parametrize(
        "claims",
        [
            {"repository": "acme/*"},
            {"repository_owner_id": 65, "ref": "refs/heads/main"},
            {"sub": "repo:acme/web:environment:production"},
            {"sub": ["repo:acme/web:**", "repo:acme/api:**"]},
        ],
    )
    def test_that_name_an_owner_are_taken(self, claims: dict[str, Any]):
        assert msgspec.convert({"name": "x", "issuer": GITHUB, "accounts": [account(**claims)]}, FederationSettings)

    async def test_of_a_role_that_does_not_exist_stop_the_start(
        self, database: Database, issuer: ScriptedProvider, clock: FakeClock
    ):
        rule = msgspec.structs.replace(WEB, roles=("developper",))
        with pytest.raises(ConfigError, match="Did you mean 'developer'"):
            room_of(settings_of(issuer, rule), database, clock)

    async def test_that_name_the_platform_as_an_issuer_stop_the_start(self, database: Database, clock: FakeClock):
        one = FederationSettings(name="self", issuer=URL, accounts=(WEB,))
        with pytest.raises(ConfigError, match="itself"):
            room_of(SsoSettings(federation=(one,)), database, clock)


async def test_what_a_token_would_become_is_explained(room: SignOn, issuer: ScriptedProvider, clock: FakeClock):
    found = room.federation.explain(claims_of(issuer, clock, ref="refs/pull/1/merge"))
    assert [(one.account, one.failed) for one in found] == [("ci-web", ("ref",))]
    assert room.federation.explain({"iss": "https://elsewhere.example"}) == []
