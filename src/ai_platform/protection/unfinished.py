"""Where in a growing text a value may have begun that no trigger shows yet.

Derived from the triggers themselves, so that no rule can be forgotten: a trigger made only of word characters begins
within the last word; for the others every beginning of the trigger is looked for at the end of the text.
Above: watcher.py. Below: probe.py.
"""

import re
from collections.abc import Iterable, Iterator
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import hyperscan

from ai_platform.protection.database import compiled
from ai_platform.protection.probe import Probe, class_members

WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+/=~%'@:$-"
"""What may stand inside a token; a run of these at the end of a text is held as a whole."""

LONGEST = 126
"""No trigger is longer, so nothing further back is still without one."""

_SHORT_LEAD = 8
_BEGUN = re.compile(
    r"""(?:[^\s"'`=:>{}()<,;$\[\]]+|(?<=["'`])[^\n\x00"'`]{1,3}|(?<=:)[^\s\x00"':/$]{1,3}|(?<=:["'])[^\s\x00"']{1,3})\Z"""
)
"""The first characters of an assigned value: any but what delimits values; behind a quote or a colon most of those too."""

_WORD_SET = frozenset(WORD)


class Unfinished:
    """start(text): the offset from which a value without a trigger may have begun; len(text) when there is none."""

    def __init__(self, probes: Iterable[Probe]) -> None:
        probes = list(probes)
        patterns = sorted({pattern for probe in probes for pattern in _patterns(probe)})
        leads = [probe.lead for probe in probes if probe.at_end and probe.lead <= _SHORT_LEAD]
        self._lead = max(leads, default=0) - 1
        self._database: hyperscan.Database | None = None
        if patterns:
            leftmost, caseless = hyperscan.HS_FLAG_SOM_LEFTMOST, hyperscan.HS_FLAG_CASELESS
            self._database = compiled(
                [(pattern, leftmost | caseless if nocase else leftmost) for pattern, nocase in patterns], keep=True
            )

    def start(self, text: str) -> int:
        size = len(text)
        tail = text[-LONGEST:]
        base = size - len(tail)
        earliest = len(tail.rstrip(WORD))

        def on_match(_number: int, start: int, _end: int, _flags: int, _context: object) -> None:
            nonlocal earliest
            earliest = min(earliest, start)

        if self._lead > 0:
            begun = _BEGUN.search(tail, max(0, len(tail) - self._lead))
            earliest = min(earliest, begun.start() if begun else earliest)
        if self._database is not None:
            self._database.scan(tail.encode("latin-1", "replace"), match_event_handler=on_match)
        return base + earliest


def _patterns(probe: Probe) -> Iterator[tuple[str, bool]]:
    if probe.rule.unfinished is not None:
        yield rf"(?:{probe.rule.unfinished})\z", probe.rule.nocase
    if probe.at_end:
        return
    for trigger in probe.triggers:
        classes = _classes(_parser.parse(trigger))
        if not all(members <= _WORD_SET for members in classes[:-1]):
            nested = ""
            for members in reversed(classes[:-1]):
                one = "[" + "".join(f"\\x{ord(char):02x}" for char in sorted(members)) + "]"
                nested = f"{one}(?:{nested})?" if nested else one
            yield rf"{nested}\z", probe.rule.nocase


def _classes(tree: Any) -> list[frozenset[str]]:
    """The characters that may stand at each place of a fixed-width expression (alternatives are merged)."""
    places: list[frozenset[str]] = []
    for operation, argument in tree:
        if operation in (sre.LITERAL, sre.IN, sre.ANY, sre.NOT_LITERAL):
            places.append(class_members(operation, argument))
        elif operation in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            places += _classes(argument[2]) * int(argument[0])
        elif operation is sre.SUBPATTERN:
            places += _classes(argument[3])
        elif operation is sre.BRANCH:
            branches = [_classes(branch) for branch in argument[1]]
            places += [frozenset().union(*column) for column in zip(*branches, strict=True)]
    return places
