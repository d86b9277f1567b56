"""How a server is reached: standard input and output, or streamable HTTP. Both serve 2025-11-25 and 2026-07-28.

Over HTTP a server listens on loopback only, unless a bearer token is required: who can reach the port could otherwise
call every tool. Above: each server's program. Below: the MCP SDK, uvicorn.
"""

import argparse
import asyncio
import hmac
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NoReturn

import msgspec
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ai_platform.domain.errors import ConfigError

TOKEN_BYTES = 16
CLOSING_SECONDS = 10.0

Closing = Callable[[], Awaitable[None]]


class Serving(msgspec.Struct, frozen=True):
    """host: empty = standard input and output. token: what HTTP callers must present as bearer, empty = none."""

    host: str = ""
    port: int = 0
    token: str = ""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--http",
        metavar="HOST:PORT",
        help="serve streamable HTTP on /mcp instead of standard input and output; port 0 takes a free one",
    )
    parser.add_argument(
        "--token-env",
        metavar="NAME",
        default="",
        help="environment variable with the bearer token HTTP callers must present; required beyond loopback",
    )


def read_options(options: argparse.Namespace) -> Serving:
    """What `add_options` added.

    Raises:
        ConfigError: no address, no token where one is needed.

    """
    token = secret_from(options.token_env) if options.token_env else ""
    if token and len(token) < TOKEN_BYTES:
        raise ConfigError(f"The token in {options.token_env} must have at least {TOKEN_BYTES} characters.")
    if not options.http:
        return Serving(token=token)
    host, _, port = options.http.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--http {options.http}: an address such as 127.0.0.1:8810 is needed.")
    if not _is_loopback(host) and not token:
        raise ConfigError(f"--http {options.http} can be reached from other machines: require a token (--token-env).")
    return Serving(host=host, port=int(port), token=token)


def secret_from(variable: str) -> str:
    """The value of an environment variable that must be set.

    Raises:
        ConfigError: it is not set or empty.

    """
    if value := os.environ.get(variable, ""):
        return value
    raise ConfigError(f"The environment variable {variable} is not set.")


def run(serving: Serving, prepare: Callable[[], Awaitable[tuple[Server[Any], Closing]]]) -> int:
    """Serve until the client leaves (standard input ends) or a signal asks to stop. Returns the exit code.

    prepare: makes the server inside the event loop, and what to await before the process ends by a signal.
    """

    async def serve() -> None:
        server, closing = await prepare()
        await (_http(server, serving) if serving.host else _stdio(server, closing))

    asyncio.run(serve())
    return 0


async def _stdio(server: Server[Any], closing: Closing) -> None:
    loop = asyncio.get_running_loop()
    ends: set[asyncio.Task[None]] = set()

    async def end(number: int) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                await closing()
        _leave(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda number=number: ends.add(asyncio.create_task(end(number))))
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def _leave(code: int) -> NoReturn:
    os._exit(code)  # standard input is read by a thread that nothing can wake; a normal exit would wait for it


async def _http(server: Server[Any], serving: Serving) -> None:
    listener = _listen(serving)
    port = listener.getsockname()[1]
    host = f"[{serving.host}]" if ":" in serving.host else serving.host
    # The token settles who calls; without it the SDK's check of Host and Origin keeps web pages out (DNS rebinding).
    guard = TransportSecuritySettings(enable_dns_rebinding_protection=False) if serving.token else None
    app: ASGIApp = server.streamable_http_app(
        host=serving.host,
        transport_security=guard,
        custom_starlette_routes=[Route("/healthz", _healthy)],
    )
    if serving.token:
        app = BearerOnly(app, serving.token)
    app = Trimmed(app)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=3,
        ws="none",
        server_header=False,
        date_header=False,
    )
    sys.stderr.write(f"Serving MCP on http://{host}:{port}/mcp\n")
    sys.stderr.flush()
    await uvicorn.Server(config).serve(sockets=[listener])


def _healthy(_request: Request) -> Response:
    return PlainTextResponse("ok")


def _listen(serving: Serving) -> socket.socket:
    try:
        family = socket.getaddrinfo(serving.host, serving.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((serving.host, serving.port), family=family, backlog=256)
    except OSError as error:
        raise ConfigError(f"Cannot listen on {serving.host}:{serving.port}: {error.strerror or error}.") from error


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class BearerOnly:
    """Lets HTTP requests through that carry the token; the health check needs none. refused: counter."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = b"Bearer " + token.encode()
        self.refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/healthz":
            presented = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            if not hmac.compare_digest(presented, self._expected):
                self.refused += 1
                refusal = Response("A bearer token is required.\n", 401, {"www-authenticate": "Bearer"})
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Trimmed:
    """White space around a header's value is no part of it (RFC 9110, 5.5); the HTTP parser leaves some there."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [(name, value.strip(b" \t")) for name, value in scope["headers"]]}
        await self._app(scope, receive, send)
