"""One connection to a server, spoken in one protocol era, with requests and results as plain JSON values.

The SDK's transports and dispatcher carry it; nothing of a message is lost or reshaped on the way. It knows no caller
and decides nothing. Above: links. Below: wire, program, the SDK.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Protocol, cast

import anyio
import msgspec
from mcp.shared.dispatcher import CallOptions, DispatchContext, ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
    mcp_param_headers,
)
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.transport_context import TransportContext
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    PARSE_ERROR,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION

from ai_platform import __version__
from ai_platform.domain.errors import UpstreamBroken, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from ai_platform.mcp.manners import Manners, manners_of, object_of
from ai_platform.mcp.post import Moved, Posts
from ai_platform.mcp.settings import Protocol as ProtocolChoice
from ai_platform.mcp.wire import EXCHANGE, Exchange

CLIENT_INFO = {"name": "ai-platform", "version": __version__}
MOST_NOTIFICATIONS = 2_000
"""A second. A server that sends more has lost its mind, and would keep this process from everything else."""

_PROBE_SECONDS = 10.0
_FIXED_META = frozenset({PROTOCOL_VERSION_META_KEY, CLIENT_INFO_META_KEY, CLIENT_CAPABILITIES_META_KEY})

Streams = AbstractAsyncContextManager[tuple[Any, Any, Posts | None]]
"""The SDK's pair, and what carries the requests of a stateless server at an address."""


class RpcError(Exception):
    """The server answered with an error of its own, which is its answer, not a failure of the connection."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class SessionGone(UpstreamBroken):
    """The server does not know the session any more; what was asked was not done."""


class Ear(Protocol):
    """Who hears what the server says by itself."""

    async def asked(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The server asks its client. Raises MCPError."""
        ...

    def heard(self, method: str, params: Mapping[str, Any]) -> None:
        """A notification that belongs to no request's progress; must not wait."""
        ...


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """How to begin. protocol: which eras may be spoken. capabilities: what is said that the client can do.

    like: what is known from another connection to the same stateless server, which need not be asked again.
    """

    protocol: ProtocolChoice = ProtocolChoice.AUTO
    capabilities: dict[str, Any] = {}
    seconds: float = 15.0
    like: Manners | None = None


