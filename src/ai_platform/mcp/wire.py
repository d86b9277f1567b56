"""The HTTP side of one server: its connection pool, credentials, bounds, and what really happened to each request.

The SDK's transport tells its caller little of a failure and lets one broken request end all others; here a failure
becomes an answer to its own request, and `Exchange` keeps the truth. Above: link. Below: httpx2.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
import msgspec

from ai_platform.domain.errors import PlatformError, Refused
from ai_platform.domain.principal import Principal
from ai_platform.mcp.addresses import AddressRefused, transport_for
from ai_platform.mcp.needs import Rejected, ServerCredentials
from ai_platform.mcp.settings import McpServerSettings

IDLE_SECONDS = 4.0
"""How long a connection is kept unused: less than the 5 s after which uvicorn and Node close theirs. A request that
crosses with the closing is lost, and a tool call must not be sent twice.
"""

LONGEST_PAUSE = 3_600.0
"""Seconds for which a server may send its callers away."""

_SECONDS = re.compile(r"\d{1,9}")
MAX_ERROR_BODY = 64 * 1024
LONGEST_CHALLENGE = 4096
_KINDS = frozenset({"application/json", "text/event-stream"})
_RPC = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Exchange:
    """One request to a server, filled in as it goes.

    status: of its HTTP answer, 0 = none came. is_rpc: the answer's body is the protocol's own, error or not.
    failure: why no (whole) answer came. connected: False when it was certainly not sent. refused: no credential.
    """

    __slots__ = ("connected", "failure", "is_rpc", "principal", "refused", "retry_after", "status")

    def __init__(self, principal: Principal | None = None) -> None:
        self.principal = principal
        self.status = 0
        self.is_rpc = False
        self.failure = ""
        self.connected = True
        self.refused: Refused | None = None
        self.retry_after: float | None = None


EXCHANGE: ContextVar[Exchange | None] = ContextVar("exchange", default=None)
"""Set around each request; the SDK sends it in a task of its own, which inherits it."""


class ServerClient(httpx2.AsyncClient):
    """wire: what carries its requests, for who needs neither redirects nor cookies of it."""

    def __init__(self, wire: httpx2.AsyncBaseTransport, timeout: httpx2.Timeout) -> None:
        super().__init__(transport=wire, timeout=timeout)
        self.wire = wire


def client_for(server: McpServerSettings, credentials: ServerCredentials, owner: Principal | None) -> ServerClient:
    """A client for one server whose requests carry the credentials of `owner` (None: the platform's) unless the
    exchange names somebody else. Redirects are the SDK's affair, which stays within the origin.
    """
    timeout = httpx2.Timeout(server.connect_timeout, read=None, pool=server.connect_timeout)
    return ServerClient(_Wire(server, credentials, owner), timeout)


def _proxy_for(url: str) -> str | None:
    """What HTTPS_PROXY, HTTP_PROXY and NO_PROXY (or the system) say."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    return getproxies().get(parts.scheme)


class _Wire(httpx2.AsyncBaseTransport):
    """Never raises for a failure of the network, and keeps no cookies: what one caller was given is not another's."""

    def __init__(self, server: McpServerSettings, credentials: ServerCredentials, owner: Principal | None) -> None:
        most = server.max_concurrency + server.max_connections + 16
        limits = httpx2.Limits(max_connections=most, keepalive_expiry=IDLE_SECONDS)
        self._inner = transport_for(server, limits, _proxy_for(server.url))
        self._server = server
        self._credentials = credentials
        self._owner = owner
        self._origin = _origin(httpx2.URL(server.url))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        exchange = EXCHANGE.get() or Exchange(self._owner)
        principal = exchange.principal if exchange.principal is not None else self._owner
        try:
            shown = await self._credentials.headers(self._server, principal)
            response = await self._send(request, shown)
            if response.status_code in {401, 403} and await self._may_try_again(response, principal, shown):
                await response.aclose()
                response = await self._send(request, await self._credentials.headers(self._server, principal))
        except Refused as error:
            exchange.refused = error
            return httpx2.Response(403, request=request)
        except PlatformError as error:  # no credential can be had at this moment, so nothing was sent
            exchange.failure, exchange.connected = str(error), False
            return httpx2.Response(503, request=request)
        except httpx2.HTTPError as error:
            own = isinstance(error.__cause__, AddressRefused)
            exchange.failure = str(error) if own else type(error).__name__
            exchange.connected = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
            return httpx2.Response(503, request=request)
        exchange.status = response.status_code
        if response.status_code >= 400:
            return await self._failed(request, response, exchange)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        exchange.is_rpc = response.status_code < 300 and kind in _KINDS
        limit = 0 if kind == "text/event-stream" else self._server.max_message_bytes
        stream = _Bounded(response, limit, exchange)
        return httpx2.Response(response.status_code, headers=_plain(response), stream=stream, request=request)

    async def _may_try_again(
        self, response: httpx2.Response, principal: Principal | None, shown: Mapping[str, str]
    ) -> bool:
        challenge = response.headers.get("www-authenticate", "")[:LONGEST_CHALLENGE]
        refusal = Rejected(response.status_code, challenge, shown)
        try:
            return await self._credentials.rejected(self._server, principal, refusal)
        except PlatformError:
            await response.aclose()
            raise

    async def _send(self, request: httpx2.Request, shown: Mapping[str, str]) -> httpx2.Response:
        if _origin(request.url) != self._origin:  # fails closed: the credential is its alone
            raise httpx2.ConnectError("the server leads to another address, which gets nothing")
        headers = httpx2.Headers(request.headers)
        headers.update(dict(shown))
        again = httpx2.Request(
            request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
        )
        return await self._inner.handle_async_request(again)

    async def _failed(self, request: httpx2.Request, response: httpx2.Response, exchange: Exchange) -> httpx2.Response:
        body = b""
        with contextlib.suppress(httpx2.HTTPError):
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_ERROR_BODY:
                    body = b""
                    break
        await response.aclose()
        exchange.is_rpc = _is_rpc_error(body)
        after = response.headers.get("retry-after", "")
        exchange.retry_after = min(float(after), LONGEST_PAUSE) if _SECONDS.fullmatch(after) else None
        return httpx2.Response(response.status_code, headers=_plain(response), content=body, request=request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


class _Bounded(httpx2.AsyncByteStream):
    """An answer's content, decoded, up to a bound; what breaks off simply ends, and the exchange says why.

    limit: bytes; 0 for a stream of events, which is bounded event by event by its reader, so its sum is not.
    """

    def __init__(self, response: httpx2.Response, limit: int, exchange: Exchange) -> None:
        self._response = response
        self._limit = limit
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._response.aiter_bytes():
                size += len(chunk)
                if self._limit and size > self._limit:
                    self._exchange.failure = f"an answer of more than {self._limit} bytes"
                    return
                yield chunk
        except httpx2.HTTPError as error:
            self._exchange.failure = type(error).__name__

    async def aclose(self) -> None:
        await self._response.aclose()


def _plain(response: httpx2.Response) -> list[tuple[str, str]]:
    """The headers of the decoded content."""
    dropped = {"content-encoding", "content-length", "transfer-encoding", "set-cookie"}
    return [(name, value) for name, value in response.headers.multi_items() if name.lower() not in dropped]


def _is_rpc_error(body: bytes) -> bool:
    try:
        fields: dict[str, Any] = _RPC.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return "error" in fields and "jsonrpc" in fields
