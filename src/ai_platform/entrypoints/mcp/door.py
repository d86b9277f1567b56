"""The MCP door on HTTP: which endpoint, who calls, from which web page, with how much; then the SDK speaks MCP.

Every request is authenticated, whatever session it names; a session is its owner's only. Above: bootstrap.
Below: mount, gateway.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager, nullcontext
from urllib.parse import urlsplit

import anyio
import msgspec
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp_types import INVALID_REQUEST
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from ai_platform.domain.call import Call, Door, Headers, Operation
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall, NotFound, PlatformError, Refused, StoreUnavailable, Unauthenticated
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.principal import Principal
from ai_platform.entrypoints.errors import sentence, shape_of
from ai_platform.entrypoints.fields import Fields, check_fields, check_target, client_of, credentials_of
from ai_platform.entrypoints.http import DefectsTold, Message, Receive, Scope, Send, send_whole
from ai_platform.entrypoints.load import Load
from ai_platform.entrypoints.mcp.calls import Calls
from ai_platform.entrypoints.mcp.listening import Listening
from ai_platform.entrypoints.mcp.lists import Lists
from ai_platform.entrypoints.mcp.mount import Mount
from ai_platform.entrypoints.mcp.scopes import TooNarrow, check_scope
from ai_platform.entrypoints.mcp.sessions import Session, Sessions
from ai_platform.entrypoints.mcp.shares import Shares
from ai_platform.entrypoints.mcp.visit import KEY, Visit
from ai_platform.entrypoints.settings import ServerSettings
from ai_platform.gateway import Gateway
from ai_platform.mcp import McpSettings
from ai_platform.mcp.federation import Federation
from ai_platform.mcp.hub import Change

PATH = "/mcp"
METHODS = frozenset({"GET", "POST", "DELETE"})
SESSION_FIELD = b"mcp-session-id"
VERSION_FIELD = b"mcp-protocol-version"
LOOK_SECONDS = 10.0

Challenge = Callable[[Scope, Collection[str]], bytes]
"""The value of `www-authenticate` for who is not known at this path, or whose token lacks these kinds of permission."""


class McpDoor:
    """sessions: of clients of 2025-11-25. load: requests and streams under way."""

    def __init__(
        self,
        gateway: Gateway,
        federation: Federation,
        clock: Clock,
        settings: McpSettings,
        server: ServerSettings,
        *,
        challenge: Challenge,
    ) -> None:
        self.load = Load(msgspec.structs.replace(server, max_calls=settings.max_requests))
        self.sessions = Sessions(
            most_each=settings.max_sessions_each,
            seconds=settings.session_timeout,
            clock=clock,
            ended=self._session_ended,
        )
        self._shares = Shares(settings.max_requests_each)
        self._gateway = gateway
        self._federation = federation
        self._clock = clock
        self._settings = settings
        self._challenge = challenge
        self._origins = frozenset({*settings.allowed_origins, *([server.public_url] if server.public_url else [])})
        self._loopback_only = server.host in {"127.0.0.1", "localhost", "::1"}
        self._public_host = urlsplit(server.public_url).netloc
        self._mounts: dict[str, Mount] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """The door is open while the block runs."""
        stop = self._federation.hub.listen(self._changed)
        self._tasks["sessions"] = asyncio.create_task(self.sessions.run(), name="mcp sessions")
        try:
            for name in ("", *self._federation.names()):
                await self.mount(name)
            yield
        finally:
            stop()
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.sessions.close()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request to `/mcp` or `/mcp/NAME`."""
        now = self._clock.now()
        call_id = new_id("call", now)
        try:
            with DefectsTold(call_id), self.load.enter():
                mount = self._mount_of(scope)
                visit = await self._visit(scope, call_id, now)
                await self._pass_on(mount, visit, scope, receive, send)
        except PlatformError as error:
            await self._refuse(error, scope, send, call_id)

    # --- who and where ----------------------------------------------------------------------------------------------

    def _mount_of(self, scope: Scope) -> Mount:
        path = scope["raw_path"].decode("latin-1")
        name = "" if path == PATH else path.removeprefix(f"{PATH}/")
        mount = self._mounts.get(name)
        if mount is None or (not name and path != PATH):
            raise NotFound(f"There is no MCP endpoint at {path[:100]}. All servers are at {PATH}.")
        if scope["method"] not in METHODS:
            raise InvalidCall(Refusal.INVALID_REQUEST, f"An MCP endpoint does not take {scope['method']}.")
        return mount

    async def _visit(self, scope: Scope, call_id: str, now: float) -> Visit:
        """Raises Unauthenticated, InvalidCall, StoreUnavailable; who is not known is recorded."""
        fields = Fields(scope["headers"])
        path = scope["raw_path"].decode("latin-1")
        credentials = msgspec.structs.replace(credentials_of(fields), resource=path)
        client = client_of(scope, fields)
        try:
            _check_single(scope)
            self._check_origin(scope)
            check_fields(fields)
            check_target(scope, credentials)
            principal = await self._gateway.recognise(credentials, client)
            check_scope(scope, principal)
        except Refused as error:
            call = Call(
                id=call_id,
                door=Door.MCP,
                operation=Operation.MCP_LIST,
                method=scope["method"],
                path=path,
                credentials=credentials,
                client=client,
                received_at=now,
            )
            await self._gateway.turn_away(call, error)
        session = next((value for name, value in scope["headers"] if name == SESSION_FIELD), b"")
        return Visit(
            principal=principal,
            credentials=credentials,
            client=client,
            session=session.decode("latin-1") or None,
            path=path,
        )

    def _check_origin(self, scope: Scope) -> None:
        """Keep web pages out that are none of ours, also where a name was made to lead here (DNS rebinding).

        Raises:
            WrongOrigin: fails closed.
        """
        fields = dict(scope["headers"])
        host = fields.get(b"host", b"").decode("latin-1")
        if self._loopback_only and host != self._public_host and _name_of(host) not in _LOOPBACK:
            raise WrongOrigin(f"This gateway is not called {host[:100]!r}.")
        origin = fields.get(b"origin", b"").decode("latin-1")
        is_own = urlsplit(origin).netloc == host and (self._loopback_only or not self._public_host)
        if origin and origin not in self._origins and not is_own:
            raise WrongOrigin(
                f"Web pages of {origin[:100]!r} may not call this gateway; `mcp.allowed_origins` names those that may."
            )

    # --- passing on -------------------------------------------------------------------------------------------------

    async def _pass_on(self, mount: Mount, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        principal = visit.principal
        if mount.server and mount.server not in self._federation.visible(principal):
            raise NotFound(f"There is no MCP endpoint at {visit.path[:100]}. All servers are at {PATH}.")
        begins = visit.session is None and _may_begin(scope)
        if begins and not self.sessions.has_room(principal):
            raise Refused(
                Refusal.OVERLOADED,
                f"You have {self._settings.max_sessions_each} sessions open here. End some, or wait until they do.",
                rule="mcp.max_sessions_each",
                retry_after=60,
            )
        scope[KEY] = visit
        scope["user"] = _user(principal)
        with self._shares.one(principal), self.sessions.beginning(principal) if begins else nullcontext():
            await self._answered(mount, visit, scope, receive, send)

    async def _answered(self, mount: Mount, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        noting = self._noting(mount, visit, scope, send)
        self.sessions.enter(visit.session)
        try:
            if not _is_standing(scope):
                await mount.manager.asgi_app(scope, receive, noting)
                return
            with anyio.CancelScope() as stream:
                await mount.manager.asgi_app(scope, receive, self._checking(visit, noting, stream))
            if stream.cancelled_caught:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self.sessions.leave(visit.session)

    def _checking(self, visit: Visit, send: Send, stream: anyio.CancelScope) -> Send:
        """End a stream whose caller may not call any more: it would outlive keys, tokens and people. Something is sent
        at least each 15 seconds, so that it is looked at that often.
        """
        looked = self._clock.monotonic()

        async def checking(message: Message) -> None:
            nonlocal looked
            if message["type"] == "http.response.body" and self._clock.monotonic() - looked >= LOOK_SECONDS:
                looked = self._clock.monotonic()
                try:
                    await self._gateway.recognise(visit.credentials, visit.client)
                except Refused:
                    stream.cancel()
                    return
                except StoreUnavailable:
                    pass  # fails open until it can be asked: the stream says only that something has changed
            await send(message)

        return checking

    def _noting(self, mount: Mount, visit: Visit, scope: Scope, send: Send) -> Send:
        """Notice sessions that begin and end."""

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                status: int = message["status"]
                given = dict(message["headers"]).get(SESSION_FIELD, b"").decode("latin-1")
                if visit.session is None and given and status < 300:
                    self.sessions.begin(given, mount.server, visit.principal)
                elif visit.session is not None and (status == 404 or (scope["method"] == "DELETE" and status < 300)):
                    session = self.sessions.get(visit.session)
                    if session is not None and _same(session.owner, visit.principal):
                        await self.sessions.end(visit.session)
            await send(message)

        return noting

    async def _refuse(self, error: PlatformError, scope: Scope, send: Send, call_id: str) -> None:
        status = error.status if isinstance(error, WrongOrigin | TooNarrow) else shape_of(error).status
        data = {"reason": error.reason.value if isinstance(error, Refused) else shape_of(error).type, "call": call_id}
        body = msgspec.json.encode(
            {"jsonrpc": "2.0", "id": None, "error": {"code": INVALID_REQUEST, "message": sentence(error), "data": data}}
        )
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-ai-platform-call-id", call_id.encode()),
        ]
        if isinstance(error, Unauthenticated):
            headers.append((b"www-authenticate", self._challenge(scope, ())))
        elif isinstance(error, TooNarrow):
            headers.append((b"www-authenticate", self._challenge(scope, error.kinds)))
        if (wait := shape_of(error).retry_after) is not None:
            headers.append((b"retry-after", str(max(1, round(wait))).encode()))
        await send_whole(send, status, headers, body)

    # --- endpoints, sessions, changes -------------------------------------------------------------------------------

    async def mount(self, name: str) -> None:
        """Open the endpoint of a server that the federation has, "" = of all."""
        if name in self._mounts or f"/{name}" in self._tasks:
            return
        lists = Lists(name, self._federation, self._gateway, self._clock, longest=self._settings.longest_name)
        calls = Calls(self._gateway, lists, self.sessions, self._clock)
        mount = Mount(
            name,
            settings=self._settings,
            federation=self._federation,
            lists=lists,
            calls=calls,
            listening=Listening(name, self._federation, lists, calls, self.sessions),
            sessions=self.sessions,
        )
        ready = asyncio.Event()
        self._tasks[f"/{name}"] = asyncio.create_task(_run(mount, ready), name=f"mcp endpoint {name}")
        await ready.wait()
        self._tasks.pop(f"opening {name}", None)
        self._mounts[name] = mount

    async def _session_ended(self, session: Session) -> None:
        for server, uri in session.uris.values():
            await self._federation.unwatch(server, session.owner, uri)
        await self._federation.end_session(session.id)

    def _changed(self, change: Change) -> None:
        if change.server not in self._mounts and change.server in self._federation.names():
            opening = asyncio.create_task(self.mount(change.server), name=f"mcp endpoint {change.server} opening")
            self._tasks[f"opening {change.server}"] = opening
        for session in self.sessions.all():
            self._mounts[session.mount].listening.tell(session, change)


async def _run(mount: Mount, ready: asyncio.Event) -> None:
    """The SDK's manager must be left in the task that entered it."""
    async with mount.manager.run():
        ready.set()
        await asyncio.Event().wait()


class WrongOrigin(InvalidCall):
    status = 403

    def __init__(self, message: str) -> None:
        super().__init__(Refusal.INVALID_REQUEST, message)


_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


_SINGLE = frozenset({b"host", b"origin", SESSION_FIELD, VERSION_FIELD, b"mcp-method", b"mcp-name", b"last-event-id"})


def _check_single(scope: Scope) -> None:
    """Raises InvalidCall for a field that comes twice: one reader would take the first, another the last."""
    named = [name for name, _ in scope["headers"] if name in _SINGLE]
    if len(named) != len(set(named)):
        twice = next(name for name in named if named.count(name) > 1)
        raise InvalidCall(Refusal.INVALID_REQUEST, f"The header `{twice.decode()}` came twice. Send it once.")


def _name_of(host: str) -> str:
    return host if host.endswith("]") else host.rpartition(":")[0] or host


def _may_begin(scope: Scope) -> bool:
    """Whether this request may be the first of a session."""
    version = dict(scope["headers"]).get(VERSION_FIELD, b"").decode("latin-1")
    return scope["method"] == "POST" and (not version or version in HANDSHAKE_PROTOCOL_VERSIONS)


def _is_standing(scope: Scope) -> bool:
    """A stream that lasts as long as the client listens. The SDK holds the field against the request's method."""
    return scope["method"] == "GET" or dict(scope["headers"]).get(b"mcp-method") == b"subscriptions/listen"


def _user(principal: Principal) -> AuthenticatedUser:
    """The SDK compares this with who began a session."""
    return AuthenticatedUser(AccessToken(token="", client_id=f"{principal.tenant}/{principal.id}", scopes=[]))


def _same(one: Principal, other: Principal) -> bool:
    return (one.tenant, one.id) == (other.tenant, other.id)
