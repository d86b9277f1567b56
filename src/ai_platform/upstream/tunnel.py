"""Asks a proxy for a tunnel (CONNECT, RFC 9110 9.3.6) on a fresh connection, before TLS starts inside it."""

import asyncio
import re
from typing import cast

MAX_HEAD = 16 * 1024

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


class TunnelRefused(Exception):
    """The proxy said no, or nothing that can be understood."""


class Tunnel(asyncio.Protocol):
    """Holds the connection while the proxy answers; afterwards another protocol takes the transport over."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._answer: asyncio.Future[None] = loop.create_future()
        self._received = b""
        self._transport: asyncio.Transport | None = None

    async def ask(self, authority: str, authorization: bytes | None) -> None:
        """Send CONNECT and wait for 2xx.

        Raises:
            TunnelRefused: any other answer.
            OSError: the proxy hung up.

        """
        credential = b"proxy-authorization: %b\r\n" % authorization if authorization is not None else b""
        host = authority.encode()
        assert self._transport is not None
        self._transport.write(b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (host, host, credential))
        await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._answer.done():
            return
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            if len(self._received) > MAX_HEAD:
                self._answer.set_exception(TunnelRefused(f"the proxy's answer has no end within {MAX_HEAD} bytes"))
            return
        status = _STATUS.match(head + b"\r")
        if status is None:
            self._answer.set_exception(TunnelRefused("the proxy did not answer in HTTP"))
        elif not status[1].startswith(b"2"):
            hint = "; put `user:password` in proxy_auth_env or proxy_auth_file" if status[1] == b"407" else ""
            self._answer.set_exception(TunnelRefused(f"the proxy answered {status[1].decode()} to CONNECT{hint}"))
        elif rest:
            # Inside the tunnel the client speaks first (TLS): these bytes come from the proxy, not from the upstream.
            self._answer.set_exception(TunnelRefused("the proxy sent more than its answer"))
        else:
            self._answer.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the proxy hung up before it answered"))
