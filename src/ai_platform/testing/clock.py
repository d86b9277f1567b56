"""A clock that moves only when it is told to."""


class FakeClock:
    """Satisfies `domain.clock.Clock`. Starts at 2026-11-22T12:00:00Z."""

    def __init__(self, start: float = 1_795_348_800.0) -> None:
        self._now = start
        self._monotonic = 1_000.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Move wall time only, as an NTP step does."""
        self._now += seconds
