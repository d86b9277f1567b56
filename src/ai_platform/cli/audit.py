"""`ai-platform audit`: verify, follow, search, export and prove what the platform recorded."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ai_platform.audit.bundle import unpack
from ai_platform.audit.verifier import Tampered, read_keys, verify_path
from ai_platform.cli.output import Json, count_of, emit_json, emit_table, explained, fail
from ai_platform.client import AdminClient

app = typer.Typer(no_args_is_help=True, help="Verify, follow, search, export and prove the audit trail.")

Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the platform.", show_default=False)]
Who = Annotated[str | None, typer.Option(help="A person's id or e-mail address.", show_default=False)]
What = Annotated[str | None, typer.Option(help="Event types, comma-separated.", show_default=False)]
Since = Annotated[str | None, typer.Option(help="From this time on: ISO 8601, or 24h, 7d.", show_default=False)]
Until = Annotated[str | None, typer.Option(help="Before this time: ISO 8601, or 24h, 7d.", show_default=False)]
CallId = Annotated[str | None, typer.Option("--call", help="Everything of one call.", show_default=False)]

_COLUMNS = ("time", "event", "who", "model", "result", "usd")
_STORY = ("time", "event", "who", "what", "result", "usd", "call")
_CHECKED = ("log", "events", "checkpoints", "uncovered", "expired", "first_at", "last_at", "sealed")


@app.command()
def verify(
    data: Data = None,
    *,
    offline: Annotated[
        Path | None, typer.Option(help="A bundle folder or a proof file instead of a running platform.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="audit.pub from a place you trust; default: the one in the bundle.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Recompute every log, check every signature. Exit code 0: intact, 1: tampered."""
    with explained():
        if offline:
            _verify_offline(offline, key, as_json)
        report = _verify_online(data, quiet=as_json)
    if as_json:
        emit_json(report)
    else:
        _print_report(report)
    raise typer.Exit(0 if report["intact"] else 1)


@app.command()
def tail(
    data: Data = None,
    *,
    last: Annotated[int, typer.Option("-n", "--last", help="Begin with so many of the newest events.")] = 10,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with every new event.")] = False,
    as_json: Json = False,
) -> None:
    """The newest events, one a line; with -f also those to come (Ctrl-C ends it)."""
    with explained(), AdminClient(data) as client:
        for line in client.lines("/admin/audit/tail", last=last, follow=int(follow)):
            _write(f"{line}\n" if as_json else f"{_brief(msgspec.json.decode(line))}\n")


