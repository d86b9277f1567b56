"""Which values a person has shown already, and which were reported: block on first sight, redact on replay, tell once.

A blocked message stays in the client's conversation; blocking it again on every turn would poison the session.
"""

from collections import OrderedDict
from collections.abc import Collection
from typing import Protocol


class SeenValues(Protocol):
    def first_sight(self, principal_id: str, value_hash: str) -> bool:
        """True exactly once per person and value that they sent."""
        ...

    def first_report(self, principal_id: str, value_hash: str) -> bool:
        """True once per person and value that neither they sent nor was reported to them before."""
        ...

    async def known(self, tenant: str, principal_id: str, hashes: Collection[str], *, shown: bool) -> Collection[str]:
        """Of values that are new here: those that a longer memory knows. shown: as sent by the person."""
        ...


class MemorySeen:
    """The twin in memory: bounded, the least recently seen is forgotten first (and would be blocked once more)."""

    def __init__(self, limit: int = 100_000) -> None:
        self.limit = limit
        self._seen: OrderedDict[tuple[str, str], bool] = OrderedDict()

    def first_sight(self, principal_id: str, value_hash: str) -> bool:
        return not self._note(principal_id, value_hash, shown=True)

    def first_report(self, principal_id: str, value_hash: str) -> bool:
        return self._note(principal_id, value_hash, shown=False) is None

    async def known(self, tenant: str, principal_id: str, hashes: Collection[str], *, shown: bool) -> Collection[str]:
        del tenant, principal_id, hashes, shown
        return ()

    def _note(self, principal_id: str, value_hash: str, *, shown: bool) -> bool | None:
        """What was known before: whether it was shown, None for nothing at all."""
        key = (principal_id, value_hash)
        before = self._seen.pop(key, None)
        self._seen[key] = shown or bool(before)
        if len(self._seen) > self.limit:
            self._seen.popitem(last=False)
        return before
