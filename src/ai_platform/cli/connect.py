"""`ai-platform connect`: what a laptop needs to use the platform, printed or written into Claude Code's settings."""

import ipaddress
import shlex
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from ai_platform.cli.claude_settings import (
    HELPER_KEY_FILE,
    Written,
    merged,
    settings_path,
    write_private,
    write_settings,
)
from ai_platform.cli.fleet import McpRule, SignInBy, fleet_files, show_fleet, write_fleet
from ai_platform.cli.output import Json, emit_json, explained, fail
from ai_platform.client import AdminClient

PLACEHOLDER = "aip_YOUR_KEY"

ENVIRONMENT = {
    "CLAUDE_CODE_PROPAGATE_TRACEPARENT": "1",  # the trace begins at the client
    "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",  # main, auxiliary and compaction calls can be told apart
    "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1",  # /model lists what the platform serves
}
"""Beside address and key. Each only adds headers or one request; none changes what a person sees otherwise."""

app = typer.Typer(no_args_is_help=True, help="Point clients at the platform.")


@app.callback()
def connect() -> None:
    """Point clients at the platform."""


@app.command("claude-code")
def claude_code(
    *,
    url: Annotated[str | None, typer.Option(help="Address of the platform. [default: the one running here]")] = None,
    key: Annotated[str | None, typer.Option(help="Platform key of the person.", envvar="AI_PLATFORM_KEY")] = None,
    create_key: Annotated[str | None, typer.Option(metavar="NAME", help="Make a key of this name first.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Merge into Claude Code's user settings.")] = False,
    helper: Annotated[
        bool, typer.Option("--helper", help="Keep the key in a file of its own that Claude Code's apiKeyHelper reads.")
    ] = False,
    fleet: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the files for device management instead.", show_default=False),
    ] = None,
    sign_in: Annotated[
        SignInBy, typer.Option(help="With --fleet: /login, or a helper for `ai-platform login`.")
    ] = SignInBy.LOGIN,
    mcp: Annotated[
        McpRule,
        typer.Option(help="With --fleet: only the platform's MCP servers, allow people to add those, or off."),
    ] = McpRule.ONLY,
    force: Annotated[bool, typer.Option("--force", help="With --fleet: replace files that differ.")] = False,
    data: Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """The two lines for a shell and the settings.json that send Claude Code through the platform.

    Nothing is changed without --write. --write keeps every other setting, and a copy of the file as it was.

    --fleet writes managed-settings.json and managed-mcp.json for all machines of an organisation. They hold no secret;
    with them people can neither sign in elsewhere nor use MCP servers that the platform does not govern.
    """
    if fleet is not None:
        if create_key or write or helper:
            fail("--fleet needs no key and writes no user settings: leave the other options out.", code=2)
        _fleet(_address(url, data), fleet, sign_in, mcp, force=force, as_json=as_json)
        return
    if key and create_key:
        fail("Give --key or --create-key, not both.", code=2)
    with explained():
        address = _address(url, data)
        if create_key:
            key = _new_key(create_key, data, url)
    if write and not key:
        fail("--write needs --key KEY or --create-key NAME.", code=2)
    settings = _settings(address, key or PLACEHOLDER, helper=helper)
    written: Written | None = None
    if write:
        with explained():
            if helper:
                write_private(HELPER_KEY_FILE.expanduser(), f"{key}\n".encode())
            written = write_settings(settings_path(), settings)
    result: dict[str, Any] = {
        "url": address,
        "key": key,
        "env": {"ANTHROPIC_BASE_URL": address, "ANTHROPIC_AUTH_TOKEN": key or PLACEHOLDER},
        "settings": settings,
        "written": str(written.path) if written else None,
        "backup": str(written.backup) if written and written.backup else None,
        "key_file": str(HELPER_KEY_FILE.expanduser()) if helper else None,
    }
    if as_json:
        emit_json(result)
    else:
        _show(result, helper=helper)


def _fleet(url: str, folder: Path, sign_in: SignInBy, mcp: McpRule, *, force: bool, as_json: bool) -> None:
    files = fleet_files(url, ENVIRONMENT, sign_in=sign_in, mcp=mcp)
    with explained():
        written = write_fleet(folder, files, force=force)
    if as_json:
        emit_json({"url": url, "written": [str(path) for path in written], "files": files})
    else:
        show_fleet(written, url, sign_in=sign_in, mcp=mcp)


def _address(url: str | None, data: Path | None) -> str:
    address = (url or AdminClient(data, key=PLACEHOLDER).url).rstrip("/")
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        fail(f"{address!r} is not an address; write it as https://host or http://127.0.0.1:8080.", code=2)
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        Console(stderr=True).print(
            Text("Over plain http the key and every prompt can be read on the way. Use https.", style="bold yellow")
        )
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _new_key(name: str, data: Path | None, url: str | None) -> str:
    with AdminClient(data, url=url) as client:
        return str(client.post("/admin/keys", {"name": name})["key"])


def _settings(address: str, key: str, *, helper: bool) -> dict[str, Any]:
    environment = {"ANTHROPIC_BASE_URL": address, **ENVIRONMENT}
    if helper:
        return {"apiKeyHelper": f"cat {shlex.quote(str(HELPER_KEY_FILE.expanduser()))}", "env": environment}
    return {"env": {**environment, "ANTHROPIC_AUTH_TOKEN": key}}


def _show(result: dict[str, Any], *, helper: bool) -> None:
    console = Console(soft_wrap=True)
    if result["written"]:
        console.print(Text(f"Wrote {result['written']}. Start Claude Code as usual.", style="bold green"))
        if result["backup"]:
            console.print(Text(f"The file as it was: {result['backup']}", style="dim"))
        return
    if result["key"] is None:
        console.print(
            Text(f"Put a platform key for {PLACEHOLDER} (`ai-platform keys create NAME`).", style="bold yellow")
        )
    if helper:
        console.print(Text(f"Keep the key in {result['key_file']}, readable by you alone (mode 0600). settings.json:"))
    else:
        console.print(Text("In a shell:"))
        for name, value in result["env"].items():
            console.print(Text(f"  export {name}={value}"))
        console.print(Text(f"\nOr in {settings_path()} (--write does it):"))
    console.print(Text(msgspec.json.format(msgspec.json.encode(merged({}, result["settings"])), indent=2).decode()))
