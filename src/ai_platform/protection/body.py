"""Inspection of a JSON body as raw bytes: leaves in, findings and where to splice out.

Knows the Messages API's shape only where something must not be touched. Above: sessions.py, guard.py. Below: leaves,
literals, scanner.
"""

import operator
import re
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import accumulate, chain
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ai_platform.domain.finding import Direction
from ai_platform.protection.actions import REWRITING
from ai_platform.protection.fixed import Fixed, fixed_at
from ai_platform.protection.leaves import LONG_NUMBER, MEDIA, Leaf, lead_of
from ai_platform.protection.literals import (
    Places,
    Steps,
    cut,
    decode,
    find_byte_offsets,
)
from ai_platform.protection.located import Inspected, Located, with_shared
from ai_platform.protection.offsets import Offsets
from ai_platform.protection.replace import MARK
from ai_platform.protection.rule import Hit
from ai_platform.protection.scanner import Scanner
from ai_platform.protection.seams import joined, runs

_LONG = 64
_SHORT_NUMBER = 8
_TEXT_KEY = b'"text"'
_COLON = frozenset({b":", b": "})
_SPECIAL = re.compile(rb"[\\%&\x1b\x80-\xff][^\"]*")
"""Where a string may read differently from how it is written (escapes, look-alikes), up to its end at the most."""

_LEAST_MEDIA = 256
_MEDIA_KEYS = frozenset({b"data", b"blob"})
_MOST_LEADS = 10_000
_MUCH = 256 * 1024
_PIECES = 1024
_PARTS_AT_ONCE = 4096
_NONCE = bytes(12)
_STEP = 128
"""After so many small pieces of work others may run."""


class Memo:
    """leaf -> its hits, keyed by content; bounded, least recently used first out."""

    def __init__(self, limit: int, key: bytes) -> None:
        self._limit = limit
        self._tags = AESGCM(blake2b(key[:64], digest_size=32, person=b"leaf memo").digest())
        self._known: OrderedDict[bytes, list[Hit]] = OrderedDict()

    def key(self, leaf: Leaf, version: bytes) -> Steps[bytes]:
        """A tag of the leaf under a key that nobody else has. version: 16 bytes.

        GMAC (NIST SP 800-38D) is five times as fast as BLAKE2b. Its nonce may be constant, as no tag leaves this
        object: without one, texts with equal tags are found by nothing but luck, one in 2**108 for 256 KB.
        """
        lead = leaf.lead.encode("utf-8", "surrogateescape")
        raw = leaf.raw
        tag = self._tags.encrypt(_NONCE, b"", b"%b%d:%b%b" % (version, len(lead), lead, raw[:_MUCH]))
        for start in range(_MUCH, len(raw), _MUCH):
            yield None
            tag = self._tags.encrypt(_NONCE, b"", tag + raw[start : start + _MUCH])
        return tag

    def get(self, key: bytes) -> list[Hit] | None:
        hits = self._known.get(key)
        if hits is not None:
            self._known.move_to_end(key)
        return hits

    def put(self, key: bytes, hits: list[Hit]) -> None:
        self._known[key] = hits
        if len(self._known) > self._limit:
            self._known.popitem(last=False)


