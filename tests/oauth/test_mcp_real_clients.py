"""The real Claude Code and the official SDK's client get access by themselves, and use tools with it; the MCP Inspector
is given a token, since its command line opens no browser.
"""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from mcp import ClientSession
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from mcp_client import CALLBACK, Person, Tools, answer_in, tools_site
from sso_site import requires_provider

from claude_code import BINARY, requires_claude

pytestmark = [requires_provider]
NODE_MODULES = Path(os.environ.get("AI_PLATFORM_MCP_CONFORMANCE", "")) / "node_modules"
NODE = next(iter(sorted(NODE_MODULES.glob("node-linux-*/bin/node"))), Path("missing"))
INSPECTOR = NODE_MODULES / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"


class ClaudeCode:
    """One machine with Claude Code on it, pointed at the platform with a key, and its MCP servers."""

    def __init__(self, folder: Path, tools: Tools, key: str) -> None:
        self._repository = folder / "repository"
        home = folder / "home"
        for path in (home, self._repository):
            path.mkdir(parents=True)
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TERM": "dumb",
            "LANG": "C.UTF-8",
            "BROWSER": "/bin/true",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "ANTHROPIC_BASE_URL": tools.url,
            "ANTHROPIC_AUTH_TOKEN": key,
        }

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [BINARY, *arguments],
            env=self._environ,
            cwd=self._repository,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def login(self, name: str, person: Person) -> str:
        """`claude mcp login NAME --no-browser`: the address it shows is opened elsewhere, the one reached is pasted."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 4000, 0, 0))
        process = subprocess.Popen(
            [BINARY, "mcp", "login", name, "--no-browser"],
            env=self._environ,
            cwd=self._repository,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        try:
            shown = _until(master, r"(http://127\.0\.0\.1:\d+/oauth/authorize\?[^\s\x07\x1b]+)(?=[\s\x07\x1b])")
            page = person.open(shown)
            assert "Give this program access?" in page.text, page.text
            answer = answer_in(person.browser.submit(page, action="allow"))
            back = str(httpx2.URL(answer.pop("to"), params=answer))
            os.write(master, f"{back}\r".encode())
            _until(master, "(Authenticated with)")
        finally:
            process.kill()
            process.wait()
            os.close(master)
        return shown

    def uses(self, tool: str) -> str:
        """What a session that calls this tool comes to."""
        said = self.run(
            *("-p", f"Use {tool} [[scenario:mcp]]", "--output-format", "json"), "--allowedTools", f"{tool},ToolSearch"
        )
        return str(json.loads(said)["result"])


def _until(terminal: int, pattern: str, within: float = 60.0) -> str:
    """The first group, once the terminal shows it."""
    shown = ""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.5)[0]:
            shown += os.read(terminal, 65536).decode("utf-8", "replace")
        if found := re.search(pattern, shown):
            return found[1]
    raise AssertionError(f"{pattern} did not appear:\n{shown}")


@requires_claude
@pytest.mark.timeout(240)
class TestClaudeCode:
    @pytest.mark.requirement("MC-2")
    def test_logs_in_with_its_document_and_calls_a_tool_as_the_person(self, tools: Tools, tmp_path: Path):
        claude = ClaudeCode(tmp_path, tools, tools.here.platform.key("laptop-1"))
        claude.run("mcp", "add", "--transport", "http", "gateway", f"{tools.url}/mcp")
        with Person(tools, "ann") as ann:
            shown = claude.login("gateway", ann)
        query = parse_qs(urlsplit(shown).query)
        assert query["client_id"] == ["https://claude.ai/oauth/claude-code-client-metadata"]
        assert query["resource"] == [f"{tools.url}/mcp"]
        assert "Connected" in claude.run("mcp", "list")
        assert "echo: " in claude.uses("mcp__gateway__echo__echo")
        calls = tools.here.platform.run("audit", "export", "--what", "mcp_tool_call").splitlines()
        assert "ann@example.com" in [json.loads(line).get("user_email") for line in calls]

    def test_works_with_a_key_in_a_header_too(self, tools: Tools, tmp_path: Path):
        claude = ClaudeCode(tmp_path, tools, tools.here.platform.key("laptop-2"))
        key = tools.here.platform.key("tools-2")
        header = ("--header", f"Authorization: Bearer {key}")
        claude.run("mcp", "add", "--transport", "http", "gateway", f"{tools.url}/mcp/echo", *header)
        assert "echo: " in claude.uses("mcp__gateway__echo")

    @pytest.mark.requirement("MC-2")
    def test_registers_where_documents_are_not_taken(self, unread: Tools, tmp_path: Path):
        claude = ClaudeCode(tmp_path, unread, unread.here.platform.key("laptop-3"))
        claude.run("mcp", "add", "--transport", "http", "gateway", f"{unread.url}/mcp")
        with Person(unread, "ann") as ann:
            shown = claude.login("gateway", ann)
        assert "client_id=aipc_" in shown
        assert "echo: " in claude.uses("mcp__gateway__echo__echo")


@pytest.mark.skipif(
    not (NODE.exists() and INSPECTOR.exists()),
    reason="AI_PLATFORM_MCP_CONFORMANCE does not name a folder with @modelcontextprotocol/inspector",
)
@pytest.mark.timeout(240)
def test_the_inspector_calls_a_tool_with_a_token_of_that_resource_and_no_other(tools: Tools, tmp_path: Path):
    def inspect(endpoint: str, token: str, tool: str) -> subprocess.CompletedProcess[str]:
        words = ["--cli", tools.url + endpoint, "--transport", "http", "--header", f"Authorization: Bearer {token}"]
        words += ["--method", "tools/call", "--tool-name", tool, "--tool-arg", "text=hello"]
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        command = [str(NODE), str(INSPECTOR), *words]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=100, check=False)

    with Person(tools, "ann") as ann:
        token = ann.give_access(resource=f"{tools.url}/mcp/echo")["access_token"]
    done = inspect("/mcp/echo", token, "echo")
    assert "echo: hello" in done.stdout, done.stdout + done.stderr
    elsewhere = inspect("/mcp", token, "echo__echo")
    assert elsewhere.returncode != 0
    assert "echo: hello" not in elsewhere.stdout


@pytest.fixture(scope="module")
def unread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    with tools_site(tmp_path_factory.mktemp("unread"), oauth="documents: 'off'") as found:
        yield found


class Kept(TokenStorage):
    """What the SDK's client remembers."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


@pytest.mark.anyio
async def test_the_official_sdk_gets_access_by_registration_and_calls_a_tool(tools: Tools):
    kept = Kept()
    told: dict[str, Any] = {}

    async def redirect(address: str) -> None:
        with Person(tools, "ben") as ben:
            told.update(answer_in(ben.browser.submit(ben.open(address), action="allow")))

    async def callback() -> AuthorizationCodeResult:
        return AuthorizationCodeResult(code=told["code"], state=told["state"], iss=told["iss"])

    metadata = OAuthClientMetadata(client_name="SDK", redirect_uris=[CALLBACK], token_endpoint_auth_method="none")  # type: ignore[list-item]
    auth = OAuthClientProvider(f"{tools.url}/mcp", metadata, kept, redirect, callback)
    async with (
        httpx2.AsyncClient(auth=auth, trust_env=False, timeout=60) as http,
        streamable_http_client(f"{tools.url}/mcp", http_client=http) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        await session.initialize()
        result = await session.call_tool("echo__echo", {"text": "hello"})
    assert result.content[0].text == "echo: hello"  # type: ignore[union-attr]
    assert kept.tokens is not None
    assert kept.client is not None
