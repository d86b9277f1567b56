"""Text in, findings out: triggers from the engine, confirmed by the rules, overlaps resolved, actions from the plan.

Pure; knows nothing of bodies, streams or people. Above: body.py, stream.py, the `scan` command. Below: engine, actions.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from fnmatch import translate
from hashlib import blake2b

from ai_platform.domain.finding import Action, Direction, Finding, ProtectionPlan, Tier
from ai_platform.protection.actions import REWRITING, resolve, wanted
from ai_platform.protection.checks import digits_of
from ai_platform.protection.engine import SLICE, builtin
from ai_platform.protection.rule import Hit, Rule

_TIERS = {Tier.VERIFIED: 0, Tier.FORMAT: 1, Tier.CONTEXT: 2, Tier.GENERIC: 3}


class Scanner:
    """secret: key of the value hashes; empty = findings carry no hash (a local scan)."""

    def __init__(self, plan: ProtectionPlan, *, secret: bytes = b"") -> None:
        self.plan = plan
        self.engine = builtin()
        self._secret = secret[:64]
        self._off = frozenset(rule_id for rule_id, probe in self.engine.probes.items() if not wanted(probe.rule, plan))
        self._allow = re.compile("|".join(translate(value) for value in plan.allow)) if plan.allow else None
        self._actions: dict[tuple[str, Direction, str | None], Action] = {}

    def scan(self, text: str, *, direction: Direction = Direction.INPUT, team: str | None = None) -> list[Finding]:
        if not self.plan.enabled:
            return []
        hits = self.hits(text)
        return [self.finding(text, hit, direction, team) for hit in self.settle(hits, direction, team)] if hits else []

    def hits(self, text: str) -> list[Hit]:
        """Every confirmed value, unsorted, overlapping."""
        data = text.encode("latin-1", "replace")
        return [hit for piece in self.engine.sliced(data) for hit in self._confirm(text, piece)]

    def sweep(self, texts: Sequence[str]) -> Iterator[tuple[int, list[Hit]]]:
        """(index, hits) of the texts that have any; (-1, []) where the caller may let others run.

        Small texts are scanned together, as one engine call costs more than a short text.
        """
        batch: list[int] = []
        size = 0
        for index, text in enumerate(texts):
            if len(text) >= SLICE:
                yield from self._sweep_large(index, text)
                continue
            batch.append(index)
            size += len(text)
            if size >= SLICE:
                yield from self._sweep_batch(texts, batch)
                batch, size = [], 0
        yield from self._sweep_batch(texts, batch)

    def _sweep_large(self, index: int, text: str) -> Iterator[tuple[int, list[Hit]]]:
        found: list[Hit] = []
        for piece in self.engine.sliced(text.encode("latin-1", "replace")):
            for start in range(0, len(piece), 200):
                found += self._confirm(text, piece[start : start + 200])
                yield -1, []
        if found:
            yield index, found

    def _sweep_batch(self, texts: Sequence[str], batch: list[int]) -> Iterator[tuple[int, list[Hit]]]:
        starts: list[int] = []
        position = 0
        for index in batch:
            starts.append(position)
            position += len(texts[index]) + 1
        data = "\0".join([texts[index] for index in batch]).encode("latin-1", "replace")
        found: dict[int, list[Hit]] = {}
        count = 0
        for piece in self.engine.sliced(data):
            for number, end in piece:
                slot = bisect_right(starts, end - 1) - 1
                hits = self._confirm(texts[batch[slot]], [(number, end - starts[slot])])
                if hits:
                    found.setdefault(batch[slot], []).extend(hits)
                count += 1
                if not count % 200:
                    yield -1, []
        yield from found.items()
        yield -1, []

    def settle(self, hits: list[Hit], direction: Direction, team: str | None) -> list[Hit]:
        """Sorted, non-overlapping: what changes the text wins over what is only recorded, then the surer tier."""
        if len(hits) == 1:
            return hits
        ranked = sorted(
            hits,
            key=lambda hit: (
                self.action(hit.rule, direction, team) not in REWRITING,
                _TIERS[hit.rule.tier],
                hit.start - hit.end,
                hit.start,
                hit.rule.id,
            ),
        )
        taken: list[Hit] = []
        ends: list[int] = []
        starts: list[int] = []
        for hit in ranked:
            slot = bisect_right(starts, hit.start)
            if (slot and ends[slot - 1] > hit.start) or (slot < len(starts) and starts[slot] < hit.end):
                continue
            starts.insert(slot, hit.start)
            ends.insert(slot, hit.end)
            taken.insert(slot, hit)
        return taken

    def action(self, rule: Rule, direction: Direction, team: str | None) -> Action:
        key = (rule.id, direction, team)
        action = self._actions.get(key)
        if action is None:
            action = self._actions[key] = resolve(rule, self.plan, direction, team)
        return action

    def finding(self, text: str, hit: Hit, direction: Direction, team: str | None, path: str = "") -> Finding:
        rule = hit.rule
        return Finding(
            start=hit.start,
            end=hit.end,
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
        """16 hex digits, keyed; the same for a number with and without separators."""
        if not self._secret:
            return ""
        plain = digits_of(value)
        name = f"{rule.type}\0{plain if plain.isdigit() else value}"
        return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8, key=self._secret).hexdigest()

    def _confirm(self, text: str, triggers: Sequence[tuple[int, int]]) -> list[Hit]:
        hits: list[Hit] = []
        dispatch = self.engine.dispatch
        for number, end in triggers:
            width, probes = dispatch[number]
            for probe in probes:
                span = probe.locate(text, end - width, end)
                if span is not None and probe.rule.id not in self._off and not self._allowed(text, span):
                    hits.append(Hit(*span, probe.rule))
        return hits

    def _allowed(self, text: str, span: tuple[int, int]) -> bool:
        return self._allow is not None and self._allow.fullmatch(text[span[0] : span[1]]) is not None