class BodyInspector:
    """Inspects for one plan. The methods are generators of None that yield where other work may run.

    harmless: header fields that hold nothing (see heading.py), kept as long as the plan is.
    """

    def __init__(self, scanner: Scanner, memo: Memo) -> None:
        self.scanner = scanner
        self.harmless: set[tuple[bytes, bytes]] = set()
        self._memo = memo
        plan = scanner.plan
        told = repr((plan.patterns and sorted(plan.patterns), plan.custom, plan.allow))
        self._version = blake2b(told.encode(), digest_size=16).digest()
        self._leads: dict[bytes, str] = {}

    def whole(
        self, body: bytes, direction: Direction, team: str | None, *, free: bool = False
    ) -> Iterator[Inspected | None]:
        """None = a pause point; the last item is the result. free: see Inspected."""
        result = Inspected(body, Offsets(), free=free)
        yield from self.region(result, 0, len(body), direction, team)
        yield result

    def region(self, result: Inspected, begin: int, end: int, direction: Direction, team: str | None) -> Iterator[None]:
        """Inspect body[begin:end], which starts and ends outside of strings, and add it to `result`."""
        body = result.body
        result.marked = result.marked or body.find(MARK, begin, end) >= 0
        parts = yield from cut(body, begin, end)
        yield None
        offset = len(result.starts)
        starts, long = yield from _note_places(result, parts, begin)
        found: list[tuple[Leaf, list[Hit]]] = []
        fresh: list[Leaf] = []
        keys: list[bytes] = []
        for count, known in enumerate(self._remembered(result, parts, starts, long, offset)):
            if known is None or not count % _STEP:
                yield None
            if known is None:
                continue
            leaf, key, hits = known
            if hits is None:
                fresh.append(leaf)
                keys.append(key)
            elif hits:
                found.append((leaf, hits))
        short, numbers = yield from self._suspicious(body, parts, starts, long)
        strings = (self._leaf(body, parts, starts, index, offset) for index in sorted(short))
        for leaf in chain(strings, _numbers(parts, starts, sorted(numbers), offset)):
            fresh.append(leaf)
            if not len(fresh) % _STEP:
                yield None
        fresh_hits: dict[int, list[Hit]] = {}
        cut_short = self.scanner.cut_short
        size = sum(len(leaf.raw) for leaf in fresh)
        for slot, hits in self.scanner.sweep(_texts(fresh), size):
            if slot < 0:
                yield None
            else:
                fresh_hits[slot] = hits
                found.append((fresh[slot], hits))
        if self.scanner.cut_short == cut_short:  # else not all of what these texts hold is known
            for slot, key in enumerate(keys):
                self._memo.put(key, fresh_hits.get(slot, []))
        if found:
            yield from self._locate(result, found, direction, team, parts, offset)
        if body.find(_TEXT_KEY, body.find(_TEXT_KEY, begin, end) + 1, end) >= begin:
            yield from self._join(result, parts, starts, offset, direction, team)
        yield from _freed(parts, starts, fresh)

    def _join(
        self,
        result: Inspected,
        parts: Sequence[bytes],
        starts: Sequence[int],
        offset: int,
        direction: Direction,
        team: str | None,
    ) -> Iterator[None]:
        """Add the values that begin in one text block and end in another."""
        shared: list[list[Located]] = []
        beside: list[list[int]] = []
        blocks: list[list[bytes]] = []
        for run in runs(parts):
            if run is not None:
                beside.append(run)
                blocks.append([result.body[starts[at] : starts[at] + len(parts[at])] for at in run])
            yield None
        for found in joined(self.scanner, blocks):
            if found is None:
                yield None
                continue
            run, value = beside[found[0]], found[1]
            index = offset + run[value.sides[0].block]
            path = Places(result.body, result.starts.plain(), [index], result.trail).path(index)
            hit = Hit(0, len(value.value), value.rule)
            finding = self.scanner.finding(value.value, hit, direction, team, path)
            fixed = Fixed.FREE if result.free else fixed_at(path, blocks[found[0]][value.sides[0].block])
            sides: list[Located] = []
            for side in value.sides:
                begin, index = starts[run[side.block]], offset + run[side.block]
                place = (begin + side.start, begin + side.end)
                sides.append(Located(finding, *place, value.value, fixed, quoted=True, index=index, rest=bool(sides)))
            shared.append(sides)
        if shared:
            result.located = with_shared(result.located, shared)

    def _remembered(
        self, result: Inspected, parts: Sequence[bytes], starts: Sequence[int], long: Sequence[int], offset: int
    ) -> Iterator[tuple[Leaf, bytes, list[Hit] | None] | None]:
        """(leaf, its memo key, what is known of it) of every long string that is text; None where others may run."""
        for index in long:
            part = parts[index]
            if len(part) >= _LEAST_MEDIA and MEDIA.match(part) and _key_of(parts, index) in _MEDIA_KEYS:
                result.unchecked.append((offset + index, len(part)))
                continue
            leaf = self._leaf(result.body, parts, starts, index, offset)
            key = yield from self._memo.key(leaf, self._version)
            yield leaf, key, self._memo.get(key)

    def _leaf(self, body: bytes, parts: Sequence[bytes], starts: Sequence[int], index: int, offset: int) -> Leaf:
        part, start = parts[index], starts[index]
        raw = body[start : start + len(part)] if b"\1" in part else part
        key = _key_of(parts, index)
        return Leaf(offset + index, start, raw, self._lead(key) if key else "")

    def _lead(self, key: bytes) -> str:
        lead = self._leads.get(key)
        if lead is None:
            if len(self._leads) >= _MOST_LEADS:
                self._leads.clear()
            lead = self._leads[key] = lead_of(decode(key))
        return lead

    def _suspicious(
        self, body: bytes, parts: Sequence[bytes], starts: Sequence[int], long: Sequence[int]
    ) -> Generator[None, None, tuple[set[int], set[int]]]:
        """(short strings, segments with numbers) that may hold a value.

        Everything but the long strings is scanned in one piece as it stands in the body: a JSON text is its own
        context, and few of its thousands of short strings have any trigger. Those are then read one by one.
        """
        pieces: list[bytes] = []
        places: list[int] = []  # where each piece starts in what is scanned, and in the body
        origins: list[int] = []
        position, size = starts[0], 0
        for index in [*long, len(parts)]:
            stop = starts[index] if index < len(parts) else starts[-1] + len(parts[-1])
            pieces.append(body[position:stop])
            places.append(size)
            origins.append(position)
            size += stop - position
            position = stop + (len(parts[index]) if index < len(parts) else 0)
            if not len(pieces) % _PARTS_AT_ONCE:
                yield None
        text = b"".join(pieces)
        short: set[int] = set()
        numbers: set[int] = set()
        for begin in range(0, len(text), _MUCH):
            for count, special in enumerate(_SPECIAL.finditer(text, begin, begin + _MUCH)):
                piece = bisect_right(places, special.start()) - 1
                index = bisect_right(starts, origins[piece] + special.start() - places[piece]) - 1
                if index & 1:
                    short.add(index)
                if not count % _PIECES:
                    yield None
            yield None
        for triggers in self.scanner.engine.sliced(text):
            for _, end in triggers:
                piece = bisect_right(places, end - 1) - 1
                index = bisect_right(starts, origins[piece] + end - 1 - places[piece]) - 1
                if index & 1:
                    short.add(index)
                    if index + 2 < len(parts) and _key_of(parts, index + 2):
                        short.add(index + 2)  # the value of this key
                    numbers.add(index + 1)
                else:
                    numbers.add(index)
                    short.update((index - 1, index + 1))
            yield None
        skip = {-1, len(parts), *long}
        return short - skip, {index for index in numbers if index < len(parts) and len(parts[index]) > _SHORT_NUMBER}

    def _locate(
        self,
        result: Inspected,
        found: list[tuple[Leaf, list[Hit]]],
        direction: Direction,
        team: str | None,
        parts: Sequence[bytes],
        offset: int,
    ) -> Iterator[None]:
        found.sort(key=lambda pair: pair[0].start)
        places = Places(result.body, result.starts.plain(), (), [])
        yield from places.find((leaf.index for leaf, _ in found), result.trail, parts, offset)
        for leaf, hits in found:
            path = places.path(leaf.index)
            free = result.free or places.is_key(leaf.index)
            fixed = Fixed.FREE if free else fixed_at(path, leaf.raw)
            for item in self._in_leaf(leaf, hits, path, direction, team, fixed, complete=result.free):
                if item is not None:
                    result.located.append(item)
                if not len(result.located) % _STEP or item is None:
                    yield None

    def _in_leaf(
        self,
        leaf: Leaf,
        hits: list[Hit],
        path: str,
        direction: Direction,
        team: str | None,
        fixed: Fixed,
        *,
        complete: bool,
    ) -> Iterator[Located | None]:
        scanner = self.scanner
        text = yield from leaf.read_in_steps()
        skip = len(leaf.lead)
        last = len(text) - (1 if skip and leaf.quoted else 0)
        hits = [hit for hit in hits if skip <= hit.start < last]
        if len(hits) > _STEP:
            yield None
        settled = yield from scanner.settled(hits, direction, team, complete=complete)
        if len(settled) > _STEP:
            yield None
        changes = any(scanner.action(hit.rule, direction, team) in REWRITING for hit in settled)
        ends = [offset - skip for hit in settled for offset in (hit.start, min(hit.end, last))]
        # where nothing is changed nobody needs the bytes' places
        offsets = (yield from find_byte_offsets(leaf.raw, ends)) if changes else [0] * len(ends)
        for hit, start, end in zip(settled, offsets[::2], offsets[1::2], strict=True):
            inside = hit if hit.end <= last else Hit(hit.start, last, hit.rule)
            finding = scanner.finding(text, inside, direction, team, path, skip=skip)
            value = text[inside.start : inside.end]
            yield Located(finding, leaf.start + start, leaf.start + end, value, fixed, leaf.quoted, leaf.index)


