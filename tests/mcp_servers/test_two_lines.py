"""Every configuration on the page of bundled servers works as it stands in a host, paths aside."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

pytestmark = pytest.mark.anyio
PAGE = Path(__file__).parents[2] / "docs" / "mcp-servers.md"
BLOCKS = re.findall(r'^    (\{"mcpServers".*?\}\}\})$', PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
OFFERED = {
    "kb": {"search_kb"},
    "prompts": {"code_review"},
    "deployments": {"deploy_staging"},
    "zimbra": {"check_mailbox_health", "get_mailbox_quota", "search_logs"},
    "watched": {"search_kb"},
}


def prepared(folder: Path) -> dict[str, str]:
    """What the page names -> what stands here."""
    handbook, shop, plan = folder / "handbook", folder / "shop", folder / "deployments.yaml"
    handbook.mkdir()
    (handbook / "vpn.md").write_text("# VPN\n")
    subprocess.run(["git", "init", "-q", "-b", "main", str(shop)], check=True)
    plan.write_text("environments:\n  staging:\n    api:\n      deploy: [echo, done]\nidentity: {id: ada}\n")
    (folder / "zimbra-password").write_text("made-up\n")
    return {
        "/srv/zimbra-password": str(folder / "zimbra-password"),
        "/srv/handbook": str(handbook),
        "/srv/shop": str(shop),
        "/srv/deployments.yaml": str(plan),
        "/srv/calls.jsonl": str(folder / "calls.jsonl"),
    }


def test_there_is_one_for_each_bundled_server():
    assert {name for block in BLOCKS for name in json.loads(block)["mcpServers"]} == set(OFFERED)


@pytest.mark.requirement("MC-5")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: next(iter(json.loads(block)["mcpServers"])))
async def test_two_lines_are_enough(tmp_path: Path, block: str):
    assert block.count("\n") == 1
    places = prepared(tmp_path)
    ((name, entry),) = json.loads(block)["mcpServers"].items()
    words = [places.get(word, word) for word in entry["args"]]
    if words[-1] == "some-server":
        kb = ["-m", "ai_platform.mcp_servers.knowledge_base", "--folder", places["/srv/handbook"]]
        words[-1:] = [sys.executable, *kb]
    assert entry["command"] == "python"
    environment = {key: os.environ[key] for key in ("PYTHONPATH",) if key in os.environ}
    program = StdioServerParameters(
        command=sys.executable, args=words, env={**environment, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    )
    async with Client(program) as client:
        offered = await _offered(client)
    assert OFFERED[name] <= offered


async def _offered(client: Any) -> set[str]:
    found: set[str] = set()
    if client.server_capabilities.tools is not None:
        found |= {tool.name for tool in (await client.list_tools()).tools}
    if client.server_capabilities.prompts is not None:
        found |= {prompt.name for prompt in (await client.list_prompts()).prompts}
    return found
