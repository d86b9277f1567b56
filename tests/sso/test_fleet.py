"""The files for device management, as the real Claude Code of a managed machine takes them."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from claude_terminal import ClaudeTerminal, requires_terminal
from sso_site import Site, requires_provider

from claude_code import requires_claude
from platform_process import run_command

pytestmark = pytest.mark.requirement("CC-8")
URL = "https://ai.example.com"


def fleet(folder: Path, *options: str, url: str = URL) -> dict[str, Any]:
    """The files, by name."""
    run_command("connect", "claude-code", "--fleet", str(folder), "--url", url, *options)
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.iterdir())}


class TestFiles:
    def test_send_people_to_one_sign_in_and_all_mcp_through_the_platform(self, tmp_path: Path):
        files = fleet(tmp_path / "files")
        settings = files["managed-settings.json"]
        assert (settings["forceLoginMethod"], settings["forceLoginGatewayUrl"]) == ("gateway", URL)
        assert settings["allowManagedMcpServersOnly"] is True
        assert settings["allowedMcpServers"] == [{"serverUrl": f"{URL}/mcp"}, {"serverUrl": f"{URL}/mcp/*"}]
        assert files["managed-mcp.json"] == {"mcpServers": {"ai-platform": {"type": "http", "url": f"{URL}/mcp"}}}
        assert {path.stat().st_mode & 0o777 for path in (tmp_path / "files").iterdir()} == {0o644}

    def test_have_either_a_login_or_a_helper_because_both_together_do_not_work(self, tmp_path: Path):
        settings = fleet(tmp_path / "files", "--sign-in", "helper", "--mcp", "off")["managed-settings.json"]
        assert settings["apiKeyHelper"] == "ai-platform token"
        assert settings["env"]["ANTHROPIC_BASE_URL"] == URL
        assert not [name for name in settings if name.startswith(("forceLogin", "allow"))]

    def test_that_are_there_already_are_not_overwritten_unless_told(self, tmp_path: Path):
        folder = tmp_path / "files"
        assert set(fleet(folder)) == {"managed-settings.json", "managed-mcp.json"}
        assert fleet(folder), "the same again changes nothing"
        command = ("connect", "claude-code", "--fleet", str(folder), "--url", "https://other.example.com")
        run_command(*command, code=1)
        assert json.loads((folder / "managed-mcp.json").read_text())["mcpServers"]["ai-platform"]["url"] == f"{URL}/mcp"
        run_command(*command, "--force")
        run_command(*command, "--write", code=2)


@requires_claude
@requires_terminal
class TestClaudeCode:
    def test_has_the_platforms_servers_and_takes_no_other(self, tmp_path: Path):
        fleet(tmp_path / "files", url="http://127.0.0.1:9")
        claude = ClaudeTerminal(tmp_path / "machine", managed_files=tmp_path / "files")
        own = {"mcpServers": {"mine": {"type": "http", "url": "https://mine.example/mcp"}}}
        (tmp_path / "machine" / "repo" / ".mcp.json").write_text(json.dumps(own))
        listed = claude.run("mcp", "list").stdout
        assert "ai-platform: http://127.0.0.1:9/mcp" in listed
        assert "mine" not in listed
        added = claude.run("mcp", "add", "--transport", "http", "other", "https://other.example/mcp")
        assert added.returncode == 1
        assert "enterprise MCP configuration" in added.stderr

    def test_may_add_the_platforms_servers_by_address_and_no_other(self, tmp_path: Path):
        fleet(tmp_path / "files", "--mcp", "allow", url="http://127.0.0.1:9")
        claude = ClaudeTerminal(tmp_path / "machine", managed_files=tmp_path / "files")
        add = ("mcp", "add", "--transport", "http")
        assert claude.run(*add, "kb", "http://127.0.0.1:9/mcp/kb").returncode == 0
        for number, address in enumerate(
            ("https://other.example/mcp", "http://127.0.0.1:9/mcp@other.example/x", "http://127.0.0.1:9/mcpx")
        ):
            refused = claude.run(*add, f"other{number}", address)
            assert (refused.returncode, "not allowed by enterprise policy" in refused.stderr) == (1, True)
        assert claude.run("mcp", "add", "program", "--", "/bin/true").returncode == 1
        assert "other" not in claude.run("mcp", "list").stdout

    @requires_provider
    def test_works_with_the_helper_of_somebody_who_signed_in(
        self, here: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        fleet(tmp_path / "files", "--sign-in", "helper", "--mcp", "off", url=here.url)
        claude = ClaudeTerminal(tmp_path / "machine", managed_files=tmp_path / "files")
        tokens = here.sign_in("ann")
        kept = tmp_path / "machine" / "home" / ".config" / "ai-platform" / "sign-in.json"
        kept.parent.mkdir(parents=True)
        kept.write_text(json.dumps({**tokens, "url": here.url, "expires_at": time.time() + tokens["expires_in"]}))
        source = Path(__file__).parents[2] / "src"
        command = tmp_path / "bin" / "ai-platform"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nPYTHONPATH={source} exec {sys.executable} -m ai_platform "$@"\n')
        command.chmod(0o755)
        monkeypatch.setenv("PATH", str(command.parent), prepend=":")
        answered = claude.run("-p", "Say hello [[scenario:text]]", "--model", "claude-haiku-5-5")
        assert answered.returncode == 0, answered.stdout + answered.stderr

    @requires_provider
    def test_signs_in_at_the_platform_and_nowhere_else(self, here: Site, tmp_path: Path):
        fleet(tmp_path / "files", "--mcp", "off", url=here.url)
        claude = ClaudeTerminal(tmp_path / "machine", managed_files=tmp_path / "files")
        assert "run /login" in claude.run("-p", "Say hello").stdout
        claude.start()
        try:
            code = claude.login()
            with here.browser() as browser:
                browser.sign_in("ann")
                browser.approve(code)
            claude.wait_for("Signed in to Cloud gateway as ann@example.com")
        finally:
            claude.stop()
