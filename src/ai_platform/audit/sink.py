"""The optional JSON Lines copy of every event, written by a thread of its own so that a slow disk never holds the loop.

Not the record (PostgreSQL is). Best effort by default: a lost line is counted. With `required` an append waits until
its line is flushed to disk and fails when it is not. Above: trail. Below: settings.
"""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from ai_platform.audit.settings import SinkSettings
from ai_platform.domain.errors import AuditUnavailable, ConfigError


class JsonlSink:
    """written, lost: lines. queued: lines that wait for the disk."""

    def __init__(self, settings: SinkSettings) -> None:
        """Open the file for appending.

        Raises:
            ConfigError: the file cannot be written.

        """
        self.settings = settings
        self.written = 0
        self.lost = 0
        self.queued = 0
        self.last_error = ""
        self._path = Path(settings.path).expanduser()
        self._waiting: list[tuple[list[bytes], asyncio.Future[None] | None]] = []
        self._task: asyncio.Task[None] | None = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
            self._size = os.fstat(self._file).st_size
        except OSError as error:
            raise ConfigError(
                f"audit.sink.path {self._path} cannot be written ({error}). Create the folder for this user, choose"
                " another path, or set audit.sink.enabled to false."
            ) from error

    async def write(self, lines: list[bytes]) -> None:
        """Hand lines over; with `required`, wait until they are on disk.

        Raises:
            AuditUnavailable: `required`, and they could not be written.

        """
        if self.queued + len(lines) > self.settings.queue_lines:
            self._lose(lines, OSError("the disk is too slow, the queue is full"))
            if self.settings.required:
                raise AuditUnavailable(self._refusal())
            return  # fails open: the database has the event; counted in `lost`
        done = asyncio.get_running_loop().create_future() if self.settings.required else None
        self.queued += len(lines)
        self._waiting.append((lines, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        if done:
            await done

    async def close(self) -> None:
        """Write what waits, then close the file."""
        if self._task:
            await self._task
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            lines = [line for group, _ in batch for line in group]
            error: OSError | None = None
            try:
                await asyncio.to_thread(self._append, lines)
                self.written += len(lines)
            except OSError as failure:
                error = failure
                self._lose(lines, failure)
            self.queued -= len(lines)
            for _, done in batch:
                if done and not done.done():
                    if error:
                        done.set_exception(AuditUnavailable(self._refusal()))
                    else:
                        done.set_result(None)

    def _append(self, lines: Sequence[bytes]) -> None:
        if self._size >= self.settings.rotate_bytes:
            self._rotate()
        data = b"".join(lines)
        taken = 0
        try:
            while taken < len(data):  # a full disk may take a part of it
                taken += os.write(self._file, data[taken:])
            if self.settings.required:
                os.fsync(self._file)
        except OSError:
            with contextlib.suppress(OSError):  # no half line: whoever reads the file reads whole lines
                os.ftruncate(self._file, self._size)
            raise
        self._size += taken

    def _rotate(self) -> None:
        for number in range(self.settings.keep, 0, -1):
            older = self._numbered(number - 1) if number > 1 else self._path
            if older.exists():
                older.replace(self._numbered(number))
        fresh = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        os.close(self._file)
        self._file = fresh
        self._size = 0

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _lose(self, lines: Sequence[bytes], error: OSError) -> None:
        self.lost += len(lines)
        self.last_error = str(error)

    def _refusal(self) -> str:
        return (
            f"The audit copy {self._path} cannot be written ({self.last_error}) and audit.sink.required is set:"
            " free space there, or set it to false."
        )
