"""`ai-platform sso`: how people sign in: the providers, certificates, our SAML metadata and key."""

from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
from rich.console import Console
from rich.text import Text

from ai_platform.cli.output import Json, count_of, emit_json, emit_table, explained, fail
from ai_platform.client import AdminClient, ClientError

Data = Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)]

app = typer.Typer(no_args_is_help=True, help="How people sign in: providers, certificates, SAML metadata and key.")


@app.command()
def status(*, data: Data = None, as_json: Json = False) -> None:
    """Ask every identity provider now; show what is wrong and when certificates expire. Exit 1 when something is."""
    with explained(), AdminClient(data) as client:
        found = client.get("/admin/sign-in", look="1")
    bad = _troubles(found)
    if as_json:
        emit_json(found)
    else:
        empty = "Nobody signs in here. Name a provider in `sso.providers` or `sso.saml`."
        columns = ("name", "kind", "issuer", "sends_people_to", "certificate", "state")
        rows = [_row(provider) for provider in found["providers"]]
        emit_table(count_of(len(rows), "identity provider"), columns, rows, empty=empty)
        for line in bad:
            Console().print(Text(line, style="yellow"))
    raise typer.Exit(1 if bad else 0)


@app.command()
def metadata(
    provider: Annotated[str, typer.Argument(help="Name of a SAML provider. [default: the first one]")] = "",
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this file.")] = None,
    data: Data = None,
) -> None:
    """Print our SAML metadata, the file that a SAML provider wants of us."""
    with explained(), AdminClient(data) as client:
        path = f"/saml/{provider}/metadata" if provider else "/saml/metadata"
        try:
            answer = httpx2.get(f"{client.url}{path}", timeout=30, trust_env=False)
        except httpx2.TransportError as error:
            raise ClientError(f"No platform answers at {client.url} ({error}).") from error
    if answer.status_code != 200:
        fail(f"{client.url}{path} answers {answer.status_code}. See `ai-platform sso status` for the providers.")
    if output is None:
        typer.echo(answer.text, nl=False)
    else:
        output.write_bytes(answer.content)
        Console().print(Text(f"Written to {output}."))


@app.command("rotate-key")
def rotate_key(
    *,
    finish: Annotated[bool, typer.Option("--finish", help="Every provider knows the next key: use it.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Change the key that signs SAML requests and opens encrypted answers, in two steps.

    The first makes the next key and shows it in the metadata beside the current one. When every provider has the new
    metadata, the second (--finish) puts it in the place of the current one.
    """
    with explained(), AdminClient(data) as client:
        key = client.post(f"/admin/sign-in/saml-key{'/finish' if finish else ''}")
    if as_json:
        emit_json(key)
        return
    console = Console(soft_wrap=True)
    console.print(Text(f"{'Current' if finish else 'Next'} certificate: SHA-256 {key['sha256']}"))
    if not finish:
        console.print(
            "Give the new metadata to every SAML provider (`ai-platform sso metadata`), then run"
            " `ai-platform sso rotate-key --finish`.",
            style="dim",
        )


def _row(provider: dict[str, Any]) -> dict[str, Any]:
    left = min((one["days_left"] for one in provider["certificates"]), default=None)
    return {
        **provider,
        "sends_people_to": provider["callback"],
        "certificate": "" if left is None else f"{left} days left" if left >= 0 else "expired",
        "state": "down" if provider["problem"] else "up",
    }


def _troubles(found: dict[str, Any]) -> list[str]:
    lines = [f"{provider['name']}: {provider['problem']}" for provider in found["providers"] if provider["problem"]]
    every = [*found["own"], *(one for provider in found["providers"] for one in provider["certificates"])]
    return lines + [certificate_trouble(one) for one in every if one["state"] != "ok"]


def certificate_trouble(one: dict[str, Any]) -> str:
    """A sentence about a certificate that has expired or will soon."""
    whose = f"of {one['provider']}" if one["provider"] else "of this platform"
    when = "has expired" if one["state"] == "expired" else f"expires in {one['days_left']} days"
    remedy = "Have it renewed there." if one["provider"] else "Run `ai-platform sso rotate-key`."
    return f"The SAML certificate {whose} ({one['sha256'][:16]}) {when}. {remedy}"
