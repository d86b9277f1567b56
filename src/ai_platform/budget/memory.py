"""Counters of one process. Nothing here awaits, so check-and-reserve cannot be interrupted by another call.

Money and tokens lie in one cell a window. A cell is found by the wall clock and stays, by the monotonic clock, a day
longer than its window lasts: a clock that jumps finds what was spent, it neither frees nor loses anything. Requests
are counted on the monotonic clock: exactly, as a queue of the moments of the last hour, never longer than the limit.
"""

from collections import deque
from collections.abc import Sequence

from ai_platform.budget.counters import (
    Counter,
    Level,
    Limit,
    NoRoom,
    Plan,
    RequestWindow,
    TooManyRequests,
    Unit,
)
from ai_platform.budget.windows import DAY, Calendar, Window
from ai_platform.domain.clock import Clock

HOUR = 3600.0
SWEEP = 10_000


class Cell:
    """What was spent and is held of one counter in one window. kept_until: by the monotonic clock."""

    __slots__ = ("held", "kept_until", "spent", "window")

    def __init__(self, window: Window, now: float) -> None:
        self.window = window
        self.kept_until = now + window.end - window.start + DAY
        self.spent = 0
        self.held = 0

    def level(self) -> Level:
        return Level(self.spent, self.held, self.window.start, self.window.end)


class MemoryReservation:
    """amounts: what is held in each cell."""

    __slots__ = ("_amounts", "_cells", "_counters")

    def __init__(self, counters: tuple[Counter, ...], cells: list[Cell], amounts: list[int]) -> None:
        self._counters = counters
        self._cells = cells
        self._amounts = amounts

    def settle(self, micros: int, tokens: int) -> list[tuple[int, int]]:
        changes: list[tuple[int, int]] = []
        for counter, cell, amount in zip(self._counters, self._cells, self._amounts, strict=True):
            before = cell.spent
            cell.held -= amount
            cell.spent = after = before + (micros if counter.unit is Unit.MICROS else tokens)
            changes.append((before, after))
        return changes

    def grow(self, micros: int, tokens: int) -> None:
        for index, (counter, cell) in enumerate(zip(self._counters, self._cells, strict=True)):
            more = (micros if counter.unit is Unit.MICROS else tokens) - self._amounts[index]
            if more > 0:
                cell.held += more
                self._amounts[index] += more

    def level(self, index: int) -> Level:
        return self._cells[index].level()


class MemoryCounters:
    """swept: cells and queues of windows long past that were dropped."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calendar = Calendar()
        self._cells: dict[tuple[str, int], Cell] = {}
        self._requests: dict[str, deque[float]] = {}
        self._sweep_cells_at = self._sweep_requests_at = SWEEP
        self.swept = 0

    async def reserve(
        self, plan: Plan, micros: int, tokens: int, *, at: float, count_request: bool
    ) -> MemoryReservation:
        cells = [self._cell(counter, at) for counter in plan.counters]
        amounts = [micros if counter.unit is Unit.MICROS else tokens for counter in plan.counters]
        for limit in plan.limits:
            _check(limit, cells[limit.counter], amounts[limit.counter])
        if count_request:
            self._count_request(plan.requests)
        for cell, amount in zip(cells, amounts, strict=True):
            cell.held += amount
        return MemoryReservation(plan.counters, cells, amounts)

    def add(self, counter: Counter, amount: int, *, at: float) -> tuple[int, int]:
        cell = self._cell(counter, at)
        before = cell.spent
        cell.spent += amount
        return before, cell.spent

    def set_spent(self, counter: Counter, amount: int, *, at: float) -> None:
        self._cell(counter, at).spent = amount

    def set_requests(self, key: str, ages: Sequence[float]) -> None:
        now = self._clock.monotonic()
        self._requests[key] = deque(sorted(now - max(0.0, age) for age in ages))

    def level(self, counter: Counter, *, at: float) -> Level:
        return self._cell(counter, at).level()

    def requests(self, window: RequestWindow) -> tuple[int, float]:
        now = self._clock.monotonic()
        made = self._made(window.key, now)
        return len(made), _wait(made, window.limit, now)

    def _count_request(self, windows: tuple[RequestWindow, ...]) -> None:
        now = self._clock.monotonic()
        if len(self._requests) >= self._sweep_requests_at:
            self._sweep_requests(now)
        queues: list[deque[float]] = []
        for window in windows:
            made = self._made(window.key, now)
            if len(made) >= window.limit:
                raise TooManyRequests(window, _wait(made, window.limit, now))
            queues.append(made)
        for made in queues:
            made.append(now)

    def _made(self, key: str, now: float) -> deque[float]:
        made = self._requests.get(key)
        if made is None:
            made = self._requests[key] = deque()
        while made and made[0] <= now - HOUR:
            made.popleft()
        return made

    def _cell(self, counter: Counter, at: float) -> Cell:
        window = self._calendar.window(counter.period, at)
        cell = self._cells.get((counter.key, window.start))
        if cell is None:
            now = self._clock.monotonic()
            if len(self._cells) >= self._sweep_cells_at:
                self._sweep_cells(now)
            cell = self._cells[counter.key, window.start] = Cell(window, now)
        return cell

    def _sweep_cells(self, now: float) -> None:
        """A reservation holds its own cells, so an old one may go; the next sweep comes when the number has doubled."""
        before = len(self._cells)
        self._cells = {key: cell for key, cell in self._cells.items() if cell.kept_until > now}
        self.swept += before - len(self._cells)
        self._sweep_cells_at = max(SWEEP, 2 * len(self._cells))

    def _sweep_requests(self, now: float) -> None:
        before = len(self._requests)
        self._requests = {key: made for key, made in self._requests.items() if made and made[-1] > now - HOUR}
        self.swept += before - len(self._requests)
        self._sweep_requests_at = max(SWEEP, 2 * len(self._requests))


def _check(limit: Limit, cell: Cell, amount: int) -> None:
    # A call that is expected to use nothing may always pass: refusing it would save nothing.
    if limit.hard and amount > 0 and cell.spent + cell.held + amount > limit.cap:
        raise NoRoom(limit, cell.level())


def _wait(made: deque[float], limit: int, now: float) -> float:
    if len(made) < limit or limit <= 0:
        return 0.0 if limit > 0 else HOUR
    return max(0.0, made[len(made) - limit] + HOUR - now)
