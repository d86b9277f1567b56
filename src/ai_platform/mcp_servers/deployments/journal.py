"""One JSON line for every attempt and every outcome, on disk before anything runs (fails closed)."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import AuditUnavailable
from ai_platform.domain.event import EventType


class Journal:
    """written, failed: counters. Several processes may append to one file: a line is one write."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self.written = 0
        self.failed = 0

    async def write(self, event: EventType, facts: dict[str, Any]) -> None:
        """Durable when it returns.

        Raises:
            AuditUnavailable: it cannot be written; nothing may be executed.

        """
        stamp = datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = msgspec.json.encode({"timestamp": stamp, "event_type": event.value, **facts}) + b"\n"
        try:
            await asyncio.to_thread(_append, self._path, line)
        except OSError as error:
            self.failed += 1
            raise AuditUnavailable(
                f"The audit file {self._path} cannot be written ({error.strerror or error}); nothing is executed."
            ) from error
        self.written += 1


def _append(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        written = os.write(descriptor, line)
        if written != len(line):
            raise OSError(f"only {written} of {len(line)} bytes were written")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
