"""Starts a gateway as a program of its own, with a temporary data folder, against the recording upstream.

Used by `ai-platform conformance --spawn`; other gateways are started by whoever knows how.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from ai_platform.domain.errors import PlatformError

UPSTREAM_KEY = "sk-ant-conformance-upstream-key"

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_LAST_LINES = 15


class NotStarted(PlatformError):
    """The gateway did not become ready; the message holds the end of what it printed."""


@asynccontextmanager
async def spawned(upstream: str, *, more: Sequence[str] = ()) -> AsyncGenerator[tuple[str, str]]:
    """(url, admin key) of a fresh `ai-platform up` that calls `upstream`; stopped and removed at the end.

    more: further options of `up`.

    Raises:
        NotStarted: it ended, or was not ready within a minute.

    """
    with tempfile.TemporaryDirectory(prefix="aip-") as folder:
        ready, log = Path(folder) / "ready.json", Path(folder) / "log"
        command = [sys.executable, "-c", "from ai_platform.cli import main; main()", "up"]
        options = ["--data", f"{folder}/data", "--port", "0", "--ready-file", str(ready), "--upstream", upstream, *more]
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                *options,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "ANTHROPIC_API_KEY": UPSTREAM_KEY},
            )
        try:
            yield await _ready(process, ready, log)
        finally:
            await _stop(process)


async def _ready(process: asyncio.subprocess.Process, ready: Path, log: Path) -> tuple[str, str]:
    try:
        async with asyncio.timeout(_START_SECONDS):
            while (facts := _written(ready)) is None:
                if process.returncode is not None:
                    raise NotStarted(f"The gateway ended with exit code {process.returncode}:\n{_tail(log)}")
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise NotStarted(f"The gateway was not ready within {_START_SECONDS:g} s:\n{_tail(log)}") from error
    return str(facts["url"]), str(facts["admin_key"])


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


def _written(ready: Path) -> dict[str, Any] | None:
    return json.loads(ready.read_bytes()) if ready.exists() else None


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_LAST_LINES:]) or "(it printed nothing)"
