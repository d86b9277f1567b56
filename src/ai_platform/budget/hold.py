"""One call's share of every budget that it counts against: reserved, settled, or given back."""

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType

import msgspec

from ai_platform.budget.counters import Limit, Reservation
from ai_platform.domain.money import Micros
from ai_platform.domain.usage import Usage

Report = Callable[[Sequence[tuple[int, int]]], None]
"""Takes (spent before, spent after) of each counter of the plan."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a call is expected to use. tokens: those that count against token limits.

    usage, price_rows, unknown: what the two numbers were made of; the open call keeps them for a crash.
    """

    micros: Micros
    tokens: int
    usage: Usage = Usage()
    price_rows: tuple[str, ...] = ()
    unknown: bool = False


class Hold:
    """at: the moment the call counts for (its windows). settled: the truth replaced the estimate.

    stops_at: the hard limits at which a call that outgrows its hold is to be stopped.
    """

    __slots__ = ("_grown", "_report", "_reservation", "_stops_at", "at", "estimate", "settled")

    def __init__(
        self, reservation: Reservation, estimate: Estimate, *, at: float, stops_at: Sequence[Limit], report: Report
    ) -> None:
        self._reservation = reservation
        self._report = report
        self._stops_at = stops_at
        self._grown = False
        self.estimate = estimate
        self.at = at
        self.settled = False

    def settle(self, micros: int, tokens: int) -> None:
        """What the call did use. The first settlement counts, later ones change nothing."""
        if self.settled:
            return
        self.settled = True
        self._report(self._reservation.settle(max(0, micros), max(0, tokens)))

    def grow(self, micros: int, tokens: int) -> None:
        """What the call has used so far, while it runs; matters once it is more than was held."""
        if not self.settled and (micros > self.estimate.micros or tokens > self.estimate.tokens):
            self._grown = True
            self._reservation.grow(micros, tokens)

    @property
    def exceeded(self) -> bool:
        """The call uses more than it held, and a hard limit is passed by that: stop it.

        A call that stays within its hold is never stopped for what others use.
        """
        return self._grown and not self.settled and any(self._is_passed(limit) for limit in self._stops_at)

    def _is_passed(self, limit: Limit) -> bool:
        level = self._reservation.level(limit.counter)
        return level.spent + level.held > limit.cap


class Admission:
    """The context of a hold: reserves on entry, and gives back on exit whatever was not settled."""

    __slots__ = ("_admit", "_hold")

    def __init__(self, admit: Callable[[], Awaitable[Hold]]) -> None:
        self._admit = admit
        self._hold: Hold | None = None

    async def __aenter__(self) -> Hold:
        self._hold = await self._admit()
        return self._hold

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hold is not None:
            self._hold.settle(0, 0)
