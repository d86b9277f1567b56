"""How the server is reached: a program in the sandbox, started anew for each connection, or an address."""

import io
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal

import httpx2
import msgspec
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from ai_platform.sandbox import Program, Sandbox

Mode = Literal["auto", "legacy"]
FAILURES = (MCPError, OSError, httpx2.HTTPError, TimeoutError, RuntimeError, ValueError, BaseExceptionGroup)
"""What a server that misbehaves makes the SDK raise."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Either `program` with `sandbox`, or `url`. headers: sent to the address. seconds: for each answer."""

    name: str
    url: str = ""
    headers: Mapping[str, str] = {}
    program: Program | None = None
    sandbox: Sandbox | None = None
    seconds: float = 30.0


@asynccontextmanager
async def connected(target: Target, mode: Mode = "auto") -> AsyncGenerator[Client]:
    """A client of the newest protocol that both speak (`auto`), or of 2025-11-25 (`legacy`)."""
    async with AsyncExitStack() as stack:
        if target.program is None:
            http = httpx2.AsyncClient(headers=dict(target.headers), timeout=target.seconds)
            await stack.enter_async_context(http)
            transport = streamable_http_client(target.url, http_client=http)
        else:
            assert target.sandbox is not None
            prepared = await stack.enter_async_context(target.sandbox.prepared(target.program))
            errors = stack.enter_context(_text(prepared.stderr))
            parameters = StdioServerParameters(
                command=prepared.argv[0], args=list(prepared.argv[1:]), env=_only(prepared.env), cwd=prepared.cwd
            )
            transport = stdio_client(parameters, errlog=errors)
        client = Client(transport, mode=mode, read_timeout_seconds=target.seconds, cache=None)
        yield await stack.enter_async_context(client)


def _text(descriptor: int) -> io.TextIOWrapper:
    return os.fdopen(os.dup(descriptor), "w", encoding="utf-8")


def _only(environment: Mapping[str, str]) -> dict[str, str]:
    """The SDK adds a few variables of its own process; an empty one says no more than none."""
    added = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
    return {**dict.fromkeys(added, ""), **environment}


def said(error: BaseException) -> str:
    """One line about what went wrong; of a group its first cause."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())[:300]
    return text or type(error).__name__