class Link:
    """`open`, then `request` as often as wanted, then `close`.

    manners: what the server says of itself, once it is open. over: set when the connection has ended.
    """

    def __init__(self, name: str, streams: Callable[[], Streams], hello: Hello, ear: Ear) -> None:
        self.name = name
        self.manners = Manners()
        self.over = asyncio.Event()
        self._streams = streams
        self._hello = hello
        self._ear = ear
        self._dispatcher: JSONRPCDispatcher[TransportContext] | None = None
        self._posts: Posts | None = None
        self._task: asyncio.Task[None] | None = None
        self._second = 0.0
        self._notifications = 0

    @property
    def stateless(self) -> bool:
        """It is spoken as of 2026-07-28: no session, and the server asks its client nothing in the middle."""
        return self.manners.version == LATEST_MODERN_VERSION

    @property
    def alive(self) -> bool:
        return bool(self.manners.version) and not self.over.is_set()

    async def open(self) -> None:
        """Raises UpstreamUnreachable, UpstreamTimeout, UpstreamBroken, Refused, ConfigError."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        self._task = asyncio.create_task(self._run(ready), name=f"mcp {self.name}")
        try:
            async with asyncio.timeout(self._hello.seconds):
                await asyncio.shield(ready)
        except TimeoutError as error:
            raise UpstreamTimeout(
                f"the MCP server '{self.name}' did not answer within {self._hello.seconds:g} seconds", target=self.name
            ) from error
        finally:
            if not ready.done() or ready.cancelled() or ready.exception() is not None:
                await self.close()
                if not ready.cancel() and not ready.cancelled():
                    ready.exception()  # nobody waits for what came of it

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(self._task, return_exceptions=True)
        self.over.set()

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        exchange: Exchange | None = None,
        capabilities: Mapping[str, Any] | None = None,
        header_map: Mapping[tuple[str, ...], str] | None = None,
        on_progress: ProgressFnT | None = None,
        request_id: str | None = None,
    ) -> dict[str, Any]:
        """The result of a request. header_map: arguments of a tool that are mirrored in headers (`x-mcp-header`).

        Raises:
            RpcError: the server answered with an error.
            UpstreamError: and its kinds: no answer came.
            Refused: there is no credential for this server.
        """
        exchange = exchange or Exchange()
        options: CallOptions = {}
        if on_progress is not None:
            options["on_progress"] = on_progress
        if request_id is not None:
            options["request_id"] = request_id
        sent = dict(params)
        if self.stateless:
            headers = self._stamp(method, sent, capabilities or {})
            if header_map:
                headers |= mcp_param_headers(header_map, sent.get("arguments") or {})
            options["headers"] = headers
        else:
            options["headers"] = {MCP_PROTOCOL_VERSION_HEADER: self.manners.version}
        return await self._ask(method, sent, options, exchange)

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        if self._dispatcher is not None and self.alive and not self.stateless:
            await self._dispatcher.notify(method, params)

    # --- beginning and end ------------------------------------------------------------------------------------------

    async def _run(self, ready: asyncio.Future[None]) -> None:
        """The connection's own task: everything of the SDK that must be left where it was entered lives here."""
        try:
            async with self._streams() as (read, write, posts):
                self._posts = posts
                self._dispatcher = JSONRPCDispatcher(read, write)
                try:
                    await self._live(self._dispatcher, ready)
                finally:
                    self.over.set()
                    if posts is not None:  # also when later requests go another way, and before its client is closed
                        posts.end()
        except BaseException as error:
            if not ready.done():
                ready.set_exception(self._why(error))
            elif not isinstance(error, Exception | asyncio.CancelledError | BaseExceptionGroup):
                raise
        finally:
            self.over.set()

    async def _live(self, dispatcher: JSONRPCDispatcher[TransportContext], ready: asyncio.Future[None]) -> None:
        async with anyio.create_task_group() as group:
            await group.start(self._pump, dispatcher)
            await self._greet()
            if not ready.done():
                ready.set_result(None)
            await self.over.wait()
            group.cancel_scope.cancel()

    async def _pump(self, dispatcher: JSONRPCDispatcher[TransportContext], **started: Any) -> None:
        try:
            await dispatcher.run(self._on_request, self._on_notify, **started)
        finally:
            self.over.set()

    def _why(self, error: BaseException) -> Exception:
        while isinstance(error, BaseExceptionGroup) and error.exceptions:
            error = cast("BaseException", error.exceptions[0])
        if isinstance(error, Exception) and not isinstance(error, OSError | RpcError):
            return error
        return UpstreamUnreachable(f"the MCP server '{self.name}' could not be reached ({error})", target=self.name)

    async def _greet(self) -> None:
        """Find the newest era that both speak; a server that does not know the newer one is greeted as before."""
        if self._hello.like is not None:
            self.manners = self._hello.like
            return
        if self._hello.protocol is not ProtocolChoice.SESSIONS:
            try:
                found = await self._discover()
            except RpcError as error:
                if self._hello.protocol is ProtocolChoice.STATELESS:
                    raise self._strange(f"it does not speak {LATEST_MODERN_VERSION}: {error}") from error
                found = False
            if found:
                return
            if self._hello.protocol is ProtocolChoice.STATELESS:
                raise self._strange(f"it does not speak {LATEST_MODERN_VERSION}")
        await self._initialize()

    async def _discover(self) -> bool:
        params: dict[str, Any] = {}
        headers = self._stamp("server/discover", params, self._hello.capabilities)
        options: CallOptions = {"headers": headers, "cancel_on_abandon": False, "timeout": _PROBE_SECONDS}
        result = await self._ask("server/discover", params, options, Exchange(), probing=True)
        supported = result.get("supportedVersions")
        if not isinstance(supported, list) or LATEST_MODERN_VERSION not in supported:
            return False
        stamp = object_of(result.get("_meta")).get(SERVER_INFO_META_KEY)
        self.manners = manners_of(LATEST_MODERN_VERSION, result, stamp)
        return True

    async def _initialize(self) -> None:
        params = {
            "protocolVersion": LATEST_HANDSHAKE_VERSION,
            "capabilities": self._hello.capabilities,
            "clientInfo": CLIENT_INFO,
        }
        try:
            result = await self._ask("initialize", params, {"cancel_on_abandon": False}, Exchange())
        except RpcError as error:
            raise self._strange(f"it refused the connection: {error}") from error
        version = result.get("protocolVersion")
        if version not in HANDSHAKE_PROTOCOL_VERSIONS:
            raise self._strange(f"it speaks the protocol version {str(version)[:40]!r}")
        self.manners = manners_of(version, result, result.get("serverInfo"))
        assert self._dispatcher is not None
        await self._dispatcher.notify(
            "notifications/initialized", None, {"headers": {MCP_PROTOCOL_VERSION_HEADER: version}}
        )

    def _strange(self, what: str) -> UpstreamBroken:
        return UpstreamBroken(f"the MCP server '{self.name}' cannot be used: {what[:300]}", target=self.name)

    # --- one request ------------------------------------------------------------------------------------------------

    def _stamp(self, method: str, params: dict[str, Any], capabilities: Mapping[str, Any]) -> dict[str, str]:
        """The envelope of a stateless request, and the headers that repeat it (specification, basic/transports)."""
        meta = {key: value for key, value in (params.get("_meta") or {}).items() if key not in _FIXED_META}
        params["_meta"] = meta | {
            PROTOCOL_VERSION_META_KEY: LATEST_MODERN_VERSION,
            CLIENT_INFO_META_KEY: CLIENT_INFO,
            CLIENT_CAPABILITIES_META_KEY: dict(capabilities),
        }
        headers = {MCP_PROTOCOL_VERSION_HEADER: LATEST_MODERN_VERSION, MCP_METHOD_HEADER: method}
        key = NAME_BEARING_METHODS.get(method)
        if key is not None and isinstance(name := params.get(key), str):
            headers[MCP_NAME_HEADER] = encode_header_value(name)
        return headers

    async def _ask(
        self, method: str, params: Mapping[str, Any], options: CallOptions, exchange: Exchange, *, probing: bool = False
    ) -> dict[str, Any]:
        assert self._dispatcher is not None
        try:
            msgspec.json.encode(params)  # what cannot be written would end the connection, and everybody's calls on it
        except (UnicodeEncodeError, TypeError, RecursionError) as error:
            raise RpcError(INVALID_PARAMS, "The parameters hold something that JSON in UTF-8 cannot.") from error
        token = EXCHANGE.set(exchange)
        try:
            if self._posts is not None and self.stateless and "request_id" not in options:
                with suppress(Moved):
                    return await self._posts.ask(method, params, options, self._noticed)
                self._posts = None
            return await self._dispatcher.send_raw_request(method, params, options)
        except MCPError as error:
            raise self._judged(error, exchange, probing=probing) from error
        finally:
            EXCHANGE.reset(token)

    def _judged(self, error: MCPError, exchange: Exchange, *, probing: bool) -> Exception:
        """What an error of the dispatcher really was."""
        if exchange.refused is not None:
            return exchange.refused
        what = f"the MCP server '{self.name}'"
        if exchange.failure:
            if not exchange.connected:
                return UpstreamUnreachable(f"{what} could not be reached ({exchange.failure})", target=self.name)
            return UpstreamBroken(f"{what} broke off: {exchange.failure}", target=self.name, sent=True)
        if exchange.status == 404 and self.manners.version and not self.stateless:
            return SessionGone(f"{what} has forgotten the session", target=self.name)
        if exchange.status >= 300 and not exchange.is_rpc and not (probing and exchange.status in _NOT_KNOWN):
            return self._http_error(exchange, what)
        if self.over.is_set() or (not exchange.status and error.message == _DISPATCHER_SAYS):
            if not self.manners.version:
                return self._strange("it ended before it answered")
            return UpstreamBroken(f"{what} ended in the middle of the call", target=self.name, sent=True)
        is_strange = not exchange.is_rpc or error.message.startswith(_TRANSPORT_SAYS.get(error.code, ()))
        if exchange.status and is_strange and not probing:
            return UpstreamBroken(f"{what} gave no answer of the protocol", target=self.name, sent=True)
        return RpcError(error.code, error.message, error.data)

    def _http_error(self, exchange: Exchange, what: str) -> UpstreamError:
        status = exchange.status
        if status < 400:
            return UpstreamBroken(
                f"{what} points elsewhere ({status}), where its credential is not carried. Whoever runs this gateway"
                " sets `url` to where it leads",
                target=self.name,
            )
        if status in {401, 403}:
            return UpstreamBroken(
                f"{what} refuses the credential it was shown ({status}). Whoever runs this gateway sets it anew",
                target=self.name,
            )
        if status in {429, 503}:
            return UpstreamUnreachable(
                f"{what} has too much to do ({status})", target=self.name, retry_after=exchange.retry_after
            )
        return UpstreamBroken(f"{what} answered with HTTP {status}", target=self.name, sent=status >= 500)

    # --- what the server says by itself -----------------------------------------------------------------------------

    async def _on_request(
        self, context: DispatchContext[TransportContext], method: str, params: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        del context
        if method == "ping":
            return {}
        return await self._ear.asked(method, params or {})

    async def _on_notify(
        self, context: DispatchContext[TransportContext], method: str, params: Mapping[str, Any] | None
    ) -> None:
        del context
        await self._noticed(method, params or {})

    async def _noticed(self, method: str, params: Mapping[str, Any]) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._second >= 1.0:
            self._second, self._notifications = now, 0
        self._notifications += 1
        if self._notifications > MOST_NOTIFICATIONS:
            self.over.set()  # its calls fail as broken, and the breaker counts that
            return
        self._ear.heard(method, params)


_DISPATCHER_SAYS = "Connection closed"
_TRANSPORT_SAYS = {
    PARSE_ERROR: ("Failed to parse JSON response", "Failed to parse SSE message"),
    CONNECTION_CLOSED: ("SSE stream ",),
}
"""How errors begin that the SDK's transport makes of an answer it cannot use; they may quote it, so are not passed on.
"""

_NOT_KNOWN = frozenset({400, 404, 405, 406, 415, 422, 501})
"""How servers of before 2026-07-28 answer a request they have no notion of."""
