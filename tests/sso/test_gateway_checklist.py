"""The contract of `GET /protocol`, as the pinned binary's own gateway keeps it, and ours beside it.

What its page says is in our words below and in test_gateway_protocol.py; the page itself is not kept here. When the
page changes, `test_the_contract_is_the_one_that_was_read` fails: read it again, and add what is new.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from sso_site import DEVICE_GRANT, Site, requires_provider
from their_gateway import approve, their_gateway

from ai_platform.testing.postgres import FreshDatabase, TestPostgres
from claude_code import requires_claude

pytestmark = [requires_claude, requires_provider, pytest.mark.requirement("CC-2"), pytest.mark.anyio]

READ = {
    "Claude Code gateway protocol",
    "Flow",
    "Discovery \N{EM DASH} required",
    "Device authorization \N{EM DASH} required",
    "Verification page \N{EM DASH} required",
    "Token \N{EM DASH} required",
    "Messages \N{EM DASH} required",
    "Managed settings \N{EM DASH} optional",
    "Models \N{EM DASH} optional",
    "Telemetry \N{EM DASH} optional",
    "Errors",
    "Usage-limit headers \N{EM DASH} optional",
    "Billing group \N{EM DASH} optional",
    "Bearer token",
    "TLS",
    "Client guarantees",
    "Proxying to Bedrock, Vertex, or Foundry",
    "References",
}
DIGEST = "91f83a7dfbd60cc55cef4484dbc16c26cdf4d2fa166457459cafeac02024c6d6"
BEARER_ENDPOINTS = (
    ("GET", "/managed/settings"),
    ("GET", "/v1/models"),
    ("GET", "/api/oauth/usage"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/messages/count_tokens"),
    ("POST", "/v1/metrics"),
    ("POST", "/v1/logs"),
    ("POST", "/v1/traces"),
)


@dataclass
class Gateway:
    """One of the two. approve: what a person does with the code on a screen."""

    url: str
    approve: Callable[[str], None]

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {"user-agent": "claude-code/2.1.330", **options.pop("headers", {})}
        return httpx2.request(method, self.url + path, headers=headers, trust_env=False, timeout=20, **options)

    def begin(self, **form: str) -> dict[str, Any]:
        answer = self.ask("POST", "/oauth/device_authorization", data={"surface": "claude_code", **form})
        assert answer.status_code == 200
        return answer.json()

    def token(self, **form: str) -> httpx2.Response:
        return self.ask("POST", "/oauth/token", data=form)

    def sign_in(self) -> dict[str, Any]:
        started = self.begin()
        self.approve(started["user_code"])
        answer = self.token(grant_type=DEVICE_GRANT, device_code=started["device_code"])
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="session")
async def their_database(postgres_server: TestPostgres) -> AsyncIterator[FreshDatabase]:
    async with postgres_server.fresh_database("template0") as database:
        yield database


@pytest.fixture(scope="session")
def theirs(their_database: FreshDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with their_gateway(tmp_path_factory.mktemp("theirs") / "gateway", their_database.owner_dsn) as url:
        yield Gateway(url, lambda code: approve(url, code, "ann"))


@pytest.fixture(scope="session")
def ours(here: Site) -> Gateway:
    def approve_here(code: str) -> None:
        with here.browser() as browser:
            browser.sign_in("ann")
            browser.approve(code)

    return Gateway(here.url, approve_here)


@pytest.fixture(scope="session")
def both(theirs: Gateway, ours: Gateway) -> tuple[Gateway, Gateway]:
    return theirs, ours


@pytest.fixture(scope="session")
def tokens(both: tuple[Gateway, Gateway]) -> tuple[dict[str, Any], dict[str, Any]]:
    theirs, ours = both
    return theirs.sign_in(), ours.sign_in()


def test_the_contract_is_the_one_that_was_read(theirs: Gateway):
    page = theirs.ask("GET", "/protocol").text
    headings = re.findall(r"(?m)^##? (.+)$", page)
    assert set(headings) == READ
    assert hashlib.sha256(" ".join(page.split()).encode()).hexdigest() == DIGEST


def same(both: tuple[Gateway, Gateway], ask: Callable[[Gateway], httpx2.Response]) -> tuple[int, str]:
    """(status, error code) that both answered with."""
    first, second = [(answer.status_code, answer.json().get("error")) for answer in map(ask, both)]
    assert first == second
    return second


class TestDiscovery:
    def test_tells_the_same_endpoints_on_its_own_origin(self, both: tuple[Gateway, Gateway]):
        for gateway in both:
            metadata = gateway.ask("GET", "/.well-known/oauth-authorization-server").json()
            assert metadata["issuer"] == gateway.url
            for name, path in (("device_authorization", "device_authorization"), ("token", "token")):
                assert metadata[f"{name}_endpoint"] == f"{gateway.url}/oauth/{path}"
            assert {DEVICE_GRANT, "refresh_token"} <= set(metadata["grant_types_supported"])


class TestDeviceAuthorization:
    def test_answers_with_the_same_fields_of_the_same_shape(self, both: tuple[Gateway, Gateway]):
        shapes: list[dict[str, Any]] = []
        for gateway in both:
            started = gateway.begin(new_parameter="of next year")
            started.pop("login_notice", None)  # an extension that may be there
            shapes.append({name: type(value) for name, value in started.items()})
            assert re.fullmatch(r"[A-Z]{4}-[A-Z]{4}", started["user_code"])
            assert len(started["device_code"]) >= 43, "256 bits"
            assert started["verification_uri_complete"].startswith(started["verification_uri"])
        assert shapes[0] == shapes[1]

    def test_needs_no_parameter(self, both: tuple[Gateway, Gateway]):
        for gateway in both:
            assert gateway.ask("POST", "/oauth/device_authorization").status_code == 200


class TestToken:
    def test_says_that_nobody_has_decided_yet(self, both: tuple[Gateway, Gateway]):
        codes = {gateway.url: gateway.begin()["device_code"] for gateway in both}
        outcome = same(both, lambda one: one.token(grant_type=DEVICE_GRANT, device_code=codes[one.url]))
        assert outcome == (400, "authorization_pending")

    def test_slows_down_who_asks_too_often(self, both: tuple[Gateway, Gateway]):
        for gateway in both:
            code = gateway.begin()["device_code"]
            answers = [gateway.token(grant_type=DEVICE_GRANT, device_code=code) for _ in range(2)]
            assert answers[1].json()["error"] == "slow_down"
            assert answers[1].status_code in {400, 429}

    def test_calls_a_code_that_is_used_or_not_known_expired(self, both: tuple[Gateway, Gateway]):
        unknown = same(both, lambda one: one.token(grant_type=DEVICE_GRANT, device_code="nobody-has-this"))
        assert unknown == (400, "expired_token")
        used: dict[str, str] = {}
        for gateway in both:
            started = gateway.begin()
            gateway.approve(started["user_code"])
            used[gateway.url] = started["device_code"]
            assert gateway.token(grant_type=DEVICE_GRANT, device_code=started["device_code"]).status_code == 200
        again = same(both, lambda one: one.token(grant_type=DEVICE_GRANT, device_code=used[one.url]))
        assert again == (400, "expired_token")

    @pytest.mark.parametrize(
        ("form", "outcome"),
        [
            ({"grant_type": DEVICE_GRANT}, (400, "invalid_request")),
            ({"grant_type": "refresh_token", "refresh_token": "x"}, (401, "invalid_grant")),
            ({"grant_type": "password"}, (400, "unsupported_grant_type")),
        ],
    )
    def test_refuses_in_the_same_words(
        self, both: tuple[Gateway, Gateway], form: dict[str, str], outcome: tuple[int, str]
    ):
        assert same(both, lambda one: one.token(**form)) == outcome

    def test_gives_a_bearer_and_who_approved_it(self, tokens: tuple[dict[str, Any], ...]):
        for given in tokens:
            assert {"access_token", "token_type", "expires_in"} <= given.keys()
            assert given["token_type"] == "Bearer"
            assert given["access_token"].count(".") == 2, "a JWT, whose exp and sub the client reads"
        assert tokens[1]["email"] == "ann@example.com"
        assert "refresh_token" in tokens[1], "so that nobody is sent to the browser again"

    def test_endpoints_answer_directly_and_are_not_to_be_kept(self, both: tuple[Gateway, Gateway]):
        for gateway in both:
            for path in ("device_authorization", "token"):
                answer = gateway.ask("POST", f"/oauth/{path}", data={"grant_type": "x"})
                assert not answer.is_redirect
                assert answer.headers["cache-control"] == "no-store"
        assert not both[1].ask("POST", "/oauth/revoke", data={"token": "x"}).is_redirect


class TestBearerEndpoints:
    @pytest.mark.parametrize(("method", "path"), BEARER_ENDPOINTS)
    @pytest.mark.parametrize("bearer", [None, "eyJhbGciOiJub25lIn0.e30.", "nothing"])
    def test_who_is_nobody_gets_401_in_the_envelope(
        self, both: tuple[Gateway, Gateway], method: str, path: str, bearer: str | None
    ):
        headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
        for gateway in both:
            answer = gateway.ask(method, path, headers=headers, content=b"{}" if method == "POST" else None)
            assert answer.status_code == 401
            assert (answer.json()["type"], answer.json()["error"]["type"]) == ("error", "authentication_error")
            assert not answer.is_redirect

    def test_one_token_is_good_at_all_of_them(self, ours: Gateway, tokens: tuple[dict[str, Any], ...]):
        headers = _bearer(tokens[1]) | {"anthropic-version": "2023-06-01"}
        body = {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
        for method, path in BEARER_ENDPOINTS:
            answer = ours.ask(method, path, headers=headers, json=body if method == "POST" else None)
            assert answer.status_code == 200, f"{method} {path}: {answer.text}"

    @pytest.mark.parametrize("signal", ["metrics", "logs", "traces"])
    @pytest.mark.parametrize("kind", ["application/json", "application/x-protobuf"])
    def test_telemetry_gets_200(
        self, both: tuple[Gateway, Gateway], tokens: tuple[dict[str, Any], ...], signal: str, kind: str
    ):
        for gateway, given in zip(both, tokens, strict=True):
            headers = {"authorization": f"Bearer {given['access_token']}", "content-type": kind}
            content = b"{}" if "json" in kind else b""
            assert gateway.ask("POST", f"/v1/{signal}", headers=headers, content=content).status_code == 200

    def test_a_body_that_is_no_json_gets_400_in_the_envelope(
        self, both: tuple[Gateway, Gateway], tokens: tuple[dict[str, Any], ...]
    ):
        for gateway, given in zip(both, tokens, strict=True):
            headers = {"authorization": f"Bearer {given['access_token']}"}
            answer = gateway.ask("POST", "/v1/messages", headers=headers, content=b"{")
            assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")

    def test_models_have_the_same_shape(self, both: tuple[Gateway, Gateway], tokens: tuple[dict[str, Any], ...]):
        for gateway, given in zip(both, tokens, strict=True):
            listed = gateway.ask("GET", "/v1/models?limit=1000", headers=_bearer(given)).json()["data"]
            assert listed
            assert all(row["id"].startswith("claude-") and row["display_name"] for row in listed)

    def test_managed_settings_never_claim_what_only_claude_desktop_should_read_closely(
        self, ours: Gateway, tokens: tuple[dict[str, Any], ...]
    ):
        for condition in ("*", '"sha256:0"'):
            headers = _bearer(tokens[1]) | {"if-none-match": condition}
            answer = ours.ask("GET", "/managed/settings", headers=headers)
            assert answer.status_code == 200
            assert not ("x-cc-gateway-version" in answer.headers and answer.headers["cache-control"] == "no-store")

    def test_a_token_that_has_ended_is_401_at_once_and_not_to_be_tried_again(self, ours: Gateway):
        given = ours.sign_in()
        assert ours.ask("POST", "/oauth/revoke", data={"token": given["access_token"]}).status_code == 200
        second = {"token": given["refresh_token"], "token_type_hint": "refresh_token"}
        assert ours.ask("POST", "/oauth/revoke", data=second).status_code == 200
        refused = ours.ask("GET", "/v1/models", headers=_bearer(given))
        assert (refused.status_code, refused.headers["x-should-retry"]) == (401, "false")
        assert ours.token(grant_type="refresh_token", refresh_token=given["refresh_token"]).status_code == 401


def _bearer(given: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {given['access_token']}"}
