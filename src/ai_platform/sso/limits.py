"""How often somebody may do something in a while: a fixed window a name, in a bounded table of this process.

Every replica counts for itself. Above: the sign-in doors.
"""

from collections import OrderedDict

from ai_platform.domain.clock import Clock

MOST_NAMES = 10_000


class Limiter:
    """refused: how often somebody was over the limit."""

    def __init__(self, clock: Clock, *, limit: int, seconds: float) -> None:
        self._clock = clock
        self._limit = limit
        self._seconds = seconds
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self.refused = 0

    def count(self, name: str) -> None:
        now = self._clock.monotonic()
        began, count = self._counts.pop(name, (now, 0))
        self._counts[name] = (now, 1) if now - began >= self._seconds else (began, count + 1)
        if len(self._counts) > MOST_NAMES:
            self._counts.popitem(last=False)

    def wait(self, name: str) -> float:
        """Seconds until this name may go on; 0 = now."""
        began, count = self._counts.get(name, (0.0, 0))
        left = began + self._seconds - self._clock.monotonic()
        if count < self._limit or left <= 0:
            return 0.0
        self.refused += 1
        return left
