"""Payment cards (PCI DSS): numbers by issuer range, length and check digit."""

import re

from ai_platform.domain.finding import DataClass, Severity, Tier
from ai_platform.protection.checks import luhn
from ai_platform.protection.rule import Rule, Span

_ISSUERS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("4", (13, 16, 19)),
    ("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),
    ("3[47]", (15,)),
    ("6011|64[4-9]|65|622", (16, 17, 18, 19)),
    ("30[0-5]|3095|36|38|39", (14, 16, 19)),
    ("352[89]|35[3-8]|3088|3096|3112|3158|3337", (16, 17, 18, 19)),
    ("2131|1800", (15,)),
    ("62|81", (16, 17, 18, 19)),
    ("50|5[6-9]|6[0-9]", (13, 14, 15, 16, 17, 18, 19)),
)
"""Issuer identification numbers and lengths: ISO/IEC 7812-1 register as the networks publish it."""

_BY_LENGTH = {
    length: re.compile("|".join(f"(?:{prefix})" for prefix, lengths in _ISSUERS if length in lengths))
    for length in range(13, 20)
}
_KEYWORD = re.compile(r"(?i)\b(?:cards?|credit|debit|visa|master ?card|maestro|amex|pan|cc|cvv)\b")
_GROUPED = re.compile(r"\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{4}([ -])\d{6}\2\d{4,5}")
_SHORT = re.compile(r"5[0678]|6[0-9]")


def _isolated(text: str, start: int, end: int) -> bool:
    """Not a part of a longer number, a decimal, an identifier or a path."""
    before = text[start - 1] if start else " "
    after = text[end] if end < len(text) else " "
    if before.isalnum() or after.isalnum() or before in "_-+/#%$&@" or after in "_/@%":
        return False
    if before in ".," and start > 1 and text[start - 2].isalnum():
        return False
    return not (after in ".,-" and end + 1 < len(text) and text[end + 1].isalnum())


def _contiguous(text: str, start: int, end: int) -> Span | None:
    digits = text[start:end]
    if _BY_LENGTH[len(digits)].match(digits) is None or not luhn(digits) or not _isolated(text, start, end):
        return None
    return start, end


def _with_keyword(text: str, start: int, end: int) -> Span | None:
    """Any issuer, 12 to 19 digits, when the text says that it is a card within 40 characters before."""
    digits = text[start:end]
    if not digits.isascii() or not luhn(digits) or not _isolated(text, start, end):
        return None
    return (start, end) if _KEYWORD.search(text, max(0, start - 40), start) and len(set(digits)) > 2 else None


def _grouped(text: str, start: int, end: int) -> Span | None:
    match = _GROUPED.match(text, start)
    if match is None or not _isolated(text, *match.span()):
        return None
    digits = match.group().replace(" ", "").replace("-", "")
    issuer = _BY_LENGTH.get(len(digits))
    if issuer is None or issuer.match(digits) is None or not luhn(digits):
        return None
    return match.span()


_SOURCE = "ISO/IEC 7812-1 (issuer ranges, Luhn check digit)"

RULES = (
    Rule(
        id="credit-card",
        type="CREDIT_CARD",
        label="a payment card number",
        data_class=DataClass.PCI,
        tier=Tier.VERIFIED,
        severity=Severity.CRITICAL,
        source=_SOURCE,
        triggers=tuple(rf"\b[1-68]\d{{{length - 1}}}\b" for length in range(13, 20)),
        finder=_contiguous,
        examples=("4111111111111111", "pay 378282246310005 now", "card 30569309025904", "5555555555554444."),
        counter_examples=("4111111111111112", "id-4111111111111111", "0.4111111111111111", "1234567812345670"),
    ),
    Rule(
        id="credit-card-grouped",
        type="CREDIT_CARD",
        label="a payment card number",
        data_class=DataClass.PCI,
        tier=Tier.VERIFIED,
        severity=Severity.CRITICAL,
        source=_SOURCE,
        triggers=(
            r"\b[2-68]\d{3} \d{4} \d{4} \d{4}\b",
            r"\b[2-68]\d{3}-\d{4}-\d{4}-\d{4}\b",
            r"\b3\d{3}[ -]\d{6}[ -]\d",
        ),
        finder=_grouped,
        examples=("4111 1111 1111 1111", "5500-0000-0000-0004", "3782 822463 10005"),
        counter_examples=("4111 1111 1111 1112", "4111 1111-1111 1111", "order 6315-9292-1085-6054"),
    ),
    Rule(
        id="credit-card-keyword",
        type="CREDIT_CARD",
        label="a payment card number",
        data_class=DataClass.PCI,
        tier=Tier.VERIFIED,
        severity=Severity.CRITICAL,
        source=_SOURCE,
        triggers=tuple(rf"\b\d{{{length}}}\b" for length in range(12, 20)),
        finder=_with_keyword,
        examples=("What is the limit for card 501864667909?", "credit card 675984103431"),
        counter_examples=("order 501864667909", "card 501864667908"),
    ),
)
