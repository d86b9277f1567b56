"""Secrets that no vendor's prefix gives away: where such a value may stand, what it is called and where it ends.

Whether it is a secret is decided by `judge.py`. Above: rules/secrets_generic.py, tools/train_secrets.py. Below: names.py.
"""

import re
from base64 import b64decode
from binascii import Error

import msgspec

from ai_platform.protection.names import read_name

NAMES = (
    r"(?:pass|pwd|psw|secret|token|key|auth|cred|bearer|session|cookie|otp|seed|connstr|webhook|jwt|kennwort|contrase"
    r"|senha|mdp|\bpw\b|\bpin\b)"
)
"""What a secret's name contains (case ignored)."""

_FIRST = r"""[^\s\x00"'`=:>{}()<,;$\[\]]{4}"""

_FIRST_QUOTED = r"""[^\s\x00"'`=:>{}()<,;$\[\]][^\s\x00"'`\\]{3}"""
_SCHEMES = r"(?:(?:bearer|basic|token) {1,2})?"

_OPENER = r"(?:\[\s{0,12}|aws\.string\()?"
_QUOTE = rf"""\s{{0,24}}{_OPENER}\\?["'`]{_SCHEMES}{_FIRST_QUOTED}"""
_BARE_START = rf"[ \t]{{0,24}}{_OPENER}{_SCHEMES}{_FIRST}"

ASSIGNED = (
    NAMES + r"""[\w.\- ]{0,24}["'`\]\)\\}]{0,3}(?: ?string)?\s{0,24}"""
    rf"""(?:(?:[:=?.+|~!<>-]{{0,3}}[=:]|[=-]>)(?:{_QUOTE}|{_BARE_START})|>(?:\n[ \t]{{0,24}})?["'`]?{_FIRST_QUOTED}|[,(]{_QUOTE})"""
)
"""A value without quotes stands on the line of its name; as an argument or an item of a list it has quotes."""

SCHEME = r"(?:bearer|basic|apikey|api-key) {1,2}" + _FIRST
FLAG = (
    r"[\s'\"]--?[\w-]{0,24}(?:passw(?:or)?d|pass|pwd|pw|token|secret|key)\s{1,3}[\"']?[^\s\x00\"'`$<({\[|=:;,-]"
    + _FIRST[:-3]
    + "{3}"
)
HEADER = r"""authorization["'\]]{0,3}\s{0,4}[:=,]\s{0,4}["'`]?[a-z][a-z0-9-]{1,24} {1,2}""" + _FIRST
CURL_USER = r"""(?:\s-u|--user|--proxy-user)[ =]{0,2}["']?[^\s\x00"':/$]{0,60}["']?:["']?[^\s\x00"':/$]{3}"""
CURL_KEY = r"""(?:\s-u|--user)[ =]{0,2}["']?[^\s\x00"':/$@]{12,60}:["'\s]"""
SQL = r"""(?:identified\s{1,3}(?:with \w{1,24} )?by|password|passphrase)\s{1,3}["']{1,4}[^\x00"'\s$<{]{4}"""
SECURE_STRING = r"""convertto-securestring\s{1,3}(?:-string\s{1,3})?["'][^\x00"'$]{4}"""
ONE_TIME = r"""(?:otp|authenticator)[\w.:]{0,16}(?:\s{1,2}|\(\s{0,2})["'][A-Z2-7]{8}"""

LONGEST_VALUE = 200
LONGEST_TAIL = 4096
"""A token that is longer than LONGEST_VALUE is judged by its beginning."""

