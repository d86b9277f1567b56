"""Approvals as people live them: a call waits, the command line shows and decides it, a restart changes nothing."""

import asyncio
import json
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from claude_code import SessionResult, requires_claude, run_session
from platform_process import PlatformProcess, ask, run_command, running, until

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("PO-7", "AU-7")]

POLICY = """
version: "1"
policies:
  - {name: Handbook, resources: [knowledge-base/search_kb], requires_approval: true, approvers: [security-team]}
  - {name: Opus, resources: ["model:claude-opus-*"], requires_approval: true, approvers: [security-team]}
  - {name: Fable, resources: ["model:claude-fable-*"], requires_approval: true, approvers: [security-team],
     covers: session}
"""


SOURCE = str(Path(__file__).parents[2] / "src")
SERVER = (sys.executable, "-m", "ai_platform.mcp_servers.knowledge_base")


class Site:
    """A platform with the knowledge base behind it; dev asks, bob of the security team decides."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        (folder / "handbook").mkdir()
        (folder / "handbook" / "leave.md").write_text("# Leave\nEverybody has thirty days.\n")
        self.policy = folder / "enterprise.yaml"
        self.policy.write_text(POLICY)
        server = {
            "name": "knowledge-base",
            "command": [
                sys.executable,
                "-m",
                "ai_platform.mcp_servers.knowledge_base",
                "--folder",
                str(folder / "handbook"),
            ],
            "env_from": {"PYTHONPATH": "PYTHONPATH"},
            "trusted": True,
            "first_use": True,
        }
        approvals = {"poll_seconds": 0.1, "progress_seconds": 0.2}
        (folder / "platform.yaml").write_text(json.dumps({"mcp": {"servers": [server]}, "approvals": approvals}))
        self.options = ("--config", str(folder / "platform.yaml"), "--policy", str(self.policy))
        self.keys: dict[str, str] = {}

    def people(self, platform: PlatformProcess) -> None:
        self.keys = {
            "dev": platform.key("dev", "--email", "dev@example.com"),
            "bob": platform.key("bob", "--email", "bob@example.com", "--team", "security-team"),
        }

    def approvals(self, platform: PlatformProcess, *words: str, who: str = "bob", code: int = 0) -> str:
        environment = {
            "AI_PLATFORM_URL": platform.url,
            "AI_PLATFORM_ADMIN_KEY": self.keys[who],
            "HOME": str(self.folder),
        }
        return run_command("approvals", *words, code=code, environ=environment)

    def waiting(self, platform: PlatformProcess) -> dict[str, Any]:
        """The one request that waits."""
        (request,) = until(lambda: json.loads(self.approvals(platform, "list", "--json")))
        return request

    async def search(self, platform: PlatformProcess, query: str, heard: list[str]) -> str:
        async def progress(_: float, __: float | None, message: str | None) -> None:
            heard.append(message or "")

        headers = {"authorization": f"Bearer {self.keys['dev']}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http,
            Client(streamable_http_client(f"{platform.url}/mcp", http_client=http)) as client,
        ):
            try:
                answer = await client.call_tool(
                    "knowledge-base__search_kb", {"query": query}, progress_callback=progress
                )
            except MCPError as error:
                return str(error)
            return str(answer.content)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_a_tool_call_waits_is_shown_and_goes_on_after_consent(site: Site) -> None:
    with running(site.data, *site.options, environ={"PYTHONPATH": SOURCE}) as platform:
        site.people(platform)
        heard: list[str] = []
        call = asyncio.create_task(site.search(platform, "leave of ada@corp-mail.de", heard))
        request = await asyncio.to_thread(site.waiting, platform)
        assert (request["what"], request["who"]) == ("knowledge-base/search_kb", "dev@example.com")
        shown = await asyncio.to_thread(site.approvals, platform, "show", request["id"])
        assert "leave of [REDACTED:EMAIL_ADDRESS" in shown
        assert "Handbook (version 1+" in shown
        assert "this call, once" in shown
        table = await asyncio.to_thread(site.approvals, platform, "watch", "--times", "1")
        assert "ada@" not in table
        own = await asyncio.to_thread(lambda: site.approvals(platform, "approve", request["id"], who="dev", code=1))
        assert own == ""
        done = await asyncio.to_thread(site.approvals, platform, "approve", request["id"], "--note", "for the audit")
        assert done.startswith("approved: knowledge-base/search_kb of dev@example.com")
        assert "leave.md" in await asyncio.wait_for(call, 30)
        assert any("Waits for the consent of security-team" in message for message in heard)

        lines = (await asyncio.to_thread(platform.run, "audit", "export")).splitlines()
        events = [json.loads(line) for line in lines]
        story = [event for event in events if event.get("approval_id") == request["id"]]
        kinds = [event["event_type"] for event in story if event["event_type"] != "authentication"]
        assert kinds == ["approval_requested", "approval_decided", "mcp_tool_call", "mcp_tool_result"]
        assert len({event.get("digest") or event["approval_digest"] for event in story}) == 1
        assert "thirty" not in str(events)
        told = await asyncio.to_thread(platform.json, "audit", "story", request["id"])
        assert {event["event_type"] for event in told} >= set(kinds)
        assert "approved" not in await asyncio.to_thread(site.approvals, platform, "list")
        assert "used" in await asyncio.to_thread(site.approvals, platform, "list", "--all")


async def test_a_denial_reaches_the_caller_with_its_reason(site: Site) -> None:
    with running(site.data, *site.options, environ={"PYTHONPATH": SOURCE}) as platform:
        site.people(platform)
        call = asyncio.create_task(site.search(platform, "leave", []))
        request = await asyncio.to_thread(site.waiting, platform)
        await asyncio.to_thread(site.approvals, platform, "deny", request["id"], "--note", "Ask HR instead.")
        assert "Ask HR instead." in await asyncio.wait_for(call, 30)


async def test_what_waits_survives_a_kill_and_passes_once_after_it(site: Site) -> None:
    with running(site.data, *site.options, environ={"PYTHONPATH": SOURCE}) as platform:
        site.people(platform)
        opus = {"model": "claude-opus-5-5"}
        refused = await asyncio.to_thread(lambda: ask(platform, "hello", key=site.keys["dev"], **opus))
        assert refused.status_code == 451
        assert refused.headers["x-should-retry"] == "false"
        request = await asyncio.to_thread(site.waiting, platform)
        assert request["id"] in refused.json()["error"]["message"]
        platform.kill()
    with running(site.data, *site.options, environ={"PYTHONPATH": SOURCE}) as platform:
        assert (await asyncio.to_thread(site.waiting, platform))["id"] == request["id"]
        await asyncio.to_thread(site.approvals, platform, "approve", request["id"])
        platform.kill()
    with running(site.data, *site.options, environ={"PYTHONPATH": SOURCE}) as platform:
        codes = [
            (await asyncio.to_thread(lambda: ask(platform, "hello", key=site.keys["dev"], **opus))).status_code
            for _ in range(2)
        ]
        assert codes == [200, 451]
        story = await asyncio.to_thread(platform.json, "audit", "story", request["id"])
        kinds = [event["event_type"] for event in story]
        assert (
            kinds.index("approval_decided") < kinds.index("claude_chat_request") < kinds.index("claude_chat_response")
        )
        assert kinds.count("call_refused") == 1, "the first attempt, under another call's id"
        other = await asyncio.to_thread(lambda: ask(platform, "hello!", key=site.keys["dev"], **opus))
        assert other.status_code == 451


@requires_claude
async def test_claude_code_waits_for_consent_and_uses_the_tool(site: Site) -> None:
    with running(site.data, *site.options, environ={"PYTHONPATH": SOURCE}) as platform:
        site.people(platform)
        key = site.keys["dev"]
        headers = {"Authorization": f"Bearer {key}"}
        config = site.folder / "mcp.json"
        servers = {"company": {"type": "http", "url": f"{platform.url}/mcp", "headers": headers}}
        config.write_text(json.dumps({"mcpServers": servers}))
        session = asyncio.create_task(
            run_session(
                platform.url,
                token=key,
                prompt="Use mcp__company__knowledge-base__search_kb. [[scenario:mcp]]",
                timeout=120,
                model="claude-sonnet-5-5",
                arguments=["--mcp-config", str(config), "--allowedTools", "mcp__company"],
            )
        )
        request = await asyncio.to_thread(site.waiting, platform)
        assert request["tool_use_id"].startswith("toolu_")
        await asyncio.to_thread(site.approvals, platform, "approve", request["id"])
        done = await session
        assert done.exit_code == 0, done.stderr
        assert "mcp__company__knowledge-base__search_kb" in done.tools
        lines = (await asyncio.to_thread(platform.run, "audit", "export")).splitlines()
        events = [json.loads(line) for line in lines]
        (asked,) = [event for event in events if event["event_type"] == "mcp_tool_call"]
        uses = [use["id"] for event in events for use in event.get("tool_uses", [])]
        assert asked["approval_id"] == request["id"]
        assert asked["tool_use_id"] == request["tool_use_id"]
        assert request["tool_use_id"] in uses


@requires_claude
async def test_one_consent_covers_a_session_of_claude_code(site: Site) -> None:
    with running(site.data, *site.options, environ={"PYTHONPATH": SOURCE}) as platform:
        site.people(platform)
        options = ["--session-id", str(uuid.uuid4())]

        async def session() -> SessionResult:
            return await run_session(
                platform.url,
                token=site.keys["dev"],
                prompt="Say something. [[scenario:text]]",
                timeout=120,
                model="claude-fable-5-2",
                arguments=options,
            )

        refused = await session()
        assert refused.exit_code == 1
        assert refused.result is not None
        assert refused.result.startswith("API Error: 451 claude-fable-5-2 needs the consent of security-team")
        request = await asyncio.to_thread(site.waiting, platform)
        await asyncio.to_thread(site.approvals, platform, "approve", request["id"])
        for _ in range(2):
            assert (await session()).exit_code == 0
