"""`ai-platform access`: why somebody may or may not do something."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ai_platform.cli.output import Json, emit_json, emit_table, explained
from ai_platform.client import AdminClient

app = typer.Typer(no_args_is_help=True, help="Why somebody may or may not do something.")


@app.callback()
def group() -> None:
    """Why somebody may or may not do something."""


@app.command()
def explain(
    person: Annotated[str, typer.Argument(help="Id, e-mail address or name.")],
    action: Annotated[
        str, typer.Argument(help="A permission, a short name such as read_code, model:NAME or tool:SERVER/NAME.")
    ],
    *,
    data: Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Who granted or denies it: each key and sign-in, its roles, what gives them, the policy. Exit 1: not allowed."""
    with explained(), AdminClient(data) as client:
        found = client.get("/admin/access/explain", person=person, action=action)
    if as_json:
        emit_json(found)
    else:
        rows = [
            {
                **one,
                "roles": ", ".join(f"{role['role']} ({role['from']})" for role in one["roles"]),
                "allowed": "yes" if one["allowed"] else "no",
            }
            for one in found["credentials"]
        ]
        verdict = "may" if found["allowed"] else "may not"
        Console(soft_wrap=True).print(Text(f"{found['person']} ({found['state']}) {verdict}: {action}", style="bold"))
        empty = "No key and no sign-in of theirs works now, so nothing is allowed."
        emit_table("", ("credential", "allowed", "roles", "why"), rows, empty=empty)
        if rules := _rules(found["credentials"]):
            emit_table("Rules of the policy that have a say", ("rule", "effect", "for", "when"), rules, empty="")
    raise typer.Exit(0 if found["allowed"] else 1)


def _rules(credentials: list[dict[str, Any]]) -> list[dict[str, str]]:
    """One row a rule and what becomes of it; for: the credentials it is the same for."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in credentials:
        for rule in one["rules"]:
            holds = "always" if rule["state"] == "holds" else f"depends on {', '.join(rule['needs']) or 'the call'}"
            row = rows.setdefault(
                (rule["rule"], holds),
                {"rule": rule["rule"], "effect": f"{rule['effect']}: {holds}", "for": "", "when": rule["when"]},
            )
            row["for"] += f", {one['credential']}" if row["for"] else one["credential"]
    return list(rows.values())
