"""The load generator of the gateway benchmark: one process, raw sockets, nothing that could become the bottleneck.

    python bench/gateway_load.py JOB_JSON

Warms up, prints `ready`, waits for a line on standard input, runs, prints its figures as JSON. Job fields:
url, key, kind (closed: `concurrency` callers for `seconds`; open: `rate` calls a second for `seconds`; streams:
`concurrency` streams, `rounds` times; turns: `concurrency` conversations of `size` bytes growing by `step`, `rounds`
times), size (of the request body), stream, fresh (no text is sent twice).
"""

import asyncio
import json
import random
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import httptools
import uvloop

TEXT = (
    "the build reads each module once and writes a plan that names every step in order before any file is changed so "
    "that a reader can follow what happened and why a test was run twice when the first result was not clear return "
    "value path line error handler request parser buffer socket option default class import self async await none"
)
WORDS = TEXT.split()
FRESH = b"this call is named aaaaaaaaaaaa "
"""Begins every small body; with the job's `fresh` the name is another one each time, so that no text repeats. It is of
letters: twelve digits after "call number" are found as a telephone number, which an ordinary call does not hold.
"""
LETTERS = bytes.maketrans(b"0123456789", b"abcdefghij")
TOOL = {"name": "Read", "description": "Reads a file.", "input_schema": {"type": "object", "properties": {}}}


