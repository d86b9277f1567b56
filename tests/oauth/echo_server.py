"""An MCP server for tests: says back what it is told, and over HTTP also which headers it was shown.

argv: nothing = standard input and output; PORT FILE = streamable HTTP, with the headers of each request in FILE.
"""

import json
import sys
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import MCPServer

server = MCPServer("echo")


@server.tool(description="Says it back.")
def echo(text: str) -> str:
    return f"echo: {text}"


@server.prompt(description="Greets.")
def greet(name: str) -> str:
    return f"Greet {name}."


@server.resource("echo://motto", description="A motto.")
def motto() -> str:
    return "Say it back."


def noting(application: Any, file: Path) -> Any:
    async def noted(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            fields = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
            with file.open("a") as out:
                out.write(json.dumps(fields) + "\n")
        await application(scope, receive, send)

    return noted


if __name__ == "__main__":
    if len(sys.argv) == 1:
        server.run("stdio")
    else:
        import uvicorn

        application = noting(server.streamable_http_app(), Path(sys.argv[2]))
        uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
