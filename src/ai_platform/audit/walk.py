"""Walks a stored log from its first leaf on and says where it is not what was signed.

Pure: rows go in by chunks, problems come out; used at every start (the recent part) and by verification (all of it).
Above: log, verify. Below: merkle, leaf.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ai_platform.audit.leaf import INTENTS, OUTCOMES, read_head, read_leaf
from ai_platform.audit.merkle import Frontier

Row = Any
"""Unpacks to index, leaf bytes, leaf hash: one of the last two is None (the leaf, when its retention has passed)."""

LOG_OPENED, EXPIRED = "audit_log_opened", "audit_leaves_expired"
"""`facts.action` of the platform events that verification reads: {logs: [{log, size, root}]} says what other logs'
newest checkpoints were; {log, first, last} permits the leaves in that range to be gone."""

_PLATFORM = "platform"


class Head(msgspec.Struct, frozen=True):
    """What a log said of another one. root: hexadecimal."""

    log: str
    size: int
    root: str


class Expiry(msgspec.Struct, frozen=True):
    """Leaves first..last of `log` may be gone."""

    log: str
    first: int
    last: int


class _Opened(msgspec.Struct):
    logs: list[Head]


class Expected(msgspec.Struct, frozen=True):
    """The root that a log of `size` leaves must have, and who says so."""

    size: int
    root: bytes
    source: str


class Calls:
    """Pairs intents with outcomes over all logs. open: call ids without an outcome so far."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self._early: set[str] = set()

    def note(self, event_type: str, call_id: str) -> None:
        if event_type in INTENTS:
            if call_id in self._early:
                self._early.discard(call_id)
            else:
                self.open.add(call_id)
        elif call_id in self.open:
            self.open.discard(call_id)
        else:
            self._early.add(call_id)  # its intent is in a log that comes later, or was never needed


class Walk:
    """One log. Stops at the first problem that makes the rest meaningless (`is_lost`).

    frontier: the tree so far. witnessed: heads of other logs. expiries: leaves that may be gone. missing: that are.
    """

    def __init__(
        self,
        origin: str,
        expected: Iterable[Expected],
        *,
        frontier: Frontier | None = None,
        calls: Calls | None = None,
    ) -> None:
        self.origin = origin
        self.frontier = frontier or Frontier()
        self.problems: list[str] = []
        self.witnessed: list[Head] = []
        self.expiries: list[Expiry] = []
        self.missing: list[int] = []
        self.is_lost = False
        self.first: bytes | None = None
        self.last: bytes | None = None
        self._calls = calls
        self._expected = sorted(expected, key=lambda entry: entry.size, reverse=True)
        self._compare()

    def feed(self, rows: Sequence[Row]) -> None:
        """The next rows by index. Costs about 3 us a leaf."""
        position = self.frontier.size
        target = self._expected[-1].size if self._expected else -1
        leaves: list[bytes] = []
        for index, leaf, leaf_hash in rows:
            if index != position:
                self._lost(f"leaf {position} is missing (the next one stored is {index})")
                break
            if leaf is None:
                self.frontier.extend_leaves(leaves)
                leaves.clear()
                self.frontier.append(leaf_hash or b"")
                self.missing.append(index)
            else:
                self._read(index, leaf)
                leaves.append(leaf)
            position += 1
            if position == target:
                self.frontier.extend_leaves(leaves)
                leaves.clear()
                self._compare()
                target = self._expected[-1].size if self._expected else -1
        self.frontier.extend_leaves(leaves)

    def finish(self) -> None:
        """No more rows: what was promised beyond the last one is gone."""
        for entry in reversed(self._expected):
            if not self.is_lost:
                self._lost(f"the log ends at {self.frontier.size} leaves, but {entry.source} covers {entry.size}")

    def _read(self, index: int, leaf: bytes) -> None:
        try:
            head = read_head(leaf)
            if head.index != index or head.log != self.origin:
                self._problem(f"leaf {index} says it is leaf {head.index} of {head.log}")
            if head.event_type in OUTCOMES or head.event_type in INTENTS:
                if self._calls:
                    self._calls.note(head.event_type, head.call_id)
            elif head.event_type == _PLATFORM:
                self._note(read_leaf(leaf).facts)
        except msgspec.MsgspecError:
            self._problem(f"leaf {index} is not an event")
        self.last = leaf
        if self.first is None:
            self.first = leaf

    def _note(self, facts: dict[str, Any]) -> None:
        if facts.get("action") == LOG_OPENED:
            self.witnessed += msgspec.convert(facts, _Opened).logs
        elif facts.get("action") == EXPIRED:
            self.expiries.append(msgspec.convert(facts, Expiry))

    def _compare(self) -> None:
        """Hold the tree against everything that is known of it at this size."""
        while self._expected and self._expected[-1].size <= self.frontier.size:
            entry = self._expected.pop()
            if self.frontier.size == entry.size and self.frontier.root() != entry.root:
                self._problem(f"leaves before {entry.size} were changed: their root is not the one of {entry.source}")

    def _lost(self, text: str) -> None:
        self.is_lost = True
        self._problem(text)

    def _problem(self, text: str) -> None:
        self.problems.append(f"{self.origin}: {text}")