def prose(size: int, seed: int) -> str:
    pick = random.Random(seed)
    words: list[str] = []
    length = 0
    while length < size:
        words.append(pick.choice(WORDS))
        length += len(words[-1]) + 1
    return " ".join(words)


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Caller(asyncio.Protocol):
    """One keep-alive connection; call() sends a body and returns when the whole answer is there."""

    def __init__(self, job: dict[str, Any]) -> None:
        parts = urlsplit(job["url"])
        self.address = (parts.hostname, parts.port)
        self.head = (
            f"POST /v1/messages?beta=true HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n"
            f"Authorization: Bearer {job['key']}\r\nContent-Type: application/json\r\nx-app: cli\r\n"
            "User-Agent: claude-cli/2.1.330 (external, cli)\r\nanthropic-version: 2023-06-01\r\n"
            "anthropic-beta: claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27\r\n"
            "X-Claude-Code-Session-Id: 0b6f1c1e-6f0e-4f55-9f0a-3d6f8f1f2a11\r\nX-Stainless-Lang: js\r\n"
            "X-Stainless-Retry-Count: 0\r\nX-Stainless-Timeout: 600\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
        ).encode()
        self.events = 0
        self.failed = 0
        self.first = 0.0
        self.gaps: list[float] = []
        self._last = 0.0
        self._done: asyncio.Future[None] | None = None
        self._transport: Any = None

    async def connect(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        await asyncio.get_running_loop().create_connection(lambda: self, *self.address)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._done is not None and not self._done.done():
            self._done.set_exception(error or ConnectionError("closed in the middle of an answer"))

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self.first:
            self.first = now
        elif self._last:
            self.gaps.append(now - self._last)
        self._last = now
        self.events += data.count(b"event: ")
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self.parser.get_status_code() != 200:
            self.failed += 1
        keep = self.parser.should_keep_alive()
        self.parser = httptools.HttpResponseParser(self)
        if not keep and self._transport is not None:
            self._transport.close()
            self._transport = None
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def call(self, body: bytes) -> None:
        if self._transport is None:
            await self.connect()
        self.first = self._last = 0.0
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(self.head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await self._done


def small_body(job: dict[str, Any], seed: int) -> bytes:
    size = job["size"] - 200
    content = FRESH.decode() + prose(size, seed)
    body = {"model": "claude-sonnet-5-5", "max_tokens": 1024, "messages": [{"role": "user", "content": content}]}
    return compact(body | {"stream": bool(job.get("stream"))})


class Conversation:
    """A Claude-Code-like body that grows by about `step` bytes a turn."""

    def __init__(self, job: dict[str, Any], seed: int) -> None:
        self._step, self._seed, self._stream = job["step"], seed * 1000, bool(job.get("stream"))
        system = [
            {"type": "text", "text": prose(7_000, seed), "cache_control": {"type": "ephemeral"}},
        ]
        tools = [TOOL | {"name": f"Tool{number}", "description": prose(2_000, number)} for number in range(14)]
        head = {"model": "claude-sonnet-5-5", "max_tokens": 128_000, "system": system, "tools": tools}
        self._head = compact(head | {"thinking": {"type": "adaptive"}})[:-1] + b',"messages":['
        self._messages: list[bytes] = []
        size = 40_000
        while size < job["size"]:
            self.grow()
            size += len(self._messages[-1]) + len(self._messages[-2])

    def grow(self) -> None:
        self._seed += 1
        use = {"type": "tool_use", "id": f"toolu_{self._seed:08d}", "name": "Tool1", "input": {"path": "src/a.py"}}
        result = {"type": "tool_result", "tool_use_id": use["id"], "content": prose(self._step - 300, self._seed)}
        self._messages.append(compact({"role": "assistant", "content": [{"type": "text", "text": "I read it."}, use]}))
        self._messages.append(compact({"role": "user", "content": [result]}))

    def body(self) -> bytes:
        tail = b'],"stream":true}' if self._stream else b'],"stream":false}'
        return self._head + b",".join(self._messages) + tail


class Run:
    """Latencies (seconds), and what the callers counted."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.callers = [Caller(job) for _ in range(job["concurrency"])]
        self.times: list[float] = []
        self.first_bytes: list[float] = []
        self.late = 0
        self.number = 0

    async def prepare(self) -> None:
        for start in range(0, len(self.callers), 50):
            await asyncio.gather(*(caller.connect() for caller in self.callers[start : start + 50]))
        if self.job["kind"] == "turns":
            self.conversations = [Conversation(self.job, number + 1) for number in range(len(self.callers))]
            for caller, conversation in zip(self.callers, self.conversations, strict=True):
                await self.timed(caller, conversation.body())  # the first sight of a conversation is measured apart
            self.first_sight = [round(taken * 1000, 2) for taken in self.times]
            return
        self.bodies = [small_body(self.job, number) for number in range(min(len(self.callers), 64))]
        if self.job["kind"] != "streams":
            await asyncio.gather(*(self._closed(caller, number, 0.7) for number, caller in enumerate(self.callers)))

    def reset(self) -> None:
        self.times.clear()
        self.first_bytes.clear()
        for caller in self.callers:
            caller.events = caller.failed = 0
            caller.gaps.clear()

    async def timed(self, caller: Caller, body: bytes) -> None:
        if self.job.get("fresh"):
            self.number += 1
            body = body.replace(FRESH, b"this call is named %b " % (b"%012d" % self.number).translate(LETTERS), 1)
        began = time.perf_counter()
        await caller.call(body)
        self.times.append(time.perf_counter() - began)
        self.first_bytes.append(caller.first - began)

    async def go(self) -> None:
        await getattr(self, f"_{self.job['kind']}_all")()

    async def _closed_all(self) -> None:
        seconds = self.job["seconds"]
        await asyncio.gather(*(self._closed(caller, number, seconds) for number, caller in enumerate(self.callers)))

    async def _closed(self, caller: Caller, number: int, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            await self.timed(caller, self.bodies[number % len(self.bodies)])

    async def _open_all(self) -> None:
        """Calls start on a random (Poisson) schedule whatever the answers do; latency counts from the due time."""
        idle = list(self.callers)
        pick = random.Random(7)
        due = time.perf_counter()
        end = due + self.job["seconds"]
        running: set[asyncio.Task[None]] = set()

        async def one(due: float) -> None:
            caller = idle.pop()
            try:
                await caller.call(self.bodies[0])
                self.times.append(time.perf_counter() - due)
            finally:
                idle.append(caller)

        while due < end:
            due += pick.expovariate(self.job["rate"])
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            if not idle:
                self.late += 1
                continue
            task = asyncio.create_task(one(due))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    async def _streams_all(self) -> None:
        spread = self.job.get("spread", 0.0)

        async def one(number: int, caller: Caller) -> None:
            await asyncio.sleep(spread * number / len(self.callers))
            for _ in range(self.job["rounds"]):
                await self.timed(caller, self.bodies[number % len(self.bodies)])

        await asyncio.gather(*(one(number, caller) for number, caller in enumerate(self.callers)))

    async def _turns_all(self) -> None:
        async def one(caller: Caller, conversation: Conversation) -> None:
            for _ in range(self.job["rounds"]):
                conversation.grow()
                await self.timed(caller, conversation.body())

        await asyncio.gather(*map(one, self.callers, self.conversations))

    def figures(self, took: float) -> dict[str, Any]:
        gaps = sorted(gap for caller in self.callers for gap in caller.gaps)
        return {
            "calls": len(self.times),
            "failed": sum(caller.failed for caller in self.callers),
            "late": self.late,
            "seconds": round(took, 3),
            "events": sum(caller.events for caller in self.callers),
            "latency_ms": percentiles(self.times),
            "first_byte_ms": percentiles(self.first_bytes),
            "gap_ms": percentiles(gaps),
            "first_sight_ms": getattr(self, "first_sight", []),
        }


def percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ranked = sorted(values)
    wanted = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(ranked[min(len(ranked) - 1, int(len(ranked) * at))] * 1000, 3) for name, at in wanted.items()}


async def main(job: dict[str, Any]) -> None:
    run = Run(job)
    await run.prepare()
    run.reset()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    began = time.perf_counter()
    await run.go()
    sys.stdout.write(json.dumps(run.figures(time.perf_counter() - began)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1])))
