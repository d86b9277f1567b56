"""Payment cards (PCI DSS): numbers by issuer range, length and check digit, magnetic tracks, security codes."""

import re

from ai_platform.domain.finding import Action, DataClass, Severity, Tier
from ai_platform.protection.checkdigits import luhn
from ai_platform.protection.rule import Rule, Span
from ai_platform.protection.rules.numbers import keyword_number, word_before

_ISSUERS = {
    14: r"30[0-5]|3095|36|3[89]",
    15: r"3[47]|2131|1800",
    16: r"4|5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720|6011|64[4-9]|65|622|35(?:2[89]|[3-8])|3088|3096|3112|3158|3337",
}
"""Issuer ranges and lengths that are a card on their own: ISO/IEC 7812-1 register as the networks publish it."""

_ALONE = {length: re.compile(ranges) for length, ranges in _ISSUERS.items()}
_KEYWORD = re.compile(
    r"(?i)(?<![a-z])(?:cards?|credit|debit|visa|master ?card|maestro|amex|discover|diners|pan|cc|cvv)(?![a-z])"
)
_STEMS = ("card", "credit", "debit", "visa", "maestro", "amex", "discover", "diners", "pan", "cc", "cvv")
_OTHER_NUMBERS = frozenset(
    "id seq hash snowflake timestamp time ts order tracking shipment ref reference serial sku isbn ean upc invoice ticket"
    " uid pid offset nonce epoch".split()
)
_JOINED = re.compile(
    r"(?i)(?<![a-z])(?:cards?|credit|debit|visa|mastercard|maestro|amex|discover|diners|pan)[_-](?:[a-z]{1,20}[_-]){0,2}\Z"
)
"""A keyword in the same name of a file or field."""
_GROUPED = re.compile(
    r"\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?(?!\d)(?!\1\d{4})|\d{4}([ -])\d{6}\2\d{4,5}(?!\d)(?!\2\d{4})"
)
_DECIMAL = re.compile(r"(?<![\d,])\d{1,6},\Z")
"""A decimal comma; where a comma stands before the number too, or behind, it separates fields (RFC 4180)."""
_ROW = re.compile(r"(?:\A|[ \t])\d{1,5} \d{1,5} \Z")
_COUNTED = ("01234567890123456789", "98765432109876543210")
_STEPS = frozenset(row[place : place + 4] for row in _COUNTED for place in range(len(row) - 3))
_NUMBER = re.compile(r"\d{12,19}(?!\d)")


def _isolated(text: str, start: int, end: int) -> bool:
    """Not a part of a longer number, a decimal, an identifier or a path."""
    before = text[start - 1] if start else " "
    after = text[end] if end < len(text) else " "
    if before == "_" and not after.isalnum():
        return _JOINED.search(text, max(0, start - 56), start) is not None
    if before.isalnum() or after.isalnum() or before in "_-+/#%$&@~" or after in "_/@%":
        return False
    if before == "." and start > 1 and text[start - 2].isalnum():
        return False
    if before == "," and after != "," and _DECIMAL.search(text, max(0, start - 9), start) is not None:
        return False
    return not (after in ".-:" and end + 1 < len(text) and text[end + 1].isalnum())


def _plain(text: str, start: int, end: int) -> Span | None:
    """A run of digits: known issuer on its own, any issuer beside a card's keyword."""
    start += text[start] == "_"
    match = _NUMBER.match(text, start)
    if match is None:
        return None
    digits = match.group()
    end = match.end()
    if not luhn(digits) or not _isolated(text, start, end) or _is_counted(digits):
        return None
    issuer = _ALONE.get(len(digits))
    if issuer is not None and issuer.match(digits) is not None and not _is_other_number(text, start):
        return start, end
    return (start, end) if len(set(digits)) > 1 and _is_said(text, start) else None


def _is_counted(digits: str) -> bool:
    """Do eight digits of it count up or down, or is most of it nought, as in numbers that are made up?"""
    if digits.endswith("0" * 10):
        return True
    if _STEPS.isdisjoint((digits[:4], digits[4:8], digits[8:12], digits[12:16])):
        return False  # eight digits hold one of these whole
    return any(digits[place : place + 8] in row for place in range(len(digits) - 7) for row in _COUNTED)


def _is_said(text: str, start: int) -> bool:
    """Does a card's keyword stand before it?"""
    before = text[max(0, start - 60) : start].lower()
    return any(map(before.__contains__, _STEMS)) and _KEYWORD.search(before) is not None


def _is_other_number(text: str, start: int) -> bool:
    """Does the word right before it say that it is a number of another kind (`order`, `timestamp`)?"""
    return word_before(text, start) in _OTHER_NUMBERS and not _is_said(text, start)


