"""How much of the door one caller may take: requests and streams under way, so that the others find a place.

Above: door. Below: nothing.
"""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Refused
from ai_platform.domain.principal import Principal


class Shares:
    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def one(self, caller: Principal) -> Generator[None]:
        """A place for one request of this caller while the block runs. Raises Refused: they have all of theirs."""
        key = (caller.tenant, caller.id)
        if self._taken[key] >= self._most:
            raise Refused(
                Refusal.OVERLOADED,
                f"You have {self._most} requests and streams open here. End some, or wait until they do.",
                rule="mcp.max_requests_each",
                retry_after=5,
            )
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]
