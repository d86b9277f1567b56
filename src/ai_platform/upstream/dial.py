"""Opens connections to one upstream: name lookup, TCP by happy eyeballs, proxy, TLS; each step with its deadline.

Above: pool.py, which counts what is opened. Sources: RFC 8305 (happy eyeballs), RFC 9110 9.3.6 (CONNECT).
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ai_platform.upstream.connection import Connection, Owner
from ai_platform.upstream.errors import ConnectFailed, ConnectTimeout, Failure, Misconfigured
from ai_platform.upstream.proxy import Proxy
from ai_platform.upstream.tunnel import Tunnel, TunnelRefused
from ai_platform.upstream.wire import Limits

HEAD_START = 0.25
"""Seconds one address may take before the next is tried beside it (RFC 8305 5 recommends 250 ms)."""

Address = tuple[Any, ...]


class Origin(msgspec.Struct, frozen=True):
    """Where an upstream listens."""

    secure: bool
    host: str
    port: int

    @property
    def authority(self) -> str:
        """`host:port`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Dialler:
    """`dial` opens one connection.

    context: for the upstream; proxy_context: for an `https://` proxy.
    connect_timeout covers lookup, TCP and proxy; tls_timeout the upstream's handshake.
    """

    def __init__(
        self,
        origin: Origin,
        limits: Limits,
        *,
        proxy: Proxy | None,
        context: ssl.SSLContext | None,
        proxy_context: ssl.SSLContext | None,
        connect_timeout: float,
        tls_timeout: float,
    ) -> None:
        self._origin = origin
        self._limits = limits
        self._proxy = proxy
        self._context = context
        self._proxy_context = proxy_context
        self._connect_timeout = connect_timeout
        self._tls_timeout = tls_timeout

    async def dial(self, owner: Owner) -> Connection:
        """An open connection that reports to `owner`.

        Raises:
            ConnectFailed: no name, no route, refused, reset.
            ConnectTimeout: a deadline passed.
            Misconfigured: the certificate does not verify, or the proxy refuses.

        """
        loop = asyncio.get_running_loop()
        connection = Connection(loop, self._limits, owner)
        try:
            if self._proxy is not None and self._origin.secure:
                await self._through_tunnel(loop, connection, self._proxy)
            else:
                await self._straight(loop, connection)
        except (OSError, TunnelRefused) as error:
            connection.abort()
            raise self._failure(error) from error
        return connection

    async def _straight(self, loop: asyncio.AbstractEventLoop, connection: Connection) -> None:
        first = self._proxy or self._origin
        async with asyncio.timeout(self._connect_timeout):
            sock = await _tcp(loop, first.host, first.port)
        context = self._proxy_context if self._proxy is not None else self._context
        await _attach(loop, lambda: connection, sock, context=context, host=first.host, handshake=self._tls_timeout)

    async def _through_tunnel(self, loop: asyncio.AbstractEventLoop, connection: Connection, proxy: Proxy) -> None:
        tunnel = Tunnel(loop)
        context = self._proxy_context if proxy.secure else None
        async with asyncio.timeout(self._connect_timeout):
            sock = await _tcp(loop, proxy.host, proxy.port)
            transport = await _attach(
                loop, lambda: tunnel, sock, context=context, host=proxy.host, handshake=self._tls_timeout
            )
            try:
                await tunnel.ask(self._origin.authority, proxy.authorization)
            except BaseException:
                transport.abort()
                raise
        await self._secure(loop, transport, connection)

    async def _secure(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, connection: Connection
    ) -> None:
        """TLS with the upstream inside the tunnel; the connection takes the transport over."""
        assert self._context is not None
        try:
            secured = await loop.start_tls(
                transport,
                connection,
                self._context,
                server_hostname=self._origin.host,
                ssl_handshake_timeout=self._tls_timeout,
            )
        except BaseException:
            transport.abort()
            raise
        if secured is None:
            raise ConnectionResetError("closed during the TLS handshake")
        connection.connection_made(secured)

    def _failure(self, error: OSError | TunnelRefused) -> Failure:
        name = self._limits.name
        through = f" through the proxy {self._proxy.host}:{self._proxy.port}" if self._proxy is not None else ""
        where = f"upstream {name!r} at {self._origin.authority}{through}"
        if isinstance(error, ssl.SSLCertVerificationError):
            return Misconfigured(
                f"{where}: its certificate was not accepted ({error.verify_message}); "
                "if a private authority signed it, name that authority's file in ca_file",
                target=name,
            )
        if isinstance(error, TunnelRefused):
            return Misconfigured(f"{where}: {error}", target=name)
        if isinstance(error, ssl.SSLError):
            return Misconfigured(f"{where}: TLS failed ({error.reason or error})", target=name)
        if isinstance(error, ConnectionAbortedError):
            # How asyncio and uvloop report a handshake that took too long.
            return ConnectTimeout(
                f"{where}: no TLS handshake within {self._tls_timeout:g} s (tls_timeout)", target=name
            )
        if isinstance(error, TimeoutError):
            return ConnectTimeout(
                f"{where}: no connection within {self._connect_timeout:g} s (connect_timeout)", target=name
            )
        if isinstance(error, socket.gaierror):
            return ConnectFailed(f"{where}: the name cannot be resolved ({error.strerror})", target=name)
        return ConnectFailed(f"{where}: {error.strerror or error or type(error).__name__}", target=name)


