"""`ai-platform mcp approve`: shows what is held, as differences and warnings, and approves what was read."""

import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from ai_platform.cli.output import Json, count_of, emit_json, explained, fail
from ai_platform.client import AdminClient
from ai_platform.mcp.trust.characters import visible

_COLOURS = {"critical": "bold red", "high": "red", "warning": "yellow", "info": "dim"}


def approve(
    name: Annotated[str, typer.Argument(help="The server's name.")],
    definitions: Annotated[
        list[str] | None, typer.Argument(help="Names of definitions. [default: all that are held]")
    ] = None,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask; what is flagged needs --despite-flags too.")
    ] = False,
    despite_flags: Annotated[
        bool, typer.Option("--despite-flags", help="Approve what is flagged as high or critical as well.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Show what of a server is new or changed, and approve it after you have read it.

    Exactly what was shown is approved: when the server changes it meanwhile, nothing is. Without --yes it asks.
    """
    console = Console(soft_wrap=True)
    path = f"/admin/mcp/servers/{quote(name, safe='')}"
    with explained(), AdminClient(data) as client:
        held = _chosen(client.get(f"{path}/review")["held"], definitions)
        if as_json and not yes:
            emit_json(held)
            return
        if not held:
            console.print(f"Nothing of {name} is held.")
            return
        for one in held if not as_json else ():
            _show(console, one)
        grave = [one for one in held if _is_grave(one)]
        if not yes and not _asked(console, held, grave, despite_flags=despite_flags):
            raise typer.Exit(1)
        wanted = [{key: one[key] for key in ("kind", "name", "digest")} for one in held]
        done = client.post(f"{path}/approve", {"definitions": wanted, "despite_flags": despite_flags or not yes})
    if as_json:
        emit_json(done)
    else:
        console.print(Text(f"Approved {count_of(len(wanted), 'definition')} of {name}.", style="green"))


def _chosen(held: list[dict[str, Any]], names: list[str] | None) -> list[dict[str, Any]]:
    if not names:
        return held
    found = [one for one in held if one["name"] in names]
    if unknown := sorted(set(names) - {one["name"] for one in found}):
        fail(f"Nothing named {unknown[0]!r} is held.")
    return found


def _asked(console: Console, held: list[dict[str, Any]], grave: list[dict[str, Any]], *, despite_flags: bool) -> bool:
    """Whether a person says yes; twice, when something speaks against it."""
    if not sys.stdin.isatty():
        fail("Nobody can be asked here. Read them, then use --yes.", code=2)
    if not typer.confirm(f"Approve {count_of(len(held), 'definition')} as shown?"):
        return False
    if not grave or despite_flags:
        return True
    console.print(Text(f"{len(grave)} of them are flagged as high or critical.", style="bold red"))
    return typer.confirm("Approve them all the same?")


def _is_grave(one: dict[str, Any]) -> bool:
    return any(flag["severity"] in {"critical", "high"} for flag in one["flags"])


def _show(console: Console, one: dict[str, Any]) -> None:
    body = Text()
    for flag in one["flags"]:
        body.append(f"{flag['severity']}: {flag['rule']} ", style=_COLOURS[flag["severity"]])
        body.append(f"{flag['why']} ({flag['path']})\n")
        body.append(f"    {' '.join(visible(flag['excerpt']).split())}\n", style="dim")
    for change in one["changes"]:
        body.append(f"{visible(change['path']) or '(all)'}\n", style="bold")
        if change["before"] is not None:
            body.append(_lines("- ", change["before"]), style="red")
        if change["after"] is not None:
            body.append(_lines("+ ", change["after"]), style="green")
    kind = "new" if one["is_new"] else f"changed since {one['approved_by']} approved it"
    console.print(Panel(body, title=Text(f"{one['kind']} {visible(one['name'])}: {kind}"), title_align="left"))


def _lines(mark: str, text: str) -> str:
    return "".join(f"  {mark}{line}\n" for line in visible(text).splitlines() or [""])
