"""Starts a bundled server as its own process and connects the SDK's client to it, over stdio or HTTP."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

ERAS = {"legacy": "2025-11-25", "auto": "2026-07-28"}
"""The client's mode, and the protocol version it must end up with."""
TOKEN = "a-token-for-the-tests-only"


def command(name: str, *arguments: object) -> list[str]:
    return ["-m", f"ai_platform.mcp_servers.{name}", *(str(argument) for argument in arguments)]


@asynccontextmanager
async def over_stdio(
    name: str, *arguments: object, mode: str = "auto", env: dict[str, str] | None = None
) -> AsyncGenerator[Client]:
    own = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}  # the code under test
    parameters = StdioServerParameters(
        command=sys.executable, args=command(name, *arguments), env={**own, **(env or {})}
    )
    async with asyncio.timeout(60), Client(parameters, mode=mode) as client:
        yield client


@asynccontextmanager
async def http_server(name: str, *arguments: object, env: dict[str, str] | None = None) -> AsyncGenerator[str]:
    """The address of a running server."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command(name, *arguments, "--http", "127.0.0.1:0"),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(30):
            line = (await process.stderr.readline()).decode()
        assert line.startswith("Serving MCP on "), line + (await process.stderr.read()).decode()
        yield line.split()[-1]
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(20):
            await process.communicate()


@asynccontextmanager
async def over_http(url: str, mode: str = "auto", headers: dict[str, str] | None = None) -> AsyncGenerator[Client]:
    async with (
        asyncio.timeout(60),
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


def text_of(result: object) -> str:
    return "\n".join(block.text for block in result.content)  # type: ignore[attr-defined]
