"""`ai-platform mcp`: MCP servers of a running platform: add, list, show, approve, quarantine, logs, remove."""

import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.text import Text

from ai_platform.cli.mcp_approve import approve
from ai_platform.cli.mcp_credentials import app as credentials
from ai_platform.cli.mcp_new import new
from ai_platform.cli.mcp_test import try_out
from ai_platform.cli.output import Json, count_of, emit_json, emit_table, explained, fail
from ai_platform.client import AdminClient

Data = Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)]
Name = Annotated[str, typer.Argument(help="The server's name.")]

app = typer.Typer(no_args_is_help=True, help="MCP servers behind the platform, and tools for those who write them.")
app.add_typer(credentials, name="credentials")

_COLUMNS = ("name", "state", "tools", "pinned", "held", "breaker", "where", "last_error")
_LONGEST_WHERE, _LONGEST_ERROR = 40, 100
_STATES = {"up": "green", "starting": "yellow", "held": "yellow", "down": "bold red", "quarantined": "bold red"}
_WAIT_SECONDS = 20.0
_FOLLOW_SECONDS = 1.0


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Its name, in front of its tools: lower-case letters, digits, `-`.")],
    *,
    command: Annotated[
        list[str] | None,
        typer.Argument(help="After `--`: the command and its arguments; with --bundled the server's own arguments."),
    ] = None,
    url: Annotated[str | None, typer.Option(help="Address of its MCP endpoint, instead of a command.")] = None,
    bundled: Annotated[
        bool,
        typer.Option("--bundled", help="One that comes along: knowledge-base, prompts, deployments, zimbra, bridge."),
    ] = False,
    as_name: Annotated[str | None, typer.Option("--as", help="Another name for a bundled server.")] = None,
    first_use: Annotated[
        bool,
        typer.Option("--approve", help="Approve what it offers when first seen, unless it looks like an attack."),
    ] = False,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the command; no secrets here.")] = None,
    env_from: Annotated[
        list[str] | None, typer.Option(help="NAME, or NAME=OTHER: a variable of the platform's environment.")
    ] = None,
    header: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, sent to a URL; no secrets here.")] = None,
    header_from: Annotated[
        list[str] | None, typer.Option(help="NAME=VARIABLE: a header with the value of a platform variable.")
    ] = None,
    read: Annotated[list[Path] | None, typer.Option(help="Folder or file that the command may read.")] = None,
    write: Annotated[list[Path] | None, typer.Option(help="Folder that the command may change.")] = None,
    state: Annotated[bool, typer.Option("--state", help="Give it a folder that stays (STATE_DIRECTORY).")] = False,
    network: Annotated[bool, typer.Option("--network", help="Let the command use the network.")] = False,
    trusted: Annotated[bool, typer.Option("--trusted", help="Run the command without a sandbox.")] = False,
    open_resources: Annotated[
        bool, typer.Option("--open-resources", help="Its resources come and go; do not hold new ones.")
    ] = False,
    team: Annotated[list[str] | None, typer.Option(help="Team that may see it. [default: all]")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for one call. [default: 300]")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the server of this name.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Register a server with the running platform; nothing has to be restarted.

    `mcp add wiki --url https://wiki.example.com/mcp`, `mcp add files --read /srv/docs -- npx server-filesystem
    /srv/docs`, or `mcp add knowledge-base --bundled -- --folder docs`.
    """
    words = command or []
    server: dict[str, Any] = {
        "name": as_name or name,
        "first_use": first_use,
        "env": _pairs(env, "--env"),
        "env_from": _pairs(env_from, "--env-from", same=True),
        "headers": _pairs(header, "--header", lower=True),
        "headers_env": _pairs(header_from, "--header-from", lower=True),
        "read": [str(path.resolve()) for path in read or ()],
        "write": [str(path.resolve()) for path in write or ()],
        "state": state,
        "network": network,
        "trusted": trusted,
        "resources": "open" if open_resources else "",
        "teams": team or [],
        "timeout": timeout,
        "url": url,
        "command": [] if bundled else words,
    }
    body: dict[str, Any] = {"server": {key: value for key, value in server.items() if value}, "replace": replace}
    if bundled:
        body |= {"bundled": name, "arguments": words, "folder": str(Path.cwd())}
    elif bool(url) == bool(words):
        fail("Give either --url, or `--` and the command that starts the server.", code=2)
    with explained(), AdminClient(data) as client:
        client.post("/admin/mcp/servers", body)
        row = _settled(client, server["name"])
    if as_json:
        emit_json(row)
    else:
        _show_added(row)


@app.command("list")
def list_servers(*, data: Data = None, as_json: Json = False) -> None:
    """Every server: how it stands, how many tools it offers, what is approved and held, its last error."""
    with explained(), AdminClient(data) as client:
        rows = client.get("/admin/mcp/servers")
    if as_json:
        emit_json(rows)
        return
    empty = "No MCP servers. Add one with `ai-platform mcp add NAME --url URL` or `-- COMMAND`."
    emit_table(
        count_of(len(rows), "MCP server"), _COLUMNS, [_row(row) for row in rows], empty=empty, right=("tools", "pinned")
    )


@app.command()
def show(name: Name, *, data: Data = None, as_json: Json = False) -> None:
    """One server: its settings, and the definitions that are approved."""
    with explained(), AdminClient(data) as client:
        found = client.get(f"/admin/mcp/servers/{_quoted(name)}")
    if as_json:
        emit_json(found)
        return
    console = Console(soft_wrap=True)
    console.print(Text(f"{found['name']}: {found['state']}", style="bold"), Text(found["problem"] or ""))
    for key, value in found["settings"].items():
        console.print(Text(f"  {key}: {value}"))
    columns = ("kind", "name", "approved_by", "approved_at", "digest")
    rows = [{**one, "digest": one["digest"][:12]} for one in found["definitions"]]
    emit_table(count_of(len(rows), "approved definition"), columns, rows, empty="Nothing of it is approved.")


@app.command()
def quarantine(
    name: Name,
    *,
    reason: Annotated[str, typer.Option(help="Why; callers and colleagues read it.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Take a server out of service at once, on every replica: its tools vanish, its calls are refused."""
    with explained(), AdminClient(data) as client:
        done = client.post(f"/admin/mcp/servers/{_quoted(name)}/quarantine", {"reason": reason})
    _said(done, f"{name} is in quarantine. `ai-platform mcp release {name}` ends it.", as_json=as_json)


@app.command()
def release(name: Name, *, data: Data = None, as_json: Json = False) -> None:
    """End the quarantine of a server."""
    with explained(), AdminClient(data) as client:
        done = client.post(f"/admin/mcp/servers/{_quoted(name)}/release", {})
    _said(done, f"{name} is in service again.", as_json=as_json)


@app.command()
def remove(name: Name, *, data: Data = None, as_json: Json = False) -> None:
    """Forget a server that was added to the running platform, with what was approved of it."""
    with explained(), AdminClient(data) as client:
        done = client.delete(f"/admin/mcp/servers/{_quoted(name)}")
    _said(done, f"Removed {name}.", as_json=as_json)


@app.command()
def logs(
    name: Name,
    *,
    last: Annotated[int, typer.Option("--last", "-n", help="How many lines.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """What a server that runs as a command wrote to standard error, and when it started and ended."""
    path = f"/admin/mcp/servers/{_quoted(name)}/logs"
    with explained(), AdminClient(data) as client:
        lines: list[str] = client.get(path, last=last)["lines"]
        if as_json:
            emit_json(lines)
            return
        for line in lines or ["It wrote nothing."]:
            typer.echo(line)
        while follow:
            time.sleep(_FOLLOW_SECONDS)
            newer: list[str] = client.get(path, last=1000)["lines"]
            for line in _since(lines, newer):
                typer.echo(line)
            lines = newer


app.command()(approve)
app.command()(new)
app.command("test")(try_out)


def _since(before: list[str], after: list[str]) -> list[str]:
    """What was added at the end; everything when the last known line is gone."""
    if not before or before[-1] not in after:
        return after
    at = len(after) - 1 - after[::-1].index(before[-1])
    return after[at + 1 :]


def _settled(client: AdminClient, name: str) -> dict[str, Any]:
    """The server's row once it was reached, or could not be, or the patience ends."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        row = client.get(f"/admin/mcp/servers/{_quoted(name)}")
        known = row["state"] != "starting" and "not been reached yet" not in row["problem"]
        if known or time.monotonic() > deadline:
            return row
        time.sleep(0.1)


def _show_added(row: dict[str, Any]) -> None:
    console = Console(soft_wrap=True)
    name, state = row["name"], row["state"]
    console.print(Text(f"Added {name}: "), Text(state, style=_STATES.get(state, "")), end="\n", sep="")
    if row["problem"]:
        console.print(Text(f"  {row['problem']}", style="red"))
        if row["sandbox"]:
            console.print(Text(f"  `ai-platform mcp logs {name}` shows what it wrote."))
    if row["approved"]:
        console.print(Text(f"  {_are(row['approved'])} approved: it can be used."))
    if row["held"]:
        flagged = f", {row['flagged']} of them suspicious" if row["flagged"] else ""
        console.print(Text(f"  {_are(row['held'])} held{flagged}. To read and approve:"))
        console.print(Text(f"  ai-platform mcp approve {name}"))


def _are(number: int) -> str:
    return f"{count_of(number, 'definition')} {'is' if number == 1 else 'are'}"


def _row(row: dict[str, Any]) -> dict[str, Any]:
    state = row["state"]
    held = f"{row['held']} ({row['flagged']} flagged)" if row["flagged"] else row["held"] or ""
    return {
        **row,
        "state": f"[{_STATES.get(state, 'dim')}]{state}[/]",
        "pinned": row["approved"],
        "held": f"[yellow]{held}[/]" if held else "",
        "where": _short(_place(row["where"]), _LONGEST_WHERE),
        "last_error": _short(row["quarantine"] or row["problem"], _LONGEST_ERROR),
    }


def _place(where: str) -> str:
    """The address; of a command what it is rather than which interpreter runs it."""
    words = where.split()
    if where.startswith(("http://", "https://")) or not words:
        return where
    if len(words) > 2 and words[1] == "-m":
        return " ".join([words[2].removeprefix("ai_platform.mcp_servers."), *words[3:]])
    return " ".join([Path(words[0]).name, *words[1:]])


def _short(text: str, longest: int) -> str:
    return (text if len(text) <= longest else text[: longest - 1] + "…").replace("[", r"\[")


def _pairs(texts: list[str] | None, option: str, *, same: bool = False, lower: bool = False) -> dict[str, str]:
    """NAME=VALUE each; with `same`, NAME alone stands for NAME=NAME."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, given, value = text.partition("=")
        if not name or not (given or same):
            fail(f"{option} {text}: write NAME=VALUE.", code=2)
        found[name.lower() if lower else name] = value if given else name
    return found


def _said(done: Any, sentence: str, *, as_json: bool) -> None:
    if as_json:
        emit_json(done)
    else:
        Console(soft_wrap=True).print(Text(sentence))


def _quoted(name: str) -> str:
    return quote(name, safe="")
