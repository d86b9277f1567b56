"""The real Claude Code CLI against the simulated upstream, with nothing in between."""

import ast
import sys
from pathlib import Path

import pytest

from ai_platform.simulator import SimulatorSettings, serve
from ai_platform.simulator.faults import Fault, FaultKind
from ai_platform.simulator.scenarios.talk import LEAK_SSN
from claude_code import FIX_PROMPT, SOURCE, requires_claude, run_session

pytestmark = [pytest.mark.anyio, requires_claude, pytest.mark.requirement("UP-4")]

FAULT_CUT = Fault(kind=FaultKind.CUT, after_events=14)
MCP_SERVER = Path(__file__).with_name("weather_mcp.py")


async def test_the_fix_scenario_ends_in_a_commit_with_working_code() -> None:
    async with serve() as upstream:
        session = await run_session(upstream.url, token="sk-test", prompt=FIX_PROMPT)
        usage = upstream.simulator.ledger.totals()
    assert session.exit_code == 0, session.stderr
    assert session.tools == ["Bash", "Read", "Read", "Edit", "Edit", "Write", "Bash", "Bash"]
    assert session.log == ["Fix divide and test division by zero", "init"]
    assert session.files["calc.py"] == SOURCE["calc.py"].replace("a * b  # BUG", "a / b")
    assert "assertRaises(ZeroDivisionError)" in session.files["test_calc.py"]
    assert ast.parse(session.files["test_calc.py"])
    assert session.result is not None
    assert "Simulated session finished" in session.result
    # The client's own sum of usage is the simulator's: nothing was lost or counted twice on the way.
    assert sum(line["requests"] for line in usage) == 8
    assert session.usage["output_tokens"] == sum(line["output_tokens"] for line in usage)
    assert session.usage["cache_read_input_tokens"] == sum(line["cache_read_input_tokens"] for line in usage) > 0


async def test_a_plain_question_is_answered_as_simulated() -> None:
    async with serve() as upstream:
        session = await run_session(upstream.url, token="sk-test", prompt="What is a unit test?", auth="api_key")
    assert session.exit_code == 0, session.stderr
    assert session.result is not None
    assert session.result.startswith("This is a simulated answer")
    assert "What is a unit test?" in session.result
    assert session.turns == 1


async def test_a_sub_agent_reads_the_repository_and_reports() -> None:
    async with serve() as upstream:
        session = await run_session(upstream.url, token="sk-test", prompt="Look around. [[scenario:agent]]")
        requests = upstream.simulator.journal.lines(limit=50)
    assert session.exit_code == 0, session.stderr
    assert session.tools[0] in ("Agent", "Task")
    assert session.result is not None
    assert "Simulated summary" in session.result
    agents = {dict(map(tuple, line["headers"])).get("x-claude-code-agent-id") for line in requests}
    assert len(agents) == 2, "the sub-agent's requests carry its id, the session's own carry none"


async def test_a_key_from_an_api_key_helper_is_accepted() -> None:
    async with serve(SimulatorSettings(require_keys=("sk-from-helper",))) as upstream:
        session = await run_session(
            upstream.url, token="sk-from-helper", auth="helper", prompt="leak [[scenario:secret]]"
        )
    assert session.exit_code == 0, session.stderr
    assert session.result is not None
    assert LEAK_SSN in session.result


async def test_an_mcp_tool_is_found_by_tool_search_and_called(tmp_path: Path) -> None:
    config = tmp_path / "mcp.json"
    config.write_text(f'{{"mcpServers": {{"demo": {{"command": "{sys.executable}", "args": ["{MCP_SERVER}"]}}}}}}')
    async with serve() as upstream:
        session = await run_session(
            upstream.url,
            token="sk-test",
            prompt="Ask it. [[scenario:mcp]]",
            arguments=["--mcp-config", str(config), "--allowedTools", "mcp__demo"],
        )
    assert session.exit_code == 0, session.stderr
    assert session.tools == ["ToolSearch", "mcp__demo__weather"]
    assert session.result is not None
    assert "sunny in simulated city" in session.result


async def test_auto_mode_gets_the_verdicts_it_asks_for() -> None:
    async with serve(SimulatorSettings(keep_bodies=True)) as upstream:
        session = await run_session(upstream.url, token="sk-test", arguments=["--permission-mode", "auto"])
        bodies = [entry.body or b"" for entry in upstream.simulator.journal._entries]
    assert session.exit_code == 0, session.stderr
    assert any(b'"safeguards"' in body for body in bodies)
    assert session.log[0] == "Fix divide and test division by zero"


async def test_a_stream_that_is_cut_in_the_middle_is_continued_to_the_same_end() -> None:
    async with serve() as upstream:
        upstream.simulator.faults.add([FAULT_CUT])
        session = await run_session(upstream.url, token="sk-test")
        struck = upstream.simulator.faults.counts
    assert struck == {"cut": 1}
    assert session.exit_code == 0, session.stderr
    assert session.log[0] == "Fix divide and test division by zero"
