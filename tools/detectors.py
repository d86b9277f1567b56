"""Writes docs/detectors.md: every detector, from the rules themselves.

`python tools/detectors.py` writes the page; `--check` only says whether it is up to date, and ends with 1 when not.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ai_platform.domain.finding import Direction, ProtectionPlan
from ai_platform.protection.actions import resolve
from ai_platform.protection.rule import Rule
from ai_platform.protection.rules import ALL

PAGE = Path(__file__).parent.parent / "docs" / "detectors.md"
NAMES = {
    "PCI": "Payment data",
    "PII": "Personal data",
    "PHI": "Health data",
    "SECRET": "Secrets",
}
TIERS = """
How sure a detector is, its **tier**: `verified` (check digit or decodable structure), `format` (a shape that nothing
else has), `context` (a word beside it), `generic` (looks random and is assigned to a secret-like name).

An **action** is what happens where the policy names none; see [data protection](data-protection.md).
"""


def page() -> str:
    return "\n".join(lines()) + "\n"


def lines() -> Iterator[str]:
    yield "<!-- Written by tools/detectors.py from the rules; change a rule, then run it. -->\n"
    yield "# Detectors\n"
    counts = Counter(rule.data_class.value for rule in ALL)
    summary = ", ".join(f"{counts[kind]} for {name.lower()}" for kind, name in NAMES.items() if counts[kind])
    yield f"{len(ALL)} detectors: {summary}. Each has examples and counter-examples beside it in the code, which are"
    yield "executed as tests.\n"
    yield TIERS.strip() + "\n"
    for kind, name in NAMES.items():
        rules = sorted((rule for rule in ALL if rule.data_class.value == kind), key=lambda rule: (rule.type, rule.id))
        if rules:
            yield f"## {name}\n"
            yield "| type | rule | tier | severity | action | documented by |"
            yield "|---|---|---|---|---|---|"
            yield from map(row, rules)
            yield ""


def row(rule: Rule) -> str:
    action = resolve(rule, ProtectionPlan(), Direction.INPUT, None).value
    source = rule.source.replace("|", "\\|")
    cells = (f"`{rule.type}`", f"`{rule.id}`", rule.tier.value, rule.severity.value, action, source)
    return f"| {' | '.join(cells)} |"


def main() -> int:
    wanted = page()
    if "--check" not in sys.argv:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted:
        return 0
    print(f"out of date: docs/{PAGE.name}. Run: python tools/detectors.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
