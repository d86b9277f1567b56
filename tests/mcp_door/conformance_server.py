# ruff: noqa: ARG002 - tools share one signature
"""The server that the protocol's conformance suite wants to see: its `test_*` tools, resources and prompts.

Both eras by default; `--era 2025-11-25` and `--era 2026-07-28` serve one only, as servers do that know no other.
`python conformance_server.py --port 0 --ready-file FILE` writes its URL into FILE.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import mcp_types as types
import uvicorn
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

Context = ServerRequestContext[Any, Any]
Result = dict[str, Any]

SECRET = b"the key of the state that clients bring back"
EMPTY = {"type": "object", "properties": {}}
DIALECT = "https://json-schema.org/draft/2020-12/schema"
RICH_SCHEMA: dict[str, Any] = {
    "$schema": DIALECT,
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def png() -> str:
    """A red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    image = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + image).decode()


def wav() -> str:
    """One silent sample."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8)
    data = struct.pack("<4sI", b"data", 1) + b"\x80"
    return base64.b64encode(struct.pack("<4sI4s", b"RIFF", 4 + len(form) + len(data), b"WAVE") + form + data).decode()


def text(words: str) -> Result:
    return {"type": "text", "text": words}


def said(words: str, **more: Any) -> Result:
    return {"resultType": "complete", "content": [text(words)], **more}


def asked(requests: dict[str, Any], state: str | None = None) -> Result:
    result: Result = {"resultType": "input_required", "inputRequests": requests}
    return result | ({"requestState": state} if state is not None else {})


def form(message: str, name: str, kind: str = "string") -> Result:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


def sampling(question: str, most: int = 100) -> Result:
    messages = [{"role": "user", "content": text(question)}]
    return {"method": "sampling/createMessage", "params": {"messages": messages, "maxTokens": most}}


ROOTS: Result = {"method": "roots/list", "params": {}}


def sealed(state: str) -> str:
    return f"{state}.{hmac.new(SECRET, state.encode(), hashlib.sha256).hexdigest()}"


def unsealed(context: Context) -> str:
    """Raises MCPError for a state that is not as it was given."""
    state, _, mark = str((context.params or {}).get("requestState")).rpartition(".")
    if not hmac.compare_digest(sealed(state), f"{state}.{mark}"):
        raise MCPError(types.INVALID_PARAMS, "The requestState is not the one that was given.")
    return state


def answers(context: Context) -> Result:
    found = (context.params or {}).get("inputResponses")
    return found if isinstance(found, dict) else {}


def capabilities(context: Context) -> Result:
    declared = context.session.client_capabilities
    return declared.model_dump(exclude_none=True) if declared is not None else {}


class Fixture:
    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self.changes = 0

    # --- tools --------------------------------------------------------------------------------------------------

    async def call(self, context: Context, params: types.CallToolRequestParams) -> Any:
        tool = self.tools().get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        try:
            return await tool(context, params.arguments or {})
        except Asked as question:
            return question.result

    def tools(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in dir(self) if name.startswith("test_")}
        return found | {"json_schema_2020_12_tool": self.json_schema}

    async def list_tools(self, context: Context, params: Any) -> Result:
        del context, params
        schemas = {
            "json_schema_2020_12_tool": RICH_SCHEMA,
            "test_sampling": {"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]},
            "test_elicitation": {
                "type": "object",
                "properties": {"message": {"type": "string"}},
                "required": ["message"],
            },
            "test_custom_header": {
                "type": "object",
                "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
                "required": ["region"],
            },
        }
        tools = [
            {"name": name, "description": f"Of the conformance suite: {name}", "inputSchema": schemas.get(name, EMPTY)}
            for name in sorted(self.tools())
        ]
        if self.changes % 2:
            tools.append({"name": "added", "description": "It comes and goes.", "inputSchema": EMPTY})
        return {"resultType": "complete", "tools": tools, "ttlMs": 0, "cacheScope": "public"}

    async def test_simple_text(self, context: Context, arguments: Result) -> Result:
        return said("This is a simple text response for testing.")

    async def test_image_content(self, context: Context, arguments: Result) -> Result:
        return {"resultType": "complete", "content": [{"type": "image", "data": png(), "mimeType": "image/png"}]}

    async def test_audio_content(self, context: Context, arguments: Result) -> Result:
        return {"resultType": "complete", "content": [{"type": "audio", "data": wav(), "mimeType": "audio/wav"}]}

    async def test_embedded_resource(self, context: Context, arguments: Result) -> Result:
        words = "This is an embedded resource content."
        resource = {"uri": "test://embedded-resource", "mimeType": "text/plain", "text": words}
        return {"resultType": "complete", "content": [{"type": "resource", "resource": resource}]}

    async def test_multiple_content_types(self, context: Context, arguments: Result) -> Result:
        data = json.dumps({"test": "data", "value": 123})
        resource = {"uri": "test://mixed-content-resource", "mimeType": "application/json", "text": data}
        image = {"type": "image", "data": png(), "mimeType": "image/png"}
        content = [text("Multiple content types test:"), image, {"type": "resource", "resource": resource}]
        return {"resultType": "complete", "content": content}

    async def test_tool_with_logging(self, context: Context, arguments: Result) -> Result:
        for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await log(context, words)
        return said("Logged three messages.")

    async def test_logging_tool(self, context: Context, arguments: Result) -> Result:
        await log(context, "said to whoever wants to hear it")
        return said("Logged.")

    async def test_error_handling(self, context: Context, arguments: Result) -> Result:
        return said("This tool intentionally returns an error for testing", isError=True)

    async def test_tool_with_progress(self, context: Context, arguments: Result) -> Result:
        for progress in (0, 50, 100):
            await context.session.report_progress(progress, 100, f"{progress} of 100")
        return said("Done in three steps.")

    async def test_sampling(self, context: Context, arguments: Result) -> Result:
        answer = await ask(context, "answer", sampling(arguments["prompt"]))
        return said(f"LLM response: {answer['content']['text']}")

    async def test_elicitation(self, context: Context, arguments: Result) -> Result:
        fields = {
            "username": {"type": "string", "description": "User's response"},
            "email": {"type": "string", "description": "User's email address"},
        }
        schema = {"type": "object", "properties": fields, "required": ["username", "email"]}
        return await self._elicited(context, arguments["message"], schema, "User response: ")

    async def test_elicitation_sep1034_defaults(self, context: Context, arguments: Result) -> Result:
        fields = {
            "name": {"type": "string", "default": "John Doe"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
            "verified": {"type": "boolean", "default": True},
        }
        return await self._elicited(context, "Who are you?", {"type": "object", "properties": fields})

    async def test_elicitation_sep1330_enums(self, context: Context, arguments: Result) -> Result:
        options = ["option1", "option2", "option3"]
        titled = [{"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(("First", "Second"), 1)]
        choices = [{"const": f"value{n}", "title": f"{word} Choice"} for n, word in enumerate(("First", "Second"), 1)]
        fields = {
            "untitledSingle": {"type": "string", "enum": options},
            "titledSingle": {"type": "string", "oneOf": titled},
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
            "titledMulti": {"type": "array", "items": {"anyOf": choices}},
        }
        return await self._elicited(context, "Which?", {"type": "object", "properties": fields})

    async def _elicited(
        self, context: Context, message: str, schema: Result, before: str = "Elicitation completed: "
    ) -> Result:
        request = {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}
        answer = await ask(context, "form", request)
        return said(f"{before}action={answer['action']}, content={json.dumps(answer.get('content', {}))}")

    async def json_schema(self, context: Context, arguments: Result) -> Result:
        return said(json.dumps(arguments))

    async def test_custom_header(self, context: Context, arguments: Result) -> Result:
        return said(f"In the region {arguments.get('region')}.")

    async def test_missing_capability(self, context: Context, arguments: Result) -> Result:
        if "sampling" not in capabilities(context):
            needed = {"requiredCapabilities": {"sampling": {}}}
            raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "This needs sampling.", needed)
        return said("The client can do what is needed.")

    async def test_streaming_elicitation(self, context: Context, arguments: Result) -> Result:
        await ask(context, "colour", form("Which colour?", "colour"))
        return said("A fine colour.")

    async def test_trigger_tool_change(self, context: Context, arguments: Result) -> Result:
        self.changes += 1
        await self.bus.publish(ToolsListChanged())
        if context.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS:
            await context.session.send_tool_list_changed()
        return said("The tools have changed.")

    async def test_trigger_prompt_change(self, context: Context, arguments: Result) -> Result:
        self.changes += 1
        await self.bus.publish(PromptsListChanged())
        if context.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS:
            await context.session.send_prompt_list_changed()
        return said("The prompts have changed.")

    async def test_reconnection(self, context: Context, arguments: Result) -> Result:
        if context.close_sse_stream is not None:
            await context.close_sse_stream()
        return said("Here after the break.")

    # --- tools that need input ----------------------------------------------------------------------------------

    async def test_input_required_result_elicitation(self, context: Context, arguments: Result) -> Result:
        answer = await ask(context, "user_name", form("What is your name?", "name"))
        name = (answer.get("content") or {}).get("name")
        if not isinstance(name, str):
            raise Asked({"user_name": form("What is your name?", "name")})
        return said(f"Hello, {name}!")

    async def test_input_required_result_sampling(self, context: Context, arguments: Result) -> Result:
        answer = await ask(context, "capital_question", sampling("What is the capital of France?"))
        return said(f"The model says: {answer['content']['text']}")

    async def test_input_required_result_list_roots(self, context: Context, arguments: Result) -> Result:
        answer = await ask(context, "client_roots", ROOTS)
        return said(f"The roots: {', '.join(root['uri'] for root in answer['roots'])}")

    async def test_input_required_result_request_state(self, context: Context, arguments: Result) -> Result:
        question = form("Please confirm", "ok", "boolean")
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            if not answers(context):
                raise Asked({"confirm": question}, sealed("to-be-confirmed"))
            return said(f"state-ok: {unsealed(context)}")
        await ask(context, "confirm", question)
        return said("state-ok: none was needed")

    async def test_input_required_result_tampered_state(self, context: Context, arguments: Result) -> Result:
        return await self.test_input_required_result_request_state(context, arguments)

    async def test_input_required_result_multiple_inputs(self, context: Context, arguments: Result) -> Result:
        wanted = {
            "user_name": form("What is your name?", "name"),
            "greeting": sampling("Generate a greeting", 50),
            "client_roots": ROOTS,
        }
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            if not wanted.keys() <= answers(context).keys():
                raise Asked(wanted, sealed("all-three"))
            return said(f"All three are here: {unsealed(context)}")
        for key, request in wanted.items():
            await ask(context, key, request)
        return said("All three are here")

    async def test_input_required_result_multi_round(self, context: Context, arguments: Result) -> Result:
        first = form("Step 1: What is your name?", "name")
        second = form("Step 2: What is your favorite color?", "color")
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            if not answers(context):
                raise Asked({"step1": first}, sealed("1"))
            if unsealed(context) == "1":
                raise Asked({"step2": second}, sealed("2"))
            return said("Both steps are done.")
        await ask(context, "step1", first)
        await ask(context, "step2", second)
        return said("Both steps are done.")

    async def test_input_required_result_capabilities(self, context: Context, arguments: Result) -> Result:
        wanted = {
            "elicitation": form("What is your name?", "name"),
            "sampling": sampling("Say a name"),
            "roots": ROOTS,
        }
        usable = {key: request for key, request in wanted.items() if key in capabilities(context)}
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS and usable:
            raise Asked(usable)
        return said(f"The client can be asked for {', '.join(usable) or 'nothing'}.")

    # --- resources and prompts ----------------------------------------------------------------------------------

    async def list_resources(self, context: Context, params: Any) -> Result:
        del context, params
        resources = [
            {"uri": f"test://{name}", "name": name, "description": f"Of the suite: {name}", "mimeType": kind}
            for name, kind in (
                ("static-text", "text/plain"),
                ("static-binary", "image/png"),
                ("watched-resource", "text/plain"),
            )
        ]
        return {"resultType": "complete", "resources": resources, "ttlMs": 0, "cacheScope": "public"}

    async def list_templates(self, context: Context, params: Any) -> Result:
        del context, params
        template = {
            "uriTemplate": "test://template/{id}/data",
            "name": "template",
            "description": "Data by number",
            "mimeType": "application/json",
        }
        return {"resultType": "complete", "resourceTemplates": [template], "ttlMs": 0, "cacheScope": "public"}

    async def read(self, context: Context, params: types.ReadResourceRequestParams) -> Result:
        del context
        uri = params.uri
        if uri == "test://static-binary":
            content: Result = {"mimeType": "image/png", "blob": png()}
        elif uri == "test://static-text":
            content = {"mimeType": "text/plain", "text": "This is the content of the static text resource."}
        elif uri == "test://watched-resource":
            content = {"mimeType": "text/plain", "text": "Watched."}
        elif uri.startswith("test://template/") and uri.endswith("/data"):
            number = uri.removeprefix("test://template/").removesuffix("/data")
            data = {"id": number, "templateTest": True, "data": f"Data for ID: {number}"}
            content = {"mimeType": "application/json", "text": json.dumps(data)}
        else:
            raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": uri})
        contents = [{"uri": uri, **content}]
        return {"resultType": "complete", "contents": contents, "ttlMs": 0, "cacheScope": "public"}

    async def list_prompts(self, context: Context, params: Any) -> Result:
        del context, params
        named: dict[str, list[str]] = {
            "test_simple_prompt": [],
            "test_prompt_with_arguments": ["arg1", "arg2"],
            "test_prompt_with_embedded_resource": ["resourceUri"],
            "test_prompt_with_image": [],
            "test_input_required_result_prompt": [],
        }
        if self.changes % 2:
            named["added"] = []
        prompts = [
            {
                "name": name,
                "description": f"Of the suite: {name}",
                "arguments": [{"name": one, "description": one, "required": True} for one in arguments],
            }
            for name, arguments in named.items()
        ]
        return {"resultType": "complete", "prompts": prompts, "ttlMs": 0, "cacheScope": "public"}

    async def prompt(self, context: Context, params: types.GetPromptRequestParams) -> Result:
        given = params.arguments or {}
        match params.name:
            case "test_simple_prompt":
                contents = [text("This is a simple prompt for testing.")]
            case "test_prompt_with_arguments":
                words = f"Prompt with arguments: arg1='{given.get('arg1')}', arg2='{given.get('arg2')}'"
                contents = [text(words)]
            case "test_prompt_with_embedded_resource":
                words = "Embedded resource content for testing."
                resource = {"uri": given.get("resourceUri"), "mimeType": "text/plain", "text": words}
                embedded = {"type": "resource", "resource": resource}
                contents = [embedded, text("Please process the embedded resource above.")]
            case "test_prompt_with_image":
                image = {"type": "image", "data": png(), "mimeType": "image/png"}
                contents = [image, text("Please analyze the image above.")]
            case "test_input_required_result_prompt":
                try:
                    answer = await ask(context, "user_context", form("What context should the prompt use?", "context"))
                except Asked as question:
                    return question.result
                contents = [text(f"In the context of {(answer.get('content') or {}).get('context')}.")]
            case _:
                raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
        return {"resultType": "complete", "messages": [{"role": "user", "content": one} for one in contents]}

    async def complete(self, context: Context, params: types.CompleteRequestParams) -> Result:
        del context
        values = [word for word in ("paris", "park", "party") if word.startswith(params.argument.value)]
        return {"resultType": "complete", "completion": {"values": values, "total": len(values), "hasMore": False}}


async def nothing(context: Context, params: Any) -> Result:
    del context, params
    return {}


async def log(context: Context, words: str) -> None:
    message = types.LoggingMessageNotificationParams(level="info", data=words)
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS and not (context.meta or {}).get(types.LOG_LEVEL_META_KEY):
        return
    notification = types.LoggingMessageNotification(params=message)
    await context.session.send_notification(notification, related_request_id=context.request_id)


async def ask(context: Context, key: str, request: Result) -> Result:
    """What the client answers to a question in the middle of a call, as its era has it.

    Raises:
        Asked: it has to be asked first, by the result of this request (2026-07-28).
    """
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        answer = answers(context).get(key)
        if not is_answer(answer, request["method"]):
            raise Asked({key: request})
        return answer
    typed, expected = KINDS[request["method"]]
    result = await context.session.send_request(
        typed.model_validate(request, by_name=False),
        expected,
        metadata=ServerMessageMetadata(related_request_id=context.request_id),
    )
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)


def is_answer(answer: Any, method: str) -> bool:
    needed = {"elicitation/create": "action", "sampling/createMessage": "content", "roots/list": "roots"}[method]
    return isinstance(answer, dict) and needed in answer


class Asked(Exception):
    def __init__(self, requests: dict[str, Any], state: str | None = None) -> None:
        super().__init__()
        self.result = asked(requests, state)


KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "elicitation/create": (types.ElicitRequest, types.ElicitResult),
    "sampling/createMessage": (types.CreateMessageRequest, types.CreateMessageResult),
    "roots/list": (types.ListRootsRequest, types.ListRootsResult),
}


class Changing(Server[Any]):
    def create_initialization_options(self, *args: Any, **named: Any) -> InitializationOptions:
        return super().create_initialization_options(
            notification_options=NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        )


def make(fixture: Fixture) -> Server[Any]:
    server = Changing("conformance-fixture", version="1.0.0")
    for method, params, handler in (
        ("tools/list", types.PaginatedRequestParams, fixture.list_tools),
        ("tools/call", types.CallToolRequestParams, fixture.call),
        ("resources/list", types.PaginatedRequestParams, fixture.list_resources),
        ("resources/templates/list", types.PaginatedRequestParams, fixture.list_templates),
        ("resources/read", types.ReadResourceRequestParams, fixture.read),
        ("resources/subscribe", types.SubscribeRequestParams, nothing),
        ("resources/unsubscribe", types.UnsubscribeRequestParams, nothing),
        ("prompts/list", types.PaginatedRequestParams, fixture.list_prompts),
        ("prompts/get", types.GetPromptRequestParams, fixture.prompt),
        ("completion/complete", types.CompleteRequestParams, fixture.complete),
        ("logging/setLevel", types.SetLevelRequestParams, nothing),
        ("subscriptions/listen", types.SubscriptionsListenRequestParams, ListenHandler(fixture.bus)),
    ):
        server.add_request_handler(method, params, handler)
    return server


def of_one_era(app: Any, era: str) -> Any:
    """As a server behaves that knows one version only: anything else is a bad request."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            fields = dict(scope["headers"])
            is_new = fields.get(b"mcp-protocol-version", b"").decode() in MODERN_PROTOCOL_VERSIONS
            if is_new != (era in MODERN_PROTOCOL_VERSIONS):
                body = json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "Bad request"}})
                headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
                await send({"type": "http.response.start", "status": 400, "headers": headers})
                await send({"type": "http.response.body", "body": body.encode()})
                return
        await app(scope, receive, send)

    return serve


class Started(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready.set()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--era", default="")
    options = parser.parse_args()
    names = ["127.0.0.1", "localhost", "[::1]"]
    app = make(Fixture()).streamable_http_app(
        transport_security=TransportSecuritySettings(
            allowed_hosts=[f"{name}:*" for name in names], allowed_origins=[f"http://{name}:*" for name in names]
        )
    )
    served = of_one_era(app, options.era) if options.era else app
    server = Started(uvicorn.Config(served, port=options.port, log_level="error", ws="none"))
    task = asyncio.create_task(server.serve())
    await server.ready.wait()
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}/mcp"
    options.ready_file.write_text(url)
    await task


if __name__ == "__main__":
    asyncio.run(main())
