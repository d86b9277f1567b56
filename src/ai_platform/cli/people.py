"""`ai-platform people`: who there is; suspend, bring back, remove."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.text import Text

from ai_platform.cli.output import Json, count_of, emit_json, emit_table, explained
from ai_platform.client import AdminClient

Data = Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)]
Who = Annotated[str, typer.Argument(help="E-mail address, id (usr_...) or name.")]

app = typer.Typer(no_args_is_help=True, help="People and service accounts.")

_COLUMNS = ("id", "name", "email", "team", "roles", "keys", "sign_ins", "last_seen", "state")


@app.command("list")
def list_people(
    *,
    team: Annotated[str | None, typer.Option(help="Of this team only.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Those who were removed, too.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Who there is, in which team, with which roles, and when they were last seen."""
    with explained(), AdminClient(data) as client:
        found = client.get("/admin/people", team=team, all="1" if everybody else None)
    if as_json:
        emit_json(found)
        return
    empty = "Nobody yet. People appear with their first key (`ai-platform keys create NAME`) or sign-in."
    emit_table(count_of(len(found), "person", "people"), _COLUMNS, [_row(person) for person in found], empty=empty)


@app.command()
def show(who: Who, *, data: Data = None, as_json: Json = False) -> None:
    """One person."""
    with explained(), AdminClient(data) as client:
        person = client.get(_path(who))
    if as_json:
        emit_json(person)
    else:
        emit_table(person["name"], ("field", "value"), _facts(person), empty="")


@app.command()
def suspend(who: Who, *, data: Data = None, as_json: Json = False) -> None:
    """End keys, browser sessions and sign-ins now; the person may be brought back, and then needs new ones."""
    with explained(), AdminClient(data) as client:
        person = client.post(f"{_path(who)}/suspend")
    _told(person, "Suspended", as_json=as_json)


@app.command()
def resume(who: Who, *, data: Data = None, as_json: Json = False) -> None:
    """Let somebody back who was suspended or removed. What has ended stays ended."""
    with explained(), AdminClient(data) as client:
        person = client.post(f"{_path(who)}/resume")
    _told(person, "Back again:", as_json=as_json)


@app.command()
def remove(who: Who, *, data: Data = None, as_json: Json = False) -> None:
    """End keys, browser sessions and sign-ins now and for good. What the person spent and did stays on record."""
    with explained(), AdminClient(data) as client:
        person = client.delete(_path(who))
    _told(person, "Removed", as_json=as_json)


def _path(who: str) -> str:
    return f"/admin/people/{quote(who, safe='@')}"


def _told(person: dict[str, Any], what: str, *, as_json: bool) -> None:
    if as_json:
        emit_json(person)
    else:
        name = person["name"] if person["email"] in {None, person["name"]} else f"{person['name']}, {person['email']}"
        Console().print(Text(f"{what} {name} ({person['id']})."))


def _row(person: dict[str, Any]) -> dict[str, Any]:
    kind = " (service)" if person["kind"] == "service" else ""
    return {
        **person,
        "name": person["name"] + kind,
        "roles": " ".join(person["roles"]),
        "last_seen": (person["last_seen_at"] or "never")[:16].replace("T", " "),
    }


def _facts(person: dict[str, Any]) -> list[dict[str, Any]]:
    shown = {**person, "roles": " ".join(person["roles"])}
    return [{"field": name.replace("_", " "), "value": value} for name, value in shown.items() if value is not None]
