"""Calls under way and the bytes they hold, each with a bound. What exceeds it is turned away at once, so that what is
under way goes on undisturbed (fails closed, counted in `turned_away`). Above: the doors.
"""

from types import TracebackType
from typing import Self

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Refused
from ai_platform.entrypoints.settings import ServerSettings


class Load:
    """calls, held_bytes: now. turned_away: calls refused because of either bound."""

    def __init__(self, settings: ServerSettings) -> None:
        self._most_calls = settings.max_calls
        self._most_bytes = settings.max_held_bytes
        self.calls = 0
        self.held_bytes = 0
        self.turned_away = 0

    def enter(self) -> "Slot":
        """A place for one call, to be used as a context.

        Raises:
            Refused: OVERLOADED; there is none.
        """
        if self.calls >= self._most_calls:
            self.turned_away += 1
            raise Refused(
                Refusal.OVERLOADED,
                f"This gateway already serves {self._most_calls} calls. Try again in a moment; whoever runs it can"
                " raise `server.max_calls` or start another.",
                rule="server.max_calls",
            )
        self.calls += 1
        return Slot(self)

    def take(self, size: int) -> None:
        if self.held_bytes + size > self._most_bytes:
            self.turned_away += 1
            raise Refused(
                Refusal.OVERLOADED,
                "The requests under way fill the memory set aside for them. Try again in a moment; whoever runs this"
                " gateway can raise `server.max_held_bytes`.",
                rule="server.max_held_bytes",
            )
        self.held_bytes += size

    def leave(self, size: int) -> None:
        self.calls -= 1
        self.held_bytes -= size


class Slot:
    """One call's share, given back when the context is left."""

    __slots__ = ("_load", "_size")

    def __init__(self, load: Load) -> None:
        self._load = load
        self._size = 0

    def hold(self, size: int) -> None:
        """Account for `size` more bytes of body. Raises Refused (OVERLOADED)."""
        self._load.take(size)
        self._size += size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._load.leave(self._size)
