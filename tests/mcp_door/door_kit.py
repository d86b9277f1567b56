"""The second door in one process: real rooms, a trail that remembers, servers that a test scripts, the SDK's client."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
import uvicorn
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent, ToolsListChanged
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ai_platform.budget import Budget, Ledger
from ai_platform.budget.settings import BudgetRule, BudgetSettings
from ai_platform.domain.call import Client as CallClient
from ai_platform.domain.call import Door
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Unauthenticated
from ai_platform.domain.principal import Credentials, Principal
from ai_platform.entrypoints.errors import shape_of
from ai_platform.entrypoints.mcp.door import McpDoor
from ai_platform.entrypoints.server import Server as Listening
from ai_platform.entrypoints.server import bind
from ai_platform.entrypoints.settings import ServerSettings
from ai_platform.gateway import Book, Gateway
from ai_platform.gateway.charge import Cashier
from ai_platform.gateway.consent import Consent
from ai_platform.identity.ended import Ended
from ai_platform.mcp.federation import Federation
from ai_platform.mcp.needs import EnvironmentCredentials, Program, TrustAll
from ai_platform.mcp.settings import McpServerSettings, McpSettings
from ai_platform.policy import PolicyStore
from ai_platform.policy.settings import PolicySettings
from ai_platform.pricing import Estimator, load_price_book
from ai_platform.protection import Guard, ProtectionSettings
from ai_platform.telemetry import Alerts, Meter, configure_logging
from ai_platform.telemetry.settings import AlertSettings, LogSettings, MetricsSettings
from ai_platform.testing import FakeClock, MemoryTrail
from ai_platform.testing.eventually import eventually

Context = ServerRequestContext[Any, Any]
Tool = Callable[[Context, dict[str, Any]], Awaitable[Any]]

MODERN, LEGACY = "2026-07-28", "legacy"
"""Modes of the SDK's client for the two eras."""

EVERY_PAIR = pytest.mark.parametrize(
    ("client_era", "server_era"), [(c, s) for c in (MODERN, LEGACY) for s in (MODERN, LEGACY)]
)

PEOPLE = {
    name: Principal(
        id=f"usr_{name}",
        name=name.title(),
        email=f"{name}@example.com",
        team=team,
        permissions=frozenset({"tools:*:call", "resources:*:read", "prompts:*:get"}),
    )
    for name, team in (("alice", "blue"), ("bob", "green"))
}


class Names:
    """Takes the name of a person for their key; `nobody` may nothing."""

    def __init__(self) -> None:
        self.ended = Ended()
        self.people: dict[str, Principal] = {**PEOPLE, "nobody": Principal(id="usr_nobody", name="Nobody")}

    async def authenticate(self, credentials: Credentials, client: CallClient) -> Principal:
        del client
        person = self.people.get(credentials.secret or "")
        if person is None:
            raise Unauthenticated(Refusal.UNAUTHENTICATED, "Nobody knows this key.")
        return person


# --- servers ----------------------------------------------------------------------------------------------------------


Arguments = dict[str, Any]
Result = dict[str, Any]


async def echo(context: Context, arguments: Arguments) -> Result:
    del context
    return said(f"echo {arguments.get('text', '')}")


def said(words: str, **more: Any) -> dict[str, Any]:
    return {"resultType": "complete", "content": [{"type": "text", "text": words}], **more}


