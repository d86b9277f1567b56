"""Cheap refusals before a candidate is judged: names that never hold a secret, stand-ins, expressions.

Each is a principle about names and values, none knows a product. Above: judge.py, tools/train_secrets.py.
Below: assigned.py, names.py, view.py.
"""

import re
from binascii import Error as BinasciiError
from binascii import a2b_base64

from ai_platform.protection.assigned import Candidate
from ai_platform.protection.checks import may_repeat, numbered
from ai_platform.protection.names import WORDS, read_name
from ai_platform.protection.tokens import TOKEN
from ai_platform.protection.view import SYMBOL

_STAND_IN = re.compile(
    r"<.*>\Z|\$\w+\Z|\{\w*\}\Z|@\w+@\Z|your|\\*u[0-9a-f]{4}|0x[0-9a-f]{1,16}\Z|#[a-z]+\Z|[a-z-]+:#[0-9a-f]{6}\Z"
    r"|x-[a-z]+(?:-[a-z0-9]+)+\Z|(.{2,6})\1+\Z|.{0,20}\.\..{0,20}\Z"
)
"""Over lower case, from the beginning: what no real value looks like."""

_ORDINARY = re.compile(r"[a-z0-9_+/=.~-]*\Z")
_TEMPLATE = re.compile(
    r"[<\[{%\\&?=\s$\x00-\x08\x0e-\x1f\ufffd]"
    r"(?:(?<=[<\[{])(?:your|my|the|insert|put|some|redacted)"
    r"|(?<=%)(?:(?:\(\w+\))?[-+0-9.]*[sdvrqfx](?![a-z0-9])|-?[a-z]\W?(?:%-?[a-z]\W?){2})"
    r"|(?<=\\)x[0-9a-f]{2}|(?<=&)(?:#\d|[lg]t;)|(?<=\?)=\Z|(?<==)\?[\w-]+\?[bq]\?|(?<=\s)[=<>!]=?\s"
    r"|(?<=\$)(?<!\S\$)[a-z]\w+|(?<=[\x00-\x08\x0e-\x1f\ufffd]))"
)
"""Over lower case, anywhere in a value that holds other characters than a token does. All begin in one class, so that
the search goes from one such character to the next.
"""

_RUN = re.compile(r"([^\W_])\1{5}")
_SAME = 6
_TOLD = 96
"""So much of a long value tells whether it stands in for one."""

_NOT_SECRET = re.compile(
    r"[a-z][a-z0-9+.-]{1,30}://|arn:aws"
    r"|(?:pbkdf2|hmac|sha|rsa|ecdsa|eddsa|aes|ml-?kem|ml-?dsa)(?:with|hmac|sha|rsa|[-_/]?\d{2,4})[a-z0-9/_-]*\Z"
    r"|mi[gi][a-z0-9+/]{1,6}nbgkqhkig9w0baqefaao|mi[a-z0-9+/]{2,6}ma0gcsqgsib3dqebaquaa4|mfkwewyhkozi|mhywea|mcowbq|mii[a-z0-9+/]{3}cca|tlrmtvntuaa.{0,4}\Z"
)
"""Over lower case, what is shown openly: addresses, names of resources and algorithms, public keys and
certificates (X.509, DER in base64).
"""

_PERMISSION = re.compile(r"[a-z][a-z0-9-]*(?::[A-Za-z][A-Za-z*]*)+\Z")

_SIMPLE = (
    r"my|our|your|the|this|that|is|it|an?|some|any|new|old|first|second|other|super|very|deep|real|fake|mock|default"
    r"|test|testing|temp|demo|dev|local|prod|admin|root|user|users|guest|client|server|service|app|db|database|mysql"
    r"|postgres|redis|mongo|account|login|name|email|mail|host|domain|region|scope|factor|role|data|value|string|text"
    r"|id|no|not|of|for|and|api|access|auth|bearer|basic|private|public|shared|secure|master|session|refresh|encryption"
    r"|signing|webhook|token|tokens|secret|secrets|key|keys|apikey|password|passwd|passphrase|passcode|pass|pwd|pw|cred"
    r"|credential|credentials|foo|bar|baz|qux|hello|world"
    r"|b64|base64|hex|raw|plain|encoded|wrong|invalid|incorrect|hidden|empty|missing|none|null"
)
_PLAIN_WORDS = re.compile(rf"(?:(?:{_SIMPLE})[\W_]{{0,2}}){{1,12}}\d{{0,4}}[\W_]?\Z")
"""Words that only say what the value is (`my_client_secret`, `apiKey`, `ACCESS_TOKEN`, `test-password-1`)."""

_LONGEST_STAND_IN = max(map(len, WORDS.stand_ins))
_ALIKE = str.maketrans("03145@$!7", "oeiasasit")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_ROWS = tuple(
    row * 4
    for row in (
        "0123456789",
        "1234567890",
        "9876543210",
        "0987654321",
        _ALPHABET,
        _ALPHABET[::-1],
        "qwertyuiopasdfghjklzxcvbnm",
    )
)

