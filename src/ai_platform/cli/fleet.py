"""`ai-platform connect claude-code --fleet`: the two files that device management puts on every machine.

They hold no secret: people sign in, or a helper asks for a token. Sources: code.claude.com, "Managed settings" and
"Control MCP server access". Above: connect.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ai_platform.domain.errors import ConfigError

SETTINGS, MCP = "managed-settings.json", "managed-mcp.json"
SERVER = "ai-platform"
HELPER = "ai-platform token"
PLACES = {
    "Linux and WSL": "/etc/claude-code/",
    "macOS": "/Library/Application Support/ClaudeCode/",
    "Windows": r"C:\Program Files\ClaudeCode" + "\\",
}


class SignInBy(StrEnum):
    """login: Claude Code's own /login. helper: `ai-platform login` once, then `ai-platform token` as apiKeyHelper."""

    LOGIN = "login"
    HELPER = "helper"


class McpRule(StrEnum):
    """only: the platform's MCP door is the one server. allow: people may add its servers. off: MCP is left as it is."""

    ONLY = "only"
    ALLOW = "allow"
    OFF = "off"


def fleet_files(url: str, environment: dict[str, str], *, sign_in: SignInBy, mcp: McpRule) -> dict[str, dict[str, Any]]:
    """File name -> content. environment: variables that every machine gets."""
    if sign_in is SignInBy.LOGIN:
        settings: dict[str, Any] = {"forceLoginMethod": "gateway", "forceLoginGatewayUrl": url, "env": environment}
    else:
        settings = {"apiKeyHelper": HELPER, "env": {"ANTHROPIC_BASE_URL": url, **environment}}
    if mcp is McpRule.OFF:
        return {SETTINGS: settings}
    # By address and not by name: anybody can give a server any name.
    settings["allowedMcpServers"] = [{"serverUrl": f"{url}/mcp"}, {"serverUrl": f"{url}/mcp/*"}]
    settings["allowManagedMcpServersOnly"] = True
    if mcp is McpRule.ALLOW:
        return {SETTINGS: settings}
    return {SETTINGS: settings, MCP: {"mcpServers": {SERVER: {"type": "http", "url": f"{url}/mcp"}}}}


def show_fleet(written: list[Path], url: str, *, sign_in: SignInBy, mcp: McpRule) -> None:
    console = Console(soft_wrap=True)
    for path in written:
        console.print(Text(f"Wrote {path}", style="bold green"))
    table = Table(header_style="bold")
    table.add_column("system")
    table.add_column("put them here, owned by the administrator")
    for system, place in PLACES.items():
        table.add_row(system, place)
    console.print(table)
    if sign_in is SignInBy.LOGIN:
        console.print(Text(f"Claude Code then offers one way to sign in: /login at {url}."))
    else:
        console.print(Text(f"Each person runs `ai-platform login --url {url}` once; the helper renews what they got."))
    if mcp is not McpRule.OFF:
        console.print(Text(f"MCP servers at addresses other than {url}/mcp are refused, local programs included."))


def write_fleet(folder: Path, files: dict[str, dict[str, Any]], *, force: bool) -> list[Path]:
    """Write them for everybody to read (mode 0644). force: replace files that say something else.

    Raises:
        ConfigError: the folder cannot be written, or holds other files of these names; nothing was changed then.

    """
    contents = {
        folder / name: msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
        for name, content in files.items()
    }
    try:
        for path, content in contents.items():
            if not force and path.exists() and path.read_bytes() != content:
                message = "It exists and says something else. Write into another folder and compare, or give --force."
                raise ConfigError(message, where=str(path))
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            temporary.write_bytes(content)
            temporary.chmod(0o644)
            temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"It cannot be written: {error.strerror}.", where=str(folder)) from error
    return list(contents)
