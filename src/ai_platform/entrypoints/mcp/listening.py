"""Changes at servers, on their way to clients: streams of 2026-07-28, notifications of 2025-11-25.

A client hears of servers it may see and of resources it may read; signals that come close together come once, and a
client that does not listen costs nothing. Above: mount, door. Below: the hub.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import mcp_types as types
import structlog
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)

from ai_platform.domain.principal import Principal
from ai_platform.entrypoints.mcp.calls import Calls
from ai_platform.entrypoints.mcp.lists import Lists
from ai_platform.entrypoints.mcp.sessions import Session, Sessions
from ai_platform.entrypoints.mcp.visit import Context, visit_of
from ai_platform.mcp.federation import Federation
from ai_platform.mcp.hub import Change
from ai_platform.mcp.needs import Kind

MOST_URIS = 500
"""Resources one client may want to hear of."""

MOST_EVENTS = 256
LEAVE_SECONDS = 10.0
_log = structlog.get_logger(__name__)


class Listening:
    """Of one endpoint. server: as in Lists."""

    def __init__(self, server: str, federation: Federation, lists: Lists, calls: Calls, sessions: Sessions) -> None:
        self._server = server
        self._federation = federation
        self._lists = lists
        self._calls = calls
        self._sessions = sessions

    # --- 2026-07-28 -------------------------------------------------------------------------------------------------

    async def stream(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """`subscriptions/listen`: lasts as long as the client listens."""
        caller = visit_of(context).principal
        wanted = list(params.notifications.resource_subscriptions or ())
        if len(wanted) > MOST_URIS:
            raise MCPError(types.INVALID_PARAMS, f"At most {MOST_URIS} resources can be listened to.")
        watched: dict[str, tuple[str, str]] = {}
        try:
            for uri in wanted:
                if (own := await self._watched(context, uri)) is not None:
                    watched[uri] = own
            honoured = params.notifications.model_copy(update={"resource_subscriptions": list(watched) or None})
            bus = _Bus(lambda tell: self._federation.hub.listen(self._teller(caller, watched, tell)))
            handler = ListenHandler(bus, max_buffered_events=MOST_EVENTS)
            return await handler(context, params.model_copy(update={"notifications": honoured}))
        finally:
            with anyio.move_on_after(LEAVE_SECONDS, shield=True):  # the client has left, and this request is cancelled
                for server, uri in watched.values():
                    await self._federation.unwatch(server, caller, uri)

    async def _watched(self, context: Context, visible: str) -> tuple[str, str] | None:
        """Have the server tell of this resource, through the flow; None: it will not, or the caller may not read it."""
        caller = visit_of(context).principal
        own = self._lists.own_uri(caller, visible)
        if own is None:
            return None
        try:
            await self._calls.watching(context, visible)
        except MCPError:
            return None
        return own

    def _teller(
        self, caller: Principal, watched: dict[str, tuple[str, str]], tell: Callable[[ServerEvent], None]
    ) -> Callable[[Change], None]:
        def listener(change: Change) -> None:
            for event in self._events(caller, watched, change):
                tell(event)

        return listener

    # --- 2025-11-25 -------------------------------------------------------------------------------------------------

    async def subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        session = self._session(context)
        if len(session.uris) >= MOST_URIS:
            raise MCPError(types.INVALID_PARAMS, f"At most {MOST_URIS} resources can be subscribed to.")
        if params.uri not in session.uris:
            await self._calls.watching(context, params.uri)
            own = self._lists.own_uri(session.owner, params.uri)
            if own is None:
                return types.EmptyResult()
            if params.uri in session.uris or self._sessions.get(session.id) is not session:
                await self._federation.unwatch(own[0], session.owner, own[1])  # it was quicker, or is over
            else:
                session.uris[params.uri] = own
        return types.EmptyResult()

    async def unsubscribe(self, context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        session = self._session(context)
        own = session.uris.pop(params.uri, None)
        if own is not None:
            await self._federation.unwatch(own[0], session.owner, own[1])
        return types.EmptyResult()

    def _session(self, context: Context) -> Session:
        session = self._sessions.get(visit_of(context).session)
        if session is None:
            raise MCPError(types.INVALID_REQUEST, "This needs a session.")
        return session

    def tell(self, session: Session, change: Change) -> None:
        """Let a session know, as soon as its client takes it."""
        if session.channel is None or change in session.news or len(session.news) >= MOST_EVENTS:
            return
        if not self._events(session.owner, session.uris, change):
            return
        session.news[change] = None
        if session.telling is None or session.telling.done():
            session.telling = asyncio.create_task(self._told(session), name="mcp news")

    async def _told(self, session: Session) -> None:
        while session.news and (channel := session.channel) is not None:
            change = next(iter(session.news))
            del session.news[change]
            for event in self._events(session.owner, session.uris, change):
                if isinstance(event, ToolsListChanged):
                    await channel.send_tool_list_changed()
                elif isinstance(event, PromptsListChanged):
                    await channel.send_prompt_list_changed()
                elif isinstance(event, ResourcesListChanged):
                    await channel.send_resource_list_changed()
                else:
                    await channel.send_resource_updated(event.uri)

    # --- both -------------------------------------------------------------------------------------------------------

    def _events(self, caller: Principal, watched: dict[str, tuple[str, str]], change: Change) -> list[ServerEvent]:
        """What a change is to this caller, in the names of this endpoint; nothing when it is not theirs to know."""
        if self._server not in {"", change.server} or change.owner not in {None, (caller.tenant, caller.id)}:
            return []
        if change.server not in self._federation.visible(caller):
            return []
        if change.uri is not None:
            return [
                ResourceUpdated(uri=visible)
                for visible, (server, uri) in watched.items()
                if server == change.server and _is_below(change.uri, uri)
            ]
        event = _EVENTS.get(change.kind)
        return [event] if event is not None else []


class _Bus:
    """The SDK's bus, for one stream of one caller."""

    def __init__(self, listen: Callable[[Callable[[ServerEvent], None]], Callable[[], None]]) -> None:
        self._listen = listen

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        return self._listen(listener)

    async def publish(self, event: ServerEvent) -> Any:
        """Nothing comes this way: changes come from the hub."""


_EVENTS: dict[Kind, ServerEvent] = {
    Kind.TOOLS: ToolsListChanged(),
    Kind.PROMPTS: PromptsListChanged(),
    Kind.RESOURCES: ResourcesListChanged(),
    Kind.TEMPLATES: ResourcesListChanged(),
}


def _is_below(uri: str, watched: str) -> bool:
    """A server may name a part of the resource that was asked for (specification, server/resources)."""
    return uri == watched or uri.startswith(watched.rstrip("/") + "/")
