"""Values split over neighbouring text blocks of one message: `536-22-` at the end of one, `8491` at the start of the next.

Of each block its beginning and its end are read, a short one whole: all of them as one text, and each few of them
alone where a block's edge may be the value's own (`is` `536-22-` `8491` `and`). Any number of blocks may share a value.
Above: body.py. Below: scanner, literals.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from operator import itemgetter
from typing import NamedTuple

from ai_platform.protection.literals import byte_offsets, decode
from ai_platform.protection.rule import Hit, Rule
from ai_platform.protection.scanner import Scanner, TooManyValues

REACH = 64
"""How much of each end of a block is joined, in bytes."""

_JOINING = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_+/. %;:=@'()<&#")
_LONGEST_ESCAPE = 12
_MOST_BLOCKS = 40
_MOST_WINDOWS = 50_000
_TOO_MANY = "There are more short texts beside one another than can be inspected."
_PIECES = 1024
_HITS_AT_ONCE = 64
_GAP = "\0"


class Side(NamedTuple):
    """Where a part of a value stands: in which block of the run, from which to which byte of its raw text."""

    block: int
    start: int
    end: int


class Joined(NamedTuple):
    rule: Rule
    value: str
    sides: tuple[Side, ...]


class _Part(NamedTuple):
    """A part of a block: text is raw decoded, which begins at byte `start` of the block."""

    block: int
    start: int
    raw: bytes
    text: str


Place = tuple[int, int]
"""A block of the run and how far into it, in characters: in the order in which they are read."""


class _Found(NamedTuple):
    """A hit in one of the joined texts, and from where to where it stands. size: less than nought, the longest first."""

    size: int
    begin: Place
    end: Place
    slot: int
    hit: Hit


class _Ends(NamedTuple):
    """What is read of a block: its beginning and its end, the same when it is short."""

    head: _Part
    tail: _Part

    @property
    def whole(self) -> bool:
        return self.head is self.tail


def runs(parts: Sequence[bytes]) -> Iterator[list[int] | None]:
    """Segments of the texts of neighbouring blocks that could join to a value, two or more of them.

    None where others may run. Raises TooManyValues.
    """
    run: list[int] = []
    for begin in range(0, len(parts), _PIECES):
        yield None
        for index in _texts_of(parts, begin):
            if run and not _neighbours(parts, run[-1], index):
                if len(run) > 1:
                    yield run
                run = []
            run.append(index)
            if len(run) > _MOST_WINDOWS:
                raise TooManyValues(_TOO_MANY)
    if len(run) > 1:
        yield run


def _texts_of(parts: Sequence[bytes], begin: int) -> list[int]:
    """The segments of texts whose keys are among the next _PIECES."""
    keys = parts[begin + 1 : begin + _PIECES : 2]
    if b"text" not in keys:
        return []
    found = [begin + 2 * place + 3 for place, key in enumerate(keys) if key == b"text"]
    return [index for index in found if index < len(parts) and parts[index - 1].strip() == b":"]


def joined(scanner: Scanner, runs: Sequence[Sequence[bytes]]) -> Iterator[tuple[int, Joined] | None]:
    """(run, value) of what none of the raw texts of a run holds alone, not overlapping; None where others may run.

    Raises TooManyValues.
    """
    texts: list[list[_Part]] = []
    owners: list[int] = []
    for number, blocks in enumerate(runs):
        ends: list[_Ends] = []
        for place, raw in enumerate(blocks):
            ends.append(_ends(place, raw))
            if not place % _PIECES:
                yield None
        for parts in chain((_everything(ends),), _windows(ends)):
            texts.append(parts)
            owners.append(number)
            if not len(texts) % _PIECES:
                yield None
        if len(texts) > _MOST_WINDOWS:
            raise TooManyValues(_TOO_MANY)
        yield None
    size = sum(len(part.text) for parts in texts for part in parts)
    found: dict[int, list[_Found]] = {}
    for slot, hits in scanner.sweep(("".join([part.text for part in parts]) for parts in texts), size):
        if slot < 0:
            yield None
            continue
        starts = list(accumulate((len(part.text) for part in texts[slot]), initial=0))
        for count, hit in enumerate(hits, 1):
            if not hit.encoded and (place := _place(texts[slot], starts, hit)) is not None:
                found.setdefault(owners[slot], []).append(_Found(hit.start - hit.end, *place, slot, hit))
            if not count % _HITS_AT_ONCE:
                yield None
    for number, places in found.items():
        for value in _apart(texts, places):
            yield None if value is None else (number, value)


def _place(parts: Sequence[_Part], starts: Sequence[int], hit: Hit) -> tuple[Place, Place] | None:
    """From where to where the hit stands, if two blocks or more share it. starts: where each part begins, and the end."""
    first, last = bisect_right(starts, hit.start) - 1, bisect_left(starts, hit.end) - 1
    one, two = parts[first], parts[last]
    if one.block == two.block:
        return None
    return (one.block, one.start + hit.start - starts[first]), (two.block, two.start + hit.end - starts[last])


def _apart(texts: Sequence[Sequence[_Part]], found: list[_Found]) -> Iterator[Joined | None]:
    """Of values that overlap the longest; None where others may run."""
    ends: list[Place] = []
    begins: list[Place] = []
    for count, (_, begin, end, slot, hit) in enumerate(sorted(found, key=itemgetter(0, 1, 2)), 1):
        if not count % _HITS_AT_ONCE:
            yield None
        slot_of = bisect_right(ends, begin)
        if slot_of < len(ends) and begins[slot_of] < end:
            continue
        value = _shared(texts[slot], hit)
        if value is not None:
            begins.insert(slot_of, begin)
            ends.insert(slot_of, end)
            yield value


def _shared(parts: Sequence[_Part], hit: Hit) -> Joined | None:
    """The hit as parts of two or more blocks."""
    sides: list[Side] = []
    begin = 0
    value = ""
    for number, part in enumerate(parts):
        end = begin + len(part.text)
        if begin < hit.end and hit.start < end:
            wanted = [max(hit.start, begin) - begin, min(hit.end, end) - begin]
            value += part.text[wanted[0] : wanted[1]]
            start, stop = byte_offsets(part.raw, wanted)
            sides.append(Side(part.block, part.start + start, part.start + stop))
            is_cut = number + 1 < len(parts) and parts[number + 1].text == _GAP
            if part.text == _GAP or (is_cut and hit.end == end):
                return None  # where a text was cut, a longer one may look like a value
        begin = end
    return Joined(hit.rule, value, tuple(sides)) if len({side.block for side in sides}) > 1 else None


def _everything(ends: Sequence[_Ends]) -> list[_Part]:
    parts: list[_Part] = []
    for each in ends:
        parts += [each.head] if each.whole else [each.head, _Part(each.head.block, 0, b"", _GAP), each.tail]
    return parts


def _windows(ends: Sequence[_Ends]) -> Iterator[list[_Part]]:
    """Every few blocks whose first or last edge would otherwise be hidden by the neighbour's."""
    hidden = [False, *(hides(one.tail.text, two.head.text) for one, two in pairwise(ends)), False]
    count = 0
    for first in range(len(ends) - 1):
        size = 0
        parts = [ends[first].tail]
        for last in range(first + 1, min(first + _MOST_BLOCKS, len(ends))):
            parts.append(ends[last].head)
            size += len(ends[last].head.text)
            if hidden[first] or hidden[last + 1]:
                count += 1
                if count > _MOST_WINDOWS:
                    return  # as many are refused
                yield parts.copy()
            if size > REACH or not ends[last].whole:
                break


