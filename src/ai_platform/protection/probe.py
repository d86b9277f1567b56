"""A rule made ready to run: its triggers, its confirmation, and how far its confirmation may read.

The reach is what makes streams exact: as long as a confirmation could still read what has not arrived, nothing from
its start on is final. Above: engine.py. Below: rule.py.
"""

import re
from collections.abc import Callable, Iterator
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from ai_platform.domain.finding import DataClass, Tier
from ai_platform.protection.rule import CONTEXT_REACH, Anchor, Rule, Span

Locate = Callable[[str, int, int], Span | None]

LONGEST = 16_384
"""The longest value any rule may have, in characters."""


class Probe:
    """locate(text, trigger start, trigger end) -> the confirmed span, or None.

    is_open(text, trigger start, trigger end) -> could more text still change what `locate` says?
    """

    __slots__ = ("_ahead", "_longest", "_run", "_shift", "at_end", "is_open", "lead", "locate", "rule", "triggers")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.triggers = rule.triggers or tuple(
            ("" if rule.glued else r"\b") + re.escape(start) + rule.then for start in rule.starts
        )
        self.locate = _locator(rule)
        self.lead = rule.lead
        self._shift = rule.lead if rule.finder is None else 0
        self.at_end = rule.anchor is Anchor.END
        if callable(rule.extent):
            self.is_open = rule.extent
            return
        if rule.extent is not None:
            run, self._longest, self._ahead = rule.extent, LONGEST, 2
        elif rule.confirm is not None:
            run, self._longest, self._ahead = reach(rule.confirm)
        else:
            raise ValueError(f"rule {rule.id} has a finder but no `extent`")
        self._run = re.compile(run, re.IGNORECASE if rule.nocase else 0)
        self.is_open = self._reads_to_the_end

    def _reads_to_the_end(self, text: str, begin: int, end: int) -> bool:
        start = max(0, (end if self.at_end else begin) - self._shift)
        match = self._run.match(text, start, start + self._longest)
        stop = match.end() if match else start
        return stop + self._ahead > len(text)


def words(expression: str) -> re.Pattern[str]:
    """Whole words, case ignored; an underscore separates words."""
    return re.compile(rf"(?i)(?<![A-Za-z0-9])(?:{expression})(?![A-Za-z0-9])")


def width(expression: str) -> tuple[int, int]:
    """Shortest and longest text an expression can match."""
    shortest, longest = _parser.parse(expression).getwidth()
    return int(shortest), int(longest)


def reach(confirm: str) -> tuple[str, int, int]:
    """(expression for the run of characters `confirm` may consume, its longest match, how far it looks beyond)."""
    tree = _parser.parse(confirm)
    members = sorted(set(_members(tree)))
    longest = min(int(tree.getwidth()[1]), LONGEST)
    if "." in members:
        anything = r"[\s\S]*" if any(member in {r"\s", "\\\n"} for member in members) else r"[^\n]*"
        return anything, longest, 1 + _lookahead(tree)
    return f"[{''.join(members)}]*" if members else "", longest, max(1, _lookahead(tree))


def _members(tree: Any) -> Iterator[str]:
    """Character-class members of everything in `tree` that consumes text."""
    for operation, argument in tree:
        if operation is sre.LITERAL:
            yield re.escape(chr(argument)) if chr(argument) not in "^]-\\" else "\\" + chr(argument)
            if chr(argument).isalpha():
                yield chr(argument).swapcase()
        elif operation is sre.IN:
            yield from _class(argument)
        elif operation in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            yield from _members(argument[2])
        elif operation is sre.SUBPATTERN:
            yield from _members(argument[3])
        elif operation is sre.BRANCH:
            for branch in argument[1]:
                yield from _members(branch)
        elif operation in (sre.ANY, sre.NOT_LITERAL):
            yield "."
        elif operation is sre.ATOMIC_GROUP:
            yield from _members(argument)


_CATEGORIES = {
    sre.CATEGORY_DIGIT: r"\d",
    sre.CATEGORY_NOT_DIGIT: r"\D",
    sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S",
    sre.CATEGORY_WORD: r"\w",
    sre.CATEGORY_NOT_WORD: r"\W",
}


