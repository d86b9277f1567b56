"""Search in three log files of one folder. An entry is a line that begins with a date and what follows it, such as a
stack trace. Bounded in bytes, time and lines; the newest entries win. Runs in a thread. Below: the files.
"""

import gzip
import io
import os
import re
import stat
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import UpstreamUnreachable

FILES = ("mailbox.log", "audit.log", "sync.log")
LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")
MOST_BYTES = 64 << 20
"""Of each file the newest; of a compressed one the first, since it cannot be read from its end."""
SECONDS = 20.0
LONGEST_ENTRY = 256 << 10
LONGEST_LINE = 2000
_CHUNK = 1 << 20
_BEGIN = re.compile(rb"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[,.]\d{3} ", re.MULTILINE)
_LEVEL = re.compile(rb"\S+ \S+ +([A-Z]+) ")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """file: one of FILES. level: this or a graver one; "" is any. lines: at most. rotated: older files to look into."""

    file: str
    finds: Callable[[str], bool]
    lines: int
    level: str = ""
    rotated: int = 0


class Found(msgspec.Struct, kw_only=True):
    """entries: the oldest first, each of one or more lines. read: bytes. more: older ones match too. partial: not
    everything was looked at. files: names, the newest first.
    """

    entries: list[str] = []
    read: int = 0
    more: bool = False
    partial: bool = False
    files: list[str] = []


class Logs:
    """folder: where Zimbra writes its logs. Files are opened relative to it and never through a symbolic link."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    def search(self, wanted: Wanted) -> Found:
        """Raises UpstreamUnreachable: the file is not there or cannot be read."""
        found = Found()
        until = self._clock.monotonic() + SECONDS
        room = wanted.lines
        try:
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(self._folder, error) from error
        try:
            for name in [wanted.file, *_rotated(folder, wanted)]:
                found.files.append(name)
                entries = self._of_file(folder, name, wanted, room, found, until)
                found.entries[:0] = entries
                room -= sum(entry.count("\n") + 1 for entry in entries)
                if room <= 0 or found.more:
                    break
        except (OSError, EOFError, zlib.error) as error:
            raise _unreadable(self._folder / found.files[-1], error) from error
        finally:
            os.close(folder)
        return found

    def _of_file(  # noqa: PLR0917 - one call, beside its loop
        self, folder: int, name: str, wanted: Wanted, room: int, found: Found, until: float
    ) -> list[str]:
        kept: deque[tuple[bytes, int]] = deque()
        held = 0
        with _opened(folder, name, found) as file:
            for raw in _entries(file, found):
                if self._clock.monotonic() > until:
                    found.partial = True
                    break
                if not _is_grave(raw, wanted.level) or not wanted.finds(raw.decode(errors="replace")):
                    continue
                size = min(raw.count(b"\n", 0, -1) + 1, room)
                kept.append((raw, size))
                held += size
                while held > room:
                    held -= kept.popleft()[1]
                    found.more = True
        return [_readable(raw, room) for raw, _ in kept]


def _rotated(folder: int, wanted: Wanted) -> list[str]:
    """The newest first; a day's file may be compressed."""
    if not wanted.rotated:
        return []
    pattern = re.compile(re.escape(wanted.file) + r"\.\d{4}-\d\d-\d\d(\.gz)?")
    return sorted((name for name in os.listdir(folder) if pattern.fullmatch(name)), reverse=True)[: wanted.rotated]


def _opened(folder: int, name: str, found: Found) -> io.BufferedIOBase:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    file = os.fdopen(descriptor, "rb")
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        file.close()
        raise OSError(0, "it is not a file")
    if name.endswith(".gz"):
        return _Unpacked(file)
    if status.st_size > MOST_BYTES:
        file.seek(status.st_size - MOST_BYTES)
        found.partial = True
    return file


class _Unpacked(gzip.GzipFile):
    """Closes the file that it reads, too."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._packed = file

    def close(self) -> None:
        with suppress(OSError):
            super().close()
        self._packed.close()


def _entries(file: io.BufferedIOBase, found: Found) -> Iterator[bytes]:
    """What comes before the first beginning is the rest of an entry that is not there, and left out."""
    rest = b""
    begun = False
    read = 0
    while chunk := file.read(_CHUNK):
        read += len(chunk)
        found.read += len(chunk)
        if read > MOST_BYTES:
            found.partial = True
            break
        data = rest + chunk
        begins = [match.start() for match in _BEGIN.finditer(data)]
        if not begins:
            rest = data[:LONGEST_ENTRY] if begun else data[-64:]
            continue
        begun = True
        for at, after in pairwise(begins):
            yield data[at : min(after, at + LONGEST_ENTRY)]
        rest = data[begins[-1] :]
    if begun and rest:
        yield rest[:LONGEST_ENTRY]


def _is_grave(entry: bytes, level: str) -> bool:
    if not level:
        return True
    said = _LEVEL.match(entry)
    word = said[1].decode() if said else ""
    return word in LEVELS and LEVELS.index(word) >= LEVELS.index(level)


def _readable(raw: bytes, room: int) -> str:
    """At most `room` lines, each bounded, without control characters."""
    lines = raw.decode(errors="replace").rstrip("\r\n").split("\n")
    if len(lines) > room > 1:
        lines = [*lines[: room - 1], f"… {len(lines) - room + 1} more lines"]
    return "\n".join(
        "".join(sign for sign in line[:LONGEST_LINE] if sign.isprintable() or sign == "\t") for line in lines[:room]
    )


def _unreadable(path: Path, error: BaseException) -> UpstreamUnreachable:
    what = getattr(error, "strerror", None) or str(error)
    return UpstreamUnreachable(f"{path} cannot be read: {what}. (--logs says where they are.)", target="zimbra")
