"""Findings with their places in a raw body, and what else is known of one that was inspected.

Above: body.py, sessions.py, rewriting.py. Below: offsets, literals.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import msgspec

from ai_platform.domain.finding import Finding
from ai_platform.protection.actions import REWRITING
from ai_platform.protection.fixed import Fixed
from ai_platform.protection.literals import Stack
from ai_platform.protection.offsets import Offsets


class Located(msgspec.Struct, gc=False):
    """A finding and where its value stands in the raw body (bytes). fixed: may that place be changed?

    quoted: the value stands inside a string. index: its segment. rest: the second half of a value that two blocks share.
    coding: how the text around it is written.
    """

    finding: Finding
    start: int
    end: int
    value: str
    fixed: Fixed
    quoted: bool
    index: int
    rest: bool = False
    coding: str = "utf-8"


@dataclass(slots=True)
class Inspected:
    """What is known of a body. starts[k]: byte offset of segment k. strings: how many bytes its strings hold.

    unchecked: (segment, bytes) of media, which are not text. trail: where paths have been worked out (see Places).
    free: it is no body of the Messages API, so nothing in it must stay as it is. marked: it may hold what was redacted.
    """

    body: bytes
    starts: Offsets
    strings: int = 0
    located: list[Located] = field(default_factory=list)
    unchecked: list[tuple[int, int]] = field(default_factory=list)
    trail: list[tuple[int, Stack]] = field(default_factory=list)
    free: bool = False
    marked: bool = False

    @property
    def bytes_checked(self) -> int:
        return self.strings - self.bytes_unchecked

    @property
    def bytes_unchecked(self) -> int:
        return sum(size for _, size in self.unchecked)

    @property
    def leaves(self) -> int:
        return len(self.starts) // 2


def with_shared(found: Sequence[Located], values: Sequence[Sequence[Located]]) -> list[Located]:
    """`found` and the values that several texts share, in order.

    A value gives way where a part of it is changed anyway; what is only recorded of a part gives way to the value.
    """
    taken = sorted((item.start, item.end) for item in found if item.finding.action in REWRITING)
    starts = [start for start, _ in taken]
    shared = [item for sides in values if not any(_overlaps(item, taken, starts) for item in sides) for item in sides]
    places = sorted((item.start, item.end) for item in shared)
    begins = [begin for begin, _ in places]
    kept = [item for item in found if item.finding.action in REWRITING or not _overlaps(item, places, begins)]
    return sorted([*kept, *shared], key=attrgetter("start"))


def with_weaker(found: Sequence[Located], more: Sequence[Located]) -> list[Located]:
    """`found` and what is less sure, in order. Of `more` stays what overlaps nothing, or changes what is only recorded.

    more: ascending, not overlapping one another.
    """
    changed = _merged((item.start, item.end) for item in found if item.finding.action in REWRITING)
    # bytes' places of what is only recorded are not worked out, so its characters are compared
    recorded: dict[int, list[tuple[int, int]]] = {}
    for item in found:
        recorded.setdefault(item.index, []).append((item.finding.start, item.finding.end))
    merged = {index: _merged(places) for index, places in recorded.items()}
    kept = [
        item
        for item in more
        if not _meets(changed, item.start, item.end)
        and (
            item.finding.action in REWRITING
            or not _meets(merged.get(item.index, []), item.finding.start, item.finding.end)
        )
    ]
    return sorted([*found, *kept], key=attrgetter("start"))


def _merged(places: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending, overlapping ones as one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(places):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _meets(places: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    slot = bisect_left(places, (end,)) - 1
    return slot >= 0 and places[slot][1] > start


def _overlaps(item: Located, places: Sequence[tuple[int, int]], starts: Sequence[int]) -> bool:
    """places: ascending, not overlapping. starts: their first numbers."""
    slot = bisect_right(starts, item.end - 1) - 1
    return slot >= 0 and places[slot][1] > item.start


def splice(body: bytes, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    """`body` with byte ranges replaced (ascending, non-overlapping)."""
    pieces: list[bytes] = []
    position = 0
    for start, end, new in edits:
        pieces.append(body[position:start])
        pieces.append(new)
        position = end
    pieces.append(body[position:])
    return b"".join(pieces)
