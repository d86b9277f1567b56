"""Finds triggers: all rules' short expressions in one Hyperscan database, scanned in block mode.

A trigger says "a value may start here"; it decides nothing. Above: scanner.py. Below: probe.py, rules.
Text is scanned as Latin-1 with `?` for everything else, so that byte offsets are code-point offsets.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import hyperscan

from ai_platform.protection import encoded
from ai_platform.protection.database import compiled
from ai_platform.protection.probe import Probe, width
from ai_platform.protection.rule import Rule
from ai_platform.protection.rules import ALL
from ai_platform.protection.unfinished import Unfinished

SLICE = 32 * 1024
OVERLAP = 128
"""Longer than any trigger, so that none is cut by a slice."""

_MOST_SETS = 32

Trigger = tuple[int, int]
"""(number of the trigger, end offset)."""


class Engine:
    """The compiled triggers of a set of rules. Immutable after construction; one per process is enough.

    dispatch[trigger number] = (width, probes to confirm with). added: the ids of an organisation's own rules.
    """

    added: frozenset[str] = frozenset()

    def __init__(self, rules: Iterable[Rule], *, keep: bool = False) -> None:
        """keep: keep the compiled form on disk for the next start."""
        self.probes = {rule.id: Probe(rule) for rule in rules}
        expressions: dict[tuple[str, bool], list[Probe]] = {}
        for probe in self.probes.values():
            for trigger in probe.triggers:
                expressions.setdefault((trigger, probe.rule.nocase), []).append(probe)
        self.dispatch: list[tuple[int, tuple[Probe, ...]]] = [
            (_fixed_width(trigger, probes), tuple(probes)) for (trigger, _), probes in expressions.items()
        ]
        self._unfinished: dict[frozenset[str], Unfinished] = {}
        flagged = [(trigger, hyperscan.HS_FLAG_CASELESS if nocase else 0) for trigger, nocase in expressions]
        self.encoding = len(flagged)  # the number of the trigger that says "here may be an encoding"
        self.dispatch.append((encoded.LEAD, ()))
        self._database = compiled([*flagged, (encoded.TRIGGER, 0)], keep=keep)

    def unfinished(self, rules: frozenset[str]) -> Unfinished:
        """Where a value of these rules may have begun (compiled once per set of rules)."""
        known = self._unfinished.get(rules)
        if known is None:
            known = Unfinished(self.probes[rule] for rule in sorted(rules))
            if len(self._unfinished) >= _MOST_SETS:
                self._unfinished.clear()
            self._unfinished[rules] = known
        return known

    def triggers(self, data: bytes) -> list[Trigger]:
        """Every trigger in `data`, in no particular order."""
        found: list[Trigger] = []

        def on_match(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            found.append((number, end))

        self._database.scan(data, match_event_handler=on_match)
        return found

    def sliced(self, data: bytes | str) -> Iterator[list[Trigger]]:
        """`triggers`, a bounded piece of `data` at a time; offsets are those of the whole."""
        if len(data) <= SLICE:
            yield self.triggers(_latin(data))
            return
        for start in range(0, len(data), SLICE):
            begin = max(0, start - OVERLAP)
            limit = min(len(data), start + SLICE)
            piece = self.triggers(_latin(data[begin : limit + 1]))
            yield [(number, begin + end) for number, end in piece if start < begin + end <= limit]


def _latin(text: bytes | str) -> bytes:
    return text.encode("latin-1", "replace") if isinstance(text, str) else text


class Extended(Engine):
    """An engine with further rules: the large database stays shared, only the few new triggers are compiled."""

    def __init__(self, base: Engine, rules: Iterable[Rule]) -> None:
        super().__init__(rules)
        self._base = base
        own = self.encoding
        self._first = len(base.dispatch)
        self.added = frozenset(self.probes)
        self.probes = base.probes | self.probes
        self.dispatch = base.dispatch + self.dispatch[:own]
        self.encoding = base.encoding
        self._own = own

    def triggers(self, data: bytes) -> list[Trigger]:
        own = super().triggers(data)
        first, encoding = self._first, self._own
        return self._base.triggers(data) + [(first + number, end) for number, end in own if number != encoding]


@cache
def builtin() -> Engine:
    """The catalogue, compiled once per process (a pure function of the code)."""
    return Engine(ALL, keep=True)


def _fixed_width(trigger: str, probes: Sequence[Probe]) -> int:
    shortest, longest = width(trigger)
    if longest > OVERLAP - 2 and not probes[0].rule.unfinished:
        raise ValueError(f"trigger {trigger!r} of {probes[0].rule.id} may be longer than {OVERLAP - 2} characters")
    if shortest != longest and not all(probe.at_end for probe in probes):
        raise ValueError(f"trigger {trigger!r} of {probes[0].rule.id} is anchored at its start but has no fixed width")
    return shortest
