"""A trail that remembers, for tests of whoever writes to one. Satisfies `audit.Trail`."""

from collections.abc import Sequence

from ai_platform.domain.errors import AuditUnavailable
from ai_platform.domain.event import Event, EventType
from ai_platform.stores.rows import Insert


class MemoryTrail:
    """events, rows: what was appended, in order. appends: the same, one entry a call.

    failing: while True every append is refused, as when PostgreSQL is away. fail_next: how many more are.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.rows: list[Insert] = []
        self.appends: list[tuple[tuple[Event, ...], tuple[Insert, ...]]] = []
        self.failing = False
        self.fail_next = 0
        self.refused = 0

    async def append(self, events: Sequence[Event], rows: Sequence[Insert] = ()) -> None:
        if self.failing or self.fail_next > 0:
            self.fail_next = max(0, self.fail_next - 1)
            self.refused += len(events)
            raise AuditUnavailable("The memory trail was told to fail.")
        self.events += events
        self.rows += rows
        self.appends.append((tuple(events), tuple(rows)))

    def of_type(self, kind: EventType) -> list[Event]:
        return [event for event in self.events if event.type is kind]

    async def close(self) -> None:
        """Nothing to give back; here so that the twin can stand wherever the real trail does."""
