"""What one server offers, fetched whole, reviewed, and kept as long as the server allows.

Lists are in a fixed order, by name, so that a model's prompt cache survives. A server that is down keeps its last list
for a while. Above: server. Below: line.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec
import structlog
from mcp.shared.inbound import find_invalid_x_mcp_header, x_mcp_header_map
from mcp_types import METHOD_NOT_FOUND

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import UpstreamBroken, UpstreamError
from ai_platform.domain.principal import Principal
from ai_platform.mcp.hub import Owner
from ai_platform.mcp.line import Line, Lines
from ai_platform.mcp.link import RpcError
from ai_platform.mcp.needs import Item, Kind, Trust
from ai_platform.mcp.settings import MIB, CredentialMode, McpServerSettings

MOST_PAGES = 200
MOST_ITEMS = 5_000
MOST_BYTES = 16 * MIB
LONGEST_NAME = 256
LONGEST_URI = 4096
LONGEST_STALE = 600.0
"""How long a list is shown that can no longer be fetched."""

MOST_OWNERS = 1_000
NAME_SECONDS = 5.0
"""How long it is believed that there is no such name."""

_METHODS = {
    Kind.TOOLS: ("tools/list", "tools", "tools"),
    Kind.PROMPTS: ("prompts/list", "prompts", "prompts"),
    Kind.RESOURCES: ("resources/list", "resources", "resources"),
    Kind.TEMPLATES: ("resources/templates/list", "resourceTemplates", "resources"),
}
"""Kind -> method, key of the result, capability that a server declares when it has any."""

_KEYS = {Kind.TOOLS: "name", Kind.PROMPTS: "name", Kind.RESOURCES: "uri", Kind.TEMPLATES: "uriTemplate"}

_log = structlog.get_logger(__name__)


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """items: by key, in order. fetched, until: monotonic seconds; it may be shown before `until`. digest: of the items.

    is_current: the server has not said since that it changed.

    headers: of each tool with `x-mcp-header`, the arguments that travel in headers as well.
    """

    items: dict[str, Item]
    fetched: float
    until: float
    digest: int
    is_current: bool = True
    headers: dict[str, dict[tuple[str, ...], str]] = {}


class Catalogue:
    """changed: is told when a list that was known has become another."""

    def __init__(
        self,
        settings: McpServerSettings,
        lines: Lines,
        trust: Trust,
        clock: Clock,
        changed: Callable[[Kind, Principal | None], None],
    ) -> None:
        self._settings = settings
        self._lines = lines
        self._trust = trust
        self._clock = clock
        self._changed = changed
        self._known: dict[Hashable, Listing] = {}
        self._fetching: dict[Hashable, asyncio.Task[Listing]] = {}
        self._forgets = 0

    async def listing(self, kind: Kind, caller: Principal | None) -> Listing:
        """Raises UpstreamError, Refused: there is none, and none is remembered."""
        key = self._key(kind, caller)
        known = self._known.get(key)
        now = self._clock.monotonic()
        if known is not None and now < known.until:
            return known
        try:
            return await self._fetched(key, kind, caller)
        except UpstreamError:
            if known is None or now - known.fetched > LONGEST_STALE:
                raise
            return known

    async def item(self, kind: Kind, caller: Principal | None, name: str) -> tuple[Item, Listing] | None:
        """A definition to act on, with its list; a name that is not in a list of a moment ago is looked for anew.

        Raises UpstreamError, Refused.
        """
        known = self._known.get(self._key(kind, caller))
        age = self._clock.monotonic() - known.fetched if known is not None else 0.0
        if known is None or not known.is_current or age > max(self._settings.refresh, NAME_SECONDS):
            known = await self.listing(kind, caller)
        elif name not in known.items and age > NAME_SECONDS:
            known = await self._fetched(self._key(kind, caller), kind, caller)
        return (known.items[name], known) if name in known.items else None

    def known(self, kind: Kind, caller: Principal | None) -> Listing | None:
        """The last list that was fetched, fresh or not."""
        return self._known.get(self._key(kind, caller))

    def expire(self, kind: Kind | None = None) -> None:
        """The server says that a list (None: any) has changed, or the review of it has."""
        for key, listing in list(self._known.items()):
            if kind is None or (isinstance(key, tuple) and key[0] is kind):
                self._known[key] = msgspec.structs.replace(listing, until=0.0, is_current=False)

    def forget(self, owner: Owner) -> None:
        """What this owner's account there showed is not to be shown any more, nor what it shows at this moment."""
        self._forgets += 1
        for kind in Kind:
            self._known.pop((kind, owner), None)
            self._fetching.pop((kind, owner), None)

    async def close(self) -> None:
        for task in self._fetching.values():
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)

    def _key(self, kind: Kind, caller: Principal | None) -> Hashable:
        if caller is None or self._settings.credentials is CredentialMode.SERVER:
            return (kind, None)
        return (kind, (caller.tenant, caller.id))

    async def _fetched(self, key: Hashable, kind: Kind, caller: Principal | None) -> Listing:
        task = self._fetching.get(key)
        if task is None:
            task = asyncio.create_task(self._fetch(key, kind, caller))
            self._fetching[key] = task
            task.add_done_callback(lambda done: self._arrived(key, done))
        return await asyncio.shield(task)

    def _arrived(self, key: Hashable, done: asyncio.Task[Listing]) -> None:
        if self._fetching.get(key) is done:
            del self._fetching[key]
        if not done.cancelled():
            done.exception()

    async def _fetch(self, key: Hashable, kind: Kind, caller: Principal | None) -> Listing:
        forgets = self._forgets
        line = await self._lines.shared(caller)
        seconds = self._settings.connect_timeout
        try:
            async with asyncio.timeout(seconds):
                items, kept_for = await self._all(line, kind)
            if items:
                items = list(await self._trust.review(self._settings.name, kind, items))
            ordered = sorted(items, key=lambda item: str(item[key_of(kind)]))
            digest = hash(msgspec.json.encode(ordered, order="deterministic"))
            headers = _mirrored(ordered) if kind is Kind.TOOLS else {}
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            raise UpstreamBroken(  # whatever it holds, the other servers' lists are shown
                f"the MCP server '{self._settings.name}' lists {kind.value} that cannot be passed on",
                target=self._settings.name,
            ) from error
        except TimeoutError as error:
            raise UpstreamBroken(
                f"the MCP server '{self._settings.name}' did not list its {kind.value} within {seconds:g} seconds",
                target=self._settings.name,
            ) from error
        now = self._clock.monotonic()
        listing = Listing(
            items={str(item[key_of(kind)]): item for item in ordered},
            fetched=now,
            until=now + kept_for,
            digest=digest,
            headers=headers,
        )
        if forgets != self._forgets:
            return listing
        before = self._known.pop(key, None)
        self._known[key] = listing
        while len(self._known) > MOST_OWNERS:
            self._known.pop(next(iter(self._known)))
        if before is not None and before.digest != listing.digest:
            self._changed(kind, caller)
        return listing

    async def _all(self, line: Line, kind: Kind) -> tuple[list[Item], float]:
        """Every page, and for how many seconds they may be kept."""
        if kind is Kind.INSTRUCTIONS:
            text = line.link.manners.instructions
            return ([{"instructions": text}] if text else []), self._settings.refresh
        method, key, capability = _METHODS[kind]
        if capability not in line.link.manners.capabilities:
            return [], self._settings.refresh
        found: dict[str, Item] = {}
        size, kept_for = 0, float("inf")
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            try:
                result = await line.link.request(method, {"cursor": cursor} if cursor is not None else {})
            except RpcError as error:
                if error.code == METHOD_NOT_FOUND:
                    return [], self._settings.refresh
                raise UpstreamBroken(
                    f"the MCP server '{self._settings.name}' does not list its {kind.value}: {error.message[:200]}",
                    target=self._settings.name,
                ) from error
            size += len(msgspec.json.encode(result))
            for item in self._usable(kind, result.get(key)):
                found.setdefault(str(item[key_of(kind)]), item)
            kept_for = min(kept_for, self._kept_for(result, tells=_tells(line, capability)))
            following = result.get("nextCursor")
            if size > MOST_BYTES or len(found) > MOST_ITEMS:
                _log.warning("MCP server lists too much; the rest is left out", server=line.link.name, kind=kind.value)
                break
            if not isinstance(following, str) or following == cursor:
                break
            cursor = following
        return list(found.values()), kept_for

    def _kept_for(self, result: Mapping[str, Any], *, tells: bool) -> float:
        """As long as the server says, and longer when it tells of changes."""
        ttl = result.get("ttlMs")
        if not tells and isinstance(ttl, int | float) and not isinstance(ttl, bool):
            return max(0, min(ttl, 86_400_000)) / 1000
        return self._settings.refresh

    def _usable(self, kind: Kind, items: Any) -> Iterator[Item]:
        """What has the shape of a definition; the rest would be of no use to any client."""
        for item in cast("list[Any]", items) if isinstance(items, list) else ():
            problem = _problem(kind, item)
            if problem:
                _log.warning("MCP definition left out", server=self._settings.name, kind=kind.value, problem=problem)
                continue
            yield item


