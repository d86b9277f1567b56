"""Why a finding is one: rule, source, trigger, validator, context and action, in words. Never the value.

Above: the `scan` command. Below: scanner, rules.
"""

import re
import textwrap
from collections.abc import Iterator

from ai_platform.domain.finding import Direction, Finding, Tier
from ai_platform.protection.actions import decide
from ai_platform.protection.assigned import NAMES
from ai_platform.protection.probe import words
from ai_platform.protection.rule import CONTEXT_REACH, Check, Rule
from ai_platform.protection.rules import secrets_generic
from ai_platform.protection.scanner import Scanner
from ai_platform.protection.view import View, is_plain

_LONGEST = 200
_SECRET_NAME = re.compile(rf"(?i)[a-z_]{{0,30}}{NAMES}[a-z_]{{0,30}}")
"""Of a name only this is shown: what stands around it may be a value itself."""

_TIERS = {
    Tier.VERIFIED: "verified: a check digit, a checksum or a structure that decodes",
    Tier.FORMAT: "format: a shape that nothing else has",
    Tier.CONTEXT: "context: the shape is common, a word beside it decides",
    Tier.GENERIC: "generic: looks random and is assigned to a secret-like name",
}


def explain(
    scanner: Scanner,
    text: str,
    finding: Finding,
    *,
    direction: Direction = Direction.INPUT,
    team: str | None = None,
) -> list[tuple[str, str]]:
    """(what, how) pairs about `finding`, which `scanner.scan(text)` returned, in the order a person wants them."""
    return list(_said(scanner, text, finding, direction, team))


def _said(
    scanner: Scanner, text: str, finding: Finding, direction: Direction, team: str | None
) -> Iterator[tuple[str, str]]:
    rule = scanner.rule(finding.rule)
    yield "rule", f"{rule.id}, looks for {rule.label}"
    yield "documented by", rule.source
    yield "certainty", _TIERS[rule.tier]
    yield "noticed by", _trigger(rule) or rule.source
    if rule.confirm:
        yield "shape", rule.confirm
    if rule.check is not None:
        yield "validated by", _check(rule.check)
    elif rule.finder is not None and rule.finder.__doc__:
        yield "validated by", rule.finder.__doc__.strip().split("\n")[0]
    judged = secrets_generic.judged(rule.id, text, finding.start, finding.end)
    if judged is not None:
        name, score = judged
        words_of = _SECRET_NAME.findall(name)
        called = f" ({words_of[-1]!r})" if words_of else ""
        yield "judged", f"{score:.0%} likely a secret, from its name{called} and from how the value is built"
    if rule.context:
        yield "context", _word(rule, text, finding.start)
    if rule.negative:
        yield "not beside", rule.negative.replace("|", ", ")
    if not is_plain(text):
        written = text[finding.start : finding.end]
        if View(written).text != written:
            yield "written with", "escapes, look-alike or invisible characters, which were read as what they stand for"
    action, why = decide(rule, scanner.plan, direction, team)
    yield "action", f"{action.value}: {why}"


def _trigger(rule: Rule) -> str:
    return textwrap.shorten(", ".join(rule.starts) or " or ".join(rule.triggers), _LONGEST, placeholder=" ...")


def _check(check: Check) -> str:
    said = (check.__doc__ or "").strip().split("\n")[0]
    return said or (check.__name__.replace("_", " ") if check.__name__ != "<lambda>" else "the detector's own check")


def _word(rule: Rule, text: str, start: int) -> str:
    before = text[max(0, start - CONTEXT_REACH) : start]
    found = list(words(rule.context or "").finditer(before)) or list(
        re.finditer(f"(?i:{rule.context})", View(before).text)
    )
    if not found:
        return f"one of {(rule.context or '').replace('|', ', ')}"
    return f"the word {found[-1].group()!r} stands before it"