_BACK = re.compile(
    r"""(?: {1,2}(?:reraeb|cisab|nekot))?(?P<quote>["'`]?)\\?(?:\(gnirts\.swa|\s{0,12}\[)?(?P<gap>\s{0,24})"""
    r"""(?P<op>[>=:][:=?.+|~!<>-]{0,3}|,|\()\s{0,24}(?:gnirts ?)?(?P<close>["'`\])\\}]{0,3}) {0,2}"""
    r"""(?P<name>[\w.-](?:[\w. -]{0,60}[\w-])?)(?P<before>::)?""",
    re.IGNORECASE,
)
_QUOTED = {
    quote: re.compile(
        rf"[^{quote}\\\n]{{0,{LONGEST_VALUE}}}(?:\\.[^{quote}\\\n]{{0,{LONGEST_VALUE}}}){{0,20}}(?={quote})"
    )
    for quote in "\"'`"
}
_QUOTES = frozenset("\"'`")
_EXPRESSION = re.compile(r"[A-Za-z_$][\w$]{0,60}[(\[{]|[A-Za-z_$]{1,60}(?:\.[A-Za-z_$]{1,60}){1,8}(?=[;,)\s(\[])")
"""What code computes (plausible.py refuses it too, only later)."""

_OPEN_QUOTED = re.compile(rf"[^\"'`\s]{{4,{LONGEST_VALUE}}}")
_BARE = re.compile(rf"[^\s\"'`,;&<>{{}}()\[\]\\]{{3,{LONGEST_VALUE}}}")
_KEY_BACK = re.compile(r"[A-Za-z0-9_.+/=~-]{12,60}(?=[\s\"'=])")
_WORD = re.compile(rf"[^\s\"'`,;<>{{}}()\\]{{3,{LONGEST_VALUE}}}")
_MORE_ITEMS = re.compile(r"""(?:["'][ \t]{0,4},[ \t]{0,12}["'][^"'\s,]{8,80}){1,20}(?=["'])""")
_BASE32 = re.compile(r"[A-Z2-7]{16,}=*\Z")
_PROSE = frozenset("a an and are as at by for from header if in is it not of on or the this to via when with".split())
_SCHEME_WORD = re.compile(r"(?i)(?:bearer|basic|token|apikey) +")
_BASIC = re.compile(r"[A-Za-z0-9+/]+={0,2}\Z")
_TAIL = re.compile(rf"[A-Za-z0-9+/=_.~%-]{{0,{LONGEST_TAIL}}}")
_ENDING = re.compile(r"[.:,;!?]+\Z")


class Candidate(msgspec.Struct):
    """name: what the value is called, as written. op: how it is assigned. quote: what encloses the value, or empty.

    after: what follows the value (two characters). variable: the name is not quoted, so it may be one of a variable.
    """

    start: int
    end: int
    value: str
    name: str
    op: str
    quote: str
    after: str
    variable: bool = False


def assigned(text: str, _start: int, end: int) -> Candidate | None:
    """`password = "..."`, `TOKEN=...`, `secret: ...`, `("api_key", "...")`, `<token>...`."""
    begin = end - 4
    if text[begin - 1] not in _QUOTES and _EXPRESSION.match(text, begin) is not None:
        return None
    back = _BACK.match(text[max(0, begin - 160) : begin][::-1])
    if back is None:
        return None
    if not back.group("quote") and back.group("op") != ">" and "\n" in back.group("gap"):
        return None
    if back.group("before") and back.group("close"):
        return None  # a key that is the name of a type (`"AWS::IAM::AccessKey"`)
    name = back.group("name")[::-1].strip(" .-")
    if not read_name(name).secret:
        return None
    found = _finish(text, begin, name, back.group("op")[::-1], back.group("quote"))
    if found:
        found.variable = not back.group("close").strip(")]}\\")
    lead = _SCHEME_WORD.match(found.value) if found else None
    if found and lead:
        found.start += lead.end()
        found.value = found.value[lead.end() :]
    return found if found and len(found.value) >= 3 else None


def scheme(text: str, _start: int, end: int) -> Candidate | None:
    """`Bearer ...`, `Basic ...`."""
    begin = end - 4
    word = text[max(0, begin - 12) : begin].strip().rpartition(" ")[2].strip("\"'`([{")
    if word.lower() in _PROSE:
        return None
    found = _finish(text, begin, "authorization " + word, "scheme", "", _WORD)
    return None if found is not None and word.lower() == "basic" and not _may_be_basic(found.value) else found


