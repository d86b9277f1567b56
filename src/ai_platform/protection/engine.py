"""Finds triggers: all rules' short expressions in one Hyperscan database, scanned in block mode.

A trigger says "a value may start here"; it decides nothing. Above: scanner.py. Below: rule.py.
Text is scanned as Latin-1 with `?` for everything else, so that byte offsets are code-point offsets.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

import hyperscan

from ai_platform.protection.rule import CONTEXT_REACH, Anchor, Rule, Span
from ai_platform.protection.rules import ALL

SLICE = 64 * 1024
OVERLAP = 96

Locate = Callable[[str, int, int], Span | None]


class Probe:
    """A rule ready to run: `locate(text, trigger start, trigger end)` gives the confirmed span."""

    __slots__ = ("locate", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.locate = _locator(rule)


class Engine:
    """The compiled triggers of a set of rules. Immutable after construction; one per process is enough."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.probes = {rule.id: Probe(rule) for rule in rules}
        expressions: dict[tuple[str, bool], list[Probe]] = {}
        for probe in self.probes.values():
            for trigger in probe.rule.triggers:
                expressions.setdefault((trigger, probe.rule.nocase), []).append(probe)
        self.dispatch: list[tuple[int, tuple[Probe, ...]]] = [
            (_width(trigger, probes), tuple(probes)) for (trigger, _), probes in expressions.items()
        ]
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=[trigger.encode() for trigger, _ in expressions],
            ids=list(range(len(expressions))),
            elements=len(expressions),
            flags=[hyperscan.HS_FLAG_CASELESS if nocase else 0 for _, nocase in expressions],
        )

    def triggers(self, data: bytes) -> list[tuple[int, int]]:
        """(trigger number, end offset) of every trigger in `data`."""
        found: list[tuple[int, int]] = []

        def on_match(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            found.append((number, end))

        self._database.scan(data, match_event_handler=on_match)
        return found

    def sliced(self, data: bytes) -> Iterator[list[tuple[int, int]]]:
        """`triggers`, a bounded piece of `data` at a time; offsets are those of the whole."""
        if len(data) <= SLICE:
            yield self.triggers(data)
            return
        for start in range(0, len(data), SLICE):
            begin = max(0, start - OVERLAP)
            limit = min(len(data), start + SLICE)
            piece = self.triggers(data[begin : limit + 1])
            yield [
                (number, begin + end)
                for number, end in piece
                if start < begin + end <= limit or (begin == 0 and end == 0)
            ]


@cache
def builtin() -> Engine:
    """The catalogue, compiled once per process (a pure function of the code)."""
    return Engine(ALL)


def _width(trigger: str, probes: Sequence[Probe]) -> int:
    shortest, longest = re._parser.parse(trigger).getwidth()  # type: ignore[attr-defined]
    if shortest != longest and any(probe.rule.anchor is Anchor.START for probe in probes):
        raise ValueError(f"trigger {trigger!r} of {probes[0].rule.id} is anchored at its start but has no fixed width")
    return shortest


def _words(expression: str) -> re.Pattern[str]:
    return re.compile(rf"(?i)(?<![A-Za-z0-9])(?:{expression})(?![A-Za-z0-9])")


def _locator(rule: Rule) -> Locate:
    find = rule.finder or _regex_finder(rule)
    check = rule.check
    context = _words(rule.context) if rule.context else None
    negative = _words(rule.negative) if rule.negative else None
    if check is None and context is None and negative is None:
        return find

    def locate(text: str, begin: int, end: int) -> Span | None:
        span = find(text, begin, end)
        if span is None:
            return None
        start, stop = span
        if check is not None and not check(text[start:stop]):
            return None
        reach = max(0, start - CONTEXT_REACH)
        if context is not None and context.search(text, reach, start) is None:
            return None
        if negative is not None and negative.search(text, reach, start) is not None:
            return None
        return span

    return locate


def _regex_finder(rule: Rule) -> Locate:
    if rule.confirm is None:
        raise ValueError(f"rule {rule.id} has neither `confirm` nor `finder`")
    pattern = re.compile(rule.confirm, re.IGNORECASE if rule.nocase else 0)
    group = "v" if "v" in pattern.groupindex else 0
    at_end = rule.anchor is Anchor.END

    def find(text: str, begin: int, end: int) -> Span | None:
        match = pattern.match(text, end if at_end else begin)
        return match.span(group) if match else None

    return find
