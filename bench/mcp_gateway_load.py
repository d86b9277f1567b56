"""The clients of the tool benchmark, in one process: the official SDK's, or bare requests where only numbers count.

    python bench/mcp_gateway_load.py JOB_JSON

Opens its sessions, warms up, prints `ready`, waits for a line on standard input, runs, prints its figures as JSON, and
leaves when standard input ends. Job:
kind (calls, lists: `sessions` clients of the SDK at once, each makes `each` requests; coming: `sessions` clients one
after another in `lanes` lanes, each makes `each` calls and leaves; bare: `calls` stateless requests over `lanes`
connections), url or command, key, mode (of the SDK's client: `legacy` = 2025-11-25, or 2026-07-28), tool.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
from gateway_load import Caller, compact, percentiles
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

TEXT = "Which services are deployed to staging, in which version, and since when?"
STATELESS = "2026-07-28"
WARM = 3


def http(job: dict[str, Any]) -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    headers = {"authorization": f"Bearer {job['key']}"}
    return httpx2.AsyncClient(headers=headers, limits=limits, timeout=120, trust_env=False, verify=False)


@asynccontextmanager
async def session(job: dict[str, Any], shared: httpx2.AsyncClient) -> AsyncGenerator[Client]:
    if "command" in job:
        reached: Any = StdioServerParameters(command=job["command"][0], args=job["command"][1:])
    else:
        reached = streamable_http_client(job["url"], http_client=shared)
    async with Client(reached, mode=job["mode"], cache=None) as client:
        yield client


class Tally:
    def __init__(self) -> None:
        self.failed = 0
        self.done = 0
        self.opening = 0.0
        self.seconds: list[float] = []
        self._began = 0.0

    async def begin(self) -> None:
        """When whoever started this says so."""
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        self._began = time.perf_counter()

    async def tell(self) -> None:
        """While servers that were started here still run, or what they cost could not be read any more."""
        figures = {
            "calls": self.done,
            "failed": self.failed,
            "seconds": time.perf_counter() - self._began,
            "opening_ms": self.opening * 1000,
            "latency_ms": percentiles(self.seconds),
        }
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)

    async def one(self, ask: Callable[[], Awaitable[bool]]) -> None:
        began = time.perf_counter()
        try:
            good = await ask()
        except (MCPError, httpx2.HTTPError):
            good = False
        self.seconds.append(time.perf_counter() - began)
        self.done += 1
        self.failed += not good


async def tool_called(client: Client, job: dict[str, Any]) -> bool:
    result = await client.call_tool(job["tool"], {"text": TEXT})
    return not result.is_error


async def listed(client: Client, job: dict[str, Any]) -> bool:
    found = await client.list_tools()
    return len(found.tools) == job["expected"]


async def at_once(job: dict[str, Any], tally: Tally) -> None:
    ask = listed if job["kind"] == "lists" else tool_called
    async with AsyncExitStack() as stack:
        shared = await stack.enter_async_context(http(job))
        began = time.perf_counter()
        clients = [await stack.enter_async_context(session(job, shared)) for _ in range(job["sessions"])]
        tally.opening = (time.perf_counter() - began) / len(clients)
        for client in clients[:50]:
            for _ in range(WARM):
                await ask(client, job)
        await tally.begin()

        async def work(client: Client) -> None:
            for _ in range(job["each"]):
                await tally.one(lambda: ask(client, job))

        await asyncio.gather(*(work(client) for client in clients))
        await tally.tell()


async def coming(job: dict[str, Any], tally: Tally) -> None:
    async with http(job) as shared:
        await tally.begin()

        async def lane() -> None:
            for _ in range(job["sessions"] // job["lanes"]):
                async with session(job, shared) as client:
                    for _ in range(job["each"]):
                        await tally.one(lambda: tool_called(client, job))

        await asyncio.gather(*(lane() for _ in range(job["lanes"])))
        await tally.tell()


class Bare(Caller):
    """Counts results that say `isError` as failed too."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        parts = urlsplit(job["url"])
        self.head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/json, text/event-stream\r\n"
            f"Authorization: Bearer {job['key']}\r\nContent-Type: application/json\r\n"
            f"MCP-Protocol-Version: {STATELESS}\r\nMcp-Method: tools/call\r\nMcp-Name: {job['tool']}\r\n"
        ).encode()

    def data_received(self, data: bytes) -> None:
        before = self.failed
        self.failed += b'"isError":true' in data
        super().data_received(data)
        if self.failed > before:
            sys.stderr.write(f"  ! {data[-600:].decode(errors='replace')}\n")


async def bare(job: dict[str, Any], tally: Tally) -> None:
    left = job["calls"]
    meta = {
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": job["tool"], "arguments": {"text": TEXT}, "_meta": meta}
    callers = [Bare(job) for _ in range(job["lanes"])]

    async def lane(caller: Bare) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            before = caller.failed
            began = time.perf_counter()
            body = compact({"jsonrpc": "2.0", "id": left, "method": "tools/call", "params": params})
            await caller.call(body)
            tally.done += 1
            tally.failed += caller.failed - before
            if len(tally.seconds) < 10_000:
                tally.seconds.append(time.perf_counter() - began)

    await tally.begin()
    await asyncio.gather(*map(lane, callers))
    await tally.tell()


if __name__ == "__main__":
    what = json.loads(sys.argv[1])
    asyncio.run({"calls": at_once, "lists": at_once, "coming": coming, "bare": bare}[what["kind"]](what, Tally()))
