"""Text in, findings out: triggers from the engine, confirmed by the rules, overlaps resolved, actions from the plan.

Pure; knows nothing of bodies, streams or people. Above: body.py, stream.py, the `scan` command. Below: engine, actions.
"""

import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import translate
from hashlib import blake2b
from itertools import accumulate
from operator import attrgetter, le

from ai_platform.domain.finding import Action, Direction, Finding, ProtectionPlan, Severity, Tier
from ai_platform.protection import encoded
from ai_platform.protection.actions import REWRITING, resolve, wanted
from ai_platform.protection.attention import ATTEMPT, EFFORT, FOUND, VALUES, Purpose, purpose, shares
from ai_platform.protection.checkdigits import digits_of
from ai_platform.protection.custom import engine_for
from ai_platform.protection.engine import SLICE, Trigger
from ai_platform.protection.literals import Steps, finished
from ai_platform.protection.overlaps import apart
from ai_platform.protection.rule import Hit, Rule
from ai_platform.protection.rules.people import PERSON
from ai_platform.protection.unfinished import Unfinished
from ai_platform.protection.view import View, is_plain

_TIERS = {Tier.VERIFIED: 0, Tier.FORMAT: 1, Tier.CONTEXT: 2, Tier.GENERIC: 3}
_SURE = frozenset({Tier.VERIFIED, Tier.FORMAT})
_SERIOUS = frozenset({Severity.CRITICAL, Severity.HIGH})
_SHORT_VALUE = 64
_MOST_HASHES = 2_000
"""Replayed values come with every turn; only so many, and only short ones, are kept beside the hash."""

_CHANGES, _ALERTS = Purpose.CHANGES, Purpose.ALERTS
_TOLD = -sys.maxsize
"""Of a share: it is used up, and that was said."""

_STEP = 64
"""How many triggers are confirmed before others may run (well under a millisecond)."""


class TooManyValues(Exception):
    """A text holds more values that must not leave than one inspection handles (Scanner.most_values)."""


