"""The MCP server of the tool benchmark, on the official SDK's low-level server: the least that a server can cost.

    python bench/mcp_gateway_server.py              standard input and output
    python bench/mcp_gateway_server.py --http       streamable HTTP on a free port, printed as {"url": ...}

It serves both eras. TOOLS tools; each says back the text that it is given, and 1 KB more.
"""

import json
import sys
from typing import Any

import mcp_types as types
import uvicorn
import uvloop
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

TOOLS = 5
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string", "description": "What is said back."}},
    "required": ["text"],
}
FILLING = "The quick brown fox jumps over the lazy dog while the build reads each module once. " * 12


async def offered(context: Any, params: Any) -> types.ListToolsResult:
    del context, params
    tools = [
        types.Tool(name=f"echo_{number}", description="Says a text back.", input_schema=SCHEMA)
        for number in range(TOOLS)
    ]
    return types.ListToolsResult(tools=tools)


async def called(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    del context
    text = str((params.arguments or {}).get("text"))
    return types.CallToolResult(content=[types.TextContent(type="text", text=f"{text}\n{FILLING}")])


def server() -> Server[Any]:
    made: Server[Any] = Server("bench", version="1.0.0")
    made.add_request_handler("tools/list", types.PaginatedRequestParams, offered)
    made.add_request_handler("tools/call", types.CallToolRequestParams, called)
    return made


async def over_lines() -> None:
    made = server()
    async with stdio_server() as (read, write):
        await made.run(read, write, made.create_initialization_options())


class Telling(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{port}/mcp"}) + "\n")
        sys.stdout.flush()


async def over_http(made: Server[Any]) -> None:
    app = made.streamable_http_app()
    await Telling(uvicorn.Config(app, port=0, log_level="error", ws="none", access_log=False)).serve()


if __name__ == "__main__":
    uvloop.run(over_http(server()) if "--http" in sys.argv else over_lines())
