"""A circuit breaker: leaves an upstream or an MCP server alone after failures, then lets one probe through.

States (mission, MC-3): closed -> open after failures -> half-open after `open_seconds` -> closed or open again.
"""

from enum import StrEnum

import msgspec

from ai_platform.domain.clock import Clock


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an upstream is left alone.

    failures: consecutive failed calls that open it; calls that failed together count once.
    failure_rate: share (0 to 1) of failed calls within `window` that opens it too; absent = off.
    minimum_calls: calls within the window below which the rate says nothing.
    window: over how long the rate is taken.
    open_seconds: how long before one probe is let through.
    statuses: answers that count as failures; only 5xx can.
    """

    failures: int = 3
    failure_rate: float | None = None
    minimum_calls: int = 20
    window: float = 30.0
    open_seconds: float = 60.0
    statuses: tuple[int, ...] = (500, 502, 503, 504, 529)

    def __post_init__(self) -> None:
        if self.failures < 1 or self.minimum_calls < 1:
            raise ValueError("failures and minimum_calls must be at least 1")
        if self.failure_rate is not None and not 0 < self.failure_rate <= 1:
            raise ValueError("failure_rate must be above 0 and at most 1")
        if not self.open_seconds > 0 or not self.window > 0:
            raise ValueError("open_seconds and window must be greater than 0")
        if not all(500 <= status <= 599 for status in self.statuses):
            raise ValueError("statuses: only 5xx answers can count as failures (429 and other 4xx never do)")


class Breaker:
    """Ask `admit` before a call; tell the outcome with the ticket it gave: `succeed`, `fail` or `release`.

    Calls that were under way together when the upstream failed count as one consecutive failure: a thousand
    streams cut by one restart are one event. `opened` counts how often it opened, `refused` what it kept away.
    """

    def __init__(self, settings: BreakerSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._consecutive = 0
        self._generation = 1  # grows with each failure that counted and each probe; a ticket is the one it began in
        self._open_until: float | None = None
        self._probe = 0
        self._probe_until = 0.0
        self._window_ends = 0.0
        self._window_calls = 0
        self._window_failures = 0
        self.opened = 0
        self.refused = 0

    @property
    def state(self) -> BreakerState:
        if self._open_until is None:
            return BreakerState.CLOSED
        if self._clock.monotonic() < self._open_until:
            return BreakerState.OPEN
        return BreakerState.HALF_OPEN

    def retry_in(self) -> float:
        """Seconds until a call may get through again; 0 when one may now."""
        if self._open_until is None:
            return 0.0
        now = self._clock.monotonic()
        until = max(self._open_until, self._probe_until if self._probe else 0.0)
        return max(0.0, until - now)

    def admit(self) -> int:
        """A ticket, or 0: leave it alone for now."""
        if self._open_until is None:
            return self._generation
        now = self._clock.monotonic()
        if now < self._open_until or (self._probe and now < self._probe_until):
            self.refused += 1
            return 0
        # A probe that never comes back must not keep the circuit half-open for ever: after as long again, another.
        self._generation += 1
        self._probe = self._generation
        self._probe_until = now + self._settings.open_seconds
        return self._probe

    def is_probe(self, ticket: int) -> bool:
        return ticket == self._probe

    def succeed(self, ticket: int) -> None:
        if self._open_until is None:
            self._consecutive = 0
            if self._settings.failure_rate is not None:
                self._count(failed=False)
        elif ticket == self._probe:
            self._open_until = None
            self._probe = 0
            self._consecutive = 0
            self._window_ends = 0.0

    def fail(self, ticket: int) -> None:
        if self._open_until is not None:
            if ticket == self._probe:
                self._open()
            return
        if ticket == self._generation:
            self._consecutive += 1
            self._generation += 1
        tripped = self._settings.failure_rate is not None and self._count(failed=True)
        if tripped or self._consecutive >= self._settings.failures:
            self._open()

    def release(self, ticket: int) -> None:
        """The call ended without saying anything about the upstream (the caller left, it answered 4xx late, ...)."""
        if ticket == self._probe:
            self._probe = 0

    def _open(self) -> None:
        self._open_until = self._clock.monotonic() + self._settings.open_seconds
        self._probe = 0
        self._generation += 1
        self.opened += 1

    def _count(self, *, failed: bool) -> bool:
        now = self._clock.monotonic()
        if now >= self._window_ends:
            self._window_ends = now + self._settings.window
            self._window_calls = self._window_failures = 0
        self._window_calls += 1
        self._window_failures += failed
        return (
            self._settings.failure_rate is not None
            and self._window_calls >= self._settings.minimum_calls
            and self._window_failures >= self._settings.failure_rate * self._window_calls
        )
