"""How to reach a person: e-mail addresses and telephone numbers."""

import re

from ai_platform.domain.finding import DataClass, Severity, Tier
from ai_platform.protection.rule import Anchor, Rule, Span

_LOCAL = re.compile(r"(?:[-A-Za-z0-9_+!#$&'*/=?^`{|}~%]|\.(?!\.))*[A-Za-z0-9_+](?=\Z)")
_LOCAL_BACK = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+%'-]{0,63}")
_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9_-]|\.[A-Za-z0-9])"
)
_NOT_TLD = frozenset(
    """
    py pyi js mjs cjs ts tsx jsx json yaml yml md txt go rs java kt rb sh c h cc cpp hpp css scss html xml png
    jpg jpeg svg gif webp ico woff ttf toml lock sql csv tf tfstate ipynb vue php lua pl swift local localhost
    localdomain internal invalid test example lan cfg conf ini log map so dll exe zip gz tar whl service target
    socket mount timer
    """.split()
)
_NOBODY = re.compile(
    r"(?i)^(?:git|noreply|no-reply|donotreply|do-not-reply|root|user|username|you|your|name|someone|foo|bar|test)@"
    r"|@(?:[a-z0-9-]+\.)*(?:example\.(?:com|org|net|edu)|(?:users\.)?noreply\.github\.com)$"
)


def _email(text: str, start: int, _end: int) -> Span | None:
    domain = _DOMAIN.match(text, start + 1)
    if domain is None:
        return None
    local = _LOCAL_BACK.match(text[max(0, start - 64) : start][::-1])
    if local is None:
        return None
    begin = start - local.end()
    while text[begin] in ".'%-":
        begin += 1
    value = text[begin : domain.end()]
    before = text[begin - 1] if begin else " "
    if before in "/@\\" or value.rpartition(".")[2].lower() in _NOT_TLD or _NOBODY.search(value):
        return None
    return begin, domain.end()


_GROUPS = r"(?:[+(]{0,2}\d{1,4}|[+(]{1,2}\d{5,6}|0\d{4,5})(?:[ ()./-]{1,3}\d{1,10}){1,5}|\d{5}(?:[ -]\d{2,4}){2,4}|\+?\d{7,15}"
_PHONE = re.compile(rf"(?P<v>(?:{_GROUPS})(?: ?(?:x|ext\.?) ?\d{{1,6}})?)(?![\w@%]|[-./:]\d)", re.IGNORECASE)
_PHONE_WORD_BACK = re.compile(r"[ \t\n,:-]{0,2}(?P<v>(?:\d{1,6}x)?\d[\d ().-]{5,20}[\d(+]\+?)(?![\w.])")
_NANP = re.compile(
    r"(?:(?:\+|00)?1[-. ]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-. ])\d{3}[-. ]\d{4}(?: ?(?:x|ext\.?) ?\d{1,6})?(?![\w@%]|[-./:]\d)"
)
_INTERNATIONAL = re.compile(
    r"\+[1-9]\d{0,2}(?:[ .-]?\(\d{1,4}\)|[ .-]?\d{1,5}+){1,6}(?: ?(?:x|ext\.?) ?\d{1,6})?(?![\w@%]|[-./:]\d)"
)
_DATE = re.compile(r"(?:19|20)\d{2}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./](?:19|20)?\d{2}(?!\d)")
_ONE_TO_NINE = re.compile(r"[1-9]")


def _digit_count(value: str) -> int:
    return sum(map(str.isdigit, value.lower().partition("x")[0].partition("e")[0]))


def _may_be_phone(value: str) -> bool:
    """The length of a number, no date, and not noughts alone."""
    return 7 <= _digit_count(value) <= 15 and _DATE.fullmatch(value) is None and _ONE_TO_NINE.search(value) is not None


def _after_keyword(text: str, _start: int, end: int) -> Span | None:
    """The length of a number, beside a word that says what it is."""
    match = _BESIDE_PHONE.match(text, end - 1)
    if match is None:
        return None
    phone = _PHONE.match(text, match.end())
    return phone.span("v") if phone is not None and _may_be_phone(phone.group()) else None


_BESIDE_PHONE = re.compile(
    r"(?i)(?:[ _-]?(?:number|num|no|nr|phone|line|#)s?){0,2}[\"')\]]{0,2}[ \t]{0,2}"
    r"(?:(?:is|was|at|on|to|=>|:|=|,|-|\.)[ \t\n]{0,3}){0,2}[\"'(\[]{0,1}(?=[+(]{0,2}\d)"
)


def _before_word(text: str, start: int, end: int) -> Span | None:
    """A number in front of `office`, `fax`, `mobile`, ...; `start` is where the word begins."""
    back = _PHONE_WORD_BACK.match(text[max(0, start - 48) : start][::-1])
    if back is None:
        return None
    if text[end : end + 1].isalnum():
        return None
    value = back.group("v")[::-1].strip(" -.")
    stop = start - back.start("v")
    begin = text.rindex(value, 0, stop)
    if not _may_be_phone(value):
        return None
    return begin, begin + len(value)


def _formatted(text: str, start: int, _end: int) -> Span | None:
    """North American numbers by their shape alone."""
    begin = start
    for prefix in ("+1", "001", "1"):
        for separator in ("-", " ", ".", ""):
            lead = prefix + separator
            if text.startswith(lead, start - len(lead)) and start >= len(lead):
                begin = start - len(lead)
                break
        if begin != start:
            break
    match = _NANP.match(text, begin)
    if match is None and begin != start:
        begin, match = start, _NANP.match(text, start)
    if match is None:
        return None
    before = text[begin - 1] if begin else " "
    if (
        before.isalnum()
        or before in "_-./+=%$&@#"
        or (before == "(" and match.group()[0] != "(" and ")" not in text[match.end() : match.end() + 1])
    ):
        return None
    if match.group().count(" ") >= 2 and "(" not in match.group():
        return None  # three groups of digits between spaces are as likely a table
    return match.span()