def _may_be_basic(value: str) -> bool:
    """Base64, and no text that lacks the colon between name and password (RFC 7617)."""
    if _BASIC.match(value) is None:
        return False
    try:
        plain = b64decode(value + "=" * (-len(value) % 4)).decode("ascii")
    except (Error, ValueError):
        return True
    return ":" in plain or not plain.isprintable()


def flag(text: str, _start: int, end: int) -> Candidate | None:
    """`--password ...` on a command line."""
    begin = end - 4
    back = text[max(0, begin - 48) : begin].rstrip("\"' \t")
    quote = text[begin - 1] if text[begin - 1] in "\"'" else ""
    return _finish(text, begin, back.rpartition(" ")[2].strip("-'\"\n\t"), "flag", quote)


def curl_user(text: str, _start: int, end: int) -> Candidate | None:
    """`curl -u name:...`."""
    begin = end - 3
    quote = next((char for char in reversed(text[max(0, begin - 64) : begin]) if char in "\"' "), "")
    return _finish(text, begin, "user password", "user", quote.strip(), _WORD)


def curl_key(text: str, _start: int, end: int) -> Candidate | None:
    """`curl -u ...:` with a key in the place of the name."""
    match = _KEY_BACK.match(text[max(0, end - 64) : end - 2][::-1])
    if match is None:
        return None
    value = match.group()[::-1]
    return Candidate(end - 2 - len(value), end - 2, value, "user key", "user", "", text[end - 2 : end])


def spoken(text: str, _start: int, end: int) -> Candidate | None:
    """`IDENTIFIED BY '...'`, `PASSWORD '...'`, `ConvertTo-SecureString '...'`."""
    begin = end - 4
    return _finish(text, begin, "password", "spoken", text[begin - 1])


def one_time(text: str, _start: int, end: int) -> Candidate | None:
    """`TOTP.new("BASE32...")`."""
    begin = end - 8
    found = _finish(text, begin, "otp secret", "call", text[begin - 1])
    return found if found is not None and _BASE32.match(found.value) else None


URL = r"""://[^\s\x00/:@"'`<>\\]{0,64}:[^\s\x00/"'`<>@]{4}"""
_URL = re.compile(r"(?P<v>[^\s/\"'`<>@]{4,120}(?:@[^\s/\"'`<>@]{1,60}(?=@))?)@(?=[\w.\[%${(*-])")


def url_password(text: str, _start: int, end: int) -> Candidate | None:
    """`scheme://name:...@host`."""
    match = _URL.match(text, end - 4)
    if match is None:
        return None
    begin, end = match.span("v")
    return Candidate(begin, end, match.group("v"), "url password", "url", "", text[end : end + 2])


def _finish(text: str, begin: int, name: str, op: str, quote: str, bare: re.Pattern[str] = _BARE) -> Candidate | None:
    limit = begin + LONGEST_VALUE + 1
    if quote:
        match = _QUOTED[quote].match(text, begin, limit) or _OPEN_QUOTED.match(text, begin, limit)
    else:
        match = bare.match(text, begin, limit)
    if match is None:
        return None
    value = match.group()
    value = value.removesuffix("\\").rstrip() if quote else _ENDING.sub("", value)
    end = begin + len(value)
    if len(value) < 3 or len(value) > LONGEST_VALUE:
        return None
    if len(value) == LONGEST_VALUE:
        end = _TAIL.match(text, end).end()  # type: ignore[union-attr] - it matches the empty text too
    found = Candidate(begin, end, value, name, op, quote, text[end : end + 2])
    if quote and text[begin - 2 : begin - 1] == "[":
        more = _MORE_ITEMS.match(text, end, limit)
        found.end = more.end() if more else end
    return found
