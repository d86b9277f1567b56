"""How `ai-platform scan` reports: a table or explanations for people, JSON and SARIF 2.1.0 for programs.

Never a value: its first character at most.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from ai_platform import __version__
from ai_platform.cli.output import emit_table
from ai_platform.cli.scan_sources import Source
from ai_platform.domain.finding import Finding, Severity
from ai_platform.protection.rule import Rule

_LEVELS = {Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_SCORES = {Severity.CRITICAL: "9.0", Severity.HIGH: "7.0", Severity.WARNING: "4.0", Severity.INFO: "1.0"}
"""What code-scanning pages rank by (`security-severity`)."""

_COLUMNS = ("place", "type", "severity", "action", "value")


class Row(msgspec.Struct):
    """A finding in a file. Lines and columns from 1, columns in code points; the end is exclusive.

    mask: the first character of the value. explanation: (what, how), if asked for.
    """

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    mask: str
    finding: Finding
    explanation: Sequence[tuple[str, str]] = ()

    def json(self) -> dict[str, Any]:
        record = {
            "file": os.fsencode(self.file).decode("utf-8", "replace"),
            "line": self.line,
            "column": self.column,
            **brief(self.finding),
            "value": self.mask,
        }
        return record | {"explanation": dict(self.explanation)} if self.explanation else record


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


def row(source: Source, finding: Finding, explanation: Sequence[tuple[str, str]]) -> Row:
    text = source.text
    value = text[finding.start : finding.end]
    line = source.line + text.count("\n", 0, finding.start)
    return Row(
        file=source.name,
        line=line,
        column=_column(source, finding.start),
        end_line=line + value.count("\n"),
        end_column=_column(source, finding.end),
        mask=(value[:1] if value[:1].isprintable() else "") + "***",
        finding=msgspec.structs.replace(finding, start=source.offset + finding.start, end=source.offset + finding.end),
        explanation=explanation,
    )


def _column(source: Source, place: int) -> int:
    newest = source.text.rfind("\n", 0, place)
    return place - newest if newest >= 0 else source.column + place + 1


def emit_rows(rows: Sequence[Row], *, files: int, without_text: int, allow: str) -> None:
    """The table, or one paragraph per finding when they are explained. without_text: how many files were passed over.
    allow: what leaves a line of a file out.
    """
    what = _summary(rows, files)
    if without_text:
        said = f"{_counted(without_text, 'file')} without text (images, archives, programs): not looked into."
        Console(stderr=True, soft_wrap=True).print(said, style="dim", highlight=False)
    if not any(each.explanation for each in rows):
        shown = [
            {
                "place": shown_name(_place(each)),
                "type": each.finding.type,
                "severity": each.finding.severity.value,
                "action": each.finding.action.value,
                "value": escape(each.mask),
            }
            for each in rows
        ]
        emit_table(what, _COLUMNS, shown, empty=f"Nothing found in {_counted(files, 'file')}.")
        if rows:
            Console(stderr=True, soft_wrap=True).print(
                f"--explain says why. A line that holds `{allow}` is left out.", style="dim", highlight=False
            )
        return
    console = Console(soft_wrap=True, highlight=False)
    for each in rows:
        console.print(Text.assemble((_plain(_place(each)), "bold"), f" {each.finding.type} {each.mask}"))
        for name, how in each.explanation:
            console.print(Text(f"  {name:14} {_plain(how)}"))
    console.print(what)


def _place(row: Row) -> str:
    return f"{'stdin' if row.file == '-' else row.file}:{row.line}:{row.column}"


def _summary(rows: Sequence[Row], files: int) -> str:
    counts = Counter(each.finding.severity for each in rows)
    severities = ", ".join(f"{counts[severity]} {severity.value}" for severity in Severity if counts[severity])
    found = _counted(len(rows), "finding") + (f" ({severities})" if rows else "")
    return f"{found} in {len({each.file for each in rows})} of {_counted(files, 'file')}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' if count != 1 else ''}"


def shown_name(name: str) -> str:
    """A file's name that can be printed: no control characters, no markup."""
    return escape(_plain(name))


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def sarif(rows: Iterable[Row], rules: Iterable[Rule]) -> dict[str, Any]:
    """SARIF 2.1.0. Fingerprints are of places, not of values: a hash of a short number gives the number away."""
    found = list(rows)
    used = {each.finding.rule for each in found}
    records = sorted((rule for rule in rules if rule.id in used), key=lambda rule: rule.id)
    index = {rule.id: number for number, rule in enumerate(records)}
    count: Counter[tuple[str, str]] = Counter()
    results: list[dict[str, Any]] = []
    for each in found:
        count[each.file, each.finding.rule] += 1
        results.append(_result(each, index[each.finding.rule], count[each.file, each.finding.rule], records))
    driver = {
        "name": "ai-platform scan",
        "semanticVersion": __version__,
        "rules": [_descriptor(rule) for rule in records],
    }
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}


def _descriptor(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": rule.type,
        "shortDescription": {"text": rule.label[:1].upper() + rule.label[1:]},
        "fullDescription": {"text": f"{rule.data_class}, {rule.tier}. Documented by: {rule.source}"},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"tags": ["security", rule.data_class], "security-severity": _SCORES[rule.severity]},
    }


def _result(each: Row, rule_index: int, number: int, rules: Sequence[Rule]) -> dict[str, Any]:
    finding = each.finding
    uri = quote(os.fsencode(PurePath(each.file).as_posix().removeprefix("./")))
    place = f"{uri}\0{finding.rule}\0{number}".encode()
    label = rules[rule_index].label
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule_index,
        "level": _LEVELS[finding.severity],
        "message": {
            "text": f"{label[:1].upper()}{label[1:]} ({finding.type}); the platform's action: {finding.action}."
        },
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri},
                    "region": {
                        "startLine": each.line,
                        "startColumn": each.column,
                        "endLine": each.end_line,
                        "endColumn": each.end_column,
                    },
                }
            }
        ],
        "partialFingerprints": {"placeOfRule/v1": sha256(place).hexdigest()[:32]},
    }
