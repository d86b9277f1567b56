"""The real Claude Code CLI through the whole platform."""

import json

import pytest

from claude_code import FIX_PROMPT, Auth, requires_claude, run_session
from platform_process import PlatformProcess

pytestmark = [pytest.mark.anyio, requires_claude]


@pytest.mark.requirement("CC-1", "CC-5", "AU-1", "AU-7")
@pytest.mark.parametrize("auth", ["token", "api_key", "helper"])
async def test_a_session_reads_edits_tests_and_commits(platform: PlatformProcess, auth: Auth) -> None:
    key = platform.key(f"claude-{auth}", "--team", f"team-{auth}")
    session = await run_session(platform.url, auth=auth, token=key, prompt=FIX_PROMPT, timeout=120)
    assert session.exit_code == 0, session.stderr
    assert session.log[0] == "Fix divide and test division by zero"
    assert "a / b" in session.files["calc.py"]
    assert {"Read", "Edit", "Bash"} <= set(session.tools)

    events = [
        json.loads(line) for line in platform.run("audit", "export", "--what", "claude_chat_response").splitlines()
    ]
    mine = [event for event in events if event.get("team") == f"team-{auth}"]
    asked = [tool["name"] for event in mine for tool in event.get("tool_uses", [])]
    assert sorted(asked) == sorted(session.tools)
    spent = {row["group"]: row for row in platform.json("usage", "--by", "team")["rows"]}[f"team-{auth}"]
    assert spent["micros"] == sum(round(float(event["cost_usd"]) * 1_000_000) for event in mine)
    assert spent["micros"] > 0


@pytest.mark.requirement("CC-6", "DP-2", "CC-1")
async def test_a_refusal_is_read_once_and_the_conversation_can_go_on(platform: PlatformProcess) -> None:
    key = platform.key("claude-leak")
    prompt = "My SSN is 536-22-8491, is it valid? [[scenario:text]]"
    refused = await run_session(platform.url, auth="token", token=key, prompt=prompt, timeout=120)
    assert refused.exit_code == 1
    assert refused.result is not None
    assert "Blocked by the data-protection policy" in refused.result
    again = await run_session(platform.url, auth="token", token=key, prompt=prompt, timeout=120)
    assert again.exit_code == 0, again.stderr


@pytest.mark.requirement("CC-6", "ID-3")
async def test_a_revoked_key_ends_the_session_with_its_reason(platform: PlatformProcess) -> None:
    key = platform.key("claude-gone")
    platform.run("keys", "revoke", "claude-gone")
    session = await run_session(platform.url, auth="token", token=key, prompt="hello", timeout=60)
    assert session.exit_code == 1
    assert session.result is not None
    assert "revoked" in session.result
