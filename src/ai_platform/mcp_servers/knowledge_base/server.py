"""The MCP side of the knowledge base: resources, their list and template, the tool search_kb."""

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any
from urllib.parse import quote, unquote

import mcp_types as types
import msgspec
from mcp import MCPError
from mcp.server.caching import CacheHint
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourcesListChanged

from ai_platform import __version__
from ai_platform.domain.errors import StoreUnavailable
from ai_platform.mcp_servers.knowledge_base.entry import Hit, Index
from ai_platform.mcp_servers.knowledge_base.folders import Folder
from ai_platform.mcp_servers.knowledge_base.keeper import Keeper
from ai_platform.mcp_servers.knowledge_base.query import phrases
from ai_platform.mcp_servers.toolbox import Context, Toolbox, ToolSpec, failure, success

PREFIX = "kb://docs/"
PAGE = 500
FIRST_PASS_SECONDS = 10.0
"""How long a search waits for the first pass over the folders before it answers from what is there."""
_ABOUT = (
    "The organisation's documents. Find the right ones with search_kb, then read a result's uri as a resource for "
    "the whole text."
)


class SearchArguments(msgspec.Struct, forbid_unknown_fields=True):
    query: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=1000,
            description='Words to look for; put words that belong together in "double quotes".',
        ),
    ]
    limit: Annotated[int, msgspec.Meta(ge=1, le=50, description="How many documents at most.")] = 5


class KnowledgeBase:
    """The handlers. missing: reads of a document that is not there; incomplete: answers before the first pass ended."""

    def __init__(self, index: Index, folders: list[Folder], *, most_bytes: int, every: float) -> None:
        self._index = index
        self._bus = InMemorySubscriptionBus()
        self._keeper = Keeper(
            index,
            folders,
            most_bytes=most_bytes,
            every=every,
            changed=lambda: self._bus.publish(ResourcesListChanged()),
        )
        self.missing = 0
        self.incomplete = 0

    def server(self) -> Server[Any]:
        tools = Toolbox([self._search_tool()])
        return Server(
            "knowledge-base",
            version=__version__,
            title="Knowledge base",
            instructions=_ABOUT,
            lifespan=self._lifespan,
            cache_hints={
                "tools/list": CacheHint(3_600_000, "public"),
                "resources/templates/list": CacheHint(3_600_000, "public"),
            },
            get_tool_input_schema=tools.schema,
            on_list_tools=tools.list,
            on_call_tool=tools.call,
            on_list_resources=self._list,
            on_list_resource_templates=self._templates,
            on_read_resource=self._read,
            on_subscriptions_listen=ListenHandler(self._bus),
        )

    async def close(self) -> None:
        await self._index.close()

    @asynccontextmanager
    async def _lifespan(self, _server: Server[Any]) -> AsyncGenerator[dict[str, Any]]:
        keeping = asyncio.create_task(self._keeper.run())
        try:
            yield {}
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
            await self.close()

    def _search_tool(self) -> ToolSpec[SearchArguments]:
        return ToolSpec(
            name="search_kb",
            title="Search the knowledge base",
            description="Full-text search over the organisation's documents. Returns the best documents, each with "
            "its uri (read it as a resource for the whole text) and the passage that matched.",
            arguments=SearchArguments,
            call=self._search,
            annotations=types.ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
        )

    async def _search(self, _context: Context, arguments: SearchArguments) -> types.CallToolResult:
        wanted = phrases(arguments.query)
        if not wanted:
            return failure("The query has no word in it: search for letters or digits.")
        note = await self._first_pass()
        hits = await self._index.search(wanted, arguments.limit)
        results = [
            {"uri": uri_of(hit.id), "title": hit.title, "snippet": hit.snippet, "score": float(f"{hit.score:.4g}")}
            for hit in hits
        ]
        text = "\n\n".join(_shown(number, hit) for number, hit in enumerate(hits, 1)) or "No document matches."
        return success(text + note, {"results": results, "complete": not note})

    async def _first_pass(self) -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_PASS_SECONDS):
                await self._keeper.ready.wait()
        if self._keeper.ready.is_set():
            return ""
        self.incomplete += 1
        return f"\n\nThe index is still being built ({await self._index.count()} documents so far): search again later."

    async def _list(self, _context: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        after = _decode_cursor(params.cursor) if params and params.cursor else ""
        with _as_protocol_error():
            if not after:
                await self._first_pass()
            found = await self._index.page(after, PAGE + 1)
        more = len(found) > PAGE
        resources = [
            types.Resource(uri=uri_of(item.id), name=item.id, title=item.title, mime_type=item.kind, size=item.size)
            for item in found[:PAGE]
        ]
        return types.ListResourcesResult(
            resources=resources, next_cursor=_encode_cursor(found[PAGE - 1].id) if more else None
        )

    async def _templates(
        self, _context: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            uri_template=f"{PREFIX}{{+id}}",
            name="document",
            title="A document",
            description="The text of one document; search_kb and the list of resources give the identifiers.",
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def _read(self, _context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        with _as_protocol_error():
            document = await self._index.get(unquote(params.uri.removeprefix(PREFIX)))
        if document is None or not params.uri.startswith(PREFIX):
            self.missing += 1
            # 2026-07-28 retired -32002; both eras accept invalid params with the uri (server/resources, "Errors").
            raise MCPError(types.INVALID_PARAMS, "There is no such document.", {"uri": params.uri})
        contents = types.TextResourceContents(uri=params.uri, mime_type=document.kind, text=document.body)
        return types.ReadResourceResult(contents=[contents])


class _as_protocol_error:  # noqa: N801 - read as `with _as_protocol_error():`
    """A store that cannot be reached, as the error of a request that has no tool result to say it in."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, StoreUnavailable):
            raise MCPError(types.INTERNAL_ERROR, str(error)) from error


def uri_of(identifier: str) -> str:
    return PREFIX + quote(identifier, safe="/")


def _shown(number: int, hit: Hit) -> str:
    return f"{number}. {hit.title}\n{uri_of(hit.id)}\n{' '.join(hit.snippet.split())}"


def _encode_cursor(identifier: str) -> str:
    return base64.urlsafe_b64encode(identifier.encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> str:
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise MCPError(types.INVALID_PARAMS, "The cursor is not one of this list.") from error
