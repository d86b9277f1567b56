"""What a caller sees of tools, prompts and resources: only what they may use, under the names of this endpoint.

The order is fixed, so that a model's prompt cache survives. Nothing here is the same for all callers, so no list may be
kept by a cache that several share. Above: mount. Below: the mcp room, policy.
"""

from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Any

from ai_platform.domain.call import Operation
from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import UpstreamError
from ai_platform.domain.principal import Principal
from ai_platform.gateway import Gateway
from ai_platform.mcp.catalogue import Listing, key_of
from ai_platform.mcp.federation import Federation
from ai_platform.mcp.names import SEPARATOR, is_marked, own_uri, server_in, visible_name, visible_uri
from ai_platform.mcp.needs import Item, Kind

PAGE = 1_000
LONGEST_KEPT = 60.0
"""Seconds a client may keep a list: a policy may change what it shows."""

OPERATIONS: MappingProxyType[Kind, Operation] = MappingProxyType(
    {
        Kind.TOOLS: Operation.TOOLS_CALL,
        Kind.PROMPTS: Operation.PROMPTS_GET,
        Kind.RESOURCES: Operation.RESOURCES_READ,
        Kind.TEMPLATES: Operation.RESOURCES_READ,
    }
)
"""What a caller must be allowed to do with a thing in order to see it."""

RESULT_KEYS = MappingProxyType(
    {
        Kind.TOOLS: "tools",
        Kind.PROMPTS: "prompts",
        Kind.RESOURCES: "resources",
        Kind.TEMPLATES: "resourceTemplates",
    }
)
_CURSOR = "after:"


class Lists:
    """Of one endpoint. server: the only one it shows, "" = all, whose names then begin with the server."""

    def __init__(self, server: str, federation: Federation, gateway: Gateway, clock: Clock, *, longest: int) -> None:
        self._server = server
        self._federation = federation
        self._gateway = gateway
        self._clock = clock
        self._longest = longest
        self._changed: dict[tuple[str, Kind], tuple[int, dict[str, str]]] = {}

    async def page(self, kind: Kind, caller: Principal, cursor: Any) -> dict[str, Any]:
        """One page of a list, as a result of the protocol.

        Raises:
            ValueError: the cursor is none of this endpoint's.
        """
        listings = await self._listings(kind, caller)
        shown = sorted(self._shown(kind, caller, listings))
        if cursor is not None:
            if not isinstance(cursor, str) or not cursor.startswith(_CURSOR):
                raise ValueError("cursor")
            last = cursor.removeprefix(_CURSOR)
            shown = [pair for pair in shown if pair[0] > last]
        result: dict[str, Any] = {"resultType": "complete", RESULT_KEYS[kind]: [item for _, _, item in shown[:PAGE]]}
        if len(shown) > PAGE:
            result["nextCursor"] = _CURSOR + shown[PAGE - 1][0]
        return result | self._freshness(listings)

    async def own_name(self, kind: Kind, caller: Principal, visible: str) -> tuple[str, str] | None:
        """(server, its own name) of a tool or prompt as it is called here; None when there is no such one.

        Raises:
            UpstreamError, Refused: the server that it would be of cannot be asked now.
        """
        server = self._server or server_in(visible)
        if server not in self._visible(caller):
            return None
        own = visible if self._server else self._own(server, kind, visible, caller)
        if own is None or not await self._federation.item(server, kind, caller, own):
            return None
        return server, own

    def own_uri(self, caller: Principal, visible: str) -> tuple[str, str] | None:
        """The same of a resource; it need not be listed, for it may be one of a template's."""
        server, uri = (self._server, visible) if self._server else own_uri(visible)
        return (server, uri) if server in self._visible(caller) and uri else None

    def schema(self, visible: str) -> dict[str, Any] | None:
        """A tool's input schema as far as it is known now, for the check of headers that repeat arguments.

        None also when no argument of it is one of those: the SDK would walk the schema twice at each call for nothing.
        """
        server = self._server or server_in(visible)
        listing = self._federation.known(server, Kind.TOOLS, None)
        if listing is None:
            return None
        own = visible if self._server else self._own(server, Kind.TOOLS, visible, None)
        return listing.items[own]["inputSchema"] if own in listing.headers else None

    def visible_uri(self, server: str, uri: str) -> str:
        return uri if self._server else visible_uri(server, uri)

    @property
    def is_joined(self) -> bool:
        """Names of several servers meet here."""
        return not self._server

    # --- inside -----------------------------------------------------------------------------------------------------

    def _visible(self, caller: Principal) -> Sequence[str]:
        names = self._federation.visible(caller)
        return names if not self._server else tuple(name for name in names if name == self._server)

    async def _listings(self, kind: Kind, caller: Principal) -> dict[str, Listing]:
        names = self._visible(caller)
        if kind is not Kind.TEMPLATES and kind not in OPERATIONS:
            raise UpstreamError(f"there is no list of {kind.value}")
        return await self._federation.listings(names, kind, caller)

    def _shown(self, kind: Kind, caller: Principal, listings: dict[str, Listing]) -> Iterator[tuple[str, str, Item]]:
        may_reach, operation, key = self._gateway.policy.may_reach, OPERATIONS[kind], key_of(kind)
        for server, listing in listings.items():
            taken: set[str] = set()
            for name, item in listing.items.items():
                if not may_reach(caller, operation, server, name):
                    continue
                if self._server:
                    yield name, server, item
                    continue
                visible = self._visible_key(kind, server, name)
                if visible in taken:
                    continue  # two names with one hash are one tool: the first
                taken.add(visible)
                yield visible, server, item | {key: visible}

    def _visible_key(self, kind: Kind, server: str, name: str) -> str:
        if kind in {Kind.TOOLS, Kind.PROMPTS}:
            return visible_name(server, name, self._longest)
        return visible_uri(server, name)

    def _own(self, server: str, kind: Kind, visible: str, caller: Principal | None) -> str | None:
        """A name that was not changed to be shown is what follows the server's; others are known from their list."""
        if not is_marked(visible):
            return visible.removeprefix(f"{server}{SEPARATOR}")
        listing = self._federation.known(server, kind, caller)
        if listing is None:
            return None
        known = self._changed.get((server, kind))
        if known is None or known[0] != listing.digest:
            names: dict[str, str] = {}
            for name in listing.items:
                names.setdefault(visible_name(server, name, self._longest), name)
            known = self._changed[(server, kind)] = (listing.digest, names)
        return known[1].get(visible)

    def _freshness(self, listings: dict[str, Listing]) -> dict[str, Any]:
        now = self._clock.monotonic()
        left = min((listing.until - now for listing in listings.values()), default=0.0)
        return {"ttlMs": int(max(0.0, min(left, LONGEST_KEPT)) * 1000), "cacheScope": "private"}
