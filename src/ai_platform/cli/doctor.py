"""`ai-platform doctor`: look at everything a working platform needs, say what is wrong and how to mend it."""

import asyncio
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from ai_platform.cli.output import Json, emit_json, screen
from ai_platform.cli.sso import certificate_trouble
from ai_platform.client import AdminClient, ClientError
from ai_platform.client.admin import default_data_dir
from ai_platform.config import Settings, load_settings
from ai_platform.domain.clock import SystemClock
from ai_platform.domain.errors import ConfigError
from ai_platform.sandbox import Sandbox
from ai_platform.stores.binaries import find_binaries

MIN_FREE_BYTES = 1 << 30


class Finding(msgspec.Struct, frozen=True):
    """One check. state: `ok`, `warning` (works, could be better) or `problem`. remedy: what to do, "" when ok."""

    check: str
    state: str
    detail: str
    remedy: str = ""


def doctor(
    data: Annotated[Path | None, typer.Option(help="Data folder of the platform.")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file to check.")] = None,
    as_json: Json = False,
) -> None:
    """Check this machine, the configuration and the running platform; exit 1 when something needs mending."""
    folder = data or default_data_dir()
    findings = [*_machine(folder), *_configuration(folder, config), *_running(folder)]
    if as_json:
        emit_json(findings)
    else:
        _show(findings)
    raise typer.Exit(1 if any(finding.state == "problem" for finding in findings) else 0)


def _machine(folder: Path) -> Iterator[Finding]:
    yield Finding("python", "ok", sys.version.split()[0])
    try:
        yield Finding("postgresql", "ok", str(find_binaries().bin))
    except ConfigError as error:
        yield Finding("postgresql", "problem", "no PostgreSQL binaries", str(error))
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < MIN_FREE_BYTES:
        yield Finding(
            "disk", "problem", f"{free >> 20} MiB free at {existing}", "Free some space: calls stop when it is full."
        )
    else:
        yield Finding("disk", "ok", f"{free >> 30} GiB free at {existing}")
    for name in ("admin.key", "secret.key"):
        yield from _private(folder / name)
    claude = shutil.which("claude")
    if claude:
        yield Finding("claude code", "ok", claude)
    else:
        yield Finding("claude code", "warning", "`claude` is not on PATH here", "Only developers' machines need it.")


def _private(path: Path) -> Iterator[Finding]:
    if not path.exists():
        return
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        yield Finding(path.name, "problem", f"others may read it (mode {mode:o})", f"chmod 600 {path}")
    else:
        yield Finding(path.name, "ok", f"mode {mode:o}")


def _configuration(folder: Path, config: Path | None) -> Iterator[Finding]:
    try:
        settings = load_settings(config, data=folder)
    except ConfigError as error:
        yield Finding("configuration", "problem", "cannot be read", str(error))
        return
    yield Finding("configuration", "ok", str(settings.source or "defaults"))
    yield _sandbox(settings, folder)
    for upstream in settings.upstreams:
        yield Finding("upstream", "ok", f"{upstream.name}: {upstream.url}")
    if not settings.upstreams:
        yield Finding(
            "upstream", "warning", "simulated: no model answers", "Set ANTHROPIC_API_KEY or name upstreams in the file."
        )
    if settings.server.host not in {"127.0.0.1", "::1", "localhost"}:
        yield Finding(
            "listen address",
            "warning",
            f"{settings.server.host} is reachable from other machines without TLS",
            "Put a TLS-terminating proxy in front, or listen on 127.0.0.1.",
        )


def _sandbox(settings: Settings, folder: Path) -> Finding:
    """Whether MCP servers that are commands can be walled in here."""
    sandbox = Sandbox(settings.mcp.sandbox, folder, clock=SystemClock())
    asyncio.run(sandbox.ready())
    if not sandbox.unavailable:
        return Finding("sandbox", "ok", "bubblewrap")
    return Finding(
        "sandbox",
        "warning",
        f"none: {sandbox.unavailable}",
        "Needed only for MCP servers that are commands and not trusted; see docs/mcp.md.",
    )


def _running(folder: Path) -> Iterator[Finding]:
    try:
        with AdminClient(folder) as client:
            ready: dict[str, Any] = client.get("/readyz")
            yield Finding("platform", "ok", f"serves at {client.url}")
            yield from (
                Finding(name, "ok" if state == "ok" else "problem", state) for name, state in ready["checks"].items()
            )
            who = client.get("/admin/whoami")
            yield Finding("admin key", "ok", f"accepted as {who.get('name')}")
            yield from _sign_in(client.get("/admin/sign-in"))
    except ClientError as error:
        yield Finding("platform", "warning", "not running, or not ready", str(error))


def _sign_in(found: dict[str, Any]) -> Iterator[Finding]:
    for provider in found["providers"]:
        if provider["problem"]:
            remedy = "Sign-in works again by itself when it answers; see `ai-platform sso status`."
            yield Finding("sign-in", "problem", f"{provider['name']}: {provider['problem']}", remedy)
        else:
            yield Finding("sign-in", "ok", f"{provider['name']} ({provider['kind']}) at {provider['issuer']}")
    for one in (*found["own"], *(each for provider in found["providers"] for each in provider["certificates"])):
        if one["state"] != "ok":
            state = "problem" if one["state"] == "expired" else "warning"
            detail, _, remedy = certificate_trouble(one).partition(". ")
            yield Finding("certificate", state, detail, remedy)


def _show(findings: list[Finding]) -> None:
    colours = {"ok": "green", "warning": "yellow", "problem": "bold red"}
    table = Table(header_style="bold")
    for column in ("check", "state", "detail", "what to do"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        state = f"[{colours[finding.state]}]{finding.state}[/]"
        table.add_row(finding.check, state, finding.detail, finding.remedy)
    screen().print(table)
