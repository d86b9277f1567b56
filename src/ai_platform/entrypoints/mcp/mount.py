"""One endpoint: an MCP server of the SDK whose every answer comes from the federation through the flow.

Above: door. Below: calls, lists, listening.
"""

import time
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ai_platform import __version__
from ai_platform.domain.errors import PlatformError
from ai_platform.domain.identifiers import new_id
from ai_platform.entrypoints.errors import sentence
from ai_platform.entrypoints.http import DefectsTold
from ai_platform.entrypoints.mcp.calls import Calls
from ai_platform.entrypoints.mcp.listening import Listening
from ai_platform.entrypoints.mcp.lists import Lists
from ai_platform.entrypoints.mcp.sessions import Sessions
from ai_platform.entrypoints.mcp.visit import Context, visit_of
from ai_platform.mcp import McpSettings
from ai_platform.mcp.federation import Federation
from ai_platform.mcp.needs import Kind

ALL = (
    "Tools, prompts and resources of several servers. The name of a tool or prompt begins with its server and two"
    " underscores, a resource's URI with its server and a plus sign."
)
_CHANGES = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)


class Mount:
    """server: the only one it shows, "" = all. manager: the SDK's, to be run while the door is open."""

    def __init__(
        self,
        server: str,
        *,
        settings: McpSettings,
        federation: Federation,
        lists: Lists,
        calls: Calls,
        listening: Listening,
        sessions: Sessions,
    ) -> None:
        self.server = server
        self.listening = listening
        self._federation = federation
        self._lists = lists
        self._sessions = sessions
        app = _Speaking(self)

        def answer(method: str, params: type[Any], handler: Any) -> None:
            app.add_request_handler(method, params, _told(handler))

        answer("server/discover", types.RequestParams, self._discover)
        answer("tools/list", types.PaginatedRequestParams, self._list(Kind.TOOLS))
        answer("prompts/list", types.PaginatedRequestParams, self._list(Kind.PROMPTS))
        answer("resources/list", types.PaginatedRequestParams, self._list(Kind.RESOURCES))
        answer("resources/templates/list", types.PaginatedRequestParams, self._list(Kind.TEMPLATES))
        answer("tools/call", types.CallToolRequestParams, calls.tool)
        answer("prompts/get", types.GetPromptRequestParams, calls.prompt)
        answer("resources/read", types.ReadResourceRequestParams, calls.resource)
        answer("completion/complete", types.CompleteRequestParams, calls.completion)
        answer("resources/subscribe", types.SubscribeRequestParams, listening.subscribe)
        answer("resources/unsubscribe", types.UnsubscribeRequestParams, listening.unsubscribe)
        answer("subscriptions/listen", types.SubscriptionsListenRequestParams, listening.stream)
        answer("logging/setLevel", types.SetLevelRequestParams, self._set_level)
        app.add_notification_handler("notifications/initialized", types.NotificationParams, self._ready)
        app.add_notification_handler("notifications/roots/list_changed", types.NotificationParams, self._roots_changed)
        app.get_tool_input_schema = lists.schema
        self.manager = StreamableHTTPSessionManager(
            app,
            max_request_body_size=settings.max_message_bytes,
            session_idle_timeout=settings.session_timeout,
            max_sessions=settings.max_sessions,
        )

    @property
    def instructions(self) -> str | None:
        return (self._federation.instructions(self.server) or None) if self.server else ALL

    def _list(self, kind: Kind) -> Any:
        async def handler(context: Context, params: types.PaginatedRequestParams) -> dict[str, Any]:
            try:
                return await self._lists.page(kind, visit_of(context).principal, params.cursor)
            except ValueError as error:
                raise MCPError(types.INVALID_PARAMS, "This cursor is none of this endpoint's.") from error

        return handler

    async def _discover(self, context: Context, params: types.RequestParams) -> types.DiscoverResult:
        del params
        app = self.manager.app
        return types.DiscoverResult(
            supported_versions=list(MODERN_PROTOCOL_VERSIONS),
            capabilities=app.get_capabilities(protocol_version=context.protocol_version),
            instructions=self.instructions,
        )

    async def _set_level(self, context: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        session = self._sessions.get(visit_of(context).session)
        if session is not None:
            session.level = params.level
        return types.EmptyResult()

    async def _ready(self, context: Context, params: types.NotificationParams) -> None:
        del params
        session = self._sessions.get(visit_of(context).session)
        if session is not None:
            session.channel = context.session

    async def _roots_changed(self, context: Context, params: types.NotificationParams) -> None:
        del params
        if (session := visit_of(context).session) is not None:
            await self._federation.tell_servers(session, "notifications/roots/list_changed", {})


def _told(handler: Any) -> Any:
    """A defect of our own is told and logged as one, without what it was about."""

    async def guarded(context: Context, params: Any) -> Any:
        call_id = new_id("call", time.time())
        try:
            with DefectsTold(call_id):
                try:
                    return await handler(context, params)
                except MCPError as error:
                    refusal = error
        except PlatformError as error:
            raise MCPError(types.INTERNAL_ERROR, sentence(error), {"call": call_id}) from error
        raise refusal

    return guarded


class _Speaking(Server[Any]):
    """The SDK's server, with instructions that may change while it runs."""

    def __init__(self, mount: Mount) -> None:
        super().__init__(mount.server or "ai-platform", version=__version__)
        self._mount = mount

    def create_initialization_options(self, *args: Any, **named: Any) -> InitializationOptions:
        del args, named
        options = super().create_initialization_options(notification_options=_CHANGES)
        return options.model_copy(update={"instructions": self._mount.instructions})
