"""What a program writes to standard error: kept in a file of bounded size, line by line, with times.

Fails open: what cannot be written is counted. Control characters are replaced, so that a log cannot drive a terminal.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import ConfigError

LONGEST_LINE = 4000
CHUNK = 1 << 15
RATE = 1 << 20
"""Bytes taken in a second: who floods standard error waits, not the platform."""
LAST_WORDS_SECONDS = 1.0


class Journal:
    """One program's. lines, failed: counters. clean: takes secrets out of a line."""

    def __init__(self, path: Path, *, most_bytes: int, clock: Clock, clean: Callable[[str], str]) -> None:
        self.path = path
        self._older = path.with_suffix(".1.log")
        self._most = most_bytes // 2
        self._clock = clock
        self._clean = clean
        self._rest = b""
        self.lines = 0
        self.failed = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._size = path.stat().st_size if path.exists() else 0
        except OSError as error:
            raise ConfigError(f"The log {path} cannot be written: {error.strerror}.") from error

    def note(self, text: str) -> None:
        """A line of the platform's own, such as `started`."""
        self._write([f"-- {text}"])

    def feed(self, data: bytes) -> None:
        *whole, rest = (self._rest + data).split(b"\n")
        if len(rest) > LONGEST_LINE:
            whole, rest = [*whole, rest], b""
        self._rest = rest
        self._write([line.decode(errors="replace") for line in whole])

    def end(self) -> None:
        if self._rest:
            self._write([self._rest.decode(errors="replace")])
            self._rest = b""

    def tail(self, count: int) -> list[str]:
        """The last lines, oldest first."""
        texts: list[str] = []
        for path in (self._older, self.path):
            with contextlib.suppress(OSError):
                texts += path.read_text(encoding="utf-8", errors="replace").splitlines()
        return texts[-count:] if count > 0 else []

    def _write(self, lines: list[str]) -> None:
        if not lines:
            return
        stamp = datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        data = "".join(f"{stamp} {self._clean(_plain(line))}\n" for line in lines).encode(errors="replace")
        self.lines += len(lines)
        try:
            if self._size + len(data) > self._most and self._size:
                self.path.replace(self._older)
                self._size = 0
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._size += os.write(descriptor, data[: self._most])
            finally:
                os.close(descriptor)
        except OSError:
            self.failed += len(lines)


def _plain(line: str) -> str:
    return "".join(sign if sign.isprintable() or sign == "\t" else "�" for sign in line.rstrip("\r")[:LONGEST_LINE])


@asynccontextmanager
async def listening(journal: Journal) -> AsyncGenerator[int]:
    """A descriptor for a program's standard error; what is written there goes to the journal until the block ends."""
    reading, writing = os.pipe()
    stream = asyncio.StreamReader(limit=CHUNK)
    protocol = asyncio.StreamReaderProtocol(stream)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(reading, "rb", 0))
    task = asyncio.create_task(_copy(stream, journal), name="standard error of a server")
    try:
        yield writing
    finally:
        os.close(writing)
        # One that got away may hold its end of the pipe open; it is not waited for.
        await asyncio.wait([task], timeout=LAST_WORDS_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        transport.close()


async def _copy(stream: asyncio.StreamReader, journal: Journal) -> None:
    clock = asyncio.get_running_loop().time
    begun, taken = clock(), 0
    while chunk := await stream.read(CHUNK):
        journal.feed(chunk)
        taken += len(chunk)
        if taken >= RATE:
            await asyncio.sleep(max(0.0, begun + 1.0 - clock()))
            begun, taken = clock(), 0
    journal.end()