def _grouped(text: str, start: int, end: int) -> Span | None:
    """Length and beginning of a known issuer, and the Luhn check digit."""
    start += text[start] == "_"
    match = _GROUPED.match(text, start)
    if match is None or not _isolated(text, *match.span()):
        return None
    digits = match.group().replace(" ", "").replace("-", "")
    issuer = _ALONE.get(min(len(digits), 16))
    if issuer is None or issuer.match(digits) is None or not luhn(digits) or _is_other_number(text, start):
        return None
    if _ROW.search(text[max(0, start - 12) : start]) is not None and not _is_said(text, start):
        return None  # a row of numbers
    return match.span()


_SOURCE = "ISO/IEC 7812-1 (issuer ranges, Luhn check digit)"
_EXTENT = r"_?[\d -]{0,30}"

RULES = (
    Rule(
        id="credit-card",
        type="CREDIT_CARD",
        label="a payment card number",
        data_class=DataClass.PCI,
        tier=Tier.VERIFIED,
        severity=Severity.CRITICAL,
        source=_SOURCE,
        triggers=(*(rf"\b\d{{{length}}}\b" for length in range(12, 20)), r"_\d{13}"),
        finder=_plain,
        extent=_EXTENT,
        examples=(
            "4111111111111111",
            "pay 378282246310005 now",
            "card 30569309025904",
            "5555555555554444.",
            "What is the limit for card 501864667909?",
            '{"pan":"4222222222222"}',
            "card_4111111111111111.png",
            "scan/visa_ann_4111111111111111_front.png",
            "Oslo,4111111111111111,12/27",
            "7,Ann,3,4111111111111111",
        ),
        counter_examples=(
            "4111111111111112",
            "id-4111111111111111",
            "id_4111111111111111.png",
            "0.4111111111111111",
            "0,4111111111111111 kg",
            "1234567812345670",
            "order 501864667909",
            "snowflake=4539578763621486",
            "hash 50461360026927553",
            "6543210123456788",
            '"lifetime": 2592000000000000',
        ),
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
            r"\b[2-6]\d{3} \d{4} \d{4} \d{4}",
            r"\b[2-6]\d{3}-\d{4}-\d{4}-\d{4}",
            r"_[2-6]\d{3}-\d{4}-\d{4}-\d{4}",
            r"\b3\d{3}[ -]\d{6}[ -]\d{4}",
        ),
        finder=_grouped,
        extent=_EXTENT,
        examples=(
            "4111 1111 1111 1111",
            "card_4111-1111-1111-1111.pdf",
            "4111 1111 1111 1111 12/28 123",
            "5500-0000-0000-0004",
            "3782 822463 10005",
        ),
        counter_examples=(
            "4111 1111 1111 1112",
            "4111 1111-1111 1111",
            "order 6315-9292-1085-6054",
            "order 4919-6376-4734-3509 shipped",
            "1184 1185 1150 1151 2476 2477 2907 2908",
            "4111 1111 1111 1111 1234",
        ),
    ),
    Rule(
        id="card-track-1",
        type="CARD_TRACK",
        label="the magnetic track of a payment card",
        data_class=DataClass.PCI,
        tier=Tier.FORMAT,
        severity=Severity.CRITICAL,
        source="ISO/IEC 7813 (track 1)",
        starts=("%B",),
        then=r"\d{6}",
        glued=True,
        confirm=r"%B\d{12,19}\^[A-Z /.'-]{2,26}\^\d{7}[^?\s]{0,40}\??",
        examples=("%B4111111111111111^DOE/JANE^28011010000000000000?",),
        counter_examples=("%B4111111111111111",),
    ),
    Rule(
        id="card-track-2",
        type="CARD_TRACK",
        label="the magnetic track of a payment card",
        data_class=DataClass.PCI,
        tier=Tier.FORMAT,
        severity=Severity.CRITICAL,
        source="ISO/IEC 7813 (track 2)",
        starts=(";",),
        then=r"\d{12}",
        glued=True,
        confirm=r";\d{12,19}=\d{7}[\d]{0,24}\?",
        examples=(";4111111111111111=28011010000000000000?",),
        counter_examples=(";4111111111111111=x",),
    ),
    keyword_number(
        "card-security-code",
        "a card security code",
        "PCI DSS v4.0, sensitive authentication data",
        type="CARD_SECURITY_CODE",
        keyword=r"cvv2?|cvc2?|cid code|card verification(?: value| code)?|card security code",
        number=r"\d{3,4}",
        data_class=DataClass.PCI,
        severity=Severity.HIGH,
        action=Action.REDACT,
        examples=("cvv: 123", "CVC is 9981", '"cvv2": "044"'),
        counter_examples=("cvv", "cvs 123", "cvv 12345"),
    ),
)
