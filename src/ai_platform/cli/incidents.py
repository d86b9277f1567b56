"""`ai-platform incidents`: what inspection brought to light, one entry a person and value. Never the value."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.text import Text

from ai_platform.cli.output import Json, count_of, emit_json, emit_table, explained
from ai_platform.client import AdminClient

app = typer.Typer(no_args_is_help=True, help="Security incidents: sensitive data that people sent or were sent.")

Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the platform.", show_default=False)]
Id = Annotated[str, typer.Argument(metavar="ID", help="An incident's id, inc_...")]

_COLUMNS = ("id", "last_seen", "person", "type", "severity", "action", "where", "count", "status")
_SHOWN = (
    "person",
    "name",
    "team",
    "type",
    "data_class",
    "rule",
    "severity",
    "action",
    "where",
    "path",
    "model",
    "status",
    "count",
    "first_seen",
    "last_seen",
    "value_hash",
    "call_id",
)


@app.command("list")
def list_incidents(
    data: Data = None,
    *,
    person: Annotated[str | None, typer.Option(help="A person's id, e-mail address or name.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="What was found, e.g. US_SSN.")] = None,
    team: Annotated[str | None, typer.Option(help="Only this team's.")] = None,
    severity: Annotated[str | None, typer.Option(help="critical, high, warning or info.")] = None,
    status: Annotated[str | None, typer.Option(help="open, ack or closed.")] = None,
    since: Annotated[str | None, typer.Option(help="Last seen from this time on: ISO 8601, or 24h, 7d.")] = None,
    until: Annotated[str | None, typer.Option(help="Last seen before this time: ISO 8601, or 24h, 7d.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many (1000).")] = 50,
    after: Annotated[str | None, typer.Option(help="Go on behind this incident's id.")] = None,
    as_json: Json = False,
) -> None:
    """Incidents, newest first. Each is one person and one value, however often it came."""
    wanted = {"person": person, "type": kind, "team": team, "severity": severity, "status": status}
    with explained(), AdminClient(data) as client:
        page = client.get("/admin/incidents", **wanted, since=since, until=until, limit=limit, after=after)
    if as_json:
        emit_json(page)
        return
    found = page["incidents"]
    shown = [
        {
            **each,
            "person": each["name"] or each["person"],
            "where": _where(each),
            "last_seen": each["last_seen"][:19].replace("T", " "),
        }
        for each in found
    ]
    emit_table(count_of(len(found), "incident"), _COLUMNS, shown, empty="No incident matches.", right=("count",))
    if page["next"]:
        Console().print(f"There are more: --after {page['next']}", highlight=False, soft_wrap=True)


@app.command()
def show(incident_id: Id, data: Data = None, *, as_json: Json = False) -> None:
    """One incident, and where to read on."""
    with explained(), AdminClient(data) as client:
        found = client.get(f"/admin/incidents/{quote(incident_id, safe='')}")
    if as_json:
        emit_json(found)
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print(Text(found["id"], style="bold"))
    for name in _SHOWN:
        value = _where(found) if name == "where" else found[name]
        if value not in {None, ""}:
            console.print(Text(f"  {name.replace('_', ' '):12} {value}"))
    console.print(Text(f"The call: ai-platform audit search --call {found['call_id']}"))


@app.command()
def mark(
    incident_id: Id,
    status: Annotated[str, typer.Argument(help="open, ack or closed.")],
    data: Data = None,
    *,
    as_json: Json = False,
) -> None:
    """Say that an incident is being looked after, or done with."""
    with explained(), AdminClient(data) as client:
        found = client.post(f"/admin/incidents/{quote(incident_id, safe='')}/status", {"status": status})
    if as_json:
        emit_json(found)
    else:
        Console().print(f"{found['id']} is {found['status']}.", highlight=False)


def _where(incident: dict[str, Any]) -> str:
    return "sent" if incident["sent"] else "answer"