def hides(before: str, after: str) -> bool:
    """Do the two make one word, so that nothing ends or begins between them?"""
    return before[-1:].isalnum() and after[:1].isalnum() and not (before[-1:].isdigit() and after[:1].isdigit())


def _ends(number: int, raw: bytes) -> _Ends:
    if len(raw) > 2 * REACH:
        head, tail = _plain_place(raw, REACH), _plain_place(raw, len(raw) - REACH)
        if head < tail < len(raw):
            begin, end = raw[:head], raw[tail:]
            return _Ends(_Part(number, 0, begin, decode(begin)), _Part(number, tail, end, decode(end)))
    whole = _Part(number, 0, raw, decode(raw))
    return _Ends(whole, whole)


def _plain_place(raw: bytes, near: int) -> int:
    """A place at or after `near` where neither an escape nor a character is cut; the end when there is none."""
    for place in range(near, min(near + 4 * REACH, len(raw))):
        if raw[place] < 0x80 and b"\\" not in raw[place - _LONGEST_ESCAPE : place + 1]:
            return place
    return len(raw)


def _neighbours(parts: Sequence[bytes], first: int, second: int) -> bool:
    before, after = parts[first], parts[second]
    if not before or not after:
        return False
    if before[-1] not in _JOINING and before[-1] < 0x80:
        return False
    if after[0] not in _JOINING and after[0] not in b"\\\1" and after[0] < 0x80:
        return False
    return not any(b"]" in parts[place] or b"[" in parts[place] for place in range(first + 1, second, 2))
