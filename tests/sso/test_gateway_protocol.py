"""The gateway protocol of Claude Code 2.1.330, line by line as its own gateway describes it at GET /protocol."""

import base64
import hashlib
import json
import re
from datetime import datetime
from typing import Any

import httpx2
import msgspec
import pytest
from sso_site import DEVICE_GRANT, Site, requires_provider

pytestmark = requires_provider


@pytest.fixture(scope="module")
def ann(here: Site) -> dict[str, Any]:
    return here.sign_in("ann")


@pytest.mark.requirement("CC-2")
class TestDiscovery:
    def test_the_metadata_names_endpoints_of_the_same_origin_without_a_credential(self, here: Site):
        answer = httpx2.get(f"{here.url}/.well-known/oauth-authorization-server", trust_env=False)
        metadata = answer.json()
        assert metadata["issuer"] == here.url
        assert metadata["device_authorization_endpoint"] == f"{here.url}/oauth/device_authorization"
        assert metadata["token_endpoint"] == f"{here.url}/oauth/token"
        assert metadata["revocation_endpoint"].startswith(here.url)
        assert metadata["grant_types_supported"][:2] == [DEVICE_GRANT, "refresh_token"]

    def test_another_host_header_does_not_change_what_is_named(self, here: Site):
        url = f"{here.url}/.well-known/oauth-authorization-server"
        answer = httpx2.get(url, headers={"host": "evil.example"}, trust_env=False)
        assert answer.json()["issuer"] == here.url


@pytest.mark.requirement("CC-2")
class TestDeviceAuthorization:
    def test_codes_have_the_shape_of_rfc_8628(self, here: Site):
        started = here.begin()
        assert len(base64.urlsafe_b64decode(started["device_code"] + "==")) >= 32
        assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", started["user_code"])
        assert started["verification_uri"] == f"{here.url}/device"
        assert started["verification_uri_complete"] == f"{here.url}/device?user_code={started['user_code']}"
        assert (started["expires_in"], started["interval"]) == (600, 5)
        assert started["login_notice"] == "Use your work account."

    def test_unknown_parameters_are_ignored_and_none_is_required(self, here: Site):
        assert here.begin(client_id="x", scope="y", something_new="z")["device_code"]
        answer = httpx2.post(f"{here.url}/oauth/device_authorization", trust_env=False)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.requirement("CC-2")
