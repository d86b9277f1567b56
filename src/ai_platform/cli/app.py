"""All commands in one place."""

from typing import Annotated

import typer
from rich.console import Console

from ai_platform import __version__
from ai_platform.cli.access import app as access
from ai_platform.cli.approvals import app as approvals
from ai_platform.cli.audit import app as audit
from ai_platform.cli.break_glass import app as break_glass
from ai_platform.cli.conformance import conformance
from ai_platform.cli.connect import app as connect
from ai_platform.cli.doctor import doctor
from ai_platform.cli.incidents import app as incidents
from ai_platform.cli.keys import app as keys
from ai_platform.cli.mcp import app as mcp
from ai_platform.cli.people import app as people
from ai_platform.cli.policy import app as policy
from ai_platform.cli.scan import ScanCommand, scan
from ai_platform.cli.service_accounts import app as service_accounts
from ai_platform.cli.sign_in import login, logout, token, whoami
from ai_platform.cli.sso import app as sso
from ai_platform.cli.teams import projects, teams
from ai_platform.cli.tenants import app as tenants
from ai_platform.cli.up import up
from ai_platform.cli.usage import prices, usage

app = typer.Typer(
    name="ai-platform",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    help="A governed gateway for Claude and Claude Code: identity, policy, data protection, budgets, audit.\n\n"
    "Start with [bold]ai-platform up[/], then [bold]ai-platform connect claude-code[/].",
)


def _version(value: bool) -> None:
    if value:
        Console().print(f"ai-platform {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    del version


app.command()(up)
app.command()(login)
app.command()(whoami)
app.command()(logout)
app.command()(token)
app.add_typer(connect, name="connect")
app.add_typer(keys, name="keys")
app.add_typer(service_accounts, name="service-accounts")
app.add_typer(mcp, name="mcp")
app.add_typer(sso, name="sso")
app.add_typer(break_glass, name="break-glass")
app.add_typer(people, name="people")
app.add_typer(access, name="access")
app.add_typer(teams, name="teams")
app.add_typer(projects, name="projects")
app.add_typer(tenants, name="tenants")
app.add_typer(policy, name="policy")
app.add_typer(approvals, name="approvals")
app.command(cls=ScanCommand)(scan)
app.command()(usage)
app.command()(prices)
app.add_typer(audit, name="audit")
app.add_typer(incidents, name="incidents")
app.command()(conformance)
app.command()(doctor)


def main() -> None:
    app()
