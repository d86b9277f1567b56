"""Values split over neighbouring text blocks of one message: `536-22-` at the end of one, `8491` at the start of the next.

Of each block its beginning and its end are read, a short one whole, all of them as one text; so any number of blocks
may share a value. Above: body.py. Below: scanner, literals.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ai_platform.protection.literals import byte_offsets, decode
from ai_platform.protection.rule import Hit, Rule
from ai_platform.protection.scanner import Scanner

REACH = 64
"""How much of each end of a block is joined, in bytes."""

_JOINING = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_+/. %;")
_LONGEST_ESCAPE = 12
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
    """A part of a block in the joined text: text[begin:end] is raw[start:...] of the block. cut: not where it ends."""

    begin: int
    end: int
    block: int
    start: int
    raw: bytes
    cut: bool


def runs(parts: Sequence[bytes]) -> Iterator[list[int]]:
    """Segments of the texts of neighbouring blocks that could join to a value, two or more of them."""
    run: list[int] = []
    for index in range(3, len(parts), 2):
        if parts[index - 2] != b"text" or parts[index - 1].strip() != b":":
            continue
        if run and not _neighbours(parts, run[-1], index):
            if len(run) > 1:
                yield run
            run = []
        run.append(index)
    if len(run) > 1:
        yield run


def joined(scanner: Scanner, blocks: Sequence[bytes]) -> Iterator[Joined | None]:
    """What none of the raw texts holds alone; None where others may run. Raises TooManyValues."""
    text, parts = _as_one(blocks)
    hits: list[Hit] = []
    for slot, found in scanner.sweep([text], len(text)):
        yield None
        if slot >= 0:
            hits += found
    for hit in hits:
        touched = [part for part in parts if part.begin < hit.end and hit.start < part.end]
        if hit.encoded or len({part.block for part in touched}) < max(2, len(touched)):
            continue
        if touched[-1].cut and touched[-1].end == hit.end:
            continue  # where the text was cut, a longer one may look like a value
        yield Joined(hit.rule, text[hit.start : hit.end], tuple(_side(part, hit) for part in touched))


def _side(part: _Part, hit: Hit) -> Side:
    wanted = [max(hit.start, part.begin) - part.begin, min(hit.end, part.end) - part.begin]
    start, end = byte_offsets(part.raw, wanted)
    return Side(part.block, part.start + start, part.start + end)


def _as_one(blocks: Sequence[bytes]) -> tuple[str, list[_Part]]:
    pieces: list[str] = []
    parts: list[_Part] = []
    size = 0
    for number, raw in enumerate(blocks):
        whole = len(raw) <= 2 * REACH
        head, tail = (len(raw), 0) if whole else (_plain_place(raw, REACH), _plain_place(raw, len(raw) - REACH))
        slices = [(0, raw[:head])] if whole or head >= tail else [(0, raw[:head]), (tail, raw[tail:])]
        if head >= tail and not whole:
            slices = [(0, raw)]
        for place, (start, part) in enumerate(slices):
            if place:
                pieces.append(_GAP)
                size += len(_GAP)
            shown = decode(part)
            pieces.append(shown)
            parts.append(_Part(size, size + len(shown), number, start, part, cut=len(slices) > 1 and not place))
            size += len(shown)
    return "".join(pieces), parts


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
    if not (
        (before[-1] in _JOINING or before[-1] >= 0x80)
        and (after[0] in _JOINING or after[0] in b"\\\1" or after[0] >= 0x80)
    ):
        return False
    outside = b"".join(parts[first + 1 : second : 2])
    return b"]" not in outside and b"[" not in outside
