"""Runs one command in a process group of its own: output by lines, a deadline, and an end that takes all of it.

No shell, no standard input. The group is ended by SIGTERM, then SIGKILL. After a failure, what the command left behind
in its group is ended too; after a success it may stay.
"""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from ai_platform.domain.clock import Clock

LONGEST_LINE = 2000
KEPT_LINES = 50
GRACE_SECONDS = 2.0
_POLL_SECONDS = 0.02
_PROC = Path("/proc")

Heard = Callable[[str], Awaitable[None]]


class Ended(msgspec.Struct, frozen=True):
    """code: the exit code, negative for a signal, None when it could not start. tail: the last lines of its output."""

    code: int | None
    seconds: float
    timed_out: bool
    tail: tuple[str, ...]


class Running:
    """A command that runs. group: its process group."""

    def __init__(self, process: asyncio.subprocess.Process, clock: Clock) -> None:
        self._process = process
        self._clock = clock
        self._started = clock.monotonic()
        self.group = process.pid
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)

    async def wait(self, timeout: float, heard: Heard) -> Ended:
        """Until it ends by itself, is ended, or `timeout` seconds have passed. heard: awaited for each line."""
        reading = asyncio.create_task(self._read(heard))
        timed_out = False
        try:
            async with asyncio.timeout(timeout):
                await self._process.wait()
        except TimeoutError:
            timed_out = True
        finally:
            if self._process.returncode != 0:
                await end_group(self.group)
            await self._process.wait()
            # A child outside the group may hold the pipe open; its output is not waited for.
            _done, late = await asyncio.wait([reading], timeout=GRACE_SECONDS)
            for task in late:
                task.cancel()
        seconds = self._clock.monotonic() - self._started
        return Ended(self._process.returncode, seconds, timed_out, tuple(self.lines))

    async def _read(self, heard: Heard) -> None:
        assert self._process.stdout is not None
        rest = b""
        while chunk := await self._process.stdout.read(65_536):
            *whole, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                whole, rest = [*whole, rest], b""
            for line in whole:
                await self._hear(line, heard)
        if rest:
            await self._hear(rest, heard)

    async def _hear(self, line: bytes, heard: Heard) -> None:
        text = "".join(
            sign
            for sign in line.decode(errors="replace").rstrip("\r")[:LONGEST_LINE]
            if sign.isprintable() or sign == "\t"
        )
        self.lines.append(text)
        await heard(text)


async def start(command: Sequence[str], folder: Path, environment: Mapping[str, str], clock: Clock) -> Running:
    """Raises OSError when it cannot be started."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    return Running(process, clock)


async def end_group(group: int) -> None:
    """Asks every process of the group to end, and kills what is left after two seconds."""
    for number, seconds in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, GRACE_SECONDS)):
        if not _signal(group, number):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while _is_left(group):  # noqa: ASYNC110 - only a parent is told of an end
                    await asyncio.sleep(_POLL_SECONDS)


def _signal(group: int, number: int) -> bool:
    """False when nobody of the group is left."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # one of them became another user; it cannot be ended from here
    return True


def _is_left(group: int) -> bool:
    """Somebody of the group still runs. What is dead but not reaped (a container without an init) does not count."""
    if not _signal(group, 0):
        return False
    if not _PROC.exists():
        return True
    return any(_state(path) == (group, True) for path in _PROC.glob("[0-9]*/stat"))


def _state(path: Path) -> tuple[int, bool]:
    """(process group, runs), from proc_pid_stat(5): the fields after the name in brackets."""
    try:
        fields = path.read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0, False
    return int(fields[2]), fields[0] not in {b"Z", b"X"}
