"""An MCP server (2025-11-25, stdio, standard library only) that says what it is told: `{"say": ...}` -> a text."""

import json
import os
import sys
from pathlib import Path
from typing import Any

TOOL = {"name": "echo", "description": "Says it again.", "inputSchema": {"type": "object"}}


def result_of(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    if method == "initialize":
        about = {"name": "echo", "version": "1"}
        capabilities: dict[str, Any] = {"tools": {}, "resources": {}, "prompts": {}}
        return {"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": about}
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "resources/list":
        return {"resources": [{"uri": "echo://note", "name": "note"}]}
    if method == "prompts/list":
        return {"prompts": [{"name": "note", "description": "A note."}]}
    if method == "tools/call":
        arguments = params.get("arguments") or {}
        with Path(sys.argv[1]).open("a") as log:
            log.write(json.dumps(arguments) + "\n")
        said = {"structured": {"value": os.environ["SAYS"]}} if "structured" in arguments else {}
        text = arguments.get("say") or os.environ["SAYS"]
        return {"content": [{"type": "text", "text": text}], "structuredContent": said}
    if method == "resources/read":
        return {"contents": [{"uri": "echo://note", "text": os.environ["SAYS"]}]}
    if method == "prompts/get":
        return {"messages": [{"role": "user", "content": {"type": "text", "text": os.environ["SAYS"]}}]}
    return {} if method == "ping" else None


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    answer = result_of(message.get("method", ""), message.get("params") or {})
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
    reply |= {"result": answer} if answer is not None else {"error": {"code": -32601, "message": "Method not found"}}
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()