class TestToken:
    def test_waiting_then_too_fast_then_denied(self, here: Site):
        started = here.begin()
        first = here.poll(started["device_code"])
        assert (first.status_code, first.json()["error"]) == (400, "authorization_pending")
        second = here.poll(started["device_code"])
        assert (second.status_code, second.json()["error"]) == (400, "slow_down")
        with here.browser() as browser:
            browser.sign_in("ann")
            assert "Not approved" in browser.approve(started["user_code"], "deny").text
        third = here.poll(started["device_code"])
        assert (third.status_code, third.json()["error"]) == (400, "access_denied")

    def test_the_token_is_a_readable_jwt_with_who_it_is(self, ann: dict[str, Any]):
        assert (ann["token_type"], ann["email"], ann["expires_in"]) == ("Bearer", "ann@example.com", 900)
        payload = ann["access_token"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        assert claims["exp"] - claims["iat"] == 900
        assert (claims["email"], claims["groups"], claims["team"]) == ("ann@example.com", ["engineering"], "blue")
        assert "billing_group_tag" not in claims, "tags are forwarded, so that the client must not be told to send any"

    def test_a_device_code_is_good_for_one_token(self, here: Site):
        started = here.begin()
        with here.browser() as browser:
            browser.sign_in("ann")
            browser.approve(started["user_code"])
        assert here.poll(started["device_code"]).status_code == 200
        again = here.poll(started["device_code"])
        assert (again.status_code, again.json()["error"]) == (400, "expired_token")

    def test_a_refresh_gives_a_whole_new_answer_and_a_dead_one_is_401(self, here: Site):
        tokens = here.sign_in("ann")
        fresh = here.refresh(tokens["refresh_token"]).json()
        assert {"access_token", "token_type", "expires_in", "refresh_token"} <= set(fresh)
        assert fresh["refresh_token"] != tokens["refresh_token"]
        dead = here.refresh("aipr_nothing")
        assert (dead.status_code, dead.json()["error"]) == (401, "invalid_grant")

    def test_other_grants_are_told_apart(self, here: Site):
        answer = here.token(grant_type="password", username="ann")
        assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


@pytest.mark.requirement("CC-2")
@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_a_revoked_bearer_gets_401_and_no_retry(here: Site, which: str):
    tokens = here.sign_in("ann")
    assert here.get("/v1/models", tokens["access_token"]).status_code == 200
    answer = here.revoke(tokens[which], token_type_hint="refresh_token")
    assert (answer.status_code, answer.content) == (200, b"")
    refused = here.get("/v1/models", tokens["access_token"])
    assert refused.status_code == 401
    assert refused.headers["x-should-retry"] == "false"
    assert refused.json()["error"]["type"] == "authentication_error"
    assert here.refresh(tokens["refresh_token"]).status_code == 401
    assert here.revoke("nonsense").status_code == 200


@pytest.mark.requirement("CC-3")
class TestManagedSettings:
    def test_the_document_has_the_wrapper_and_the_clients_own_checksum(self, here: Site, ann: dict[str, Any]):
        answer = here.get("/managed/settings", ann["access_token"])
        document = answer.json()
        plain = json.dumps(document["settings"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert document["checksum"] == "sha256:" + hashlib.sha256(plain.encode()).hexdigest()
        assert answer.headers["etag"] == f'"{document["checksum"]}"'
        assert document["uuid"]
        assert document["settings"]["permissions"] == {"deny": ["WebFetch"]}

    def test_304_only_for_the_same_checksum(self, here: Site, ann: dict[str, Any]):
        tag = here.get("/managed/settings", ann["access_token"]).headers["etag"]
        same = here.get("/managed/settings", ann["access_token"], **{"if-none-match": tag})
        assert (same.status_code, same.content) == (304, b"")
        for other in ('"sha256:0"', "*", ""):
            assert here.get("/managed/settings", ann["access_token"], **{"if-none-match": other}).status_code == 200

    def test_who_has_no_policy_gets_404_and_who_is_nobody_401(self, here: Site):
        owner = here.sign_in("root")
        assert here.get("/managed/settings", owner["access_token"]).status_code == 404
        assert here.get("/managed/settings", "nothing").status_code == 401


@pytest.mark.requirement("CC-3")
def test_the_models_are_those_the_caller_may_use_with_their_rows_as_they_came(here: Site, ann: dict[str, Any]):
    everything = here.get("/v1/models?limit=1000", here.platform.admin_key)
    mine = here.get("/v1/models?limit=1000", ann["access_token"])
    allowed = [row for row in everything.json()["data"] if row["id"].startswith("claude-haiku-")]
    assert 0 < len(allowed) < len(everything.json()["data"])
    assert mine.json()["data"] == allowed
    rows = msgspec.json.decode(
        msgspec.json.decode(mine.content, type=dict[str, msgspec.Raw])["data"], type=list[msgspec.Raw]
    )
    assert len(rows) == len(allowed)
    assert all(bytes(row) in everything.content for row in rows)
    assert here.get(f"/v1/models/{allowed[0]['id']}", ann["access_token"]).status_code == 200
    assert here.get("/v1/models/claude-opus-5-5", ann["access_token"]).status_code == 451


@pytest.mark.requirement("CC-2", "CC-3")
def test_a_model_that_is_not_allowed_is_refused_once_and_unknown_fields_and_headers_never_are(
    here: Site, ann: dict[str, Any]
):
    """Not the 400 of the contract: the client tries that several times, and a 451 once, and shows it word for word."""
    body = {"max_tokens": 9, "messages": [{"role": "user", "content": "hello"}], "field_of_next_year": {"a": 1}}
    headers = {"x-app": "cli", "x-stainless-lang": "js", "x-of-next-year": "1", "anthropic-beta": "of-next-year-2027"}
    with here.platform.http(ann["access_token"]) as client:
        refused = client.post("/v1/messages", json=body | {"model": "claude-opus-5-5"}, headers=headers)
        assert (refused.status_code, refused.json()["error"]["type"]) == (451, "permission_error")
        assert refused.headers["x-should-retry"] == "false"
        taken = client.post("/v1/messages", json=body | {"model": "claude-haiku-5-5"}, headers=headers)
        assert taken.status_code == 200, taken.text


@pytest.mark.requirement("CC-3")
@pytest.mark.parametrize("signal", ["metrics", "logs", "traces"])
@pytest.mark.parametrize("kind", ["application/json", "application/x-protobuf"])
def test_telemetry_is_taken_in_both_encodings(here: Site, ann: dict[str, Any], signal: str, kind: str):
    with here.platform.http(ann["access_token"]) as client:
        answer = client.post(f"/v1/{signal}", content=b"{}", headers={"content-type": kind})
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        assert f'aip_client_telemetry_total{{signal="{signal}"}}' in client.get("/metrics").text
    with here.platform.http("nothing") as client:
        assert client.post(f"/v1/{signal}", content=b"{}").status_code == 401


def _ask(here: Site, token: str) -> httpx2.Response:
    body = {"model": "claude-haiku-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}
    with here.platform.http(token) as client:
        return client.post("/v1/messages", json=body)


@pytest.mark.requirement("CC-3")
def test_standing_is_told_in_headers_and_in_dollars_that_agree(here: Site):
    tokens = here.sign_in("ben")
    answer = _ask(here, tokens["access_token"])
    assert answer.status_code == 200
    told = {name: value for name, value in answer.headers.items() if name.startswith("anthropic-ratelimit-")}
    prefix = "anthropic-ratelimit-unified-"
    assert told[f"{prefix}status"] == told[f"{prefix}overage-status"] == "allowed"
    assert told[f"{prefix}representative-claim"] == "overage"
    assert re.fullmatch(r"0\.\d\d", told[f"{prefix}overage-utilization"])
    assert f"{prefix}overage-surpassed-threshold" not in told
    assert {name.removeprefix(prefix) for name in told} == {
        "status", "representative-claim", "overage-status", "overage-utilization", "reset", "overage-reset",
    }  # fmt: skip
    usage = here.get("/api/oauth/usage", tokens["access_token"])
    assert usage.headers["cache-control"] == "no-store"
    body = usage.json()
    assert body["extra_usage"]["monthly_limit"] == 10_000
    assert [row["is_active"] for row in body["limits"]] == [True]
    resets_at = datetime.fromisoformat(body["limits"][0]["resets_at"]).timestamp()
    assert int(told[f"{prefix}overage-reset"]) == int(resets_at)


@pytest.mark.requirement("CC-3")
def test_a_used_up_limit_is_refused_in_the_clients_own_shape(here: Site):
    tokens = here.sign_in("dee")
    answer = _ask(here, tokens["access_token"])
    assert answer.status_code == 429
    assert answer.json()["error"]["type"] == "billing_error"
    assert answer.headers["x-should-retry"] == "false"
    assert int(answer.headers["retry-after"]) > 0
    prefix = "anthropic-ratelimit-unified-"
    told = {name.removeprefix(prefix): answer.headers[name] for name in answer.headers if name.startswith(prefix)}
    assert told["status"] == "rejected"
    assert told["overage-period"] == "monthly"
    assert told["overage-disabled-reason"] == "org_spend_cap_reached"
    assert (told["overage-utilization"], told["overage-surpassed-threshold"]) == ("1", "1")
    assert told["reset"] == told["overage-reset"]
    assert "representative-claim" not in told
    assert "overage-status" not in told


@pytest.mark.requirement("CC-3")
def test_who_has_no_limit_is_told_amounts_and_no_percent(here: Site, ann: dict[str, Any]):
    assert not [name for name in _ask(here, ann["access_token"]).headers if name.startswith("anthropic-ratelimit-")]
    body = here.get("/api/oauth/usage", ann["access_token"]).json()
    assert body["limits"] == []
    assert body["extra_usage"]["monthly_limit"] is None
    assert set(body["extra_usage"]["daily"]) == {"limit", "used_credits", "utilization"}
    assert set(body["extra_usage"]["weekly"]) == {"limit", "used_credits", "utilization"}


def test_a_platform_key_sees_nothing_of_these_headers(here: Site):
    key = here.platform.key("plain")
    assert not [name for name in _ask(here, key).headers if "unified" in name]
