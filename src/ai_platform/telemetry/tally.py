"""Counts in plain attributes and dictionaries: what the hot path adds to. Turned into metric families by `families`."""

from bisect import bisect_left
from typing import NamedTuple

from ai_platform.domain.usage import Usage

WINDOW_SECONDS = 300
_SLOT_SECONDS = 30


class RowKey(NamedTuple):
    """Bounded label values; `status` is the outcome: success, refused, error or aborted."""

    door: str
    operation: str
    model: str
    status: str
    user: str
    team: str


class Row:
    """What calls with the same labels add up to."""

    __slots__ = ("cache_read", "cache_write", "calls", "input", "micros", "output")

    def __init__(self) -> None:
        self.calls = 0
        self.input = 0
        self.output = 0
        self.cache_read = 0
        self.cache_write = 0
        self.micros = 0

    def add(self, usage: Usage, micros: int) -> None:
        self.calls += 1
        self.micros += micros
        self._tokens(usage)
        for iteration in usage.iterations:
            self._tokens(iteration.usage)

    def _tokens(self, usage: Usage) -> None:
        self.input += usage.input_tokens
        self.output += usage.output_tokens
        self.cache_read += usage.cache_read_tokens
        self.cache_write += usage.cache_write_5m_tokens + usage.cache_write_1h_tokens


class Histogram:
    """Cumulative buckets by one label. bounds: upper bounds in ascending order, +Inf is implied."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts: dict[str, list[int]] = {}
        self.sums: dict[str, float] = {}

    def observe(self, label: str, value: float) -> None:
        counts = self.counts.get(label)
        if counts is None:
            counts = self.counts[label] = [0] * (len(self.bounds) + 1)
            self.sums[label] = 0.0
        counts[bisect_left(self.bounds, value)] += 1
        self.sums[label] += value


class ErrorWindow:
    """Calls and errors by type over the last five minutes, in half-minute slots."""

    def __init__(self) -> None:
        self._slots: dict[int, tuple[int, dict[str, int]]] = {}

    def observe(self, now: float, error_type: str | None) -> None:
        """now: monotonic seconds."""
        slot = int(now // _SLOT_SECONDS)
        found = self._slots.get(slot)
        if found is None:
            oldest = slot - WINDOW_SECONDS // _SLOT_SECONDS
            self._slots = {key: value for key, value in self._slots.items() if key > oldest}
            found = (0, {})
        calls, errors = found
        if error_type is not None:
            errors[error_type] = errors.get(error_type, 0) + 1
        self._slots[slot] = (calls + 1, errors)

    def rates(self, now: float) -> dict[str, float]:
        """Errors of each type divided by all calls of the window; empty when there were no calls."""
        oldest = int(now // _SLOT_SECONDS) - WINDOW_SECONDS // _SLOT_SECONDS
        total = 0
        errors: dict[str, int] = {}
        for slot, (calls, counted) in self._slots.items():
            if slot > oldest:
                total += calls
                for kind, count in counted.items():
                    errors[kind] = errors.get(kind, 0) + count
        return {kind: count / total for kind, count in errors.items()} if total else {}


def add(counts: dict[tuple[str, ...], int], key: tuple[str, ...], amount: int = 1) -> None:
    counts[key] = counts.get(key, 0) + amount
