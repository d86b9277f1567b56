"""How long a connection waits for its client: to send what is due, and to take what was written.

One timer for both; moving a deadline later costs an assignment, the timer catches up when it rings. Below: connection.
"""

import asyncio
import math
from typing import Protocol

SLOWEST = 512
"""Bytes a second that a client must take of what waits for it; it is not enough to take something now and then."""


class Patient(Protocol):
    """Who is told that the wait is over. unsent: bytes that were written and not taken yet."""

    def unsent(self) -> int: ...

    def said_nothing(self) -> None: ...

    def took_nothing(self) -> None: ...


class Patience:
    def __init__(self, patient: Patient, *, for_taking: float) -> None:
        self._patient = patient
        self._for_taking = for_taking
        self._loop = asyncio.get_running_loop()
        self._hear_until = self._take_until = self._at = math.inf
        self._least = 0
        self._timer: asyncio.TimerHandle | None = None

    def hear_within(self, seconds: float) -> None:
        """Something must come, until `rest` is called."""
        self._hear_until = self._loop.time() + seconds
        self._arm(self._hear_until)

    def rest(self) -> None:
        """Nothing is due from the client."""
        self._hear_until = math.inf

    def watch_taking(self) -> None:
        """What was written must be taken, at SLOWEST at least, until `taken` is called."""
        self._least = max(0, self._patient.unsent() - int(SLOWEST * self._for_taking))
        self._take_until = self._loop.time() + self._for_taking
        self._arm(self._take_until)

    def taken(self) -> None:
        self._take_until = math.inf

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, when: float) -> None:
        if when < self._at:
            self.end()
            self._at = when
            self._timer = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._timer, self._at = None, math.inf
        now = self._loop.time()
        if now >= self._take_until:
            if self._patient.unsent() > self._least:
                self._patient.took_nothing()
                return
            self.watch_taking()
        if now >= self._hear_until:
            self._hear_until = math.inf
            self._patient.said_nothing()
        if (soonest := min(self._hear_until, self._take_until)) < math.inf:
            self._arm(soonest)
