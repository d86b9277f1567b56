"""What numeric rules share: numbers that only a keyword beside them gives away.

Not a family: no RULES here. Below: rule.py. Above: cards, bank, identity_*, health, contact.
"""

import re

from ai_platform.domain.finding import Action, DataClass, Severity, Tier
from ai_platform.protection.rule import Anchor, Check, Rule

_WORD_BACK = re.compile(
    r"[\"']?[\s:=#.-]{0,4}[\"']?(?:(?:rebmun|mun|rn|on|di)[_ ]?)?(?P<word>[A-Za-z]{2,12})(?![A-Za-z])"
)


def word_before(text: str, start: int) -> str:
    """The word a number is called by: `order` before `order no: 12`, lower case; empty when there is none."""
    before = text[max(0, start - 30) : start]
    if not before.rstrip("\"' \t\n\r\f\v:=#.-")[-1:].isalpha():
        return ""
    back = _WORD_BACK.match(before[::-1])
    return back.group("word")[::-1].lower() if back else ""


BESIDE = (
    r"(?:[ _-]{0,2}(?:number|num|numero|nummer|no|nr|id|code|card|value|#)){0,2}[\"'\]`]{0,2}\W{0,4}?"
    r"(?:(?:is|was|of|=>|:|=|,)[ \t]{0,3}){0,2}[\"'`(#]{0,2}"
)
"""What may stand between a keyword and its number: `ssn_number": "`, ` number is `, `: `, `#`."""


def keyword_number(
    rule_id: str,
    label: str,
    source: str,
    *,
    type: str,  # noqa: A002 - the record's own field name
    keyword: str,
    number: str,
    examples: tuple[str, ...],
    counter_examples: tuple[str, ...] = (),
    check: Check | None = None,
    data_class: DataClass = DataClass.PII,
    severity: Severity = Severity.HIGH,
    action: Action | None = None,
    tier: Tier = Tier.CONTEXT,
    between: str = BESIDE,
) -> Rule:
    """A number that only its keyword gives away. keyword: Hyperscan expression, case ignored, at most 60 characters."""
    return Rule(
        id=rule_id,
        type=type,
        label=label,
        data_class=data_class,
        tier=tier,
        severity=severity,
        source=source,
        triggers=(rf"(?:^|[^A-Za-z0-9])(?:{keyword})(?:number|num|no|id|code)?[^A-Za-z\x00]",),
        nocase=True,
        anchor=Anchor.END,
        lead=1,
        confirm=rf"{between}(?P<v>{number})(?![A-Za-z0-9_]|[-/][0-9])",
        check=check,
        action=action,
        examples=examples,
        counter_examples=counter_examples,
    )
