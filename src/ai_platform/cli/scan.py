"""`ai-platform scan`: the platform's data-protection engine on files, folders, standard input and git diffs.

Needs no platform. scan_sources.py reads, scan_report.py prints.
"""

import json
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from typer.core import TyperCommand

from ai_platform.bootstrap.detectors import catalogue
from ai_platform.cli.output import Json, emit_json, fail
from ai_platform.cli.scan_report import Row, brief, emit_rows, row, sarif, shown_name
from ai_platform.cli.scan_sources import PIECE, Source, Unread, changes, files_of, read
from ai_platform.domain.errors import PlatformError
from ai_platform.domain.finding import Action, Finding, ProtectionPlan, Severity
from ai_platform.policy import Policy
from ai_platform.protection import Scanner
from ai_platform.protection.actions import plan_for
from ai_platform.protection.explain import explain
from ai_platform.protection.language import NamesToo, load_model

ALLOW = "ai-platform: allow"
"""Findings on a line of a file that says this are left out."""

_SEVERITIES = tuple(Severity)

Paths = Annotated[list[str] | None, typer.Argument(help="Files or folders; `-` is standard input.", show_default=False)]
Jsonl = Annotated[bool, typer.Option("--jsonl", help='Lines {"id","text"} in, lines {"id","findings"} out.')]
Sarif = Annotated[bool, typer.Option("--sarif", help="Print SARIF 2.1.0, for code-scanning pages.")]
Diff = Annotated[
    str | None,
    typer.Option(
        "--diff",
        metavar="[REV]",
        help="Only lines that were added since the git revision REV (default: HEAD). PATHs narrow it down.",
        show_default=False,
    ),
]
Staged = Annotated[bool, typer.Option("--staged", help="Only lines that the next git commit adds.")]
Explain = Annotated[bool, typer.Option("--explain", help="Say which rule, validator and context decided.")]
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", help="Own detectors, allow list and actions of this policy file.", show_default=False),
]
Team = Annotated[str | None, typer.Option("--team", help="Actions for this team.", show_default=False)]
Upstream = Annotated[
    str, typer.Option("--upstream", help="Actions for what goes to this upstream.", show_default=False)
]
Names = Annotated[
    Path | None,
    typer.Option(
        "--names",
        metavar="FOLDER",
        help="Also look for names of people in prose, with the spaCy model in FOLDER (needs the extra `names`).",
        show_default=False,
    ),
]
FailOn = Annotated[
    Severity, typer.Option("--fail-on", help="The least severity of a finding that makes the exit code 1.")
]