def _note_places(result: Inspected, parts: Sequence[bytes], begin: int) -> Steps[tuple[list[int], list[int]]]:
    """(byte offsets of `parts`, the first of which starts at `begin`; which of them are long strings).

    The offsets are added to `result`, and how many bytes the strings hold.
    """
    starts: list[int] = []
    long: list[int] = []
    for first in range(0, len(parts), _PARTS_AT_ONCE):
        sizes = list(map(len, parts[first : first + _PARTS_AT_ONCE]))
        piece = list(accumulate(sizes, operator.add, initial=begin))
        begin = piece.pop() + len(sizes)
        piece = list(map(operator.add, piece, range(len(sizes))))
        starts += piece
        result.starts.extend(piece)
        long += [first + place for place in range(1, len(sizes), 2) if sizes[place] >= _LONG]
        result.strings += sum(sizes[1::2])
        yield None
    return starts, long


def _freed(*lists: list[Any]) -> Iterator[None]:
    """Empty the lists: millions of objects take long to free at once."""
    for each in lists:
        while each:
            del each[-_PARTS_AT_ONCE:]
            yield None


def _texts(leaves: Iterable[Leaf]) -> Iterator[str | None]:
    """What each leaf reads; None where others may run."""
    for leaf in leaves:
        yield (yield from leaf.shown_in_steps())


def _key_of(parts: Sequence[bytes], index: int) -> bytes:
    """The raw key of the value in segment `index`; empty when it stands under none (in an array, or is a key)."""
    if index & 1:
        between = parts[index - 1]
        return parts[index - 2] if index > 2 and (between in _COLON or between.strip() == b":") else b""
    return parts[index - 1] if index and parts[index].lstrip()[:1] == b":" else b""


def _numbers(parts: Sequence[bytes], starts: Sequence[int], indices: Iterable[int], offset: int) -> Iterator[Leaf]:
    """Long numbers outside of strings."""
    for index in indices:
        key = _key_of(parts, index)
        lead = lead_of(decode(key), quoted=False) if key else ""
        for number in LONG_NUMBER.finditer(parts[index]):
            yield Leaf(offset + index, starts[index] + number.start(), number.group(), lead, quoted=False)
