"""`ai-platform mcp test`: tries a server out - protocol, tools, attacks, the official suite - and prints a report."""

import asyncio
import importlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ai_platform.cli.output import Json, emit_json, explained, fail, screen
from ai_platform.client import AdminClient
from ai_platform.domain.clock import SystemClock
from ai_platform.domain.extras import only_missing
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.sandbox import Folders, Program, Sandbox
from ai_platform.sandbox.settings import Mode, SandboxSettings

_SIGNS = {"passed": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "bold red"), "skipped": ("-", "dim")}
_MISSING = 'This needs the MCP SDK: pip install "ai-platform[mcp]"'


class _Checks(Protocol):
    """The package `mcp_check`, which is loaded only when something is tested: it needs an extra."""

    check_server: Any


def try_out(
    target: Annotated[
        str | None, typer.Argument(help="An address, or the name of a server of the running platform.")
    ] = None,
    command: Annotated[list[str] | None, typer.Argument(help="After `--`: the command of a server to start.")] = None,
    *,
    header: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, sent to the address.")] = None,
    call: Annotated[
        list[str] | None, typer.Option(help="NAME=JSON: call this tool with these arguments, whatever it does.")
    ] = None,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the command.")] = None,
    read: Annotated[list[Path] | None, typer.Option(help="Folder or file that the command may read.")] = None,
    write: Annotated[list[Path] | None, typer.Option(help="Folder that the command may change.")] = None,
    network: Annotated[bool, typer.Option("--network", help="Let the command use the network.")] = False,
    trusted: Annotated[bool, typer.Option("--trusted", help="Run the command without a sandbox.")] = False,
    conformance: Annotated[
        Path | None, typer.Option(help="Folder in which the official conformance suite is installed.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="For each answer.")] = 30.0,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as failures.")] = False,
    data: Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Try a server out before anybody relies on it: `mcp test URL`, `mcp test NAME`, `mcp test -- COMMAND`.

    Only tools that say that they only read are called, with made-up and hostile arguments; others when you name them
    with --call. A command runs in the sandbox, where it sees the current folder and its virtual environment.
    Exit code 0: good; 1: something failed; 2: used wrongly.
    """
    words = [target, *(command or ())] if target else []
    if not words:
        fail("Give an address, the name of a server, or `--` and a command.", code=2)
    if len(words) > 1 or ("/" in words[0] and not _is_url(words[0])):
        words, seen = _placed(words)
        server = McpServerSettings(
            name="tested",
            command=tuple(words),
            env=_pairs(env, "--env"),
            read=tuple(str(path.resolve()) for path in [*seen, *(read or ())]),
            write=tuple(str(path.resolve()) for path in write or ()),
            network=network,
            trusted=trusted,
        )
    else:
        server = _server(words[0], header, data)
    with explained(), tempfile.TemporaryDirectory(prefix="mcp-test-") as folder:
        report, log = asyncio.run(_report(server, _calls(call), conformance, seconds, Path(folder)))
    good = report.is_good(strict=strict)
    if as_json:
        emit_json({"target": report.target, "server": report.about, "ok": good, "checks": report.checks, "log": log})
    else:
        _show(report, log, good=good)
    raise typer.Exit(0 if good else 1)


async def _report(
    server: McpServerSettings, calls: dict[str, dict[str, Any]], conformance: Path | None, seconds: float, folder: Path
) -> tuple[Any, list[str]]:
    try:
        checks: _Checks = importlib.import_module("ai_platform.mcp_check")  # pyright: ignore[reportAssignmentType]
        reach: Any = importlib.import_module("ai_platform.mcp_check.reach")
    except ImportError as error:
        only_missing(error, "mcp", "mcp_types", "jsonschema")
        fail(_MISSING, code=2)
    sandbox = Sandbox(SandboxSettings(mode=Mode.REQUIRED), folder, clock=SystemClock())
    program = None
    if server.command:
        program = Program(
            name=server.name,
            command=server.command,
            environment=server.env | {name: os.environ.get(taken, "") for name, taken in server.env_from.items()},
            folders=Folders(read=server.read, write=server.write),
            folder=server.cwd,
            state=server.state,
            network=server.network,
            trusted=server.trusted,
            limits=msgspec.structs.replace(sandbox.limits, **server.limits),
        )
    headers = server.headers | {name: os.environ.get(taken, "") for name, taken in server.headers_env.items()}
    target = reach.Target(
        name=server.url or " ".join(server.command),
        url=server.url,
        headers=headers,
        program=program,
        sandbox=sandbox,
        seconds=seconds,
    )
    report = await checks.check_server(target, calls=calls, conformance=conformance)
    return report, sandbox.journal(server.name).tail(20) if program else []


def _placed(words: list[str]) -> tuple[list[str], list[Path]]:
    """The command as this shell would find it, and what of a developer's own machine it needs to see: the current
    folder and, of a virtual environment, its folder and the Python that it is made of.
    """
    found = Path(shutil.which(words[0]) or words[0]).absolute()
    program = found.parent.resolve() / found.name
    seen = [Path.cwd()]
    settings = program.parent.parent / "pyvenv.cfg"
    if settings.is_file():
        lines = (line.partition("=") for line in settings.read_text(encoding="utf-8").splitlines())
        home = next((value.strip() for key, _, value in lines if key.strip() == "home"), "")
        seen += [settings.parent, Path(home).parent] if home else [settings.parent]
    return [str(program), *words[1:]], [path for path in seen if not path.resolve().is_relative_to("/usr")]


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _server(target: str, header: list[str] | None, data: Path | None) -> McpServerSettings:
    if _is_url(target):
        return McpServerSettings(name="tested", url=target, headers=_pairs(header, "--header", lower=True))
    with explained(), AdminClient(data) as client:
        return msgspec.convert(client.get(f"/admin/mcp/servers/{target}")["settings"], McpServerSettings)


def _pairs(texts: list[str] | None, option: str, *, lower: bool = False) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts or ():
        name, given, value = text.partition("=")
        if not name or not given:
            fail(f"{option} {text}: write NAME=VALUE.", code=2)
        found[name.lower() if lower else name] = value
    return found


def _calls(texts: list[str] | None) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, text in _pairs(texts, "--call").items():
        try:
            arguments = json.loads(text)
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            fail(f'--call {name}: write its arguments as a JSON object, such as {{"city": "Bern"}}.', code=2)
        found[name] = arguments
    return found


def _show(report: Any, log: list[str], *, good: bool) -> None:
    console = Console(soft_wrap=True)
    about = ", ".join(f"{key} {value}" for key, value in report.about.items())
    console.print(Text(f"{report.target}", style="bold"))
    if about:
        console.print(Text(about, style="dim"))
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in ("", "area", "check", "what was seen"):
        table.add_column(column, overflow="fold")
    for check in report.checks:
        sign, style = _SIGNS[check.outcome.value]
        table.add_row(Text(sign, style=style), check.group, Text(check.name), Text(check.detail))
    screen().print(table)
    counts = {name: sum(check.outcome.value == name for check in report.checks) for name in _SIGNS}
    console.print(Text(", ".join(f"{count} {name}" for name, count in counts.items() if count)))
    if not good and log:
        console.print(Text("The last it wrote to standard error:", style="dim"))
        for line in log:
            console.print(Text(f"  {line}", style="dim"))
    console.print(Text("Good." if good else "Not good.", style="bold green" if good else "bold red"))
