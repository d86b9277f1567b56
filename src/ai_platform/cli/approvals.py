"""`ai-platform approvals`: what waits for your consent, what exactly is asked, and your decision."""

import json
import os
import time
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ai_platform.cli.output import Json, count_of, emit_json, explained, screen
from ai_platform.client import AdminClient
from ai_platform.client.sign_in import SignIn, default_file

Data = Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)]
Id = Annotated[str, typer.Argument(help="Id of the request (apr_...).")]
Note = Annotated[str, typer.Option(help="A word to whoever asked; on a denial the tool's caller reads it.")]

app = typer.Typer(no_args_is_help=True, help="Calls that wait for somebody's consent: see and decide them.")

_COLUMNS = ("id", "what", "who", "team", "policy", "needs", "expires", "state")
_STYLES = {"pending": "yellow", "approved": "green", "used": "green", "denied": "red"}
_EMPTY = "Nothing waits for consent."


@app.command("list")
def list_requests(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """What concerns you: requests that you may decide, and your own.

    You are who you signed in as (`ai-platform login`), or the owner of the key in AI_PLATFORM_ADMIN_KEY.
    """
    with explained(), _client(data) as client:
        found = client.get("/admin/approvals", all="1" if everything else None)
    if as_json:
        emit_json(found)
    else:
        screen().print(_table(found))


@app.command()
def show(request: Id, *, data: Data = None, as_json: Json = False) -> None:
    """Who asks for what, with every argument; sensitive values are masked."""
    with explained(), _client(data) as client:
        found = client.get(f"/admin/approvals/{quote(request, safe='')}")
    if as_json:
        emit_json(found)
        return
    console = Console(soft_wrap=True)
    for name, value in _details(found):
        if value:
            console.print(Text.assemble((f"{name:10}", "bold"), plain(value)))
    console.print()
    console.print(Text(_pretty(found["shown"])))
    console.print()
    console.print(Text(_how(found), style="dim"))


@app.command()
def approve(request: Id, *, note: Note = "", data: Data = None, as_json: Json = False) -> None:
    """Agree to exactly this call, once. Read it first: `approvals show`."""
    _decide(request, "approve", note, data, as_json=as_json)


@app.command()
def deny(request: Id, *, note: Note = "", data: Data = None, as_json: Json = False) -> None:
    """Refuse the call; the note says why."""
    _decide(request, "deny", note, data, as_json=as_json)


@app.command()
def watch(
    *,
    seconds: Annotated[float, typer.Option("--every", min=0.2, max=3600, help="Seconds between two looks.")] = 2.0,
    times: Annotated[int, typer.Option(min=0, help="Leave after so many looks. [default: 0, never]")] = 0,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Keep the list on the screen, with a bell for each new request; with --json one line for each. Ctrl-C leaves."""
    console = Console()
    known: set[str] = set()
    looks = 0
    with explained(), _client(data) as client, Live(console=console, auto_refresh=False, transient=True) as live:
        try:
            while True:
                found = client.get("/admin/approvals")
                fresh = [each for each in found if each["state"] == "pending" and each["id"] not in known]
                known.update(each["id"] for each in fresh)
                if as_json:
                    for each in fresh:
                        typer.echo(json.dumps(each))
                else:
                    live.update(
                        Group(_table(found), Text(f"{datetime.now(UTC):%H:%M:%S} UTC", style="dim")), refresh=True
                    )
                    if fresh:
                        console.bell()
                looks += 1
                if looks == times:
                    return
                time.sleep(seconds)
        except KeyboardInterrupt:
            return


def plain(text: str) -> str:
    """Text that a terminal shows as it is: control, format and direction characters are written out as escapes."""
    return "".join(ascii(letter)[1:-1] if _hides(letter) else letter for letter in text)


def _hides(letter: str) -> bool:
    return letter != "\n" and unicodedata.category(letter) in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


def _client(data: Path | None) -> AdminClient:
    """With the caller's own identity: who agrees has to be a person, and the admin key is rarely named for it."""
    if not os.environ.get("AI_PLATFORM_ADMIN_KEY") and default_file().exists():
        url, token = SignIn().token()
        return AdminClient(data, url=url, key=token)
    return AdminClient(data)


def _decide(request: str, verdict: str, note: str, data: Path | None, *, as_json: bool) -> None:
    with explained(), _client(data) as client:
        done = client.post(f"/admin/approvals/{quote(request, safe='')}/{verdict}", {"note": note})
    if as_json:
        emit_json(done)
        return
    what = plain(f"{done['what']} of {done['who']}")
    until = f", good until {_moment(done['expires_at'])}" if verdict == "approve" else ""
    style = _STYLES[done["state"]]
    Console(soft_wrap=True).print(Text.assemble((done["state"], style), f": {what} ({done['id']}){until}."))


def _table(found: list[dict[str, Any]]) -> RenderableType:
    if not found:
        return Text(_EMPTY)
    table = Table(title=count_of(len(found), "request"), title_justify="left", header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for each in found:
        cells = {
            "id": each["id"],
            "what": each["what"],
            "who": each["who"],
            "team": each["team"] or "",
            "policy": each["rule"],
            "needs": ", ".join(each["approvers"]),
            "expires": _left(each["expires_at"]) if each["state"] in {"pending", "approved"} else "",
            "state": each["state"],
        }
        table.add_row(*(Text(plain(str(cells[name])), style=_style(name, each)) for name in _COLUMNS))
    return table


def _style(column: str, request: dict[str, Any]) -> str:
    return _STYLES.get(request["state"], "dim") if column == "state" else ""


def _details(found: dict[str, Any]) -> list[tuple[str, str]]:
    decided = f"{found['decided_by_name']} at {_moment(found['decided_at'])}" if found["decided_at"] else ""
    return [
        ("request", found["id"]),
        ("state", f"{found['state']}, until {_moment(found['expires_at'])}"),
        ("who", f"{found['who']} ({found['principal_id']})" + (f", team {found['team']}" if found["team"] else "")),
        ("what", f"{found['what']} ({found['operation']})"),
        ("policy", f"{found['rule']} (version {found['policy_version']})"),
        ("needs", " or ".join(found["approvers"])),
        ("covers", "every call of the session to this model" if found["covers"] == "session" else "this call, once"),
        ("asked", _moment(found["requested_at"])),
        ("call", found["call_id"] + (f", tool use {found['tool_use_id']}" if found["tool_use_id"] else "")),
        ("session", found["session_id"] or ""),
        ("decided", decided),
        ("note", found["note"] or ""),
        ("used", f"by {found['used_by']} at {_moment(found['used_at'])}" if found["used_at"] else ""),
        ("digest", found["digest"]),
    ]


def _how(found: dict[str, Any]) -> str:
    if found["state"] != "pending":
        return f"It is {found['state']}; there is nothing to decide."
    if found["why_not"]:
        return found["why_not"]
    name = found["id"]
    return f"Decide with `ai-platform approvals approve {name}` or `ai-platform approvals deny {name} --note WHY`."


def _pretty(shown: str) -> str:
    """Indented where it is whole JSON."""
    if not shown:
        return "What was asked for is not kept any more."
    try:
        return plain(json.dumps(json.loads(shown), indent=2, ensure_ascii=False))
    except ValueError:
        return plain(shown)


def _moment(text: str | None) -> str:
    return "" if text is None else f"{text[:16].replace('T', ' ')} UTC"


def _left(text: str) -> str:
    minutes = (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds() / 60
    return "now" if minutes <= 0 else f"in {minutes:.0f} min" if minutes >= 1 else "in under a minute"
