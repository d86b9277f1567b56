"""Of hits that overlap one another, which stay: the best ranked, and whatever does not overlap those.

In steps, as a text may hold tens of thousands that all overlap. Above: scanner.py, watcher.py. Below: rule.py, literals.py.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from operator import attrgetter

from ai_platform.protection.literals import Steps
from ai_platform.protection.rule import Hit

_STEP = 256

Rank = Callable[[Hit], tuple[bool, int, int, int, str]]


def clusters(hits: Iterable[Hit]) -> Iterator[list[Hit]]:
    """Groups of hits that overlap one another, in order of their place."""
    group: list[Hit] = []
    end = -1
    for hit in sorted(hits, key=_START):
        if hit.start < end:
            group.append(hit)
            end = max(end, hit.end)
            continue
        if group:
            yield group
        group = [hit]
        end = hit.end
    if group:
        yield group


_START = attrgetter("start")


def apart(hits: Sequence[Hit], rank: Rank) -> Steps[list[Hit]]:
    """The hits that stay, in order of their place. rank: of two that overlap the one with the lesser stays."""
    taken: list[Hit] = []
    seen = 0
    for group in clusters(hits):
        if len(group) == 1:
            taken += group
        else:
            taken += yield from _resolved(group, rank)
        seen += len(group)
        if seen >= _STEP:
            seen = 0
            yield None
    return taken


def _resolved(hits: Sequence[Hit], rank: Rank) -> Steps[list[Hit]]:
    """Of one group."""
    taken: list[Hit] = []
    starts: list[int] = []
    ranked: list[list[tuple[tuple[bool, int, int, int, str], int]]] = []
    for begin in range(0, len(hits), _STEP):
        if begin:
            yield None
        ranked.append(sorted((rank(hit), begin + place) for place, hit in enumerate(hits[begin : begin + _STEP])))
    for count, (_, place) in enumerate(merge(*ranked) if len(ranked) > 1 else ranked[0], 1):
        if not count % _STEP:
            yield None
        hit = hits[place]
        slot = bisect_right(starts, hit.start)
        if (slot and taken[slot - 1].end > hit.start) or (slot < len(starts) and starts[slot] < hit.end):
            continue
        starts.insert(slot, hit.start)
        taken.insert(slot, hit)
    return taken
