"""`ai-platform break-glass`: local administrators for when every identity provider is down."""

import datetime as dt
import sys
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.text import Text

from ai_platform.cli.output import Json, count_of, emit_json, emit_table, explained, fail
from ai_platform.client import AdminClient, ClientError

Data = Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)]
Name = Annotated[str, typer.Argument(help="What the administrator types to sign in, e.g. `night`.")]

WAIT_SECONDS = 600.0

app = typer.Typer(
    no_args_is_help=True, help="Local administrators with a second factor, for when every identity provider is down."
)


@app.command()
def enrol(
    name: Name,
    *,
    security_key: Annotated[
        bool,
        typer.Option("--security-key", help="A security key instead of codes; for a name that exists: too."),
    ] = False,
    password_file: Annotated[
        Path | None, typer.Option(help="File with the password; - = standard input. [default: asked for]")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until the security key is registered.")] = True,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Enrol a local administrator: a password of 16 characters or more, and codes (TOTP) or a security key.

    It counts once the second factor has been shown to work. Keep the password where it can be reached in an emergency
    and is not in daily use.
    """
    with explained(), AdminClient(data) as client:
        known = next((one for one in client.get("/admin/break-glass") if one["name"] == name), None)
        if known and known["active"] and security_key:
            made = client.post(f"/admin/break-glass/{known['id']}/key")
        else:
            password = _password(password_file)
            factor = "key" if security_key else "code"
            made = client.post("/admin/break-glass", {"name": name, "password": password, "factor": factor})
        if as_json:
            emit_json(made)
        elif security_key:
            _register(client, made, wait=wait)
        else:
            _confirm(client, made)


@app.command()
def confirm(
    name: Name,
    code: Annotated[str, typer.Argument(help="The authenticator's code of this moment.")],
    *,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Show that the authenticator of an enrolment (with --json) works; the administrator can sign in then."""
    with explained(), AdminClient(data) as client:
        done = client.post(f"/admin/break-glass/{quote(name, safe='')}/confirm", {"code": code})
    if as_json:
        emit_json(done)
    else:
        Console().print(Text(f"{name} can sign in."))


@app.command("list")
def list_admins(*, data: Data = None, as_json: Json = False) -> None:
    """The local administrators there are, their second factors, and when they were last used."""
    with explained(), AdminClient(data) as client:
        found = client.get("/admin/break-glass")
    if as_json:
        emit_json(found)
        return
    empty = "No local administrators. Enrol one: `ai-platform break-glass enrol NAME`."
    columns = ("name", "second_factors", "state", "created", "last_used")
    emit_table(count_of(len(found), "local administrator"), columns, [_row(one) for one in found], empty=empty)


@app.command()
def remove(name: Name, *, data: Data = None, as_json: Json = False) -> None:
    """Remove a local administrator; what goes on in their name ends at once."""
    with explained(), AdminClient(data) as client:
        done = client.delete(f"/admin/break-glass/{quote(name, safe='')}")
    if as_json:
        emit_json(done)
    else:
        Console().print(Text(f"Removed {name}."))


@app.command("open")
def open_page(name: Name, *, data: Data = None, as_json: Json = False) -> None:
    """Print a link to the sign-in page that works although too many sign-ins failed, for ten minutes.

    Name, password and second factor are needed all the same.
    """
    with explained(), AdminClient(data) as client:
        made = client.post(f"/admin/break-glass/{quote(name, safe='')}/open")
    if as_json:
        emit_json(made)
    else:
        typer.echo(made["link"])


def _password(file: Path | None) -> str:
    if file is not None:
        try:
            text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        except OSError as error:
            fail(f"The password cannot be read from {file}: {error.strerror}.")
        return text.rstrip("\r\n")
    return str(typer.prompt("Password (16 characters or more)", hide_input=True, confirmation_prompt=True))


def _confirm(client: AdminClient, made: dict[str, Any]) -> None:
    console = Console(soft_wrap=True)
    secret = " ".join(made["secret"][at : at + 4] for at in range(0, len(made["secret"]), 4))
    console.print(Text("Put this into an authenticator application; it is not shown again."))
    console.print(Text(f"\n  secret  {secret}\n  link    {made['uri']}\n", style="bold"))
    for _ in range(3):
        code = str(typer.prompt("Code that it shows now"))
        try:
            client.post(f"/admin/break-glass/{made['id']}/confirm", {"code": code})
        except ClientError as error:
            console.print(Text(str(error), style="yellow"))
            continue
        console.print(Text(f"{made['name']} can sign in at {client.url}/auth/break-glass."))
        return
    fail(f"{made['name']} was not enrolled. Begin again with the same name.")


def _register(client: AdminClient, made: dict[str, Any], *, wait: bool) -> None:
    console = Console(soft_wrap=True)
    console.print(Text("Open this link within ten minutes in the browser with the security key:"))
    console.print(Text(f"\n  {made['link']}\n", style="bold"))
    if not wait:
        return
    deadline = time.monotonic() + WAIT_SECONDS
    with console.status("Waiting for the security key"):
        while time.monotonic() < deadline:
            now = next((one for one in client.get("/admin/break-glass") if one["id"] == made["id"]), None)
            if now and now["keys"] > made["keys"]:
                console.print(Text(f"Registered. {made['name']} can sign in at {client.url}/auth/break-glass."))
                return
            time.sleep(1)
    fail("No security key was registered in time. Begin again with the same name.")


def _row(one: dict[str, Any]) -> dict[str, Any]:
    factors = [*(["codes"] if one["codes"] else []), *([f"{one['keys']} security keys"] if one["keys"] else [])]
    state = "closed to the network" if one["closed_until"] else "can sign in" if one["active"] else "not confirmed"
    return {
        **one,
        "second_factors": ", ".join(factors) or "none",
        "state": state,
        "created": _moment(one["created_at"]),
        "last_used": _moment(one["last_used_at"]) if one["last_used_at"] else "never",
    }


def _moment(seconds: float) -> str:
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M}"