class ScanCommand(TyperCommand):
    """`--diff` may stand without a revision."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = args[: args.index("--")] if "--" in args else args
        if "--diff" in options:
            place = args.index("--diff")
            following = "".join(args[place + 1 : place + 2])
            if not following or following.startswith("-") or Path(following).exists():
                args = [*args[:place], "--diff=HEAD", *args[place + 1 :]]
        return super().parse_args(ctx, args)


def scan(
    paths: Paths = None,
    *,
    jsonl: Jsonl = False,
    as_json: Json = False,
    as_sarif: Sarif = False,
    diff: Diff = None,
    staged: Staged = False,
    with_explanation: Explain = False,
    policy: PolicyFile = None,
    team: Team = None,
    upstream: Upstream = "",
    names: Names = None,
    fail_on: FailOn = Severity.INFO,
) -> None:
    """Look for personal data, payment data and secrets. Exit code 0: nothing found, 1: findings, 2: used wrongly."""
    if sum((jsonl, as_json, as_sarif)) > 1:
        fail("--jsonl, --json and --sarif exclude one another.", code=2)
    if diff is not None and staged:
        fail("--diff and --staged exclude one another.", code=2)
    if not paths and diff is None and not staged and sys.stdin.isatty():
        fail("Nothing to scan: name files or folders (`ai-platform scan .`), or pipe a text into it.", code=2)
    scanner = _scanner(plan_for(_plan(policy), (upstream,)), names)
    if jsonl:
        raise typer.Exit(_jsonl(scanner, paths or ["-"], team, fail_on))
    files: Sequence[str] = ()
    if staged or diff is not None:
        sources: Iterable[Source | Unread] = changes(None if staged else diff, paths or ())
    else:
        files = files_of(paths or ["-"])
        sources = (source for name in files for source in read(name))
    rows: list[Row] = []
    seen: set[str] = set()
    unread = without_text = 0
    with _progress(files) as advance:
        for source in sources:
            advance(source)
            if isinstance(source, Unread) and not source.reason:
                without_text += 1
                continue
            if isinstance(source, Unread):
                Console(stderr=True).print(
                    f"{shown_name(source.name)} cannot be read: {source.reason}.", soft_wrap=True
                )
                unread += 1
                continue
            seen.add(source.name)
            rows += _rows(scanner, source, team, explained=with_explanation)
    if as_json:
        emit_json([each.json() for each in rows])
    elif as_sarif:
        emit_json(sarif(rows, [scanner.rule(each) for each in {each.finding.rule for each in rows}]))
    else:
        emit_rows(rows, files=len(seen), without_text=without_text, allow=ALLOW)
    raise typer.Exit(2 if unread else int(any(_counts(each.finding, fail_on) for each in rows)))


def _scanner(plan: ProtectionPlan, names: Path | None) -> Scanner:
    if names is None:
        return Scanner(plan)
    try:
        return NamesToo(plan, load_model(names, what="--names"))
    except PlatformError as error:
        fail(str(error), code=2)


def _plan(policy: Path | None) -> ProtectionPlan:
    if policy is None:
        return ProtectionPlan()
    if not policy.is_file():
        fail(f"{policy} does not exist.", code=2)
    try:
        plan = Policy.load(policy, catalogue=catalogue()).plan
    except PlatformError as error:
        fail(str(error), code=2)
    if not plan.enabled:
        Console(stderr=True).print(f"{policy} switches inspection off: nothing is looked for.", soft_wrap=True)
    return plan


def _rows(scanner: Scanner, source: Source, team: str | None, *, explained: bool) -> Iterator[Row]:
    text = source.text
    for finding in scanner.scan(text, team=team):
        if not source.own[0] <= finding.start < source.own[1] or _allowed(text, finding):
            continue
        if finding.action is Action.ALLOW and not explained:
            continue  # the policy says that it is no finding
        found = row(source, finding, explain(scanner, text, finding, team=team) if explained else ())
        touched = range(found.line, found.end_line + 1)
        if source.lines is None or not source.lines.isdisjoint(touched):
            yield found


def _allowed(text: str, finding: Finding) -> bool:
    begin = text.rfind("\n", 0, finding.start) + 1
    end = text.find("\n", finding.end)
    return text.find(ALLOW, begin, end if end >= 0 else len(text)) >= 0


def _counts(finding: Finding, least: Severity) -> bool:
    return finding.action is not Action.ALLOW and _SEVERITIES.index(finding.severity) <= _SEVERITIES.index(least)


@contextmanager
def _progress(names: Sequence[str]) -> Generator[Callable[[Source | Unread], None]]:
    """A bar on a person's terminal while many files, or a large one, are read. It counts bytes."""
    if not sys.stderr.isatty():
        yield _nowhere
        return
    begins: dict[str, int] = {}
    total = 0
    for name in names:
        begins[name] = total
        total += _size(name)
    if len(names) < 2 and total <= PIECE:
        yield _nowhere
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Scanning", total=total or None)

        def advance(source: Source | Unread) -> None:
            passed = source.offset if isinstance(source, Source) else 0
            progress.update(task, completed=begins.get(source.name, 0) + passed)

        yield advance


def _size(name: str) -> int:
    try:
        return Path(name).stat().st_size
    except OSError:
        return 0


def _nowhere(source: Source | Unread) -> None:
    """Progress nobody watches."""


def _jsonl(scanner: Scanner, sources: Sequence[str], team: str | None, least: Severity) -> int:
    """One line out for each line in, whatever stands in it; the exit code. A line that is not {"id","text"} gets an
    `error` in place of findings, and the others are still scanned.
    """
    code = 0
    for source in sources:
        with sys.stdin.buffer if source == "-" else _open(source) as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                answer, counts = _answer(scanner, line, team, least)
                if "error" in answer:
                    answer["line"] = number
                    code = 2
                elif counts and code == 0:
                    code = 1
                sys.stdout.buffer.write(_encoded(answer) + b"\n")
    sys.stdout.buffer.flush()
    return code


def _answer(scanner: Scanner, line: bytes, team: str | None, least: Severity) -> tuple[dict[str, Any], bool]:
    """(what to print, does it hold a finding that counts)."""
    try:
        record = _decoded(line)
    except (ValueError, RecursionError) as error:
        return {"id": None, "error": f"not JSON: {error}"[:200]}, False
    text = record.get("text") if isinstance(record, dict) else None
    if not isinstance(text, str):
        return {"id": None, "error": 'not an object with "id" and a "text" string'}, False
    findings = scanner.scan(text, team=team)
    answer = {"id": record.get("id"), "findings": [brief(finding) for finding in findings]}
    return answer, any(_counts(finding, least) for finding in findings)


def _decoded(line: bytes) -> Any:
    try:
        return json.loads(line)  # takes lone surrogates, which real logs contain
    except UnicodeDecodeError:
        return json.loads(line.decode("utf-8", "replace"))


def _encoded(answer: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(answer)
    except (ValueError, OverflowError, RecursionError):  # lone surrogates, huge numbers
        return json.dumps(answer).encode()


def _open(source: str) -> Any:
    try:
        return Path(source).open("rb")
    except OSError as error:
        fail(f"{source} cannot be read: {error.strerror}.", code=2)
