"""Policy, limits, budgets and a dead upstream, on a platform of their own."""

import json
import os
import signal
from pathlib import Path

import pytest

from platform_process import PlatformProcess, ask, running, until

POLICY = """\
version: "1.0"
security:
  pii_detection: {enabled: true, block_on_match: true}
usage_limits:
  per_user: {requests_per_hour: 3, tokens_per_day: 1000000}
content_filters:
  block_patterns:
    - {pattern: "launch codes", scope: general, message: "Not a matter for Claude"}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "enterprise.yaml"
    path.write_text(text)
    return path


@pytest.mark.requirement("PO-1", "PO-3", "CC-6")
def test_the_policy_file_limits_filters_and_reloads(data: Path, tmp_path: Path) -> None:
    policy = written(tmp_path, POLICY)
    with running(data, "--policy", str(policy)) as platform:
        key = platform.key("dev")
        filtered = ask(platform, "tell me the launch codes", key=key)
        assert filtered.status_code == 451
        assert "Not a matter for Claude" in filtered.json()["error"]["message"]
        assert [ask(platform, "hi", key=key).status_code for _ in range(3)] == [200, 200, 200]
        limited = ask(platform, "hi", key=key)
        assert limited.status_code == 429
        assert int(limited.headers["retry-after"]) > 60
        assert limited.headers["x-should-retry"] == "false"

        version = platform.json("policy", "show")["version"]
        policy.write_text(POLICY.replace("requests_per_hour", "requests_per_huor"))
        until(lambda: events_of(platform, "configuration_change"))
        assert platform.json("policy", "show")["version"] == version
        change = events_of(platform, "configuration_change")[0]
        assert "requests_per_hour" in change["error"]
        policy.write_text(POLICY.replace("requests_per_hour: 3", "requests_per_hour: 300"))
        until(lambda: ask(platform, "hi", key=key).status_code == 200)


def events_of(platform: PlatformProcess, kind: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in platform.run("audit", "export", "--what", kind).splitlines()]


@pytest.mark.requirement("ID-2")
def test_a_key_may_do_what_its_role_lists_and_nothing_else(platform: PlatformProcess) -> None:
    auditor = platform.key("auditor", "--role", "security_auditor")
    developer = platform.key("plain-dev", "--role", "developer")
    with platform.http(auditor) as http:
        assert http.get("/admin/audit/events").status_code == 200
        refused = http.post("/admin/keys", json={"name": "x"})
        assert refused.status_code == 403
        assert "identity:keys:write" in refused.json()["error"]["message"]
    with platform.http(developer) as http:
        assert http.get("/admin/audit/events").status_code == 403


@pytest.mark.requirement("ID-3")
def test_a_revoked_key_is_refused_at_once(platform: PlatformProcess) -> None:
    key = platform.key("short-lived")
    assert ask(platform, "hi", key=key).status_code == 200
    platform.run("keys", "revoke", "short-lived")
    refused = ask(platform, "hi", key=key)
    assert refused.status_code == 401
    assert "revoked" in refused.json()["error"]["message"]


@pytest.mark.requirement("UP-3", "UP-1")
def test_a_dead_upstream_is_a_clear_503_and_readiness_says_so(data: Path) -> None:
    with running(data, "--upstream", "http://127.0.0.1:9") as platform:
        answers = [ask(platform, "hi") for _ in range(4)]
        assert {answer.status_code for answer in answers} == {503}
        assert "upstream" in answers[0].json()["error"]["message"].lower()
        assert int(answers[-1].headers["retry-after"]) >= 1
        with platform.http() as http:
            assert http.get("/readyz").status_code == 503
        assert platform.json("audit", "verify")["intact"] is True


@pytest.mark.requirement("AU-2")
def test_without_postgresql_nothing_is_executed_and_it_comes_back(data: Path) -> None:
    with running(data) as platform:
        assert ask(platform, "hi").status_code == 200
        for pid in postgres_of(data):
            pid_signal(pid)
        refused = ask(platform, "hi")
        assert refused.status_code == 503
        assert refused.headers["x-should-retry"] == "true"
        until(lambda: ask(platform, "hi").status_code == 200, within=60)
        assert platform.json("audit", "verify")["intact"] is True


def postgres_of(data: Path) -> list[int]:
    return [int((data / "pg" / "postmaster.pid").read_text().splitlines()[0])]


def pid_signal(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
