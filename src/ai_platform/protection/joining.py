"""Values split over neighbouring text blocks of a streamed answer, which clients join: `536-22-` | `8491`.

Where a block ends in what could go on as a value, its watcher goes on reading in the next block (a chain), and what it
has not decided waits, the events between the blocks too. Nothing waits but for the next event: all else lets it out,
and then the parts that have not left are still taken out. The twin for complete texts is seams.py.
Above: stream.py. Below: held.py, watcher.py.
"""

import sys
from collections import deque
from typing import NamedTuple

import msgspec

from ai_platform.domain.finding import Finding
from ai_platform.protection.held import Block
from ai_platform.protection.rewriting import REST
from ai_platform.protection.rule import LOOK_BACK
from ai_platform.protection.seams import hides
from ai_platform.protection.watcher import TextWatcher

_MOST_CHAINS = 40
"""A value in more blocks than that, each of them a word of its own with its neighbours, is not followed from the first."""


class _Chain(NamedTuple):
    """base: where in the text of all blocks the first one begins that it reads."""

    watcher: TextWatcher
    base: int


class _Value(NamedTuple):
    """new: what stands in its place, None for what is only recorded."""

    finding: Finding
    start: int
    end: int
    new: str | None


class Run:
    """The text blocks of one answer, one behind the other; places are those of all their text.

    found: values that two or more blocks share, which nobody has collected yet.
    """

    def __init__(self) -> None:
        self.current: Block | None = None
        self.found: list[Finding] = []
        self.chains: list[_Chain] = []
        self._waiting: deque[Block] = deque()
        self._length = 0
        self._last = ""
        self._hidden = False
        self._known: set[tuple[int, int, str]] = set()
        self._maybe: dict[tuple[int, str], _Value] = {}  # the longest of those that begin at one place

    @property
    def waits(self) -> bool:
        """Is an event held behind the end of its block?"""
        return bool(self._waiting)

    def begin(self, block: Block) -> None:
        if self.current is None:
            self.current = block
            block.base = self._length

    def feed(self, text: str) -> int:
        """Text of the current block -> the place in it before which nothing waits for other blocks."""
        block = self.current
        assert block is not None
        if text and not block.position:
            self._hidden = hides(self._last, text)
            if self._hidden:
                self.settle()
            for watcher, base in self.chains:
                watcher.edges.append(block.base - base)
        for watcher, base in self.chains:
            watcher.feed(text)
            for value in _values(watcher, base):
                self._take(value)
        # the first one goes on as long as a rule may look back to what stands before this block
        self.chains = [
            chain
            for number, chain in enumerate(self.chains)
            if chain.base + chain.watcher.settled < block.base + (0 if number else LOOK_BACK)
        ]
        self.decide(self._limit())
        return self._limit() - block.base

    def end(self, block: Block) -> None:
        """The current block ends. To be called before its watcher is closed."""
        self.current = None
        self._waiting.append(block)
        if not block.position or not isinstance(block.watcher, TextWatcher):
            return
        self._length += block.position
        self._last = block.watcher.last
        if self._hidden or not self.chains:
            watcher = block.watcher.fork()
            self.chains.append(_Chain(watcher, block.base))
            if len(self.chains) > _MOST_CHAINS:
                del self.chains[1]
        self._hidden = False

    def settle(self) -> None:
        """Take it that the text could end here: a value that ends so counts, unless it turns out to be a longer one."""
        for watcher, base in self.chains:
            closed = watcher.fork()
            closed.close()
            for value in _values(closed, base):
                place = value.start, value.finding.rule
                known = self._maybe.get(place)
                if known is None or known.end < value.end:
                    self._maybe[place] = value

    def decide(self, limit: int = sys.maxsize) -> None:
        """Nothing longer begins before `limit`: of values that overlap the longest counts."""
        due = [value for value in self._maybe.values() if value.start < limit]
        for value in sorted(due, key=lambda value: (value.start - value.end, value.start)):
            del self._maybe[value.start, value.finding.rule]
            self._take(value)

    def stay(self, event: bytes) -> None:
        """An event between two blocks goes out behind what waits."""
        self._waiting[-1].stay(event)

    def release(self, *, everything: bool = False) -> tuple[bytes, bool]:
        """(events of blocks that have ended, whether one was changed)."""
        out: list[bytes] = []
        changed = False
        while self._waiting:
            block = self._waiting[0]
            out.append(block.release(block.position if everything else self._limit() - block.base))
            changed |= block.changed
            if block.held:
                break
            self._waiting.popleft()
        return b"".join(out), changed

    def _limit(self) -> int:
        return min((base + watcher.final for watcher, base in self.chains), default=sys.maxsize)

    def _take(self, value: _Value) -> None:
        """What a chain has found becomes edits of the blocks; where a part is changed anyway, that stays."""
        finding, start, end, new = value
        sides = self._sides(start, end)
        if not sides or (start, end, finding.rule) in self._known:
            return
        if new is not None and any(block.changes(begin, stop) for block, begin, stop in sides):
            return
        self._known.add((start, end, finding.rule))
        block, begin, stop = sides[0]
        self.found.append(msgspec.structs.replace(finding, start=begin, end=stop, path=block.path))
        if new is not None:
            for block, begin, stop in sides:
                block.change((begin, stop, new))
                new = REST.decode()

    def _sides(self, start: int, end: int) -> list[tuple[Block, int, int]]:
        """The parts of [start, end) in blocks that have not left."""
        stops = [(block, block.base + block.position) for block in self._waiting]
        if self.current is not None:
            stops.append((self.current, end))
        return [
            (block, max(start, block.base) - block.base, min(end, stop) - block.base)
            for block, stop in stops
            if max(start, block.base) < min(end, stop)
        ]


def _values(watcher: TextWatcher, base: int) -> list[_Value]:
    """What a watcher has found, which it forgets."""
    news = {(start, end): new for start, end, new in watcher.edits}
    found, watcher.found = watcher.found, []
    watcher.edits.clear()
    return [_Value(one, base + one.start, base + one.end, news.get((one.start, one.end))) for one in found]
