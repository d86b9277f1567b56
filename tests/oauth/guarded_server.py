"""An MCP server that asks for OAuth, and its authorisation server, in a thread: they do what a test says."""

import asyncio
import base64
import hashlib
import secrets
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode

import uvicorn
from mcp.server.mcpserver import MCPServer
from sso_site import free_port
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from platform_process import until


class Guarded:
    """url: of its MCP endpoint. seen: authorization fields of requests to it, newest last. tokens: access token ->
    whose account it is. said: what documents and answers say otherwise than usual, by path. requests: paths and forms.
    listening: streams of changes that are open.
    """

    def __init__(self, port: int) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self.url = f"{self.origin}/mcp"
        self.account = "ann-there"
        self.seconds: float | None = 3600
        self.seen: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.tokens: dict[str, str] = {}
        self.scopes: dict[str, set[str]] = {}
        self.refreshes: dict[str, str] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.clients: dict[str, dict[str, Any]] = {}
        self.said: dict[str, Any] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.listening = 0
        self._lock = threading.Lock()
        self._goes = threading.Event()
        self._goes.set()

    def usual(self) -> "Guarded":
        """Nothing is said otherwise than usual."""
        self.said.clear()
        self.seconds, self.account = 3600, "ann-there"
        return self

    def hold(self) -> None:
        """The token endpoint takes requests and does not answer until `go_on`."""
        self._goes.clear()

    def go_on(self) -> None:
        self._goes.set()

    # --- what it says of itself --------------------------------------------------------------------------------------

    async def resource(self, request: Request) -> Response:
        if strange := self.said.get("strange"):
            return strange(request)
        usual = {"resource": self.url, "authorization_servers": [self.origin], "scopes_supported": ["read", "write"]}
        return JSONResponse(usual | self.said.get("resource", {}))

    async def metadata(self, _request: Request) -> Response:
        usual = {
            "issuer": self.origin,
            "authorization_endpoint": f"{self.origin}/authorize",
            "token_endpoint": f"{self.origin}/token",
            "registration_endpoint": f"{self.origin}/register",
            "revocation_endpoint": f"{self.origin}/revoke",
            "code_challenge_methods_supported": ["S256"],
            "response_types_supported": ["code"],
            "authorization_response_iss_parameter_supported": True,
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
        }
        said = usual | self.said.get("metadata", {})
        return JSONResponse({name: value for name, value in said.items() if value is not None})

    # --- what it does ------------------------------------------------------------------------------------------------

    async def register(self, request: Request) -> Response:
        document = await request.json()
        client_id = f"client-{secrets.token_hex(4)}"
        self.clients[client_id] = document
        self.requests.append(("/register", {}))
        return JSONResponse(document | {"client_id": client_id}, 201)

    async def authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        self.requests.append(("/authorize", query))
        if elsewhere := self.said.get("leads_to"):
            return RedirectResponse(f"{elsewhere['to']}?{urlencode(query | elsewhere['query'])}")
        if query["redirect_uri"] not in self.clients.get(query["client_id"], {}).get("redirect_uris", ()):
            return JSONResponse({"error": "this client is not answered there"}, 400)
        code = secrets.token_urlsafe(8)
        self.codes[code] = query | {"account": self.account}
        answer = {"code": code, "state": query["state"], "iss": self.origin} | self.said.get("answer", {})
        told = {name: value for name, value in answer.items() if value is not None}
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(told)}")

    async def token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        self.requests.append(("/token", form | {"basic": request.headers.get("authorization", "")}))
        if failing := self.said.get("token"):
            return JSONResponse(failing[1], failing[0])
        await asyncio.to_thread(self._goes.wait, 20)
        with self._lock:
            return self._token(form)

    def _token(self, form: dict[str, str]) -> Response:
        account: str | None
        scopes = {"read"}
        if form["grant_type"] == "authorization_code":
            asked = self.codes.pop(form["code"], {})
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            fits = (
                asked.get("code_challenge") == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
                and asked.get("redirect_uri") == form.get("redirect_uri")
                and asked.get("resource") == form.get("resource") == self.url
            )
            account = asked.get("account") if fits else None
            scopes = set(asked.get("scope", "").split())
        elif form["grant_type"] == "refresh_token":
            account = self.refreshes.pop(form["refresh_token"], None)  # each is good once
        else:
            account = "machine"
        if account is None:
            return JSONResponse({"error": "invalid_grant"}, 400)
        access, refresh = f"up-{secrets.token_urlsafe(16)}", f"fresh-{secrets.token_urlsafe(16)}"
        self.tokens[access], self.scopes[access] = account, scopes
        self.refreshes[refresh] = account
        answer: dict[str, Any] = {"access_token": access, "token_type": "Bearer", "refresh_token": refresh}
        return JSONResponse(answer | ({} if self.seconds is None else {"expires_in": self.seconds}))

    async def inside(self, _request: Request) -> Response:
        """Where nobody is to be led."""
        self.requests.append(("/inside", {}))
        return JSONResponse({"resource": self.url, "authorization_servers": [self.origin]})

    async def revoke(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        self.requests.append(("/revoke", form))
        self.refreshes.pop(form["token"], None)
        return Response()

    # --- the MCP server ----------------------------------------------------------------------------------------------

    def application(self) -> Any:
        server = MCPServer("guarded")

        @server.tool(description="Says whose account this is.")
        def whose() -> str:
            return self.tokens.get(self.seen[-1].removeprefix("Bearer "), self.seen[-1])

        @server.resource("note://day")
        def day() -> str:
            return "sunny"

        inner = server.streamable_http_app()
        outer = Starlette(
            routes=[
                Route("/.well-known/oauth-protected-resource/mcp", self.resource),
                Route("/.well-known/oauth-authorization-server", self.metadata),
                Route("/register", self.register, methods=["POST"]),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
                Route("/revoke", self.revoke, methods=["POST"]),
                Route("/inside", self.inside),
            ]
        )

        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await inner(scope, receive, send)
            elif scope["path"] != "/mcp":
                await outer(scope, receive, send)
            else:
                await self._guard(inner, scope, receive, send)

        return guarded

    async def _guard(self, inner: Any, scope: Any, receive: Any, send: Any) -> None:
        fields = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        shown = fields.get("authorization", fields.get("x-token", ""))
        self.headers.append(fields)
        needed = self.said.get("needed")
        has = self.scopes.get(shown.removeprefix("Bearer "), set[str]())
        if needed and fields.get("mcp-method") == "tools/call" and needed not in has:
            error = self.said.get("error", "insufficient_scope")
            challenge = f'Bearer error="{error}", scope="{needed}"'
            await Response(status_code=403, headers={"www-authenticate": challenge})(scope, receive, send)
            return
        if shown.removeprefix("Bearer ") in self.tokens:
            self.seen.append(shown)
            listens = fields.get("mcp-method") == "subscriptions/listen"
            self.listening += listens
            try:
                await inner(scope, receive, send)
            finally:
                self.listening -= listens
            return
        metadata = f"{self.origin}/.well-known/oauth-protected-resource/mcp"
        challenge = self.said.get("challenge", f'Bearer resource_metadata="{metadata}", scope="read"')
        await Response(status_code=401, headers={"www-authenticate": challenge})(scope, receive, send)


@contextmanager
def guarded() -> Generator[Guarded]:
    found = Guarded(free_port())
    port = int(found.origin.rpartition(":")[2])
    server = uvicorn.Server(uvicorn.Config(found.application(), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield found
    finally:
        server.should_exit = True
        thread.join(10)
