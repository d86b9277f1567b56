"""CPU microseconds per upstream call and per streamed event: this pool, httpx2, and the bare floor, in one run.

    python bench/upstream.py [--calls 5000] [--at-once 16] [--streams 40] [--events 250] [--repeat 5]

The server is a process of its own, so the figures are the client's alone (user + system). The floor is an asyncio
protocol on uvloop that writes the same bytes and counts what comes back, without parsing anything.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median

import httpx2
import uvloop

from ai_platform.domain.call import Call, Door, Head, Operation
from ai_platform.domain.clock import SystemClock
from ai_platform.domain.route import Route, Target
from ai_platform.upstream import Upstream, UpstreamsSettings
from ai_platform.upstream.settings import UpstreamSettings

ANSWER = b'{"type":"message","content":[{"type":"text","text":"' + b"x" * 940 + b'"}]}'
EVENT = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"some words"}}\n\n'
)
COMMON = (
    b"Date: Sun, 22 Nov 2026 12:00:00 GMT\r\nrequest-id: req_011CPABCDEFGHIJKLMNOPQRS\r\n"
    b"anthropic-organization-id: 00000000-0000-4000-8000-000000000000\r\nserver: bench\r\n"
    b"anthropic-ratelimit-requests-limit: 4000\r\nanthropic-ratelimit-requests-remaining: 3999\r\n"
    b"anthropic-ratelimit-requests-reset: 2026-11-22T12:00:00Z\r\nconnection: keep-alive\r\n"
)
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b" % (
    COMMON,
    len(ANSWER),
    ANSWER,
)
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n%btransfer-encoding: chunked\r\n\r\n" % COMMON
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)

BODY = b'{"model":"claude-sonnet-5-5","max_tokens":64,"messages":[{"role":"user","content":"%b"}]}' % (b"y" * 900)
HEADERS = [
    (b"host", b"gateway.example"),
    (b"accept", b"application/json"),
    (b"content-type", b"application/json"),
    (b"user-agent", b"claude-cli/2.1.330 (external, cli)"),
    (b"authorization", b"Bearer platform-key-of-the-caller"),
    (b"anthropic-version", b"2023-06-01"),
    (b"anthropic-beta", b"claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27"),
    (b"anthropic-dangerous-direct-browser-access", b"true"),
    (b"x-app", b"cli"),
    (b"x-claude-code-session-id", b"00000000-0000-4000-8000-000000000000"),
    (b"x-stainless-arch", b"x64"),
    (b"x-stainless-lang", b"js"),
    (b"x-stainless-os", b"Linux"),
    (b"x-stainless-package-version", b"0.128.0"),
    (b"x-stainless-retry-count", b"0"),
    (b"x-stainless-runtime", b"node"),
    (b"x-stainless-runtime-version", b"v24.3.0"),
    (b"x-stainless-timeout", b"600"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"connection", b"keep-alive"),
    (b"content-length", b"%d" % len(BODY)),
]


class Server(asyncio.Protocol):
    """Answers any request at once; a path that starts with /stream gets paced events, one write each."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, end, body = self._seen.partition(b"\r\n\r\n")
        if not end:
            return
        if head.startswith(b"POST") and len(body) < len(BODY):
            return
        self._seen = b""
        if b" /stream/" in head[:20]:
            count, pace = head.split(b"?", 1)[0].split(b"/")[2:4]
            self._transport.write(STREAM)
            self._stream(int(count), float(pace))
        else:
            self._transport.write(PLAIN)

    def _stream(self, left: int, pace: float) -> None:
        if left:
            self._transport.write(CHUNK)
            asyncio.get_running_loop().call_later(pace, self._stream, left - 1, pace)
        else:
            self._transport.write(b"0\r\n\r\n")


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Floor(asyncio.Protocol):
    """Counts bytes until `expected` (a plain answer) or until the last chunk (a stream)."""

    def __init__(self) -> None:
        self.reads = 0
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.reads += 1
        self._got += len(data)
        if self._got >= self._expected or (self._expected == sys.maxsize and data.endswith(b"0\r\n\r\n")):
            self._waiter.set_result(None)

    async def ask(self, request: bytes, expected: int) -> None:
        self._got, self._expected = 0, expected
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        await self._waiter


def call(path: str) -> Call:
    return Call(
        id="call_bench",
        door=Door.MESSAGES,
        operation=Operation.MESSAGES_CREATE,
        method="POST",
        path=path,
        query=b"beta=true",
        headers=HEADERS,
        body=BODY,
        head=Head(model="claude-sonnet-5-5"),
    )


