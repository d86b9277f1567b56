"""What the budget room asks of whatever counts: reserve all or nothing, then settle. In memory for one process
(memory.py); a shared store offers the same with one script for `reserve` and one for `settle`.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from ai_platform.budget.settings import Period, Scope


class Unit(StrEnum):
    MICROS = "micros"
    TOKENS = "tokens"


class Counter(NamedTuple):
    """What is counted: `unit` of `owner` (tenant/id) in each window of `period`. key: all of that as one text."""

    key: str
    unit: Unit
    scope: Scope
    owner: str
    period: Period


class RequestWindow(NamedTuple):
    """At most `limit` requests of `owner` in any 3,600 seconds."""

    key: str
    scope: Scope
    owner: str
    limit: int


def counter_of(unit: Unit, scope: Scope, owner: str, period: Period) -> Counter:
    return Counter(f"{unit.value}:{scope.value}:{period.value}:{owner}", unit, scope, owner, period)


def request_key(scope: Scope, owner: str) -> str:
    return f"requests:{scope.value}:{owner}"


class Limit(NamedTuple):
    """A cap on the counter with number `counter` of its plan. hard: a call that does not fit is refused.

    alerts: (percentage, amount) at which somebody is told, ascending. rule: how the settings call it.
    """

    counter: int
    cap: int
    hard: bool
    alerts: tuple[tuple[int, int], ...]
    rule: str
    name: str


class Plan(NamedTuple):
    """Everything that holds for one principal under one set of limits."""

    counters: tuple[Counter, ...]
    limits: tuple[Limit, ...]
    requests: tuple[RequestWindow, ...]


class Level(NamedTuple):
    """A counter at a moment. start, end: its window."""

    spent: int
    held: int
    start: float
    end: float


class NoRoom(Exception):
    """A reservation does not fit: number `limit` of the plan's limits. Nothing was reserved."""

    def __init__(self, limit: Limit, level: Level) -> None:
        super().__init__(limit.rule)
        self.limit = limit
        self.level = level


class TooManyRequests(Exception):
    """A request window is full. wait: seconds until the next request fits. Nothing was reserved."""

    def __init__(self, window: RequestWindow, wait: float) -> None:
        super().__init__(window.owner)
        self.window = window
        self.wait = wait


class Reservation(Protocol):
    """What was reserved. The levels of its counters are kept by window: it settles into the window it began in."""

    def settle(self, micros: int, tokens: int) -> Sequence[tuple[int, int]]:
        """Replace what is held by what was used; (spent before, spent after) of each counter. Once."""
        ...

    def grow(self, micros: int, tokens: int) -> None:
        """Hold at least this much, whatever the limits say: it is being used already."""
        ...

    def level(self, index: int) -> Level: ...


class Counters(Protocol):
    """Never blocks long: a counter that cannot be reached must raise StoreUnavailable (fail closed) within a bound."""

    async def reserve(self, plan: Plan, micros: int, tokens: int, *, at: float, count_request: bool) -> Reservation:
        """Check every limit and reserve, as one step: nothing else is reserved in between.

        at: seconds since the epoch; decides the windows.

        Raises:
            NoRoom: a hard limit would be passed.
            TooManyRequests: a request window is full.

        """
        ...

    def add(self, counter: Counter, amount: int, *, at: float) -> tuple[int, int]:
        """Count something that was used without a reservation; (spent before, spent after)."""
        ...

    def set_spent(self, counter: Counter, amount: int, *, at: float) -> None:
        """What the ledger says was spent in the window of `at`; before the first reservation."""
        ...

    def set_requests(self, key: str, ages: Sequence[float]) -> None:
        """Requests that were made `ages` seconds ago; before the first reservation. key: of a RequestWindow."""
        ...

    def level(self, counter: Counter, *, at: float) -> Level: ...

    def requests(self, window: RequestWindow) -> tuple[int, float]:
        """(requests in the last hour, seconds until the next one fits; 0 = now)."""
        ...
