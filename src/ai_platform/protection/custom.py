"""Detectors an organisation writes in its policy file, as rules of the same engine.

A pattern runs in Hyperscan only, in linear time: no pattern can be slow. Matches are up to LONGEST characters.
Above: scanner.py, policy check. Below: engine.py.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from re import error as re_error

import hyperscan

from ai_platform.domain.finding import CustomRule, Tier
from ai_platform.protection.database import compiled
from ai_platform.protection.engine import Engine, Extended, builtin
from ai_platform.protection.probe import reach
from ai_platform.protection.rule import Anchor, Rule, Span
from ai_platform.protection.rules.people import PERSON

LONGEST = 120
PREFIX = "custom-"
_NOT_TYPE = re.compile(r"[^A-Z0-9]+")


def engine_for(rules: Sequence[CustomRule]) -> Engine:
    """The catalogue with these detectors. Raises ValueError (see `problems`) for a pattern that cannot be used."""
    base = builtin()
    return Extended(base, [as_rule(rule, taken=rule.name in _taken(base)) for rule in rules]) if rules else base


def _taken(base: Engine) -> Collection[str]:
    return {*base.probes, PERSON.id}


def as_rule(custom: CustomRule, *, taken: bool = False) -> Rule:
    """Its id is its name, or `custom-` and its name when a rule of the catalogue has that name (`taken`).

    Raises ValueError for a pattern that cannot be used; the message says why.
    """
    find = _Finder(custom.pattern)
    run, _, _ = _reach(custom.pattern)
    return Rule(
        id=PREFIX + custom.name if taken else custom.name,
        type=_NOT_TYPE.sub("_", custom.name.upper()).strip("_") or "CUSTOM",
        label=custom.message or f"what the rule {custom.name!r} looks for",
        data_class=custom.data_class,
        tier=Tier.FORMAT,
        severity=custom.severity,
        source="this organisation's policy",
        triggers=(custom.pattern,),
        anchor=Anchor.END,
        lead=LONGEST,
        finder=find,
        extent=f"{run[:-1]}{{0,{LONGEST}}}",
        unfinished=f"{run[:-1]}{{1,{LONGEST}}}",
        action=custom.action,
        examples=custom.examples,
        counter_examples=custom.counter_examples,
    )


def problems(rules: Iterable[CustomRule]) -> list[tuple[str, str]]:
    """(rule's name, what is wrong): patterns that cannot be used, examples that do not hold."""
    found: list[tuple[str, str]] = []
    for custom in rules:
        try:
            engine = Engine([as_rule(custom)])
        except ValueError as error:
            found.append((custom.name, str(error)))
            continue
        wrong = [f"does not find its example {text!r}" for text in custom.examples if not _finds(engine, text)]
        wrong += [f"finds its counter-example {text!r}" for text in custom.counter_examples if _finds(engine, text)]
        found += [(custom.name, message) for message in wrong]
    return found


def _finds(engine: Engine, text: str) -> bool:
    return any(number != engine.encoding for number, _ in engine.triggers(text.encode("latin-1", "replace")))


def _reach(pattern: str) -> tuple[str, int, int]:
    try:
        run, longest, ahead = reach(pattern)
    except re_error as error:
        raise ValueError(f"its pattern is not a regular expression: {error}") from error
    return (run or "[^\\n]*"), longest, ahead


class _Finder:
    """The pattern itself: finds where the match that ends at a trigger begins, and how far it goes."""

    def __init__(self, pattern: str) -> None:
        try:
            self._database = compiled([(pattern, hyperscan.HS_FLAG_SOM_LEFTMOST)])
        except (hyperscan.HyperscanError, UnicodeEncodeError) as error:
            raise ValueError(
                f"its pattern cannot be used ({error}): write it without look-around and back-references, in characters"
                " up to U+00FF, and so that it does not match the empty text"
            ) from error

    def __call__(self, text: str, _start: int, end: int) -> Span | None:
        begin = max(0, end - LONGEST)
        window = text[begin : end + LONGEST].encode("latin-1", "replace")
        spans: list[Span] = []

        def on_match(_number: int, start: int, stop: int, _flags: int, _context: object) -> None:
            if start < end - begin <= stop:
                spans.append((start, -stop))

        self._database.scan(window, match_event_handler=on_match)
        if not spans:
            return None
        start, stop = min(spans)
        return begin + start, begin - stop
