"""`ai-platform login`, `whoami`, `logout` and `token`: a person's own short-lived credential, without a key."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ai_platform.cli.output import Json, emit_json, explained
from ai_platform.client import AdminClient
from ai_platform.client.sign_in import SignIn


def login(
    *,
    url: Annotated[
        str | None,
        typer.Option(help="Address of the platform. [default: the one running here]", envvar="AI_PLATFORM_URL"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Sign in with your organisation's account: shows a code that you approve in a browser.

    The tokens are kept in ~/.config/ai-platform/sign-in.json, readable by you alone.
    """
    console = Console(stderr=True, soft_wrap=True)

    def show(started: dict[str, Any]) -> None:
        console.print(Text(f"Open  {started['verification_uri_complete']}"))
        console.print(Text(f"Code  {started['user_code']}", style="bold"))
        if notice := started.get("login_notice"):
            console.print(Text(str(notice), style="dim"))

    with explained():
        done = SignIn().login(url or AdminClient(key="none").url, show=show)
    if as_json:
        emit_json(done)
    else:
        Console(soft_wrap=True).print(Text(f"Signed in at {done['url']} as {done['email'] or 'yourself'}."))


def whoami(*, as_json: Json = False) -> None:
    """Who the platform takes you for: name, roles, team."""
    with explained():
        caller = SignIn().whoami()
    if as_json:
        emit_json(caller)
        return
    console = Console(soft_wrap=True)
    console.print(Text(f"{caller['name']} ({caller['email'] or caller['id']}) at {caller['url']}"))
    console.print(Text(f"roles {', '.join(caller['roles']) or 'none'}, team {caller['team'] or 'none'}"))


def logout(*, as_json: Json = False) -> None:
    """End the sign-in of this machine, there and here."""
    with explained():
        url = SignIn().logout()
    if as_json:
        emit_json({"url": url})
    else:
        Console(soft_wrap=True).print(Text(f"Signed out at {url}."))


def token() -> None:
    """Print an access token that is good for at least a minute, renewed when needed; for apiKeyHelper and scripts."""
    with explained():
        _, text = SignIn().token()
    typer.echo(text)