@app.command()
def search(
    data: Data = None,
    *,
    who: Who = None,
    what: What = None,
    since: Since = None,
    until: Until = None,
    call: CallId = None,
    limit: Annotated[int, typer.Option(help="At most so many events (1000).")] = 50,
    after: Annotated[str | None, typer.Option(help="Go on behind this event id.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Events by who, what and when, newest first."""
    with explained(), AdminClient(data) as client:
        wanted = {"who": who, "what": what, "since": since, "until": until, "call_id": call}
        found = client.get("/admin/audit/events", **wanted, limit=limit, after=after)["events"]
    if as_json:
        emit_json(found)
    else:
        emit_table(count_of(len(found), "event"), _COLUMNS, map(_row, found), empty="No event matches.", right=("usd",))


@app.command()
def story(
    identifier: Annotated[
        str,
        typer.Argument(metavar="ID", help="A call's id, call_..., a tool_use's, toolu_..., or an approval's, apr_..."),
    ],
    data: Data = None,
    *,
    as_json: Json = False,
) -> None:
    """What belongs together: the model's answer that asked for a tool, the approval, the tool's call and its result."""
    with explained(), AdminClient(data) as client:
        found = client.get("/admin/audit/events", story=identifier, limit=1000, order="oldest")["events"]
    if as_json:
        emit_json(found)
    else:
        emit_table(identifier, _STORY, map(_step, found), empty="Nothing is recorded under this id.", right=("usd",))


@app.command()
def export(
    data: Data = None,
    *,
    bundle: Annotated[
        Path | None, typer.Option(help="Write leaves, checkpoints, key and verifier to this new folder.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write JSON lines to this file, not to the screen.")
    ] = None,
    who: Who = None,
    what: What = None,
    since: Since = None,
    until: Until = None,
    as_json: Json = False,
) -> None:
    """Events as JSON lines (personal fields in clear), or everything as a bundle that proves itself."""
    with explained(), AdminClient(data) as client:
        if bundle:
            count = _write_bundle(client.lines("/admin/audit/export", bundle=1), bundle)
            told: dict[str, Any] = {"bundle": str(bundle), "events": count}
        else:
            wanted = {"who": who, "what": what, "since": since, "until": until}
            count = _write_lines(client.lines("/admin/audit/export", **wanted), out)
            told = {"file": str(out), "events": count}
    if as_json and (bundle or out):
        emit_json(told)
    elif bundle:
        Console().print(
            f"{count} events in {bundle}. Check it anywhere with Python alone:\n"
            f"  python {bundle}/verifier.py {bundle} --key audit.pub",
            highlight=False,
        )
    elif out:
        Console().print(f"{count} events in {out}.", highlight=False)


@app.command()
def proof(
    event_id: Annotated[str, typer.Argument(help="An event id, evt_...")],
    data: Data = None,
    *,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the proof to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Prove one event: its record, the path to the signed root, the checkpoint. Needs no trust in this platform."""
    with explained(), AdminClient(data) as client:
        proven = client.get(f"/admin/audit/proof/{event_id}")
        if out:
            _create(out, msgspec.json.format(msgspec.json.encode(proven), indent=2) + b"\n")
    if as_json or not out:
        emit_json(proven)
    else:
        Console().print(f"Proof in {out}. Check it with `ai-platform audit verify --offline {out} --key audit.pub`.")


def _verify_offline(path: Path, key: Path | None, as_json: bool) -> None:
    own = path / "audit.pub" if path.is_dir() else path.parent / "audit.pub"
    try:
        report = verify_path(path, read_keys((key or own).read_text(encoding="utf-8")))
    except (OSError, ValueError, Tampered) as error:
        fail(f"{error}. Name a bundle folder or a proof file, and the public key with --key.", code=2)
    if as_json:
        emit_json(report)
    else:
        _print_verdict(report)
        for name in ("events", "logs", "checkpoints", "first_at", "last_at", "expired", "open_calls"):
            if report.get(name):
                Console().print(f"  {name.replace('_', ' ')}: {report[name]}", highlight=False)
        if key is None:
            Console().print("  The key came with the evidence: compare it with the audit.pub you were given before.")
    raise typer.Exit(0 if report["intact"] else 1)


def _verify_online(data: Path | None, *, quiet: bool) -> dict[str, Any]:
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet)
    report: dict[str, Any] | None = None
    with AdminClient(data) as client, progress:
        task = progress.add_task("verifying", total=None)
        for line in client.lines("/admin/audit/verify"):
            step = msgspec.json.decode(line)
            if step["type"] == "report":
                report = step
            else:
                progress.update(task, completed=step["done"], total=step["total"])
    if report is None:
        fail("The verification broke off before its report. Look at the platform's log and try again.")
    return report


def _print_report(report: dict[str, Any]) -> None:
    _print_verdict(report)
    span = f" from {report['first_at']} to {report['last_at']}" if report["events"] else ""
    Console().print(
        f"  {count_of(report['events'], 'event')}{span}, {count_of(len(report['logs']), 'log')},"
        f" {count_of(report['checkpoints'], 'checkpoint')},"
        f" {report['seconds']} s",
        highlight=False,
    )
    emit_table(
        "Logs", _CHECKED, report["logs"], empty="No log yet.", right=("events", "checkpoints", "uncovered", "expired")
    )
    if report["open_call_count"]:
        shown = ", ".join(report["open_calls"][:5])
        Console().print(
            f"  {report['open_call_count']} calls without an outcome, running or interrupted: {shown}", highlight=False
        )


def _print_verdict(report: dict[str, Any]) -> None:
    Console().print("[bold green]INTACT[/]" if report["intact"] else "[bold red]TAMPERED[/]")
    for problem in report["problems"]:
        Console().print(f"  ! {problem}", markup=False, highlight=False)


def _brief(event: dict[str, Any]) -> str:
    parts = (event.get(name) for name in ("timestamp", "event_type", "user_email", "model", "result", "reason"))
    return "  ".join(str(part) for part in parts if part)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _write_lines(lines: Iterator[str], out: Path | None) -> int:
    if out is None:
        count = 0
        for count, line in enumerate(lines, 1):  # noqa: B007 - the number is wanted after the loop
            _write(f"{line}\n")
        return count
    try:
        with out.open("x", encoding="utf-8") as file:
            return sum(1 for line in lines if file.write(f"{line}\n"))
    except OSError as error:
        fail(f"{out} cannot be written: {error}", code=2)


def _write_bundle(lines: Iterator[str], folder: Path) -> int:
    try:
        return unpack(lines, folder)
    except OSError as error:
        fail(f"{folder} cannot take the bundle: {error}. Name a new folder.", code=2)


def _create(path: Path, content: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(content)
    except OSError as error:
        fail(f"{path} cannot be written: {error}", code=2)


def _step(event: dict[str, Any]) -> dict[str, Any]:
    """One event of a story: which model or tool it is about, and which tools an answer asked for."""
    what = event.get("model") or ""
    if event.get("server"):
        what = f"{event['server']}/{event.get('tool') or ''}"
    if uses := event.get("tool_uses"):
        what = f"{what} -> {', '.join(use['name'] for use in uses)}"
    return _row(event) | {"what": what, "call": event.get("call_id")}


def _row(event: dict[str, Any]) -> dict[str, Any]:
    """What a person looks for first; `--json` has every field, the call's id among them."""
    result = event.get("result") or event.get("reason") or ""
    if reason := event.get("reason"):
        result = f"{event.get('result') or 'refused'}: {reason}"
    elif types := event.get("sensitive_data_types"):
        result = f"{result} ({', '.join(types)}{', redacted' if event.get('redacted') else ''})".strip()
    return {
        "time": str(event["timestamp"])[:19].replace("T", " "),
        "event": str(event["event_type"]).removeprefix("claude_"),
        "who": event.get("user_email") or event.get("user_name"),
        "model": event.get("model"),
        "result": result,
        "usd": event.get("cost_usd"),
    }