_HEAD = 9

IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|->)[A-Za-z_$][\w$]*)*\Z")
_CODE = re.compile(r"[(){};, ]")
_JOINED = re.compile(r"[A-Za-z][_.][A-Za-z]|^[_+]")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}\Z")
_FILE = re.compile(r"\.[a-z]\w{1,4}\Z")
_NAME = re.compile(r"[a-z]+(?:[A-Z][a-z]*)+\Z|[A-Z_]+\Z")
_COMPARISONS = frozenset({"==", "===", "!=", "!=="})
_UNQUOTED = frozenset({"url", "scheme", "flag", "user"})
_OWN_HASH = re.compile(r"[0-9a-f]{8}")
"""In what stands for a value that was redacted, `[REDACTED:API_KEY:8966f1ba]`, as a client sends it back."""


def plausible(candidate: Candidate) -> bool:
    """Cheap refusals: names that never hold a secret, stand-ins, expressions."""
    value = candidate.value
    name = read_name(candidate.name)
    if not name.secret or (len(value) < 12 and (value.isdigit() or (len(value) < 8 and not name.password))):
        return False
    if candidate.op == ":" and candidate.after[:1] == "]" and _OWN_HASH.fullmatch(value) and candidate.name.isupper():
        return False
    if not name.password and _PERMISSION.match(value) is not None:
        return False
    has_digit = numbered(value)
    if name.weak and _is_a_name(candidate, numbered=has_digit):
        return False
    if not has_digit and (_is_an_item(candidate) or name.tokens == ("pw",)):  # PW is a country
        return False
    if candidate.op == "," and candidate.variable and len(value) < 12:
        return False  # the next argument after a variable that holds a secret
    if candidate.op == "(" and (  # a call: named after a secret as often as given one
        not candidate.quote or len(value) < 12 or not has_digit or _CODE.search(value) is not None
    ):
        return False
    if not candidate.quote and candidate.op not in _UNQUOTED:
        if candidate.op == "," or candidate.after[:1] in {"(", "[", "{"}:
            return False
        if "." in value and IDENTIFIER.match(value) is not None and sum(map(str.isdigit, value)) <= 2:
            return False
    return not _stands_in(value)


def _is_a_name(candidate: Candidate, *, numbered: bool) -> bool:
    """Is what a key, a session or a seed is called no secret but the name of a thing, or a text to show?"""
    value = candidate.value
    if candidate.op in _COMPARISONS or _FILE.search(value) is not None:
        return True
    return not numbered and (
        candidate.op == ","
        or value.endswith((".", "_", ":", "/", "-"))
        or _JOINED.search(value) is not None
        or _NAME.match(value) is not None
        or " " in value
        or not value.isascii()
        or SYMBOL in value
    )


def _is_an_item(candidate: Candidate) -> bool:
    """Is it the next item or argument, not a value under a key? Only of letters."""
    value = candidate.value
    return candidate.op == "," and (
        candidate.variable or value.isupper() or (len(value) < 20 and _JOINED.search(value) is not None)
    )


def _stands_in(value: str) -> bool:
    value = value[:_TOLD]
    lowered = value.lower()
    return (
        TOKEN.fullmatch(value) is not None
        or lowered in WORDS.stand_ins
        or any(map(lowered.__contains__, WORDS.stand_in_parts))
        or _STAND_IN.match(lowered) is not None
        or (may_repeat(lowered, _SAME) and _RUN.search(lowered) is not None)
        or (_ORDINARY.match(lowered) is None and _TEMPLATE.search(lowered) is not None)
        or _NOT_SECRET.match(lowered) is not None
        or (len(lowered) <= _LONGEST_STAND_IN and lowered.translate(_ALIKE) in WORDS.stand_ins)
        or _is_a_row(lowered)
        or _PLAIN_WORDS.match(lowered) is not None
    )


def _is_a_row(lowered: str) -> bool:
    """`0123456789`, `abcd:efgh`."""
    head = "".join(filter(str.isalnum, lowered[:_HEAD]))
    if not any(head in row for row in _ROWS):
        return False
    plain = "".join(filter(str.isalnum, lowered))
    return len(plain) >= 6 and len(lowered) < len(plain) + 4 and any(plain in row for row in _ROWS)


def encoded_text(value: str) -> str | None:
    """The text that `value` is the base64 of, if it is."""
    if len(value) < 8 or len(value) % 4 == 1 or not value.isascii() or _BASE64.match(value) is None:
        return None
    try:
        plain = a2b_base64(value + "=" * (-len(value) % 4)).decode("ascii")
    except (BinasciiError, UnicodeDecodeError):
        return None
    return plain if plain[:1] != "{" and "".join(plain.split()).isprintable() else None
