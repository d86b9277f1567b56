"""`ai-platform tenants`: the organisations that share this deployment, for who runs it."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.text import Text

from ai_platform.cli.output import Json, count_of, emit_json, emit_table, explained
from ai_platform.client import AdminClient

Data = Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)]
Name = Annotated[str, typer.Argument(help="Lower-case letters, digits and '-'.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the admin key alone, for use in $(...).")]

app = typer.Typer(
    no_args_is_help=True,
    help="Organisations that share this deployment. With AI_PLATFORM_TENANT set, any command works inside that one.",
)

_COLUMNS = ("name", "title", "people", "keys", "created", "state")


@app.command("list")
def list_tenants(*, data: Data = None, as_json: Json = False) -> None:
    """Every organisation. `default` is the operator's own and always there."""
    with explained(), AdminClient(data) as client:
        found = client.get("/admin/tenants")
    if as_json:
        emit_json(found)
        return
    rows = [
        {**one, "created": one["created_at"][:10], "state": "disabled" if one["disabled_at"] else "active"}
        for one in found
    ]
    emit_table(count_of(len(found), "tenant"), _COLUMNS, rows, empty="", right=("people", "keys"))


@app.command()
def create(
    name: Name,
    *,
    title: Annotated[str, typer.Option(help="The organisation's name, for people. [default: NAME]")] = "",
    quiet: Quiet = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make an organisation and print its first admin key, this once."""
    with explained(), AdminClient(data) as client:
        made = client.post("/admin/tenants", {"name": name, "title": title})
    _shown(made, f"Made the tenant {name}. Its admin key:", quiet=quiet, as_json=as_json)


@app.command("admin-key")
def admin_key(name: Name, *, quiet: Quiet = False, data: Data = None, as_json: Json = False) -> None:
    """Make a new admin key for an organisation that lost its own, and end the one before."""
    with explained(), AdminClient(data) as client:
        made = client.post(f"{_path(name)}/admin-key")
    _shown(made, f"The admin key of {name}:", quiet=quiet, as_json=as_json)


@app.command()
def disable(name: Name, *, data: Data = None, as_json: Json = False) -> None:
    """Refuse everybody of an organisation, now. Nothing is deleted; its sign-ins end, its keys wait."""
    with explained(), AdminClient(data) as client:
        gone = client.post(f"{_path(name)}/disable")
    _told(gone, f"Disabled {name}. `ai-platform tenants enable {name}` lets it back.", as_json=as_json)


@app.command()
def enable(name: Name, *, data: Data = None, as_json: Json = False) -> None:
    """Let an organisation back: its keys work again, its people sign in anew."""
    with explained(), AdminClient(data) as client:
        back = client.post(f"{_path(name)}/enable")
    _told(back, f"Enabled {name}.", as_json=as_json)


def _path(name: str) -> str:
    return f"/admin/tenants/{quote(name, safe='')}"


def _told(answer: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        emit_json(answer)
    else:
        Console().print(Text(sentence))


def _shown(made: dict[str, Any], sentence: str, *, quiet: bool, as_json: bool) -> None:
    if as_json:
        emit_json(made)
    elif quiet:
        typer.echo(made["key"])
    else:
        console = Console(soft_wrap=True)
        console.print(Text(sentence))
        console.print(Text(f"\n  {made['key']}\n", style="bold"))
        console.print(Text("It is not shown again. Whoever has it runs this organisation, and no other.", style="dim"))
