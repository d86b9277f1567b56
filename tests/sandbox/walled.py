"""Runs a piece of Python inside the sandbox as the platform would, and says what came of it."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ai_platform.domain.clock import SystemClock
from ai_platform.sandbox import Folders, Program, Sandbox, launcher
from ai_platform.sandbox.settings import SandboxSettings

requires_walls = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed (apt install bubblewrap)"
)
PYTHON = Path(sys.executable).resolve()
INTERPRETER = (str(Path(sys.base_prefix).resolve()),)
"""What a Python program needs to see beside the system, when its interpreter is not the system's."""
SYSTEM_PYTHON = "/usr/bin/python3"
BOUND = 60.0


async def ready(data: Path, **settings: Any) -> Sandbox:
    await asyncio.to_thread(data.mkdir, exist_ok=True)
    sandbox = Sandbox(SandboxSettings(**settings), data, clock=SystemClock())
    await sandbox.ready()
    return sandbox


def python(code: str, **fields: Any) -> Program:
    """A program that runs `code`, which says what it found with `say(value)`."""
    folders = fields.pop("folders", Folders())
    seen = Folders(read=(*INTERPRETER, *folders.read), write=folders.write)
    prelude = "import json, os, sys\ndef say(value): print(json.dumps(value), flush=True)\n"
    command = (str(PYTHON), "-I", "-c", prelude + code)
    return Program(**{"name": "tested", "command": command, "folders": seen, **fields})


async def started(sandbox: Sandbox, stack: Any, program: Program) -> asyncio.subprocess.Process:
    """The process, with pipes; it is ended with the stack."""
    prepared = await stack.enter_async_context(sandbox.prepared(program))
    process = await asyncio.create_subprocess_exec(
        *prepared.argv,
        env=prepared.env,
        cwd=prepared.cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=prepared.stderr,
        start_new_session=True,
    )
    stack.push_async_callback(ended, process)
    return process


async def ended(process: asyncio.subprocess.Process) -> None:
    """As the protocol asks: its input is closed, then it is asked, then killed."""
    assert process.stdin is not None
    process.stdin.close()
    if process.returncode is None:
        process.terminate()
    async with asyncio.timeout(BOUND):
        await process.wait()


async def outcome(sandbox: Sandbox, program: Program) -> tuple[int, list[Any]]:
    """(exit code, what it said)."""
    async with sandbox.prepared(program) as prepared:
        process = await asyncio.create_subprocess_exec(
            *prepared.argv,
            env=prepared.env,
            cwd=prepared.cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=prepared.stderr,
            start_new_session=True,
        )
        async with asyncio.timeout(BOUND):
            out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in out.splitlines()]


async def said(sandbox: Sandbox, code: str, **fields: Any) -> Any:
    """The one thing it said; it must leave with 0."""
    status, words = await outcome(sandbox, python(code, **fields))
    assert status == 0, sandbox.journal("tested").tail(20)
    (word,) = words
    return word


async def as_ordinary_user(sandbox: Sandbox, code: str) -> Any:
    """The one thing that the system's Python says when the platform runs as `nobody`."""
    sandbox._root = False
    prelude = "import json, os\ndef say(value): print(json.dumps(value), flush=True)\n"
    program = Program(name="ordinary", command=(SYSTEM_PYTHON, "-I", "-c", prelude + code))
    with open_to_all(launcher.__file__) as copy:
        async with sandbox.prepared(program) as prepared:
            at = prepared.argv.index(launcher.__file__)
            process = await asyncio.create_subprocess_exec(
                *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", SYSTEM_PYTHON, "-I", "-S", copy),
                *(word.replace("setpriv", "prlimit") for word in prepared.argv[at + 1 :]),
                env=prepared.env,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=prepared.stderr,
            )
            async with asyncio.timeout(BOUND):
                out, _ = await process.communicate()
    assert process.returncode == 0, sandbox.journal("ordinary").tail(20)
    return json.loads(out)


@contextmanager
def open_to_all(file: str) -> Iterator[str]:
    """A copy that every user may read, wherever this checkout lies."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield shutil.copy(file, folder)


def names_in(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in {"Z", "X"}


def processes_with(marker: str) -> list[int]:
    """Living processes that carry the marker in their command line, seen from outside."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if marker.encode() in command and int(path.name) != os.getpid() and alive(int(path.name)):
            found.append(int(path.name))
    return found
