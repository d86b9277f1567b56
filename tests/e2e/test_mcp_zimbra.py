"""The bundled Zimbra server behind the platform: one command, closed until a role names it, results inspected."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from typer.testing import CliRunner

from ai_platform.cli.mcp import app
from platform_process import PlatformProcess, clean_environ, running

pytestmark = [
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed"),
    pytest.mark.requirement("ZI-1"),
    pytest.mark.requirement("MC-5"),
]


@pytest.fixture(scope="module")
def zimbra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(address, its logs) of a simulated one."""
    home = tmp_path_factory.mktemp("zimbra")
    for folder in (home, home.parent):
        folder.chmod(0o755)
    command = [sys.executable, "-m", "ai_platform.simulator.zimbra", "--home", str(home)]
    with subprocess.Popen(command, env=clean_environ(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("Simulated Zimbra"), line
            yield line.split()[-1], home / "log"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, zimbra: tuple[str, Path]) -> Iterator[PlatformProcess]:
    url, logs = zimbra
    password = {"ZIMBRA_PASSWORD": "simulated-password"}
    with running(tmp_path_factory.mktemp("platform") / "data", environ=password) as process:
        account = ["--user", "admin@simulated.example", "--password-env", "ZIMBRA_PASSWORD"]
        words = ["add", "zimbra", "--bundled", "--json", "--", "--url", url, *account, "--logs", str(logs)]
        done = CliRunner().invoke(app, words, env={"AI_PLATFORM_DATA": str(process.data)})
        assert done.exit_code == 0, done.output
        added = json.loads(done.output)
        assert (added["state"], added["problem"], added["held"]) == ("up", "", 0)
        yield process


def ask(site: PlatformProcess, key: str, question: Any) -> Any:
    async def connected() -> Any:
        headers = {"authorization": f"Bearer {key}"}
        async with (
            asyncio.timeout(30),
            httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
            Client(streamable_http_client(f"{site.url}/mcp", http_client=http)) as client,
        ):
            return await question(client)

    return asyncio.run(connected())


def test_its_tools_and_resources_are_there_for_an_administrator(site: PlatformProcess):
    async def question(client: Client) -> tuple[Any, Any, Any]:
        health = await client.call_tool("zimbra__check_mailbox_health", {"email": "full@simulated.example"})
        uris = [one.uri for one in (await client.list_resources()).resources]
        uri = next(uri for uri in uris if uri.endswith("zimbra://domains"))
        return health, uris, await client.read_resource(uri)

    health, uris, domains = ask(site, site.admin_key, question)
    assert "Critical" in health.content[0].text
    assert len(uris) == 2
    assert "branch.simulated.example" in domains.contents[0].text


def test_nobody_has_it_until_a_role_names_it(site: PlatformProcess):
    key = site.key("grace", "--email", "grace@example.com", "--role", "developer")

    async def question(client: Client) -> tuple[list[str], str]:
        names = [tool.name for tool in (await client.list_tools()).tools]
        try:
            result = await client.call_tool("zimbra__search_logs", {"pattern": "x", "log_file": "audit.log"})
        except MCPError as error:
            return names, str(error)
        return names, result.content[0].text if result.is_error else ""  # type: ignore[union-attr]

    names, refusal = ask(site, key, question)
    assert not [name for name in names if name.startswith("zimbra")]
    assert refusal


def test_personal_data_in_a_log_is_inspected_like_any_result(site: PlatformProcess, zimbra: tuple[str, Path]):
    _, logs = zimbra
    line = "2026-11-22 09:00:00,000 INFO  [t] [] lmtp - subject: my number is 536-22-8491\n"
    with (logs / "mailbox.log").open("a") as file:
        file.write(line)

    async def question(client: Client) -> Any:
        try:
            return await client.call_tool("zimbra__search_logs", {"pattern": "my number", "log_file": "mailbox.log"})
        except MCPError as error:
            return error

    answer = str(ask(site, site.admin_key, question))
    assert "536-22-8491" not in answer
    assert "No entry" not in answer
