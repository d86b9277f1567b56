"""`ai-platform service-accounts`: what programs are, switched off and on, and why a token becomes which of them."""

import base64
import binascii
import json
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.text import Text

from ai_platform.cli.output import Json, count_of, emit_json, emit_table, explained, fail
from ai_platform.client import AdminClient

Data = Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)]
Name = Annotated[str, typer.Argument(help="Name of the service account.")]

app = typer.Typer(no_args_is_help=True, help="Service accounts of CI jobs and other programs.")


@app.command("list")
def list_accounts(*, data: Data = None, as_json: Json = False) -> None:
    """The service accounts there are: from which issuers they come, their keys and tokens, when they were last used."""
    with explained(), AdminClient(data) as client:
        found = client.get("/admin/service-accounts")
    if as_json:
        emit_json(found)
        return
    empty = "No service accounts. List an issuer in `sso.federation`, or `ai-platform keys create NAME --service`."
    columns = ("name", "comes_from", "keys", "tokens", "last_used", "status")
    emit_table(
        count_of(len(found), "service account"),
        columns,
        [_row(one) for one in found],
        empty=empty,
        right=("keys", "tokens"),
    )


@app.command()
def disable(name: Name, *, data: Data = None, as_json: Json = False) -> None:
    """End its tokens at once, revoke its keys for good, and give it no new token until it is enabled again."""
    with explained(), AdminClient(data) as client:
        done = client.post(f"/admin/service-accounts/{quote(name, safe='')}/disable")
    if as_json:
        emit_json(done)
    else:
        ended = f"{done['tokens_ended']} tokens ended, {done['keys_revoked']} keys revoked"
        Console().print(Text(f"Disabled {name}: {ended}."))


@app.command()
def enable(name: Name, *, data: Data = None, as_json: Json = False) -> None:
    """Let it exchange tokens again. Keys that were revoked stay revoked."""
    with explained(), AdminClient(data) as client:
        done = client.post(f"/admin/service-accounts/{quote(name, safe='')}/enable")
    if as_json:
        emit_json(done)
    else:
        Console().print(Text(f"Enabled {name}."))


@app.command()
def explain(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="File with a token, or with its claims as JSON; - = standard input.")
    ] = "-",
    *,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Say which service account a token would become, and which claims keep it from being another.

    Only the claims are sent, never the token; nothing is exchanged and no signature is checked.
    """
    claims = _claims(source)
    with explained(), AdminClient(data) as client:
        found = client.post("/admin/service-accounts/explain", {"claims": claims})
    becomes = next((one for one in found if not one["failed"]), None)
    if as_json:
        emit_json({"becomes": becomes, "accounts": found})
        return
    rows = [{**one, "claims_that_differ": ", ".join(one["failed"]) or "none: it fits"} for one in found]
    empty = f"No issuer {claims.get('iss', '')} in `sso.federation`."
    emit_table("Service accounts", ("issuer", "account", "claims_that_differ"), rows, empty=empty)
    told = f"It becomes {becomes['account']}." if becomes else "It becomes nothing: it would be refused."
    Console().print(Text(told, style="bold"))


def _claims(source: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        fail(f"{source} cannot be read ({error}).", code=2)
    text = text.strip()
    if text.count(".") == 2 and not text.startswith("{"):
        part = text.split(".")[1]
        try:
            text = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
        except (binascii.Error, ValueError):
            fail("That is no token: its second part is not base64url.", code=2)
    try:
        claims = json.loads(text)
    except (ValueError, RecursionError):
        fail("That is neither a token nor a JSON object of claims.", code=2)
    if not isinstance(claims, dict):
        fail("The claims must be a JSON object.", code=2)
    return claims


def _row(account: dict[str, Any]) -> dict[str, Any]:
    ways = [*account["issuers"], *(["keys"] if account["keys"] else [])]
    return {
        **account,
        "comes_from": ", ".join(ways) or "nowhere",
        "last_used": (account["used_at"] or "never")[:16].replace("T", " "),
        "status": f"disabled {account['disabled_at'][:10]}" if account["disabled_at"] else "active",
    }
