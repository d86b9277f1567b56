"""The commands and the admin API, against a platform that runs as a user runs it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ai_platform.cli.audit import app
from platform_process import PlatformProcess, ask, running, until


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    folder = tmp_path_factory.mktemp("platform")
    config = folder / "config.yaml"
    config.write_text("audit: {checkpoint_seconds: 0.05}\n")
    with running(folder / "data", "--config", str(config)) as process:
        for _ in range(3):
            assert ask(process, "Hello there").status_code == 200
        yield process


class Commands:
    """`ai-platform audit ...` in this process, which saves a start of Python for each."""

    def __init__(self, platform: PlatformProcess) -> None:
        self.platform = platform

    def run(self, *arguments: str, code: int = 0) -> str:
        environ = {"AI_PLATFORM_DATA": str(self.platform.data), "COLUMNS": "250", "NO_COLOR": "1"}
        done = CliRunner(env=environ).invoke(app, arguments)
        assert done.exit_code == code, f"{arguments} left with {done.exit_code}: {done.output} {done.exception!r}"
        return done.stdout

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code))


@pytest.fixture(scope="module")
def audit(platform: PlatformProcess) -> Commands:
    return Commands(platform)


@pytest.mark.requirement("AU-3")
def test_verify_says_what_was_checked_and_leaves_with_0(audit: Commands) -> None:
    report = audit.json("verify")
    assert report["intact"]
    assert report["events"] >= 7
    assert report["open_call_count"] == 0
    said = audit.run("verify")
    assert "INTACT" in said
    assert "checkpoints" in said
    assert report["logs"][0]["log"] in said


@pytest.mark.requirement("AU-1")
def test_search_export_and_tail_show_the_same_events(audit: Commands) -> None:
    found = audit.json("search", "--what", "claude_chat_response", "--since", "1h")
    assert len(found) >= 3
    keys = {"timestamp", "event_type", "model", "tokens_used", "cost_usd", "latency_ms", "ip_address"}
    assert keys <= found[0].keys()
    exported = [json.loads(line) for line in audit.run("export", "--what", "claude_chat_response").splitlines()]
    assert {line["event_id"] for line in exported} == {line["event_id"] for line in found}
    one_call = audit.json("search", "--call", found[0]["call_id"])
    assert [line["event_type"] for line in one_call] == ["claude_chat_response", "claude_chat_request"]
    assert len(audit.run("tail", "-n", "2").splitlines()) == 2
    assert "No event matches" in audit.run("search", "--who", "nobody@example.com")


def test_following_shows_a_call_as_it_happens(platform: PlatformProcess) -> None:
    command = [sys.executable, "-m", "ai_platform", "audit", "tail", "-f", "-n", "1", "--json"]
    follow = subprocess.Popen([*command, "--data", str(platform.data)], stdout=subprocess.PIPE, text=True)
    try:
        assert follow.stdout
        follow.stdout.readline()
        assert ask(platform, "And again").status_code == 200
        kinds = [json.loads(follow.stdout.readline())["event_type"] for _ in range(2)]
    finally:
        follow.kill()
        follow.communicate()
    assert kinds == ["claude_chat_request", "claude_chat_response"]


@pytest.mark.requirement("AU-3")
def test_a_bundle_and_a_proof_are_verified_without_the_platform(audit: Commands, tmp_path: Path) -> None:
    newest = audit.json("search", "--what", "claude_chat_request")[0]["event_id"]
    proof, bundle = str(tmp_path / "proof.json"), tmp_path / "bundle"
    with audit.platform.http() as client:
        assert until(lambda: client.get(f"/admin/audit/proof/{newest}").status_code == 200)
    audit.run("proof", newest, "-o", proof)
    key = str(audit.platform.data / "audit" / "audit.pub")
    assert "INTACT" in audit.run("verify", "--offline", proof, "--key", key)
    assert audit.json("export", "--bundle", str(bundle))["events"] >= 7
    assert "INTACT" in audit.run("verify", "--offline", str(bundle))
    alone = [sys.executable, "-I", "-S", str(bundle / "verifier.py"), str(bundle), "--key", key]
    assert subprocess.run(alone, capture_output=True, timeout=60, check=False).returncode == 0
    audit.run("export", "--bundle", str(bundle), code=2)
    leaves = bundle / "leaves.jsonl"
    leaves.write_bytes(leaves.read_bytes().replace(b"claude_chat_response", b"claude_chat_requests", 1))
    assert "TAMPERED" in audit.run("verify", "--offline", str(bundle), "--key", key, code=1)
    audit.run("verify", "--offline", str(tmp_path / "nothing"), code=2)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("limit=5000", "limit"),
        ("limit=x", "limit"),
        ("since=yesterday", "since"),
        ("what=nonsense", "claude_chat_request"),
        ("order=sideways", "order"),
    ],
)
def test_a_bad_parameter_is_answered_with_what_would_be_right(platform: PlatformProcess, query: str, says: str) -> None:
    with platform.http() as client:
        answer = client.get(f"/admin/audit/events?{query}")
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]


@pytest.mark.requirement("AU-3")
def test_the_public_key_is_served_and_nobody_reads_the_trail_without_permission(platform: PlatformProcess) -> None:
    with platform.http() as client:
        assert client.get("/admin/audit/key").json()["audit.pub"] == (platform.data / "audit" / "audit.pub").read_text()
    with platform.http(platform.key("plain")) as client:
        for path in ("events", "tail", "verify", "export", "proof/evt_1", "key"):
            assert client.get(f"/admin/audit/{path}").status_code == 403
