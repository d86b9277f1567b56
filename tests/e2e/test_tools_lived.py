"""The second door as people meet it: the real Claude Code and the MCP Inspector use tools through it, one story."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_code import BINARY, requires_claude, run_session
from platform_process import PlatformProcess, clean_environ, running

pytestmark = pytest.mark.anyio

WEATHER = Path(__file__).parents[1] / "simulator" / "weather_mcp.py"
NODE_MODULES = Path(os.environ.get("AI_PLATFORM_MCP_CONFORMANCE", "")) / "node_modules"
NODE = next(iter(sorted(NODE_MODULES.glob("node-linux-*/bin/node"))), Path("missing"))
INSPECTOR = NODE_MODULES / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"
SECONDS = 60

CONFIG = f"""
mcp:
  servers:
    - name: sky
      command: [{json.dumps(sys.executable)}, {json.dumps(str(WEATHER))}]
      trusted: true
      first_use: true
"""
POLICY = "security: {access_control: {authorization: {roles_file: roles.yaml}}}"
ROLES = "roles: {developer: {permissions: [read_code, 'tools:sky/*:call']}}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    folder = tmp_path_factory.mktemp("tools")
    config = folder / "platform.yaml"
    policy = folder / "enterprise.yaml"
    config.write_text(CONFIG)
    policy.write_text(POLICY)
    (folder / "roles.yaml").write_text(ROLES)
    with running(folder / "data", "--config", str(config), "--policy", str(policy)) as process:
        yield process


def output_of(command: list[str], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def weather_calls(site: PlatformProcess) -> int:
    """How many the ledger knows, those of other tests too."""
    rows = site.json("usage", "--by", "tool")["rows"]
    return sum(row["requests"] for row in rows if row["group"] == "sky/weather")


@requires_claude
@pytest.mark.requirement("MC-1", "MC-3", "AU-7", "CC-1")
async def test_claude_code_uses_a_tool_through_the_door_and_both_sides_are_one_story(
    site: PlatformProcess, tmp_path: Path
) -> None:
    before = await asyncio.to_thread(weather_calls, site)
    key = await asyncio.to_thread(site.key, "claude", "--team", "blue")
    headers = {"Authorization": f"Bearer {key}"}
    config = tmp_path / "mcp.json"
    config.write_text(
        json.dumps({"mcpServers": {"company": {"type": "http", "url": f"{site.url}/mcp", "headers": headers}}})
    )
    session = await run_session(
        site.url,
        token=key,
        prompt="What is the weather? [[scenario:mcp]]",
        timeout=120,
        arguments=["--mcp-config", str(config), "--allowedTools", "mcp__company"],
    )
    assert session.exit_code == 0, session.stderr
    assert session.tools == ["ToolSearch", "mcp__company__sky__weather"]
    assert session.result is not None
    assert "sunny in simulated city" in session.result

    events = [json.loads(line) for line in (await asyncio.to_thread(site.run, "audit", "export")).splitlines()]
    (call,) = [event for event in events if event["event_type"] == "mcp_tool_call" and event.get("tool_use_id")]
    assert (call["server"], call["tool"], call["team"]) == ("sky", "weather", "blue")
    story = await asyncio.to_thread(site.json, "audit", "story", call["tool_use_id"])
    kinds = [event["event_type"] for event in story]
    assert kinds == ["claude_chat_request", "claude_chat_response", "mcp_tool_call", "mcp_tool_result"]
    asked = next(event for event in story if event["event_type"] == "claude_chat_response")
    assert {"id": call["tool_use_id"], "name": "mcp__company__sky__weather"} in asked["tool_uses"]
    assert await asyncio.to_thread(weather_calls, site) == before + 1


@requires_claude
async def test_the_documented_command_connects_claude_code(site: PlatformProcess, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DISABLE_AUTOUPDATER": "1", "LANG": "C.UTF-8"}

    def claude(*words: str) -> str:
        done = subprocess.run(
            [BINARY, "mcp", *words],
            check=False,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    header = f"Authorization: Bearer {site.admin_key}"
    await asyncio.to_thread(claude, "add", "--transport", "http", "company", f"{site.url}/mcp", "--header", header)
    listed = await asyncio.to_thread(claude, "list")
    assert f"company: {site.url}/mcp" in listed
    assert "Connected" in listed


@pytest.mark.skipif(
    not (NODE.exists() and INSPECTOR.exists()),
    reason="AI_PLATFORM_MCP_CONFORMANCE does not name a folder with @modelcontextprotocol/inspector",
)
@pytest.mark.requirement("MC-1")
async def test_the_inspector_lists_and_calls_tools(site: PlatformProcess, tmp_path: Path) -> None:
    def inspect(*words: str) -> dict[str, object]:
        header = f"Authorization: Bearer {site.admin_key}"
        command = [str(NODE), str(INSPECTOR), "--cli", f"{site.url}/mcp", "--transport", "http", "--header", header]
        environment = clean_environ() | {"HOME": str(tmp_path)}
        done = subprocess.run(
            [*command, *words], check=False, env=environment, capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    listed = await asyncio.to_thread(inspect, "--method", "tools/list")
    assert "sky__weather" in json.dumps(listed)
    called = await asyncio.to_thread(
        inspect, "--method", "tools/call", "--tool-name", "sky__weather", "--tool-arg", "city=Bern"
    )
    assert "sunny in Bern" in json.dumps(called)
