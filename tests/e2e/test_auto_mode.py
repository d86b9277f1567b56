"""Claude Code in auto mode: a tool call that the policy forbids is refused by the client itself, with our reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from claude_code import SessionResult, requires_claude, run_session
from platform_process import PlatformProcess, running

pytestmark = [pytest.mark.anyio, requires_claude, pytest.mark.requirement("PO-2", "PO-4", "CC-1")]

POLICY = """
contact: Ask security@example.com.
content_filters:
  block_patterns:
    - {pattern: "DROP TABLE", scope: sql, message: "Destructive SQL not allowed"}
rules:
  - name: no-curl
    effect: deny
    when: call.tool == "Bash" && call.arguments.command.contains("curl")
    message: Nothing is fetched from here
"""
FORBIDDEN = {
    "no-curl": ("curl http://127.0.0.1:1/x", "refused by the rule 'no-curl': Nothing is fetched from here"),
    "content_filters.block_patterns[0]": ("psql -c 'drop table users'", "Destructive SQL not allowed"),
}


async def session(platform: PlatformProcess, key: str, command: str, *arguments: str) -> SessionResult:
    prompt = f"tool: Bash {json.dumps({'command': command, 'description': 'x'})}"
    return await run_session(platform.url, token=key, prompt=prompt, timeout=120, arguments=arguments)


def results(done: SessionResult) -> list[dict[str, Any]]:
    """What the client said to the model of each tool call."""
    return [
        block
        for event in done.events
        if event.get("type") == "user"
        for block in event["message"]["content"]
        if isinstance(block, dict) and block.get("type") == "tool_result"
    ]


async def test_the_client_refuses_what_a_rule_or_a_filter_forbids_and_goes_on(data: Path, tmp_path: Path) -> None:
    policy = tmp_path / "enterprise.yaml"
    policy.write_text(POLICY)
    with running(data, "--policy", str(policy)) as platform:
        key = platform.key("auto")
        for command, says in FORBIDDEN.values():
            done = await session(platform, key, command, "--permission-mode", "auto")
            assert done.exit_code == 0, done.stderr
            (result,) = results(done)
            assert result["is_error"]
            assert says in str(result["content"])
            assert "Ask security@example.com" in str(result["content"])
        allowed = await session(platform, key, "echo fine", "--permission-mode", "auto")
        assert "fine" in str(results(allowed)[0]["content"])
        assert not results(allowed)[0].get("is_error")

        outcomes = [
            json.loads(line) for line in platform.run("audit", "export", "--what", "claude_chat_response").splitlines()
        ]
        refused = [each for event in outcomes for each in event.get("tool_uses_refused", [])]
        assert [each["rule"] for each in refused] == ["rules.no-curl", "content_filters.block_patterns[0]"]
        assert {each["name"] for each in refused} == {"Bash"}

        stopped = await session(platform, key, FORBIDDEN["no-curl"][0])
        assert stopped.exit_code == 1, "outside of auto mode the answer ends"
        assert stopped.result is not None
        assert "refused by the rule 'no-curl'" in stopped.result
