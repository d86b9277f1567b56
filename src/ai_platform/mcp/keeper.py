"""Keeps one server reachable and its lists known: connects, reconnects with pauses, listens for changes.

Lists are there before the first client asks, and a change is noticed when it happens. Above: federation.
Below: line, catalogue, hub.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import structlog
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY

from ai_platform.domain.errors import ConfigError, PlatformError, Refused, UpstreamError
from ai_platform.domain.principal import Principal
from ai_platform.mcp.catalogue import Catalogue
from ai_platform.mcp.hub import Change, Hub, Owner, owner_of
from ai_platform.mcp.line import Line
from ai_platform.mcp.link import RpcError
from ai_platform.mcp.needs import Kind
from ai_platform.mcp.server import Server
from ai_platform.mcp.settings import CredentialMode

SWEEP_SECONDS = 15.0
SETTLE_SECONDS = 0.2
"""Changes that come close together are looked at once."""
TAKEN_SECONDS = 5.0

_LIST_CHANGED = {
    "notifications/tools/list_changed": (Kind.TOOLS,),
    "notifications/prompts/list_changed": (Kind.PROMPTS,),
    "notifications/resources/list_changed": (Kind.RESOURCES, Kind.TEMPLATES),
}
_UPDATED = "notifications/resources/updated"
_TAKEN = "notifications/subscriptions/acknowledged"
_log = structlog.get_logger(__name__)


class Keeper:
    """problem: why the server cannot be used now, "" when it can, None before the first try. tidy: closes what is not
    used any more.
    """

    def __init__(self, server: Server, catalogue: Catalogue, hub: Hub, tidy: Callable[[], Awaitable[None]]) -> None:
        self.problem: str | None = None
        self._server = server
        self._catalogue = catalogue
        self._hub = hub
        self._tidy = tidy
        self._name = server.settings.name
        self._woken = asyncio.Event()
        self._said: set[Kind] = set()
        self._listening: dict[Owner, tuple[Line, tuple[str, ...], asyncio.Task[None]]] = {}
        self._subscribed: Line | None = None
        self._turning = asyncio.Lock()
        self._taken: dict[str, asyncio.Event] = {}
        self._number = 0

    def heard(self, owner: Owner, method: str, params: Mapping[str, Any]) -> None:
        """The server said something by itself on a line with the credentials of `owner`."""
        if kinds := _LIST_CHANGED.get(method):
            for kind in kinds:
                self._catalogue.expire(kind)
                if owner is None:
                    self._said.add(kind)  # clients are told when the new list is here
                else:
                    self._hub.tell(Change(server=self._name, kind=kind, owner=owner))
            self._woken.set()
        elif method == _TAKEN:
            meta = params.get("_meta")
            self._take(meta.get(SUBSCRIPTION_ID_META_KEY) if isinstance(meta, dict) else None)
        elif method == _UPDATED and isinstance(uri := params.get("uri"), str):
            self._hub.tell(Change(server=self._name, kind=Kind.RESOURCES, uri=uri, owner=owner))

    def changed(self, kind: Kind, caller: Principal | None) -> None:
        """A list was fetched and is another than before."""
        owner = owner_of(caller) if self._own_credentials else None
        if owner is not None or kind not in self._said:
            self._hub.tell(Change(server=self._name, kind=kind, owner=owner))

    def wake(self) -> None:
        """Look at the server now."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled. A server whose callers bring their own credentials is connected to when they call."""
        while True:
            self._woken.clear()
            await self._tidy()
            if not self._own_credentials:
                await self._refresh()
                self._tell_what_was_said()
            with suppress(TimeoutError):
                async with asyncio.timeout(
                    max(SETTLE_SECONDS, min(SWEEP_SECONDS, self._server.lines.pause.left or 60))
                ):
                    await self._woken.wait()
                await asyncio.sleep(SETTLE_SECONDS)

    async def close(self) -> None:
        tasks = [task for _, _, task in self._listening.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def forget(self, owner: Owner) -> None:
        """Hear nothing more with this owner's credential."""
        if known := self._listening.pop(owner, None):
            known[2].cancel()

    async def watch(self, caller: Principal, uri: str) -> None:
        """From now on the server tells when this resource changes.

        Raises:
            RpcError, UpstreamError, Refused: it will not.
        """
        owner = caller if self._own_credentials else None
        line = await self._server.lines.shared(caller)
        if line.link.stateless:
            self._hub.watch(self._name, owner, uri)
            await self._listen(line, owner_of(owner))
            return
        if self._hub.watch(self._name, owner, uri):
            try:
                await line.link.request("resources/subscribe", {"uri": uri})
            except BaseException:
                self._hub.unwatch(self._name, owner, uri)
                raise

    async def unwatch(self, caller: Principal, uri: str) -> None:
        owner = caller if self._own_credentials else None
        if not self._hub.unwatch(self._name, owner, uri):
            return
        with suppress(RpcError, PlatformError):
            line = await self._server.lines.shared(caller)
            if line.link.stateless:
                await self._listen(line, owner_of(owner))
            else:
                await line.link.request("resources/unsubscribe", {"uri": uri})

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _own_credentials(self) -> bool:
        return self._server.settings.credentials is CredentialMode.PERSON

    async def _refresh(self) -> None:
        try:
            line = await self._server.lines.shared(None)
            for kind in Kind:
                await self._catalogue.listing(kind, None)
        except (UpstreamError, ConfigError, Refused) as error:
            self._say(str(error))
            return
        self._say("")
        if line.link.stateless:
            await self._listen(line, None)
        else:
            await self._subscribe_again(line)

    def _tell_what_was_said(self) -> None:
        said, self._said = self._said, set()
        for kind in sorted(said):
            self._hub.tell(Change(server=self._name, kind=kind))

    def _say(self, problem: str) -> None:
        """Log and tell what changed: a server that comes or goes changes every list it is in."""
        before, self.problem = self.problem, problem
        if problem and not before:
            _log.warning("MCP server cannot be used", server=self._name, problem=problem)
        elif before and not problem:
            _log.info("MCP server can be used again", server=self._name)
            for kind in (Kind.TOOLS, Kind.PROMPTS, Kind.RESOURCES):
                self._hub.tell(Change(server=self._name, kind=kind))

    async def _subscribe_again(self, line: Line) -> None:
        """A new session knows nothing of what the former one was asked to watch."""
        if self._subscribed is line:
            return
        self._subscribed = line
        for uri in self._hub.uris(self._name, None):
            with suppress(RpcError, UpstreamError):
                await line.link.request("resources/subscribe", {"uri": uri})

    async def _listen(self, line: Line, owner: Owner) -> None:
        """Have one stream of changes open on the line, with the resources that are watched now; the former one ends
        when the server has taken the new one, so that no change falls between them.
        """
        async with self._turning:
            uris = self._hub.uris(self._name, owner)
            known = self._listening.get(owner)
            if known is not None and known[0] is line and known[1] == uris and not known[2].done():
                return
            self._number += 1
            name = f"listen-{self._number}"
            taken = self._taken[name] = asyncio.Event()
            task = asyncio.create_task(self._stream(line, uris, name), name=f"mcp {self._name} changes")
            self._listening[owner] = (line, uris, task)
            asking = asyncio.create_task(taken.wait())
            try:
                await asyncio.wait({asking, task}, timeout=TAKEN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            finally:
                asking.cancel()
                del self._taken[name]
                if known is not None:
                    known[2].cancel()

    async def _stream(self, line: Line, uris: tuple[str, ...], name: str) -> None:
        """Changes arrive by `heard` while this request lasts; when it ends, the next look begins another."""
        capabilities = line.link.manners.capabilities
        wanted: dict[str, Any] = {
            f"{kind}ListChanged": True
            for kind in ("tools", "prompts", "resources")
            if (capabilities.get(kind) or {}).get("listChanged")
        }
        if uris:
            wanted["resourceSubscriptions"] = list(uris)
        if not wanted:
            self._take(name)
            await line.link.over.wait()
            return
        with suppress(RpcError, PlatformError):
            await line.link.request("subscriptions/listen", {"notifications": wanted}, request_id=name)

    def _take(self, name: Any) -> None:
        if isinstance(name, str) and (taken := self._taken.get(name)) is not None:
            taken.set()