class Scripted:
    """A server whose tools are functions. calls: (tool, arguments) as they came. metas: their `_meta`."""

    def __init__(self, **tools: Tool) -> None:
        self.tools: dict[str, Tool] = {"echo": echo, **tools}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.metas: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.listed = 0
        self.resources: dict[str, str] = {"doc://1": "One."}
        self.watched: list[str] = []
        self.sessions: list[Any] = []
        self.bus = InMemorySubscriptionBus()
        self.app = _Telling(self)

    async def list_tools(self, context: Context, params: Any) -> dict[str, Any]:
        del params
        self.listed += 1
        self.note(context)
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in self.tools]
        return {"resultType": "complete", "tools": tools, "ttlMs": 0, "cacheScope": "public"}

    async def call(self, context: Context, params: types.CallToolRequestParams) -> Any:
        self.note(context)
        self.calls.append((params.name, params.arguments or {}))
        self.metas.append(dict((context.params or {}).get("_meta") or {}))
        if params.name not in self.tools:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        return await self.tools[params.name](context, params.arguments or {})

    async def list_resources(self, context: Context, params: Any) -> dict[str, Any]:
        del context, params
        resources = [{"uri": uri, "name": uri} for uri in self.resources]
        return {"resultType": "complete", "resources": resources, "ttlMs": 0, "cacheScope": "public"}

    async def read(self, context: Context, params: types.ReadResourceRequestParams) -> dict[str, Any]:
        del context
        if params.uri not in self.resources:
            raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": params.uri})
        contents = [{"uri": params.uri, "text": self.resources[params.uri]}]
        return {"resultType": "complete", "contents": contents, "ttlMs": 0, "cacheScope": "public"}

    async def list_prompts(self, context: Context, params: Any) -> dict[str, Any]:
        del context, params
        prompts = [{"name": "review", "arguments": [{"name": "what"}]}]
        return {"resultType": "complete", "prompts": prompts, "ttlMs": 0, "cacheScope": "public"}

    async def prompt(self, context: Context, params: types.GetPromptRequestParams) -> dict[str, Any]:
        del context
        link = {"type": "resource", "resource": {"uri": "doc://1", "text": "One."}}
        words = {"type": "text", "text": f"Review {(params.arguments or {}).get('what')}."}
        return {"resultType": "complete", "messages": [{"role": "user", "content": one} for one in (words, link)]}

    async def complete(self, context: Context, params: types.CompleteRequestParams) -> dict[str, Any]:
        del context
        values = [f"{params.ref.type} {params.argument.value}"]
        return {"resultType": "complete", "completion": {"values": values}}

    async def changed(self, event: ServerEvent) -> None:
        """Tell every client that wants to know, in the way of its era."""
        await self.bus.publish(event)
        for session in self.sessions:
            if isinstance(event, ResourceUpdated):
                await session.send_resource_updated(event.uri)
            elif isinstance(event, ToolsListChanged):
                await session.send_tool_list_changed()

    async def watch(self, context: Context, params: types.SubscribeRequestParams) -> dict[str, Any]:
        del context
        self.watched.append(params.uri)
        return {}

    async def unwatch(self, context: Context, params: types.UnsubscribeRequestParams) -> dict[str, Any]:
        del context
        self.watched.remove(params.uri)
        return {}

    async def begun(self, context: Context, params: Any) -> None:
        del params
        self.sessions.append(context.session)

    def note(self, context: Context) -> None:
        if context.request is not None:
            self.headers.append(dict(context.request.headers))


class _Telling(Server[Any]):
    def __init__(self, script: Scripted) -> None:
        super().__init__("scripted", version="1")
        for method, params, handler in (
            ("tools/list", types.PaginatedRequestParams, script.list_tools),
            ("tools/call", types.CallToolRequestParams, script.call),
            ("resources/list", types.PaginatedRequestParams, script.list_resources),
            ("resources/read", types.ReadResourceRequestParams, script.read),
            ("prompts/list", types.PaginatedRequestParams, script.list_prompts),
            ("prompts/get", types.GetPromptRequestParams, script.prompt),
            ("completion/complete", types.CompleteRequestParams, script.complete),
            ("resources/subscribe", types.SubscribeRequestParams, script.watch),
            ("resources/unsubscribe", types.UnsubscribeRequestParams, script.unwatch),
            ("subscriptions/listen", types.SubscriptionsListenRequestParams, ListenHandler(script.bus)),
        ):
            self.add_request_handler(method, params, handler)
        self.add_notification_handler("notifications/initialized", types.NotificationParams, script.begun)

    def create_initialization_options(self, *_: Any, **__: Any) -> InitializationOptions:
        return super().create_initialization_options(
            notification_options=NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        )


