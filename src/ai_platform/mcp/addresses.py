"""Where a server at an address may be, checked when it is connected to: what its name resolves to then, not before.

Never this machine's cloud metadata, link-local or multicast addresses; with `public_only` nothing but the public
internet (OWASP, "Server-side request forgery"). The address that was checked is the one connected to. Behind a proxy
the proxy resolves and decides. Above: wire. Below: httpcore2.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

import httpcore2
import httpx2

from ai_platform.mcp.settings import McpServerSettings

METADATA = frozenset({"fd00:ec2::254", "100.100.100.200", "168.63.129.16"})
"""Of clouds that do not use a link-local address for it."""


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses whose last four bytes are where packets end (RFC 6052)."""


def transport_for(server: McpServerSettings, limits: httpx2.Limits, proxy: str | None) -> httpx2.AsyncHTTPTransport:
    """The connection pool of one server."""
    transport = httpx2.AsyncHTTPTransport(limits=limits, proxy=proxy)
    if proxy is None:
        transport._pool = httpcore2.AsyncConnectionPool(  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - it takes no network of one's own otherwise
            ssl_context=httpx2.create_ssl_context(),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=CheckedNetwork(public_only=server.public_only),
        )
    return transport


def why_not(address: str, *, public_only: bool) -> str:
    """Why this IP address is not connected to, "" when it may be."""
    found: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inside = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF) if found in _NAT64 else None
        found = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1] or inside or found
    if str(found) in METADATA or found.is_link_local:
        return "where clouds keep the secrets of their machines"
    if found.is_multicast or found.is_unspecified:
        return "which is no server's"
    if public_only and not found.is_global:
        return "which is no public address"
    return ""


class AddressRefused(httpcore2.ConnectError):
    """Nothing was sent: the server's name leads where no server is connected to."""


class CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """refused: connections that were not made."""

    def __init__(self, *, public_only: bool) -> None:
        self._inner: Any = httpcore2.AnyIOBackend()  # its type depends on whether anyio is installed
        self._public_only = public_only
        self.refused = 0

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Every address of the name must be allowed, so that a second answer cannot slip in; they are tried in turn."""
        try:
            async with asyncio.timeout(timeout):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"{host} was not resolved in time") from error
        except OSError as error:
            raise httpcore2.ConnectError(f"{host} cannot be resolved: {error.strerror or error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if why := why_not(address, public_only=self._public_only):
                self.refused += 1
                raise AddressRefused(f"{host} is at {address}, {why}; it is not connected to")
        failure: httpcore2.ConnectError | httpcore2.ConnectTimeout = httpcore2.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        return await self._inner.connect_unix_socket(path, timeout, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)
