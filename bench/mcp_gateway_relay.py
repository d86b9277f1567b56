"""The least that a gateway with the official SDK at both ends can be: each call goes on, by one client for all callers.

    python bench/mcp_gateway_relay.py MODE [URL]

No identity, no policy, no inspection, no record. MODE: of the client (`legacy` or 2026-07-28). URL: of the server
behind it; without, `bench/mcp_gateway_server.py` as a program. Prints {"url": ...} as that does.
"""

import sys
from pathlib import Path
from typing import Any

import mcp_types as types
import uvloop
from mcp import Client, StdioServerParameters
from mcp.server.lowlevel import Server
from mcp_gateway_server import offered, over_http

BEHIND = Path(__file__).with_name("mcp_gateway_server.py")


async def relay(mode: str, url: str | None) -> None:
    behind = url or StdioServerParameters(command=sys.executable, args=[str(BEHIND)])
    async with Client(behind, mode=mode, cache=None) as client:

        async def passed_on(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
            del context
            return await client.call_tool(params.name, params.arguments)

        made: Server[Any] = Server("relay", version="1.0.0")
        made.add_request_handler("tools/list", types.PaginatedRequestParams, offered)
        made.add_request_handler("tools/call", types.CallToolRequestParams, passed_on)
        await over_http(made)


if __name__ == "__main__":
    uvloop.run(relay(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
