"""`ai-platform scan`: the platform's data-protection engine on files, folders and standard input. Needs no platform."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from ai_platform.cli.output import Json, emit_json, emit_table, fail
from ai_platform.domain.finding import Finding, ProtectionPlan
from ai_platform.protection import Scanner

Paths = Annotated[list[str] | None, typer.Argument(help="Files or folders; `-` is standard input.", show_default=False)]
Jsonl = Annotated[bool, typer.Option("--jsonl", help='Lines {"id","text"} in, lines {"id","findings"} out.')]

_SKIPPED = {".git", "node_modules", ".venv", "__pycache__"}


def scan(paths: Paths = None, *, jsonl: Jsonl = False, as_json: Json = False) -> None:
    """Look for personal data, payment data and secrets. Exit code 0: nothing found, 1: findings, 2: used wrongly."""
    scanner = Scanner(ProtectionPlan())
    sources = paths or ["-"]
    if jsonl:
        raise typer.Exit(_jsonl(scanner, sources))
    rows: list[dict[str, Any]] = []
    for name, text in _texts(sources):
        rows += [_row(finding, text, name) for finding in scanner.scan(text)]
    if as_json:
        emit_json(rows)
    else:
        columns = ("file", "line", "type", "rule", "tier", "severity", "action", "value")
        emit_table(f"{len(rows)} findings", columns, rows, empty="Nothing found.", right=("line",))
    raise typer.Exit(1 if rows else 0)


def brief(finding: Finding) -> dict[str, Any]:
    """The finding as `--jsonl` prints it: offsets in code points, never the value."""
    return {
        "start": finding.start,
        "end": finding.end,
        "class": finding.data_class,
        "type": finding.type,
        "rule": finding.rule,
        "tier": finding.tier,
        "severity": finding.severity,
        "action": finding.action,
    }


def _jsonl(scanner: Scanner, sources: list[str]) -> int:
    """One line out for each line in, whatever stands in it; the exit code. A line that is not {"id","text"} gets an
    `error` in place of findings, and the others are still scanned.
    """
    code = 0
    for source in sources:
        with sys.stdin.buffer if source == "-" else _open(source) as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                answer = _answer(scanner, line)
                if "error" in answer:
                    answer["line"] = number
                    code = 2
                elif answer["findings"] and code == 0:
                    code = 1
                sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()
    return code


def _answer(scanner: Scanner, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)  # takes lone surrogates, which real logs contain
    except (ValueError, RecursionError) as error:
        return {"id": None, "error": f"not JSON: {error}"[:200]}
    text = record.get("text") if isinstance(record, dict) else None
    if not isinstance(text, str):
        return {"id": None, "error": 'not an object with "id" and a "text" string'}
    return {"id": record.get("id"), "findings": [brief(finding) for finding in scanner.scan(text)]}


def _open(source: str) -> Any:
    try:
        return Path(source).open("rb")
    except OSError as error:
        fail(f"{source} cannot be read: {error.strerror}.", code=2)


def _texts(sources: list[str]) -> Iterator[tuple[str, str]]:
    for source in sources:
        if source == "-":
            yield "-", sys.stdin.buffer.read().decode("utf-8", "replace")
            continue
        path = Path(source)
        if not path.exists():
            fail(f"{source} does not exist.", code=2)
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        for file in files:
            if _SKIPPED.isdisjoint(file.parts):
                data = file.read_bytes()
                if b"\0" not in data[:8192]:
                    yield str(file), data.decode("utf-8", "replace")


def _row(finding: Finding, text: str, name: str) -> dict[str, Any]:
    value = text[finding.start : finding.end]
    return {"file": name, "line": text.count("\n", 0, finding.start) + 1, **brief(finding), "value": value[:1] + "***"}
