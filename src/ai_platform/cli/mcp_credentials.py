"""`ai-platform mcp credentials`: accounts at MCP servers, of people and of the platform itself."""

import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer
from rich.console import Console
from rich.text import Text

from ai_platform.cli.output import Json, count_of, emit_json, emit_table, explained, fail
from ai_platform.client import AdminClient

Data = Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)]
Server = Annotated[str, typer.Argument(help="Name of the MCP server.")]
For = Annotated[str, typer.Option("--for", help="E-mail address, or name of a service account.")]

app = typer.Typer(no_args_is_help=True, help="Accounts at MCP servers that people, or the platform, connected.")


@app.command("list")
def list_credentials(*, data: Data = None, as_json: Json = False) -> None:
    """Who is connected at which server, since when, and what is wrong with it. Nothing secret is shown."""
    with explained(), AdminClient(data) as client:
        found = client.get("/admin/mcp/credentials")
        url = client.url
    if as_json:
        emit_json(found)
        return
    columns = ("server", "whose", "kind", "since", "problem")
    empty = f"Nobody has connected an account. People do so at {url}/auth/connections."
    emit_table(count_of(len(found), "account"), columns, [_row(one) for one in found], empty=empty)


@app.command("set")
def set_credential(server: Server, *, whose: For, data: Data = None, as_json: Json = False) -> None:
    """Keep a token of somebody who has no browser, such as a service account. It is read from standard input.

    For servers with `credentials: person` and without `oauth`.
    """
    if sys.stdin.isatty():
        fail("Give the token on standard input, for example `... < token-file`, so that it is in no history.", code=2)
    body = {"server": server, "person": whose, "token": sys.stdin.read().strip()}
    with explained(), AdminClient(data) as client:
        done = client.post("/admin/mcp/credentials", body)
    if as_json:
        emit_json(done)
    else:
        Console().print(Text(f"Kept a token of {whose} for {server}."))


@app.command()
def remove(
    server: Server,
    *,
    whose: Annotated[
        str, typer.Option("--for", help="E-mail address, name of a service account, or `platform` for its own.")
    ],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Forget an account: at once here, within seconds on every other replica."""
    path = f"/admin/mcp/credentials/{quote(server, safe='')}?{urlencode({'person': whose})}"
    with explained(), AdminClient(data) as client:
        done = client.delete(path)
    if as_json:
        emit_json(done)
    else:
        Console().print(Text(f"Disconnected {whose} from {server}." if done["disconnected"] else "There was none."))


@app.command()
def connect(*, data: Data = None, as_json: Json = False) -> None:
    """Say where accounts are connected: a page of the platform, because servers ask for agreement in a browser."""
    with explained(), AdminClient(data) as client:
        url = f"{client.url}/auth/connections"
    if as_json:
        emit_json({"url": url})
    else:
        Console(soft_wrap=True).print(Text(f"Open {url} and sign in."))


def _row(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "whose": one["person"], "since": one["connected_at"][:10], "problem": one["problem"] or ""}