class _Ready(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


def of_one_era(app: Any, era: str) -> Any:
    """As a server behaves that knows one era only: what it does not understand is a bad request."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            version = dict(scope["headers"]).get(b"mcp-protocol-version", b"").decode()
            if (version in MODERN_PROTOCOL_VERSIONS) != (era == MODERN):
                await send({"type": "http.response.start", "status": 400, "headers": [(b"content-length", b"0")]})
                await send({"type": "http.response.body", "body": b""})
                return
        await app(scope, receive, send)

    return serve


@asynccontextmanager
async def listening(app: Any, port: int = 0) -> AsyncIterator[str]:
    """An ASGI application on a real socket; the URL without a path."""
    server = _Ready(uvicorn.Config(app, port=port, log_level="critical", ws="none", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve())
    await server.ready.wait()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def scripted(script: Scripted, era: str = "", port: int = 0) -> AsyncIterator[str]:
    """The URL of a scripted server. era: MODERN or LEGACY for one only."""
    app = script.app.streamable_http_app()
    async with listening(of_one_era(app, era) if era else app, port) as url:
        yield f"{url}/mcp"


class Plain:
    """Programs run as they are written: what surrounds them is another room's."""

    @asynccontextmanager
    async def prepare(self, server: McpServerSettings) -> AsyncIterator[Program]:
        yield Program(argv=server.command, env={"PYTHONPATH": ":".join(sys.path), **server.env})


# --- the platform -----------------------------------------------------------------------------------------------------


class Rig:
    """url: of the door. trail, meter, clock, federation, door, policies: what a test looks at and turns."""

    def __init__(
        self,
        folder: Path,
        settings: McpSettings,
        server: ServerSettings,
        *,
        policy: str,
        trust: Any,
        budgets: tuple[BudgetRule, ...],
    ) -> None:
        self.url = ""
        self.clock = FakeClock()
        self.trail = MemoryTrail()
        self.names = Names()
        written = PolicySettings()
        if policy:
            (folder / "enterprise.yaml").write_text(policy)
            written = PolicySettings(file=folder / "enterprise.yaml")
        self.policies = PolicyStore(written, folder, clock=self.clock, folder=folder)
        cashier = Cashier(load_price_book(), Estimator(), self.clock)
        self.budget = Budget(BudgetSettings(budgets=budgets), self.clock)
        self.meter = Meter(MetricsSettings(), clock=self.clock, known_model=lambda _: True)
        self.guard = Guard(ProtectionSettings(), self.clock, secret=b"s" * 32)
        self.federation = Federation(
            settings,
            trust=trust or TrustAll(),
            credentials=EnvironmentCredentials(settings.servers, {"TOKEN": "the platform's own"}),
            launcher=Plain(),
            clock=self.clock,
        )
        self.book = Book(
            trail=self.trail,
            cashier=cashier,
            ledger=Ledger(None, None, BudgetSettings(), process="test", slot="test"),  # type: ignore[arg-type]
            meter=self.meter,
            alerts=Alerts(AlertSettings(), clock=self.clock),
            log=configure_logging(LogSettings(calls=False), sys.stderr),
            clock=self.clock,
            status_of=lambda error: shape_of(error).status,
        )
        self.gateway = Gateway(
            identity=self.names,  # type: ignore[arg-type]
            policies=self.policies,
            protection=self.guard,
            destinations={Door.MCP: self.federation},
            consent=Consent(None, identity=None, policies=None, protection=None),  # type: ignore[arg-type]
            cashier=cashier,
            budget=self.budget,
            book=self.book,
        )
        self.door = McpDoor(self.gateway, self.federation, self.clock, settings, server, challenge=lambda *_: b"Bearer")

    @asynccontextmanager
    async def client(
        self, path: str = "/mcp", *, who: str = "alice", mode: str = MODERN, **more: Any
    ) -> AsyncIterator[Any]:
        """The SDK's client as that person."""
        async with (
            self.http(who) as http,
            Client(streamable_http_client(f"{self.url}{path}", http_client=http), mode=mode, **more) as client,
        ):
            yield client

    def http(self, who: str = "alice", **headers: str) -> httpx2.AsyncClient:
        fields = {"authorization": f"Bearer {who}", **headers}
        return httpx2.AsyncClient(base_url=self.url, headers=fields, timeout=60, trust_env=False)


@asynccontextmanager
async def rig(
    folder: Path, *servers: McpServerSettings, policy: str = "", trust: Any = None, wait: bool = True, **more: Any
) -> AsyncIterator[Rig]:
    """The door over these servers. wait: until each of them has been looked at once."""
    budgets = more.pop("budgets", ())
    address = ServerSettings(**{key: more.pop(key) for key in ("public_url", "host") if key in more})
    made = Rig(folder, McpSettings(servers=servers, **more), address, policy=policy, trust=trust, budgets=budgets)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(made.federation.close)
        made.federation.start()
        await stack.enter_async_context(made.door.open())

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await made.door.serve(scope, receive, send)

        server = Listening(application, ServerSettings(shutdown_seconds=1))
        listener = bind("127.0.0.1", 0)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await server.ready.wait()
        made.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            if wait:
                await looked_at(made)
            yield made
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def over(folder: Path, script: Scripted, era: str = "", *, name: str = "one", **more: Any) -> AsyncIterator[Rig]:
    """The door over one scripted server. more: its settings, and those of the door."""
    own = {key: value for key, value in more.items() if key in McpServerSettings.__struct_fields__}
    rest = {key: value for key, value in more.items() if key not in own}
    async with scripted(script, era) as url, rig(folder, one(url, name, **own), **rest) as made:
        yield made


@asynccontextmanager
async def talking(
    folder: Path, script: Scripted, client_era: str, server_era: str = "", **client: Any
) -> AsyncIterator[tuple[Rig, Any]]:
    """The same, and a client of that era."""
    async with over(folder, script, server_era) as made, made.client(mode=client_era, **client) as talk:
        yield made, talk


async def looked_at(made: Rig) -> None:
    await eventually(lambda: all(made.federation.is_looked_at(name) for name in made.federation.names()))


def one(url: str, name: str = "one", **more: Any) -> McpServerSettings:
    return McpServerSettings(name=name, url=url, **more)


def words(result: Any) -> str:
    """The text of a tool's result."""
    return "".join(block.text for block in result.content if block.type == "text")


# --- by hand ----------------------------------------------------------------------------------------------------------

HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "hand", "version": "1"}}
ACCEPT = {"accept": "application/json, text/event-stream"}


async def session_of(http: httpx2.AsyncClient, path: str = "/mcp") -> dict[str, str]:
    """Begin a session by hand; the header fields of its further requests."""
    begun = await http.post(path, headers=ACCEPT, json=rpc("initialize", HELLO))
    fields = {"mcp-session-id": begun.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25", **ACCEPT}
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await http.post(path, headers=fields, json=ready)).status_code == 202
    return fields


def rpc(method: str, params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


async def by_hand(
    http: httpx2.AsyncClient, method: str, params: dict[str, Any], *, path: str = "/mcp", **fields: str
) -> httpx2.Response:
    """A request of 2026-07-28 as a client without an SDK would send it."""
    meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
    headers = {"mcp-protocol-version": MODERN, "mcp-method": method, **ACCEPT}
    if name := params.get("name") or params.get("uri"):
        headers["mcp-name"] = name
    headers |= {field.replace("_", "-"): value for field, value in fields.items()}
    return await http.post(path, headers=headers, json=rpc(method, {"_meta": meta} | params))