def _international(text: str, start: int, _end: int) -> Span | None:
    """A country's calling code and the length of its numbers."""
    match = _INTERNATIONAL.match(text, start)
    if match is None or not 8 <= _digit_count(match.group()) <= 15:
        return None
    before = text[start - 1] if start else " "
    if before.isalnum() or before in "_+-*/=%@)]":
        return None
    plain = match.group().isdigit() or match.group()[1:].isdigit()
    return None if plain and (_digit_count(match.group()) < 10 or before == "\n") else match.span()


_E164 = "ITU-T E.164; North American Numbering Plan"
_PII = DataClass.PII

RULES = (
    Rule(
        id="email-address",
        type="EMAIL_ADDRESS",
        label="an e-mail address",
        data_class=_PII,
        tier=Tier.FORMAT,
        severity=Severity.WARNING,
        source="RFC 5321 section 4.1.2 (mailbox), RFC 1035 (domain names), RFC 2606 (reserved names)",
        triggers=(r"[A-Za-z0-9_+-]@[A-Za-z0-9][A-Za-z0-9-]{0,62}\.[A-Za-z0-9]",),
        anchor=Anchor.END,
        lead=132,
        finder=lambda text, _start, end: _email(text, text.rfind("@", 0, end), end),
        extent=r"[A-Za-z0-9.-]{0,255}",
        examples=("write to jane.doe@acme-corp.com", "<o'neil+x@mail.co.uk>"),
        counter_examples=("git@github.com", "noreply@acme.com", "user@example.com", "@media", "a@b", "main@app.py"),
    ),
    Rule(
        id="phone-international",
        type="PHONE_NUMBER",
        label="a telephone number",
        data_class=_PII,
        tier=Tier.FORMAT,
        severity=Severity.WARNING,
        source=_E164,
        triggers=(
            r"\+[1-9]\d",
            r"\+[1-9][ .(-]",
        ),
        finder=_international,
        extent=r"[\d ().+xXextEXT-]{0,40}",
        examples=("+41 (0)38 549 02 90", "+447700677662", "+1-903-140-4508x769"),
        counter_examples=("+12", "x+1234567890123", "a+1 2 3"),
    ),
    Rule(
        id="phone-north-america",
        type="PHONE_NUMBER",
        label="a telephone number",
        data_class=_PII,
        tier=Tier.FORMAT,
        severity=Severity.WARNING,
        source=_E164,
        triggers=(r"[2-9]\d{2}[-.]\d{3}[-.]\d{4}", r"\([2-9]\d{2}\)\d{3}[-.]\d{4}", r"\([2-9]\d{2}\) \d{3}[-.]\d{4}"),
        finder=_formatted,
        lead=5,
        unfinished=r"(?:\+|00)?1[-. ](?:\(?\d[\d) .-]{0,12})?",
        extent=r"[\d ().xXextEXT-]{0,40}",
        examples=("618-226-1460", "(602)272-9781", "call 259.735.7502x459", "001-253-366-9781"),
        counter_examples=("118-226-1460", "ab618-226-1460", "10.618.226.1460"),
    ),
    Rule(
        id="phone-keyword",
        type="PHONE_NUMBER",
        label="a telephone number",
        data_class=_PII,
        tier=Tier.CONTEXT,
        severity=Severity.WARNING,
        source=_E164,
        triggers=(
            r"(?:^|[^A-Za-z])(?:phone|cellphone|mobile|fax|cell|desk|office|contact|whatsapp|telephone|telefon|handy|tel|call|call me|call (?:us|him|her)"
            r"|reach (?:me|us)|sms|text me|pager|hotline|registered|dial|ring me|messages|answering|direct line|voicemail)"
            r"(?:number|num|no)?[^A-Za-z\x00]",
        ),
        nocase=True,
        anchor=Anchor.END,
        finder=_after_keyword,
        lead=1,
        extent=r"[\w \t\n()./+:=\"'#,\]-]{0,60}",
        examples=(
            "Phone: 72 128 827",
            "Mobile: 0341 8387176",
            "Can someone call me on 9472 7916?",
            "tel 5403926876",
            "call me at 06/283-0225",
            "fax (+358) 552683449",
            "phone: 00420 724 575 183",
        ),
        counter_examples=("phone 12", "mobile: 2024-11-02", "call 123", "call 000000000000"),
    ),
    Rule(
        id="phone-labelled",
        type="PHONE_NUMBER",
        label="a telephone number",
        data_class=_PII,
        tier=Tier.CONTEXT,
        severity=Severity.WARNING,
        source=_E164,
        triggers=(
            r"\d[ -](?:office|mobile|fax|cell|home|work|phone|tel)\b",
            r"\d[ -]\((?:office|mobile|fax|cell|home|work)\)",
        ),
        nocase=True,
        anchor=Anchor.END,
        finder=lambda text, start, end: _before_word(text, _word_start(text, end), end),
        unfinished=r"[+(]?\d[\d ().+/-]{0,40}\(?[A-Za-z]{0,8}",
        lead=64,
        extent=r"",
        examples=("655 437 108 office", "21 253 109 8211-Office"),
        counter_examples=("12 office", "2024-11-02 office", "000 000 000 office"),
    ),
)


def _word_start(text: str, end: int) -> int:
    start = end
    while start and (text[start - 1].isalpha() or text[start - 1] in "()"):
        start -= 1
    return start
