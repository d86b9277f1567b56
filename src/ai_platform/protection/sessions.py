"""Turn N of a conversation costs only its new content: what a body has in common with the one before is not read again.

Comparison is on raw bytes, so a hit needs no trust in any hash. Above: guard.py. Below: body.py.
"""

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from ai_platform.domain.finding import Direction
from ai_platform.protection.body import BodyInspector
from ai_platform.protection.literals import Places
from ai_platform.protection.located import Inspected, Located

_CHUNK = 64 * 1024
_WORTH = 16 * 1024
_CONVERSATIONS = 8


class Sessions:
    """The last inspected bodies of each session; bounded by bytes, least recently used session first out.

    Several, because one session holds several conversations: sub-agents, titles, calls that run side by side.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._last: OrderedDict[tuple[object, ...], list[Inspected]] = OrderedDict()

    def steps(
        self, key: tuple[object, ...], inspector: BodyInspector, body: bytes, direction: Direction, team: str | None
    ) -> Iterator[Inspected | None]:
        """As BodyInspector.whole, remembering the result under `key`."""
        before, shared = self._nearest(key, body) if len(body) > _WORTH else (None, 0)
        result: Inspected | None = None
        if before is not None:
            if shared == len(body) == len(before.body):
                self._last.move_to_end(key)
                yield before
                return
            for result in _continued(before, shared, inspector, body, direction, team):
                if result is None:
                    yield None
        if result is None:
            for result in inspector.whole(body, direction, team):
                if result is None:
                    yield None
        if result is not None:
            self._remember(key, result, before if before and shared * 2 >= len(before.body) else None)
        yield result

    def _nearest(self, key: tuple[object, ...], body: bytes) -> tuple[Inspected | None, int]:
        """(the body that shares the longest beginning with this one, how much); None when none shares enough."""
        found: Inspected | None = None
        longest = _WORTH
        for known in reversed(self._last.get(key, ())):
            shared = common_prefix(known.body, body)
            if shared > longest:
                found, longest = known, shared
                if shared * 2 > len(known.body):
                    break  # the turn before, most likely
        return found, longest

    def _remember(self, key: tuple[object, ...], result: Inspected, before: Inspected | None) -> None:
        """Keep the result, in the place of `before`, the body it continues (one that only begins alike stays)."""
        if not _WORTH < len(result.body) <= self._limit:
            return
        bodies = self._last.setdefault(key, [])
        self._last.move_to_end(key)
        past = next((at for at, known in enumerate(bodies) if known is before), None)
        if past is None and len(bodies) >= _CONVERSATIONS:
            past = 0
        if past is not None:
            self._size -= len(bodies.pop(past).body)
        bodies.append(result)
        self._size += len(result.body)
        while self._size > self._limit:
            _, dropped = self._last.popitem(last=False)
            self._size -= sum(len(known.body) for known in dropped)


def _continued(
    before: Inspected, shared: int, inspector: BodyInspector, body: bytes, direction: Direction, team: str | None
) -> Iterator[Inspected | None]:
    """The result for `body` from that of `before`; yields no result when they share too little or misalign.

    shared: length of their common beginning.
    """
    head = _restart(before, shared)
    if head < 2:
        return
    tail = _resume(before, body, head)
    begin = before.starts[head]
    shift = len(body) - len(before.body)
    end = before.starts[tail] + shift if tail < len(before.starts) else len(body)
    result = Inspected(body, before.starts.first(head), before.strings - _bytes_between(before, head, tail))
    result.located = [item for item in before.located if item.index < head]
    result.unchecked = [item for item in before.unchecked if item[0] < head]
    result.marked = before.marked
    result.trail = [point for point in before.trail if point[0] <= head]
    yield from inspector.region(result, begin, end, direction, team)
    if tail < len(before.starts):
        if len(result.starts) % 2 == 0:
            return  # the new part ends inside a string: its quotes do not pair with those of the shared end
        _append_tail(before, result, tail, shift)
    yield result


def _restart(before: Inspected, shared: int) -> int:
    """The segment outside of strings from which the new body must be read; everything before is the same."""
    index = bisect_right(before.starts, shared) - 1
    index -= index & 1
    # a value's lead is its key: go back to before the key of whatever follows
    return max(0, index - 4)


def _resume(before: Inspected, body: bytes, head: int) -> int:
    """The segment outside of strings from which both bodies are the same to the end (len(starts) = none)."""
    total = len(before.starts)
    floor = max(before.starts[head] + 1, len(before.body) - len(body) + before.starts[head] + 1)
    shared = common_suffix(before.body, body, len(before.body) - floor)
    index = bisect_left(before.starts, len(before.body) - shared)
    index += index & 1
    index += 4  # keys that lead values must lie in the shared end too
    return index if index < total and index > head else total


def _bytes_between(before: Inspected, head: int, tail: int) -> int:
    """How many bytes the strings between two segments hold."""
    starts, count = before.starts, len(before.starts)
    ends = (starts[index + 1] - 1 if index + 1 < count else len(before.body) for index in range(head + 1, tail, 2))
    return sum(end - starts[index] for end, index in zip(ends, range(head + 1, tail, 2), strict=True))


def _append_tail(before: Inspected, result: Inspected, tail: int, shift: int) -> None:
    """`result` ends with the segment outside that the shared end continues: join the two."""
    moved = len(result.starts) - 1 - tail
    result.starts.pop()
    result.starts.end_with(before.starts, tail, shift)
    shared = [item for item in before.located if item.index >= tail]
    wanted = [item.index + moved for item in shared] if moved else []
    places = Places(result.body, result.starts.plain(), wanted, result.trail) if wanted else None
    for item in shared:
        finding, index = item.finding, item.index + moved
        if places is not None:  # an array that grew before it gives it another number
            finding = msgspec.structs.replace(finding, path=places.path(index))
        place = (item.start + shift, item.end + shift)
        result.located.append(Located(finding, *place, item.value, item.fixed, item.quoted, index, item.rest))
    result.unchecked += [(index + moved, size) for index, size in before.unchecked if index >= tail]


def common_prefix(one: bytes, two: bytes) -> int:
    """Length of the common beginning; compares slices, then bisects the one that differs."""
    limit = min(len(one), len(two))
    position = 0
    while position < limit:
        step = min(_CHUNK, limit - position)
        if two.startswith(one[position : position + step], position):
            position += step
            continue
        while step > 1:
            half = step // 2
            if two.startswith(one[position : position + half], position):
                position += half
                step -= half
            else:
                step = half
        return position + (one[position] == two[position])
    return limit


def common_suffix(one: bytes, two: bytes, limit: int) -> int:
    """Length of the common end, at most `limit`."""
    ends = (len(one), len(two))
    length = 0
    while length < limit:
        step = min(_CHUNK, limit - length)
        if _same_end(one, two, ends, length, step):
            length += step
            continue
        while step > 1:
            half = step // 2
            if _same_end(one, two, ends, length, half):
                length += half
                step -= half
            else:
                step = half
        return length + _same_end(one, two, ends, length, 1)
    return limit


def _same_end(one: bytes, two: bytes, ends: tuple[int, int], length: int, step: int) -> bool:
    return two.endswith(one[ends[0] - length - step : ends[0] - length], 0, ends[1] - length)