async def _tcp(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    sock = await connect_first(loop, [(entry[0], entry[4]) for entry in found])
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # An answer may be silent for minutes: probes keep address translators from forgetting the connection.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


async def connect_first(loop: asyncio.AbstractEventLoop, addresses: Sequence[tuple[int, Address]]) -> socket.socket:
    """A connected socket to the first address that answers, tried in order with a head start each.

    addresses: (family, socket address); families are interleaved.

    Raises:
        OSError: none answered; the last one's error.

    """
    waiting = _interleaved(addresses)
    if len(waiting) == 1:
        return await _connect(loop, *waiting[0])
    running: set[asyncio.Task[socket.socket]] = set()
    error: OSError = OSError("the name has no address")
    winner: socket.socket | None = None
    try:
        while winner is None and (waiting or running):
            if waiting:
                running.add(loop.create_task(_connect(loop, *waiting.pop(0))))
            done, running = await asyncio.wait(
                running, timeout=HEAD_START if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                failed = task.exception()
                if isinstance(failed, OSError):
                    error = failed
                elif winner is None:
                    winner = task.result()
                else:
                    task.result().close()
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_close_late)
    if winner is None:
        raise error
    return winner


def _interleaved(addresses: Sequence[tuple[int, Address]]) -> list[tuple[int, Address]]:
    first = [entry for entry in addresses if entry[0] == addresses[0][0]]
    second = [entry for entry in addresses if entry[0] != addresses[0][0]]
    mixed = [entry for pair in zip(first, second, strict=False) for entry in pair]
    shorter = min(len(first), len(second))
    return mixed + first[shorter:] + second[shorter:]


async def _connect(loop: asyncio.AbstractEventLoop, family: int, address: Address) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    """An attempt that won its connection in the moment it was called off."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _attach(
    loop: asyncio.AbstractEventLoop,
    factory: Callable[[], asyncio.BaseProtocol],
    sock: socket.socket,
    *,
    context: ssl.SSLContext | None,
    host: str,
    handshake: float,
) -> asyncio.Transport:
    """Put a transport on a connected socket, with TLS when there is a context; handshake: its deadline in seconds."""
    try:
        if context is None:
            transport, _ = await loop.create_connection(factory, sock=sock)
        else:
            transport, _ = await loop.create_connection(
                factory, sock=sock, ssl=context, server_hostname=host, ssl_handshake_timeout=handshake
            )
    except BaseException:
        sock.close()
        raise
    return transport
