"""Which values a person has already been blocked for: block on first sight, redact on replay.

A blocked message stays in the client's conversation; blocking it again on every turn would poison the session.
"""

from collections import OrderedDict
from typing import Protocol


class SeenValues(Protocol):
    def first_sight(self, principal_id: str, value_hash: str) -> bool:
        """True exactly once per person and value."""
        ...


class MemorySeen:
    """The twin in memory: bounded, the least recently seen is forgotten first (and would be blocked once more)."""

    def __init__(self, limit: int = 100_000) -> None:
        self.limit = limit
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    def first_sight(self, principal_id: str, value_hash: str) -> bool:
        key = (principal_id, value_hash)
        if key in self._seen:
            self._seen.move_to_end(key)
            return False
        self._seen[key] = None
        if len(self._seen) > self.limit:
            self._seen.popitem(last=False)
        return True
