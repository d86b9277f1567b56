"""How many failed sign-ins are written one by one: whoever has no key must not be able to fill the audit log.

Fails open, counted: beyond the bounds a failure is in the metrics and the log, and the next one that is written says
how many came before it (`unrecorded`).
"""

from collections import OrderedDict

WINDOW = 60.0
EACH = 20
"""Failures of one address and minute that are written one by one."""

TOGETHER = 600
"""The same of all addresses together."""

MOST_ADDRESSES = 10_000


class FailureLimit:
    """skipped: failures that were not written one by one, since the start."""

    def __init__(self) -> None:
        self.skipped = 0
        self._told = 0
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def admit(self, ip: str, now: float) -> int | None:
        """None: do not write this one. Else: how many were skipped since the last that was written.

        now: monotonic seconds.
        """
        if not self._count("", now, TOGETHER) or not self._count(ip or "unknown", now, EACH):
            self.skipped += 1
            return None
        unrecorded, self._told = self.skipped - self._told, self.skipped
        return unrecorded

    def _count(self, key: str, now: float, most: int) -> bool:
        began, count = self._counts.pop(key, (now, 0))
        if now - began >= WINDOW:
            began, count = now, 0
        self._counts[key] = (began, count + 1)
        if len(self._counts) > MOST_ADDRESSES:
            self._counts.popitem(last=False)
        return count < most