def _tells(line: Line, capability: str) -> bool:
    declared = line.link.manners.capabilities.get(capability)
    return isinstance(declared, dict) and cast("dict[str, Any]", declared).get("listChanged") is True


def key_of(kind: Kind) -> str:
    """The field that names an item of this kind."""
    return _KEYS.get(kind, "instructions")


def _problem(kind: Kind, item: Any) -> str:
    if not isinstance(item, dict):
        return "no object"
    fields = cast("dict[str, Any]", item)
    name = fields.get(key_of(kind))
    longest = LONGEST_NAME if kind in {Kind.TOOLS, Kind.PROMPTS} else LONGEST_URI
    if not isinstance(name, str) or not 0 < len(name) <= longest or not name.isprintable():
        return f"no usable {key_of(kind)}"
    if kind is not Kind.TOOLS:
        return ""
    if not isinstance(fields.get("inputSchema"), dict):
        return "a tool without inputSchema"
    return find_invalid_x_mcp_header(fields["inputSchema"]) or ""


def _mirrored(tools: Sequence[Item]) -> dict[str, dict[tuple[str, ...], str]]:
    found = {str(tool["name"]): x_mcp_header_map(tool["inputSchema"]) for tool in tools}
    return {name: headers for name, headers in found.items() if headers}
