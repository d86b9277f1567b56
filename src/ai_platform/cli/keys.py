"""`ai-platform keys`: make, list and revoke platform keys of a running platform."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.text import Text

from ai_platform.cli.output import Json, count_of, emit_json, emit_table, explained
from ai_platform.client import AdminClient

Data = Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)]

app = typer.Typer(no_args_is_help=True, help="Keys for people and service accounts.")

_COLUMNS = ("id", "name", "may", "team", "expires", "last_used")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is called, e.g. the person's name or `ci`.")],
    *,
    email: Annotated[str | None, typer.Option(help="Whose it is; keys of one address are one person's.")] = None,
    owner: Annotated[str, typer.Option(help="Name of the person or service account. [default: NAME]")] = "",
    team: Annotated[str | None, typer.Option(help="Team whose limits and budget apply.")] = None,
    project: Annotated[str | None, typer.Option(help="Project the spend is booked on.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Role; may be repeated. [default: developer]")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Narrow the key: a permission, a role, model:GLOB or tool:GLOB; may be repeated."),
    ] = None,
    expires: Annotated[str | None, typer.Option(help="30m, 12h, 90d, 2w or a date. [default: never]")] = None,
    service: Annotated[bool, typer.Option("--service", help="For a service account, not a person.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the key alone, for use in $(...).")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it. It is shown this once: the platform keeps only a hash of it."""
    body: dict[str, Any] = {
        "name": name,
        "kind": "service" if service else "person",
        "owner": owner,
        "email": email,
        "team": team,
        "project": project,
        "roles": role or ["developer"],
        "scopes": scope or [],
        "expires": expires,
    }
    with explained(), AdminClient(data) as client:
        key = client.post("/admin/keys", body)
        url = client.url
    if as_json:
        emit_json({**key, "url": url})
    elif quiet:
        typer.echo(key["key"])
    else:
        _show_new(key, url)


@app.command("list")
def list_keys(
    *,
    all_keys: Annotated[bool, typer.Option("--all", help="Expired and revoked ones too.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """The keys there are, with their owners, what narrows them and when they were last used."""
    with explained(), AdminClient(data) as client:
        found = client.get("/admin/keys", all="1" if all_keys else None)
    if as_json:
        emit_json(found)
        return
    empty = "No keys. Make one with `ai-platform keys create NAME`."
    columns = (*_COLUMNS, "status") if all_keys else _COLUMNS
    emit_table(count_of(len(found), "key"), columns, [_row(key) for key in found], empty=empty)


@app.command()
def revoke(
    id_or_name: Annotated[str, typer.Argument(help="Id (key_...) or name of the key.")],
    *,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """End a key: at once here, within a second on every other replica. This cannot be undone."""
    with explained(), AdminClient(data) as client:
        key = client.delete(f"/admin/keys/{quote(id_or_name, safe='')}")
    if as_json:
        emit_json(key)
    else:
        Console().print(Text(f"Revoked {key['name']} ({key['id']}), owner {key['owner']}."))


def _row(key: dict[str, Any]) -> dict[str, Any]:
    """The owner beside the name where it is another; what narrows the roles after a colon."""
    owner = key["owner"] if key["email"] is None else f"{key['owner']}, {key['email']}"
    service = "service " if key["kind"] == "service" else ""
    scopes = f": {' '.join(key['scopes'])}" if key["scopes"] else ""
    return {
        **key,
        "name": key["name"] if (owner, service) == (key["name"], "") else f"{key['name']} ({service}{owner})",
        "may": " ".join(key["roles"]) + scopes,
        "expires": (key["expires_at"] or "never")[:10],
        "last_used": (key["last_used_at"] or "never")[:16].replace("T", " "),
    }


def _show_new(key: dict[str, Any], url: str) -> None:
    console = Console(soft_wrap=True)
    ends = f"expires {key['expires_at'][:10]}" if key["expires_at"] else "does not expire"
    roles = ", ".join(key["roles"])
    console.print(Text(f"{key['name']} ({key['id']}): {key['kind']} {key['owner']}, roles {roles}, {ends}."))
    console.print(Text(f"\n  {key['key']}\n", style="bold"))
    console.print(Text("It is not shown again. Point Claude Code at the platform with:", style="dim"))
    console.print(Text(f"  export ANTHROPIC_BASE_URL={url}\n  export ANTHROPIC_AUTH_TOKEN={key['key']}"))
