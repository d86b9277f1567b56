"""Time slots shared by all paced streams: one loop timer per slot instead of one per stream and event.

Measured with 1,000 streams at 25 events/s (docs/simulator.md): a timer, a future and a sleep per event cost more than
the write itself.
"""

import asyncio

SLOT_SECONDS = 0.002


class Pacer:
    """Wakes everybody whose moment lies in the slot that has just ended."""

    def __init__(self) -> None:
        self._slots: dict[int, list[asyncio.Future[None]]] = {}

    def until(self, moment: float) -> asyncio.Future[None]:
        """Done at `moment` (loop time), at most one slot late."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        number = int(moment / SLOT_SECONDS) + 1
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = []
            loop.call_at(number * SLOT_SECONDS, self._wake, number)
        slot.append(waiter)
        return waiter

    def _wake(self, number: int) -> None:
        for waiter in self._slots.pop(number):
            if not waiter.done():
                waiter.set_result(None)
