"""HTTP clients of one server: one for each owner of a credential, closed when nobody holds it and it is not wanted.

It sends nothing itself. Above: running. Below: wire.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from ai_platform.domain.principal import Principal
from ai_platform.mcp.hub import Owner, owner_of
from ai_platform.mcp.wire import ServerClient


class _Held:
    def __init__(self, client: ServerClient) -> None:
        self.client = client
        self.uses = 0


class Clients:
    """make: a new one, with the credentials of a person, or of the platform (None)."""

    def __init__(self, make: Callable[[Principal | None], ServerClient]) -> None:
        self._make = make
        self._kept: dict[Owner, _Held] = {}

    @asynccontextmanager
    async def held(self, owner: Principal | None) -> AsyncGenerator[ServerClient]:
        """Not closed while the block runs."""
        key = owner_of(owner)
        held = self._kept.get(key)
        if held is None:
            held = self._kept[key] = _Held(self._make(owner))
        held.uses += 1
        try:
            yield held.client
        finally:
            held.uses -= 1
            if not held.uses and self._kept.get(key) is not held:
                await held.client.aclose()

    async def retire(self, owner: Owner) -> None:
        """What comes next gets another; this one is closed when its last user is done."""
        held = self._kept.pop(owner, None)
        if held is not None and not held.uses:
            await held.client.aclose()

    async def tidy(self) -> None:
        """Close people's clients that nobody holds."""
        for owner in [owner for owner, held in self._kept.items() if owner is not None and not held.uses]:
            await self._kept.pop(owner).client.aclose()

    async def close(self) -> None:
        for held in self._kept.values():
            await held.client.aclose()
