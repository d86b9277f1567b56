"""What the simulated upstream costs: CPU per streamed event and per small call, in a process of its own.

    python bench/simulator.py [--streams 1000 --pace 25 --seconds 10 --calls 20000]

Linux only (reads the server's CPU time from /proc). The client side runs here and is not counted.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import uvloop

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def request(prompt: str, *, stream: bool) -> bytes:
    body = json.dumps(
        {
            "model": "claude-haiku-5-5",
            "max_tokens": 100_000,
            "stream": stream,
            "messages": [{"role": "user", "content": prompt}],
        }
    ).encode()
    head = (
        "POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: bench\r\nanthropic-version: 2023-06-01\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Client(asyncio.Protocol):
    """Sends one request at a time and counts events; `done` is set when the last chunk (or body) has come."""

    def __init__(self) -> None:
        self.events = 0
        self.done = asyncio.Event()
        self.ending = b"0\r\n\r\n"
        self.transport: asyncio.Transport | None = None
        self.largest_gap = 0.0
        self.last = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if self.last:
            self.largest_gap = max(self.largest_gap, now - self.last)
        self.last = now
        self.events += data.count(b"event: ")
        if data.endswith(self.ending):
            self.done.set()


async def streams(port: int, pid: int, options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    clients = [Client() for _ in range(options.streams)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
    payload = request(f"long:{int(options.pace * options.seconds)}", stream=True)
    before, start = cpu_seconds(pid), time.monotonic()
    for client in clients:
        client.transport.write(payload)
    await asyncio.gather(*(client.done.wait() for client in clients))
    took, used = time.monotonic() - start, cpu_seconds(pid) - before
    events = sum(client.events for client in clients)
    gap = max(client.largest_gap for client in clients)
    print(
        f"{options.streams} streams x {options.pace:g} events/s: {events} events in {took:.1f} s "
        f"({events / took:.0f}/s), server CPU {used / took * 100:.0f} % of one core, "
        f"{used / events * 1e6:.1f} us/event, longest gap in one stream {gap * 1000:.0f} ms"
    )


async def calls(port: int, pid: int, options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    for stream in (False, True):
        payload = request("echo:hello world", stream=stream)
        clients = [Client() for _ in range(8)]
        for client in clients:
            client.ending = client.ending if stream else b"}"
            await loop.create_connection(lambda client=client: client, "127.0.0.1", port)

        async def worker(client: Client, payload: bytes) -> None:
            for _ in range(options.calls // 8):
                client.done.clear()
                client.transport.write(payload)
                await client.done.wait()

        before, start = cpu_seconds(pid), time.monotonic()
        await asyncio.gather(*(worker(client, payload) for client in clients))
        took, used = time.monotonic() - start, cpu_seconds(pid) - before
        kind = "streamed (9 events)" if stream else "whole"
        print(f"small {kind} call: {options.calls / took:.0f}/s, server CPU {used / options.calls * 1e6:.0f} us/call")


async def main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        for pace, measure in ((options.pace, streams), (0, calls)):
            server = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "ai_platform.simulator", "--ready-file", str(ready), "--pace", str(pace)),
                stdout=asyncio.subprocess.PIPE,
            )
            try:
                await server.stdout.readline()
                await measure(int(json.loads(ready.read_bytes())["url"].rpartition(":")[2]), server.pid, options)
            finally:
                server.terminate()
                await server.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--pace", type=float, default=25)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--calls", type=int, default=20_000)
    uvloop.run(main(parser.parse_args()))