def _class(argument: Any) -> Iterator[str]:
    if argument and argument[0][0] is sre.NEGATE:
        yield "."
        return
    for kind, value in argument:
        if kind is sre.LITERAL:
            yield from _members([(sre.LITERAL, value)])
        elif kind is sre.RANGE:
            yield f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
        else:
            yield _CATEGORIES[value]


def class_members(operation: Any, argument: Any) -> frozenset[str]:
    """The Latin-1 characters that one character of an expression may be."""
    if operation is sre.LITERAL:
        return frozenset(chr(argument))
    matcher = re.compile(_single(operation, argument), re.ASCII)
    return frozenset(chr(code) for code in range(256) if matcher.fullmatch(chr(code)))


def _single(operation: Any, argument: Any) -> str:
    if operation is sre.ANY:
        return r"[^\n]"
    if operation is sre.NOT_LITERAL:
        return f"[^{re.escape(chr(argument))}]"
    negated = bool(argument) and argument[0][0] is sre.NEGATE
    members = "".join(_class(argument[1:] if negated else argument))
    return f"[{'^' if negated else ''}{members}]"


def _lookahead(tree: Any) -> int:
    """The widest look-ahead in `tree`."""
    widest = 0
    for operation, argument in tree:
        if operation in (sre.ASSERT, sre.ASSERT_NOT) and argument[0] > 0:
            widest = max(widest, min(int(argument[1].getwidth()[1]), LONGEST))
        elif operation in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            widest = max(widest, _lookahead(argument[2]))
        elif operation is sre.SUBPATTERN:
            widest = max(widest, _lookahead(argument[3]))
        elif operation is sre.BRANCH:
            widest = max(widest, *(_lookahead(branch) for branch in argument[1]))
    return widest


def _locator(rule: Rule) -> Locate:
    find = rule.finder or _regex_finder(rule)
    check = rule.check
    context = words(rule.context) if rule.context else None
    negative = words(rule.negative) if rule.negative else None
    outside = bool(rule.starts) and rule.tier is Tier.FORMAT and rule.data_class is DataClass.SECRET
    if check is None and context is None and negative is None and not outside:
        return find

    def locate(text: str, begin: int, end: int) -> Span | None:
        span = find(text, begin, end)
        if span is None:
            return None
        start, stop = span
        if outside and start and text[start - 1] in "+/" and _BLOB.match(text, max(0, start - _BLOB_REACH)) is not None:
            return None  # a piece of a long base64 text, which holds every short prefix by chance
        if check is not None and not check(text[start:stop]):
            return None
        back = max(0, start - CONTEXT_REACH)
        if context is not None and context.search(text, back, start) is None:
            return None
        if negative is not None and negative.search(text, back, start) is not None:
            return None
        return span

    return locate


_BLOB_REACH = 64
_BLOB = re.compile(rf"[A-Za-z0-9+/]{{{_BLOB_REACH}}}")

_RUN = re.compile(r"(\[[^]\\]+\]\{\d+,\d+\})(?=(?:=\{0,\d\})?\(\?!(\[[^]\\]+\])\))")


def possessive(confirm: str) -> str:
    """`confirm` with each run that must end where its characters end: a shorter one is not tried, as it cannot match."""

    def kept(match: re.Match[str]) -> str:
        run = match[1].partition("{")[0]
        inside, behind = (class_members(*_parser.parse(members)[0]) for members in (run, match[2]))
        return match[1] + ("+" if inside <= behind else "")

    return _RUN.sub(kept, confirm)


def _regex_finder(rule: Rule) -> Locate:
    if rule.confirm is None:
        raise ValueError(f"rule {rule.id} has neither `confirm` nor `finder`")
    pattern = re.compile(possessive(rule.confirm), re.IGNORECASE if rule.nocase else 0)
    group = "v" if "v" in pattern.groupindex else 0
    lead = rule.lead
    if rule.anchor is Anchor.END:

        def find_behind(text: str, _begin: int, end: int) -> Span | None:
            match = pattern.match(text, end - lead)
            return match.span(group) if match else None

        return find_behind

    def find(text: str, begin: int, _end: int) -> Span | None:
        match = pattern.match(text, begin - lead) if begin >= lead else None
        return match.span(group) if match else None

    return find
