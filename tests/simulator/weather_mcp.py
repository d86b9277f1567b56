"""The smallest MCP server over stdio: one tool. Run by Claude Code in a test, never imported."""

import json
import sys

TOOL = {
    "name": "weather",
    "description": "Weather of a city",
    "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def answer(message: dict) -> dict:
    match message["method"]:
        case "initialize":
            info = {"name": "weather", "version": "1"}
            return {"result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}}
        case "tools/list":
            return {"result": {"tools": [TOOL]}}
        case "tools/call":
            text = f"sunny in {message['params']['arguments']['city']}"
            return {"result": {"content": [{"type": "text", "text": text}]}}
        case _:
            return {"error": {"code": -32601, "message": "method not found"}}


for line in sys.stdin:
    received = json.loads(line)
    if "id" in received:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": received["id"], **answer(received)}) + "\n")
        sys.stdout.flush()
