"""Tools of a server as typed functions: the schema is published and enforced from the same msgspec Struct.

Wrong arguments and refusals are answered as tool errors, not protocol errors, so that the model can read them and
try again (specification, server/tools, "Error handling"). Above: the servers. Below: the MCP SDK.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

import mcp_types as types
import msgspec
from mcp import MCPError
from mcp.server.context import ServerRequestContext

from ai_platform.domain.errors import PlatformError

Context = ServerRequestContext[Any, Any]
T = TypeVar("T")


class ToolSpec(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One tool. arguments: a msgspec Struct. schema: published instead of the Struct's own, when it says more."""

    name: str
    description: str
    arguments: type[T]
    call: Callable[[Context, T], Awaitable[types.CallToolResult]]
    annotations: types.ToolAnnotations
    schema: Mapping[str, Any] | None = None
    title: str | None = None


class Toolbox:
    """The handlers `tools/list` and `tools/call` of a server. The list is in a fixed order, by name."""

    def __init__(self, tools: list[ToolSpec[Any]]) -> None:
        self._tools = {tool.name: tool for tool in sorted(tools, key=lambda tool: tool.name)}
        self._listed = [_published(tool) for tool in self._tools.values()]

    async def list(self, _context: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=self._listed)

    async def call(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = self._tools.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name[:100]!r}.")
        try:
            arguments = msgspec.convert(params.arguments or {}, tool.arguments)
        except msgspec.ValidationError as error:
            return failure(f"Invalid arguments for {tool.name}: {error}")
        try:
            return await tool.call(context, arguments)
        except PlatformError as error:
            return failure(str(error))

    def schema(self, name: str) -> Mapping[str, Any] | None:
        """For the SDK's check of `Mcp-Param-*` headers."""
        return next((tool.input_schema for tool in self._listed if tool.name == name), None)


def success(text: str, structured: Any = None) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=structured)


def failure(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)


def _published(tool: ToolSpec[Any]) -> types.Tool:
    schema = dict(tool.schema) if tool.schema is not None else schema_of(tool.arguments)
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=schema,
        annotations=tool.annotations,
    )


def schema_of(arguments: type[Any]) -> dict[str, Any]:
    """The JSON Schema of a flat Struct, without references (some hosts cannot follow them)."""
    (schema,), components = msgspec.json.schema_components([arguments])
    found = dict(components[str(schema["$ref"]).rpartition("/")[2]])
    found.pop("title", None)
    return found
