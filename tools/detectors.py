"""Writes docs/detectors.md and a page for each class of data beside it: every detector, from the rules themselves.

`python tools/detectors.py` writes the pages; `--check` only says whether they are up to date, and ends with 1 when not.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ai_platform.domain.finding import DataClass, Direction, ProtectionPlan, Severity
from ai_platform.protection.actions import resolve
from ai_platform.protection.rule import Rule
from ai_platform.protection.rules import ALL
from ai_platform.protection.rules.evidence import EVIDENCE

DOCS = Path(__file__).parent.parent / "docs"
NAMES = {
    DataClass.PCI: "Payment data",
    DataClass.PII: "Personal data",
    DataClass.PHI: "Health data",
    DataClass.SECRET: "Secrets",
}
WRITTEN = "<!-- Written by tools/detectors.py from the rules; change a rule, then run it. -->\n"
TERMS = """
How sure a detector is, its **tier**: `verified` (check digit or decodable structure), `format` (a shape that nothing
else has), `context` (a word beside it decides), `generic` (looks random and is assigned to a secret-like name).

An **action** is what happens on the way to the model where the policy names none; a [policy](policy.md#data-protection)
chooses by `rule`, `type`, `data_class`, `severity` and more, see [data protection](data-protection.md).
`ai-platform scan --explain` shows for a finding which rule, validator and context decided.
"""
_LONGEST = 110


def pages() -> dict[str, str]:
    """Path under docs/ -> what is to stand there."""
    every = {f"detectors/{kind.value.lower()}.md": "\n".join(of_class(kind, name)) for kind, name in NAMES.items()}
    return {"detectors.md": "\n".join(overview())} | every


def overview() -> Iterator[str]:
    yield WRITTEN
    yield "# Detectors\n"
    yield f"{len(ALL)} detectors. Each has examples and counter-examples beside it in the code, which are tests.\n"
    yield f"| class | | detectors | {' | '.join(each.value for each in Severity)} |"
    yield f"|---|---|---|{'---|' * len(Severity)}"
    for kind, name in NAMES.items():
        counts = Counter(rule.severity for rule in ALL if rule.data_class is kind)
        cells = [str(counts[each] or "") for each in Severity]
        page = f"detectors/{kind.value.lower()}.md"
        yield f"| `{kind.value}` | [{name}]({page}) | {counts.total()} | {' | '.join(cells)} |"
    own = sum(each.vendor for each in EVIDENCE.values())
    yield (
        f"\n**What was checked**: {len(EVIDENCE)} formats were compared with a page that was read ({own} of them the"
        f" vendor's own), which their row links. The other {len(ALL) - len(EVIDENCE)} were written from general"
        " knowledge of what `documented by` names, and have not been compared with it: where one of them misses a"
        " value, the rule may be wrong. `rules/evidence.py` is the list for programs."
    )
    yield f"\n{TERMS.strip()}\n"


def of_class(kind: DataClass, name: str) -> Iterator[str]:
    rules = sorted((rule for rule in ALL if rule.data_class is kind), key=lambda rule: (rule.type, rule.id))
    yield WRITTEN
    yield f"# {name}\n"
    yield f"{len(rules)} detectors of the class `{kind.value}`. What the columns mean: [detectors](../detectors.md).\n"
    yield from table(rules)
    yield ""


def table(rules: Sequence[Rule]) -> Iterator[str]:
    yield "| type | finds | rule | tier | checked by | severity | action | documented by |"
    yield "|---|---|---|---|---|---|---|---|"
    for rule in rules:
        cells = (
            f"`{rule.type}`",
            rule.label,
            f"`{rule.id}`",
            rule.tier.value,
            checked_by(rule),
            rule.severity.value,
            resolve(rule, ProtectionPlan(), Direction.INPUT, None).value,
            documented_by(rule),
        )
        yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def documented_by(rule: Rule) -> str:
    """Its source; with a link when it was compared with a page."""
    evidence = EVIDENCE.get(rule.id)
    if not evidence:
        return rule.source
    read = f"[page read]({evidence.url}): {evidence.told}"
    return read if rule.source == evidence.url else f"{rule.source} ({read})"


def checked_by(rule: Rule) -> str:
    """What its validator says of itself."""
    told = (rule.check or rule.finder).__doc__ if rule.check or rule.finder else None
    first = (told or "").strip().split("\n")[0].rstrip(".")
    return first if len(first) <= _LONGEST else f"{first[:_LONGEST].rsplit(' ', 1)[0]} ..."


def main() -> int:
    late: list[str] = []
    for name, wanted in pages().items():
        path = DOCS / name
        if path.exists() and path.read_text(encoding="utf-8") == wanted:
            continue
        late.append(f"docs/{name}")
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted, encoding="utf-8")
    if late and "--check" in sys.argv:
        print(f"out of date: {', '.join(late)}. Run: python tools/detectors.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
