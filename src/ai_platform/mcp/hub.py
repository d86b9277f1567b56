"""What changes at the servers, told to whoever listens at the door: lists that became others, resources updated.

Signals only ("fetch it anew"); nobody waits for a listener, and none hears of what was not its own. Above: the door.
"""

from collections import Counter
from collections.abc import Callable

import msgspec

from ai_platform.domain.principal import Principal
from ai_platform.mcp.needs import Kind

Owner = tuple[str, str] | None
"""(tenant, id) of the caller whose credentials a line carries; None = the platform's own."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """kind: the list that changed; RESOURCES with a `uri`: that resource was updated.

    owner: whom it concerns alone; None = everybody who may see the server.
    """

    server: str
    kind: Kind
    uri: str | None = None
    owner: Owner = None


Listener = Callable[[Change], None]


class Hub:
    """listeners: how many listen. uris: what is watched at each (server, owner), and by how many."""

    def __init__(self) -> None:
        self._listeners: dict[int, Listener] = {}
        self._next = 0
        self._watched: Counter[tuple[str, Owner, str]] = Counter()

    def __len__(self) -> int:
        return len(self._listeners)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Returns what ends it. A listener must not wait and must not raise."""
        self._next += 1
        number = self._next
        self._listeners[number] = listener
        return lambda: self._listeners.pop(number, None) and None

    def tell(self, change: Change) -> None:
        for listener in list(self._listeners.values()):
            listener(change)

    def watch(self, server: str, owner: Principal | None, uri: str) -> bool:
        """True when nobody watched this resource there before."""
        key = (server, owner_of(owner), uri)
        self._watched[key] += 1
        return self._watched[key] == 1

    def unwatch(self, server: str, owner: Principal | None, uri: str) -> bool:
        """True when nobody watches it any more."""
        key = (server, owner_of(owner), uri)
        self._watched[key] -= 1
        if self._watched[key] > 0:
            return False
        del self._watched[key]
        return True

    def uris(self, server: str, owner: Owner) -> tuple[str, ...]:
        return tuple(sorted(uri for name, who, uri in self._watched if name == server and who == owner))


def owner_of(caller: Principal | None) -> Owner:
    return None if caller is None else (caller.tenant, caller.id)
