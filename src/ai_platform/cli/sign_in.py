"""`ai-platform login`, `whoami`, `logout` and `token`: a short-lived credential of a person or a job, without a key."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ai_platform.cli.output import Json, emit_json, explained, fail
from ai_platform.client import AdminClient
from ai_platform.client.federated import Federated
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


def logout(
    *,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="End every browser session and program that is signed in as you, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """End the sign-in of this machine, there and here. Platform keys of yours go on working."""
    with explained():
        url = SignIn().logout(everywhere=everywhere)
    if as_json:
        emit_json({"url": url, "everywhere": everywhere})
    else:
        Console(soft_wrap=True).print(Text(f"Signed out {'everywhere ' if everywhere else ''}at {url}."))


def token(
    *,
    federated: Annotated[
        bool,
        typer.Option("--federated", help="As a service account, with the token of GitHub Actions or --token-file."),
    ] = False,
    token_file: Annotated[
        Path | None, typer.Option(help="File with a token of another issuer. Means --federated.", show_default=False)
    ] = None,
    audience: Annotated[
        str, typer.Option(help="What GitHub Actions is asked a token for. [default: the platform's address]")
    ] = "",
    url: Annotated[
        str | None,
        typer.Option(help="With --federated: address of the platform.", envvar="AI_PLATFORM_URL", show_default=False),
    ] = None,
) -> None:
    """Print an access token that is good for at least a minute, renewed when needed; for apiKeyHelper and scripts.

    Of the person who signed in with `ai-platform login`, or with --federated of the service account that the
    platform gives to the job this runs in. No key is needed in CI then.
    """
    with explained():
        if federated or token_file is not None:
            if url is None:
                fail("--federated needs the platform's address: --url or AI_PLATFORM_URL.", code=2)
            text = Federated(url, environ=os.environ, audience=audience, token_file=token_file).token()
        else:
            _, text = SignIn().token()
    typer.echo(text)
