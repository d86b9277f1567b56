"""A stdio server behind the bridge, never imported: answers a call with the line it got, or as its tool says."""

import json
import sys

for line in sys.stdin:
    request = json.loads(line)
    name = request.get("params", {}).get("name")
    if "id" not in request or name == "silent":
        continue
    if name == "stop":
        sys.exit(7)
    answer = {"jsonrpc": "2.0", "id": request["id"]}
    if name == "refuse":
        answer["error"] = {"code": -32602, "message": "private words"}
    else:
        answer["result"] = {"content": [{"type": "text", "text": line}], "isError": name == "fail"}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