def raw_request(path: str) -> bytes:
    lines = b"".join(b"%b: %b\r\n" % field for field in HEADERS if field[0] != b"authorization")
    return b"POST %b?beta=true HTTP/1.1\r\n%bx-api-key: k\r\n\r\n%b" % (path.encode(), lines, BODY)


Run = Callable[[str], Awaitable[int]]


async def pool_runner(port: int) -> tuple[Run, Callable[[], Awaitable[None]]]:
    settings = UpstreamsSettings(
        upstreams=(UpstreamSettings(name="bench", url=f"http://127.0.0.1:{port}", api_key_env="KEY"),)
    )
    upstream = Upstream(settings, SystemClock(), environ={"KEY": "k"})
    route = Route(model="claude-sonnet-5-5", targets=(Target(name="bench"),))

    async def run(path: str) -> int:
        chunks = 0
        async with upstream.open(route, call(path)) as answer:
            async for _ in answer.body:
                chunks += 1
        return chunks

    return run, upstream.close


async def httpx_runner(port: int) -> tuple[Run, Callable[[], Awaitable[None]]]:
    client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
    headers = [(name, value) for name, value in HEADERS if name not in {b"host", b"connection", b"content-length"}]

    async def run(path: str) -> int:
        chunks = 0
        async with client.stream("POST", path + "?beta=true", headers=headers, content=BODY) as answer:
            async for _ in answer.aiter_raw():
                chunks += 1
        return chunks

    return run, client.aclose


async def floor_runner(port: int) -> tuple[Run, Callable[[], Awaitable[None]]]:
    loop = asyncio.get_running_loop()
    idle: list[Floor] = []

    async def run(path: str) -> int:
        protocol = idle.pop() if idle else (await loop.create_connection(Floor, "127.0.0.1", port))[1]
        before = protocol.reads
        await protocol.ask(raw_request(path), sys.maxsize if path.startswith("/stream") else len(PLAIN))
        idle.append(protocol)
        return protocol.reads - before

    async def close() -> None:
        for protocol in idle:
            protocol.transport.close()
        await asyncio.sleep(0)

    return run, close


async def cpu_per_call(run: Run, calls: int, at_once: int) -> float:
    async def caller(turns: int) -> None:
        for _ in range(turns):
            await run("/v1/messages")

    await asyncio.gather(*(caller(20) for _ in range(at_once)))
    turns = calls // at_once
    began = time.process_time()
    await asyncio.gather(*(caller(turns) for _ in range(at_once)))
    return (time.process_time() - began) / (turns * at_once) * 1e6


async def cpu_per_event(run: Run, streams: int, events: int) -> tuple[float, float]:
    path = f"/stream/{events}/0.004"
    await asyncio.gather(*(run("/stream/2/0.001") for _ in range(streams)))
    began = time.process_time()
    reads = await asyncio.gather(*(run(path) for _ in range(streams)))
    return (time.process_time() - began) / (streams * events) * 1e6, sum(reads) / (streams * events)


async def measure(port: int, options: argparse.Namespace) -> None:
    runners = {"floor": floor_runner, "pool": pool_runner, "httpx2": httpx_runner}
    alone: dict[str, list[float]] = {name: [] for name in runners}
    per_call: dict[str, list[float]] = {name: [] for name in runners}
    per_event: dict[str, list[tuple[float, float]]] = {name: [] for name in runners}
    for _ in range(options.repeat):
        for name, make in runners.items():
            run, close = await make(port)
            calls = options.calls // (5 if name == "httpx2" else 1)
            alone[name].append(await cpu_per_call(run, calls, 1))
            per_call[name].append(await cpu_per_call(run, calls, options.at_once))
            per_event[name].append(await cpu_per_event(run, options.streams, options.events))
            await close()
    print("CPU us of the client per    1 KB call    the same    streamed     reads per")
    print(f"                            one by one  {options.at_once:3} at once       event         event")
    for name in runners:
        events = median(cost for cost, _ in per_event[name])
        reads = median(ratio for _, ratio in per_event[name])
        print(f"{name:24} {median(alone[name]):12.1f} {median(per_call[name]):11.1f} {events:11.1f} {reads:13.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--streams", type=int, default=40)
    parser.add_argument("--events", type=int, default=250)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve())
        return
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE) as server:
        try:
            uvloop.run(measure(int(server.stdout.readline()), options))
        finally:
            server.kill()


if __name__ == "__main__":
    main()
