"""`ai-platform teams` and `ai-platform projects`."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.text import Text

from ai_platform.cli.output import Json, count_of, emit_json, emit_table, explained
from ai_platform.client import AdminClient

Data = Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)]
Name = Annotated[str, typer.Argument(help="The name, as it stands in keys and policies.")]
Title = Annotated[str, typer.Option(help="What it is, for people.")]
Person = Annotated[str, typer.Argument(help="E-mail address, id (usr_...) or name.")]

teams = typer.Typer(no_args_is_help=True, help="Teams, whose limits and budgets apply.")
members = typer.Typer(no_args_is_help=True, help="Who is in a team.")
projects = typer.Typer(no_args_is_help=True, help="Projects, on which spend is booked.")
teams.add_typer(members, name="members")

_COLUMNS = ("id", "name", "email", "roles", "state")


@teams.command("list")
def list_teams(*, data: Data = None, as_json: Json = False) -> None:
    """Teams with their members and keys."""
    _list("teams", data, as_json=as_json)


@teams.command("create")
def create_team(name: Name, *, title: Title = "", data: Data = None, as_json: Json = False) -> None:
    """Make a team. A team that a key or a sign-in rule names is there by itself."""
    _create("teams", name, title, data, as_json=as_json)


@teams.command("remove")
def remove_team(name: Name, *, data: Data = None, as_json: Json = False) -> None:
    """Take away a team without members and keys. What it spent stays in the ledger."""
    _remove("teams", name, data, as_json=as_json)


@members.command("list")
def list_members(team: Name, *, data: Data = None, as_json: Json = False) -> None:
    """The people of a team."""
    with explained(), AdminClient(data) as client:
        found = client.get(f"/admin/teams/{quote(team, safe='')}/members")
    if as_json:
        emit_json(found)
        return
    empty = f"Nobody. Add people with `ai-platform teams members add {team} PERSON`."
    rows = [{**person, "roles": " ".join(person["roles"])} for person in found]
    emit_table(f"{count_of(len(found), 'member')} of {team}", _COLUMNS, rows, empty=empty)


@members.command("add")
def add_member(team: Name, person: Person, *, data: Data = None, as_json: Json = False) -> None:
    """Put somebody into this team, out of the one before. What the identity provider says at sign-in wins."""
    with explained(), AdminClient(data) as client:
        moved = client.post(f"/admin/teams/{quote(team, safe='')}/members", {"person": person})
    _told(moved, f"{moved['name']} is in {team} now.", as_json=as_json)


@members.command("remove")
def remove_member(team: Name, person: Person, *, data: Data = None, as_json: Json = False) -> None:
    """Take somebody out of this team."""
    with explained(), AdminClient(data) as client:
        moved = client.delete(f"/admin/teams/{quote(team, safe='')}/members/{quote(person, safe='@')}")
    _told(moved, f"{moved['name']} is in no team now.", as_json=as_json)


@projects.command("list")
def list_projects(*, data: Data = None, as_json: Json = False) -> None:
    """Projects with their keys."""
    _list("projects", data, as_json=as_json)


@projects.command("create")
def create_project(name: Name, *, title: Title = "", data: Data = None, as_json: Json = False) -> None:
    """Make a project. One that a key names is there by itself."""
    _create("projects", name, title, data, as_json=as_json)


@projects.command("remove")
def remove_project(name: Name, *, data: Data = None, as_json: Json = False) -> None:
    """Take away a project without keys. What was booked on it stays in the ledger."""
    _remove("projects", name, data, as_json=as_json)


def _list(what: str, data: Path | None, *, as_json: bool) -> None:
    with explained(), AdminClient(data) as client:
        found = client.get(f"/admin/{what}")
    if as_json:
        emit_json(found)
        return
    columns = (
        ("name", "title", "members", "keys", "created") if what == "teams" else ("name", "title", "keys", "created")
    )
    rows = [{**one, "created": one["created_at"][:10]} for one in found]
    empty = f"No {what}. They appear when a key names one, or with `ai-platform {what} create NAME`."
    emit_table(count_of(len(found), what[:-1]), columns, rows, empty=empty, right=("members", "keys"))


def _create(what: str, name: str, title: str, data: Path | None, *, as_json: bool) -> None:
    with explained(), AdminClient(data) as client:
        made = client.post(f"/admin/{what}", {"name": name, "title": title})
    _told(made, f"Made the {what[:-1]} {name}.", as_json=as_json)


def _remove(what: str, name: str, data: Path | None, *, as_json: bool) -> None:
    with explained(), AdminClient(data) as client:
        gone = client.delete(f"/admin/{what}/{quote(name, safe='')}")
    _told(gone, f"Took away the {what[:-1]} {name}.", as_json=as_json)


def _told(answer: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        emit_json(answer)
    else:
        Console().print(Text(sentence))
