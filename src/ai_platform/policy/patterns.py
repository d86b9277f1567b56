"""Regular expressions from policy files, matched in time linear in the text whatever the pattern (Hyperscan).

A policy is user input: a backtracking engine would let one line of YAML stop the platform. The price is that
look-around and back-references do not exist; such a pattern is refused when the policy loads. Above: filters, compile.
"""

import re
from collections.abc import Sequence

import hyperscan
import msgspec

MOST_POSITIONS = 2000
TOO_LARGE = "it is too large once its repeats {m,n} are written out; use smaller numbers, or * and +"

_TOKEN = re.compile(
    r"\\[pPx]\{[^}]*\}|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(?P<least>\d{1,6})(?:,(?P<most>\d{0,6}))?\}|.", re.DOTALL
)


class BadPattern(Exception):
    """`str(error)` says why the pattern cannot be used, without a full stop."""


class Expression(msgspec.Struct, frozen=True):
    """spans: matches need a start (larger patterns compile without)."""

    pattern: str
    whole_words: bool = True
    case_sensitive: bool = False
    spans: bool = True


class Match(msgspec.Struct, frozen=True):
    """number: index of the expression. Offsets are bytes of the UTF-8 text."""

    number: int
    start: int
    end: int


class PatternSet:
    """Expressions compiled into one database.

    Raises:
        BadPattern: with `expressions` of length one, so that the culprit is known (see `check_pattern`).

    """

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self._expressions = tuple(expressions)
        self._database = _compile(self._expressions)

    def __bool__(self) -> bool:
        return bool(self._expressions)

    def find(self, text: str) -> list[Match]:
        """Every match, in order of start; of overlapping ends of one expression, all are reported."""
        if not self._expressions:
            return []
        data = text.encode("utf-8", "replace")
        found: list[Match] = []

        def on_match(number: int, start: int, end: int, _flags: int, _context: object) -> None:
            if not self._expressions[number].whole_words or _is_whole(data, start, end):
                found.append(Match(number, start, end))

        self._database.scan(data, match_event_handler=on_match)
        return sorted(found, key=lambda match: (match.start, -match.end))


class Finder:
    """One expression of a condition: whether it matches anywhere in a text. Compiled once, a microsecond a text.

    Raises:
        BadPattern: it cannot be compiled.

    """

    def __init__(self, pattern: str) -> None:
        if written_out(pattern) > MOST_POSITIONS:
            raise BadPattern(TOO_LARGE)
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        flags = hyperscan.HS_FLAG_UTF8 | hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY
        try:
            self._database.compile(expressions=[pattern.encode()], ids=[0], elements=1, flags=[flags])
        except (hyperscan.error, UnicodeEncodeError) as error:
            raise BadPattern(_explain(str(error))) from error

    def finds(self, text: str) -> bool:
        found: list[bool] = []

        def on_match(*_: object) -> None:
            found.append(True)

        self._database.scan(text.encode("utf-8", "replace"), match_event_handler=on_match)
        return bool(found)


def check_pattern(expression: Expression) -> None:
    """Raises BadPattern when the expression cannot be compiled."""
    _compile([expression])


def _compile(expressions: Sequence[Expression]) -> hyperscan.Database:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    if not expressions:
        return database
    if any(written_out(expression.pattern) > MOST_POSITIONS for expression in expressions):
        raise BadPattern(TOO_LARGE)
    try:
        database.compile(
            expressions=[expression.pattern.encode() for expression in expressions],
            ids=list(range(len(expressions))),
            elements=len(expressions),
            flags=[_flags(expression) for expression in expressions],
        )
    except hyperscan.error as error:
        raise BadPattern(_explain(str(error))) from error
    return database


def _flags(expression: Expression) -> int:
    flags = hyperscan.HS_FLAG_UTF8
    if expression.spans:
        flags |= hyperscan.HS_FLAG_SOM_LEFTMOST
    return flags if expression.case_sensitive else flags | hyperscan.HS_FLAG_CASELESS


def written_out(pattern: str) -> int:
    """About how many single positions the pattern has once its counted repeats are written out.

    `(a{1,500}){1,500}` has 250,000, and the compiler would work on them for many seconds before it gives up.
    """
    sizes = [0]
    last = 0
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if text == "(":
            sizes.append(0)
            last = 0
        elif text == ")" and len(sizes) > 1:
            last = sizes.pop()
            sizes[-1] += last
        elif token["most"] or token["least"]:
            times = int(token["most"] or token["least"])
            sizes[-1] += last * (times - 1)
            last *= times
        elif text not in "|^$*+?)":
            last = 1
            sizes[-1] += 1
        if sizes[-1] > MOST_POSITIONS:
            break
    return sum(sizes)


def _explain(reason: str) -> str:
    if "Zero-width" in reason or "Back-references" in reason or "not supported" in reason:
        return (
            f"it uses what cannot be matched in linear time ({reason.rstrip('.')}); write it without look-ahead,"
            " look-behind and back-references"
        )
    if "too large" in reason:
        return TOO_LARGE
    if "empty buffer" in reason:
        return "it matches the empty text, so it would match everywhere"
    return reason.rstrip(".")


def _is_whole(data: bytes, start: int, end: int) -> bool:
    """Neither edge of the match cuts a word. `_`, `-` and `.` separate words: `prod_db` holds the word `prod`."""
    before = data[max(0, start - 4) : start].decode("utf-8", "ignore")[-1:]
    after = data[end : end + 4].decode("utf-8", "ignore")[:1]
    inside = data[start:end].decode("utf-8", "ignore")
    cuts_left = before.isalnum() and inside[:1].isalnum()
    cuts_right = after.isalnum() and inside[-1:].isalnum()
    return not cuts_left and not cuts_right