class Scanner:
    """secret: key of the value hashes; empty = findings carry no hash (a local scan).

    most_values: `sweep` gives up on texts with more of them; 0 = never.
    cut_short: how often a text had so many values to record that the rest of them was not looked for (attention.py).

    Raises ValueError for a custom rule whose pattern cannot be used (a policy that loads has none).
    """

    def __init__(self, plan: ProtectionPlan, *, secret: bytes = b"", most_values: int = 0) -> None:
        self.plan = plan
        self._most_values = most_values or sys.maxsize
        self.engine = engine_for(plan.custom)
        self.cut_short = 0
        self._secret = secret[:64]
        self._hashes: dict[tuple[str, str], str] = {}
        self._off = frozenset(
            rule_id
            for rule_id, probe in self.engine.probes.items()
            if not (rule_id in self.engine.added or wanted(probe.rule, plan))
        ) | (frozenset() if wanted(PERSON, plan) else {PERSON.id})
        self._allow = re.compile("|".join(translate(value) for value in plan.allow)) if plan.allow else None
        purposes = {rule_id: purpose(probe.rule, plan) for rule_id, probe in self.engine.probes.items()}
        self._dispatch = [
            (
                width,
                tuple(
                    (probe.locate, probe.rule, purposes[probe.rule.id])
                    for probe in probes
                    if self.looks_for(probe.rule)
                ),
            )
            for width, probes in self.engine.dispatch
        ]
        self._keyed = blake2b(digest_size=8, key=self._secret)
        self._unfinished: dict[tuple[Direction, str | None], tuple[Unfinished, Unfinished]] = {}
        self._actions: dict[tuple[Direction, str | None], dict[str, Action]] = {}

    def scan(self, text: str, *, direction: Direction = Direction.INPUT, team: str | None = None) -> list[Finding]:
        """Findings in order, non-overlapping, offsets in code points of `text`."""
        if not self.plan.enabled:
            return []
        hits = self.hits(text)
        return [self.finding(text, hit, direction, team) for hit in self.settle(hits, direction, team)] if hits else []

    def hits(self, text: str) -> list[Hit]:
        """Every confirmed value, unsorted, possibly overlapping."""
        if is_plain(text):
            return self._all(text)
        view = View(text)
        return _mapped(self._all(view.text), view)

    def sweep(self, texts: Iterable[str | None], size: int) -> Iterator[tuple[int, list[Hit]]]:
        """(index, hits) of the texts that have any; (-1, []) where the caller may let others run.

        texts: None is passed on as a place to pause, and is not counted. size: about how many characters there are in
        all. Small texts are scanned together, as one engine call costs more than a short text. Raises TooManyValues.
        """
        left = shares(size, self._most_values)
        batch: list[int] = []
        small: list[str] = []
        waiting, index = 0, -1
        for text in texts:
            if text is None:
                yield -1, []
                continue
            index += 1
            if len(text) >= SLICE:
                yield from self._sweep_large(index, text, left)
                continue
            batch.append(index)
            small.append(text)
            waiting += len(text)
            if waiting >= SLICE:
                yield from self._sweep_batch(batch, small, left)
                batch, small, waiting = [], [], 0
        if batch:
            yield from self._sweep_batch(batch, small, left)

    def settle(self, hits: list[Hit], direction: Direction, team: str | None, *, complete: bool = False) -> list[Hit]:
        """Sorted, non-overlapping: what changes the text wins over what is only recorded, then the surer tier.

        complete: also in answers what stands in an encoding counts, as the text is no answer that streams.
        """
        return finished(self.settled(hits, direction, team, complete=complete))

    def settled(
        self, hits: list[Hit], direction: Direction, team: str | None, *, complete: bool = False
    ) -> Steps[list[Hit]]:
        """As settle, in steps."""
        if direction is Direction.OUTPUT and not complete:
            hits = [hit for hit in hits if not hit.encoded]
        if len(hits) == 1:
            return hits
        hits = sorted(hits, key=_START)
        if all(map(le, map(_END, hits), map(_START, hits[1:]))):
            return hits
        return (yield from apart(hits, lambda hit: self._rank(hit, direction, team)))

    def _rank(self, hit: Hit, direction: Direction, team: str | None) -> tuple[bool, int, int, int, str]:
        """Of overlapping hits the least ranked one stays."""
        records_only = self.action(hit.rule, direction, team) not in REWRITING
        return (records_only, _TIERS[hit.rule.tier], hit.start - hit.end, hit.start, hit.rule.id)

    def action(self, rule: Rule, direction: Direction, team: str | None) -> Action:
        actions = self._actions.get((direction, team))
        if actions is None:
            actions = self._actions[direction, team] = {}
        action = actions.get(rule.id)
        if action is None:
            action = actions[rule.id] = resolve(rule, self.plan, direction, team)
        return action

    def finding(
        self, text: str, hit: Hit, direction: Direction, team: str | None, path: str = "", *, skip: int = 0
    ) -> Finding:
        """skip: so many characters of `text` stand before the text that the finding's offsets are of."""
        rule = hit.rule
        return Finding(
            start=hit.start - skip,
            end=hit.end - skip,
            data_class=rule.data_class,
            type=rule.type,
            rule=rule.id,
            tier=rule.tier,
            severity=rule.severity,
            action=self.action(rule, direction, team),
            value_hash=self.value_hash(rule, text[hit.start : hit.end]),
            path=path,
        )

    def value_hash(self, rule: Rule, value: str) -> str:
        """16 hex digits, keyed; the same for a number with and without separators, escapes or look-alikes."""
        if not self._secret:
            return ""
        known = self._hashes.get((rule.type, value))
        if known is not None:
            return known
        plain = value if is_plain(value) else View(value).text
        digits = digits_of(plain)
        name = f"{rule.type}\0{digits if digits.isdigit() else plain}"
        digest = self._keyed.copy()
        digest.update(name.encode("utf-8", "surrogatepass"))
        known = digest.hexdigest()
        if len(value) <= _SHORT_VALUE:
            if len(self._hashes) >= _MOST_HASHES:
                self._hashes.clear()
            self._hashes[rule.type, value] = known
        return known

    def confirm(self, text: str, triggers: Sequence[Trigger], left: list[int]) -> list[Hit]:
        """The hits behind triggers found in `text` (a view). left: see attention.shares; what is used is taken off."""
        hits: list[Hit] = []
        dispatch, encoding, allow = self._dispatch, self.engine.encoding, self._allow
        judged = -1
        for number, end in triggers:
            if number == encoding:
                hits += self._inside(text, end, left)
                continue
            width, probes = dispatch[number]
            for locate, rule, why in probes:
                if left[why] <= 0:
                    if left[why] > _TOLD:
                        hits += self._cut_short(rule, end - width, end, left, why)
                    continue
                if why is not _ALERTS:
                    left[why] -= 1
                    left[EFFORT] -= ATTEMPT[why]
                elif end != judged:  # what two rules say about one value is judged once
                    judged = end
                    left[EFFORT] -= ATTEMPT[why]
                span = locate(text, end - width, end)
                if span is not None and (allow is None or allow.fullmatch(text[span[0] : span[1]]) is None):
                    hits.append(Hit(span[0], span[1], rule))
                    if why is _CHANGES:
                        left[VALUES] -= 1
                        left[EFFORT] -= FOUND
        if left[VALUES] < 0:
            raise TooManyValues(
                "The text holds more values that must not leave than are treated one by one in a text of its length (at"
                f" most {self._most_values:,}). Send less of it, or ask the operator to raise protection.most_values."
            )
        return hits

    def _cut_short(self, rule: Rule, start: int, end: int, left: list[int], why: Purpose) -> list[Hit]:
        """The last finding of a share that is used up: an alert that text was not looked at."""
        self.cut_short += 1
        left[why] = _TOLD
        return [Hit(start, end, rule)] if why is Purpose.ALERTS else []

    def _inside(self, text: str, end: int, left: list[int]) -> list[Hit]:
        """What an encoded run holds: sure findings of what is worse than a warning, at the place of the whole run."""
        run = encoded.decoded_at(text, end)
        if run is None:
            return []
        start, stop, plain = run
        triggers = self.engine.triggers(plain.encode("latin-1", "replace"))
        inner = self.confirm(plain, [trigger for trigger in triggers if trigger[0] != self.engine.encoding], left)
        return [
            Hit(start, stop, hit.rule, encoded=True)
            for hit in inner
            if hit.rule.tier in _SURE and hit.rule.severity in _SERIOUS
        ]

    def changing(self, direction: Direction, team: str | None) -> frozenset[str]:
        """The rules whose findings change the text."""
        return frozenset(
            rule_id
            for rule_id, probe in self.engine.probes.items()
            if rule_id not in self._off and self.action(probe.rule, direction, team) in REWRITING
        )

    def unfinished(self, direction: Direction, team: str | None) -> tuple[Unfinished, Unfinished]:
        """(for the rules that change the text, for all that are looked for)."""
        known = self._unfinished.get((direction, team))
        if known is None:
            wanted_rules = frozenset(self.engine.probes) - self._off
            known = self.engine.unfinished(self.changing(direction, team)), self.engine.unfinished(wanted_rules)
            self._unfinished[direction, team] = known
        return known

    def rule(self, rule_id: str) -> Rule:
        """The record behind a finding's `rule`."""
        return PERSON if rule_id == PERSON.id else self.engine.probes[rule_id].rule

    def label(self, rule_id: str) -> str:
        """How a message names what the rule finds."""
        return self.rule(rule_id).label

    def looks_for(self, rule: Rule) -> bool:
        """Does the plan want this rule?"""
        return rule.id not in self._off

    def accepts(self, rule: Rule, text: str, start: int, end: int) -> bool:
        """Does the plan want this rule, and is the value not on its allow list?"""
        return rule.id not in self._off and (self._allow is None or self._allow.fullmatch(text[start:end]) is None)

    def _all(self, text: str) -> list[Hit]:
        data = text.encode("latin-1", "replace")
        left = shares(len(text), sys.maxsize)
        return [hit for piece in self.engine.sliced(data) for hit in self.confirm(text, piece, left)]

    def _sweep_large(self, index: int, text: str, left: list[int]) -> Iterator[tuple[int, list[Hit]]]:
        view = None
        if not is_plain(text):
            view = View()
            for _ in view.read(text):
                yield -1, []
            text = view.text
        found: list[Hit] = []
        for piece in self.engine.sliced(text):
            yield -1, []
            for start in range(0, len(piece), _STEP):
                found += self.confirm(text, piece[start : start + _STEP], left)
                yield -1, []
        if found:
            yield index, _mapped(found, view)

    def _sweep_batch(self, batch: list[int], texts: list[str], left: list[int]) -> Iterator[tuple[int, list[Hit]]]:
        """As one text: reading and searching thousands of short ones costs little more than that."""
        joined = "\0".join(texts)
        view, begins = None, _starts(texts)
        if not is_plain(joined):
            view = View()
            for _ in view.read(joined):
                yield -1, []
            joined, own = view.text, view.text.split("\0")
            if len(own) != len(texts):  # one of them holds the separator itself
                for index, text in zip(batch, texts, strict=True):
                    yield from self._sweep_large(index, text, left)
                return
            texts = own
        starts = _starts(texts)
        found: dict[int, list[Hit]] = {}
        dispatch = self._dispatch
        for piece in self.engine.sliced(joined):
            yield -1, []
            for slot, triggers in _by_text(piece, starts):
                start, size = starts[slot], len(texts[slot])
                # else it spans two texts
                inner = [
                    (number, end - start) for number, end in triggers if dispatch[number][0] <= end - start <= size
                ]
                for step in range(0, len(inner), _STEP):
                    hits = self.confirm(texts[slot], inner[step : step + _STEP], left)
                    if hits:
                        found.setdefault(slot, []).extend(hits)
                    yield -1, []
        for slot, hits in found.items():
            yield batch[slot], _mapped(hits, view, starts[slot], begins[slot])
        yield -1, []


def _starts(texts: Iterable[str]) -> list[int]:
    """Where each of the texts begins when they are joined by one character, and the end of all."""
    return list(accumulate((len(text) + 1 for text in texts), initial=0))


def _by_text(triggers: Iterable[Trigger], starts: Sequence[int]) -> Iterator[tuple[int, list[Trigger]]]:
    """Triggers of joined texts, those of one text together. starts: where each text begins, and the end of all."""
    found: dict[int, list[Trigger]] = {}
    slot, begin, stop = -1, 0, 0
    own: list[Trigger] = []
    for trigger in triggers:
        end = trigger[1]
        if not begin < end <= stop:
            slot = bisect_right(starts, end - 1) - 1
            begin, stop = starts[slot], starts[slot + 1]
            own = found.setdefault(slot, [])
        own.append(trigger)
    yield from found.items()


_START = attrgetter("start")
_END = attrgetter("end")


def _mapped(hits: list[Hit], view: View | None, start: int = 0, begin: int = 0) -> list[Hit]:
    """Places in the original. start, begin: where the text with the hits begins in the view, and in its original."""
    if view is not None:
        for hit in hits:
            hit.start, hit.end = view.origin(start + hit.start) - begin, view.origin(start + hit.end) - begin
    return hits
