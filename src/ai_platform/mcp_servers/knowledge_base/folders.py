"""Finds what changed below the folders. Files are opened relative to their folder's descriptor and never through a
symbolic link, so that neither a link nor a race with one can lead outside.
"""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ai_platform.domain.errors import ConfigError
from ai_platform.mcp_servers.knowledge_base.entry import Changes, Document, Stamp
from ai_platform.mcp_servers.knowledge_base.extract import extract, is_readable

RACY = 2_000_000_000
"""Nanoseconds: a file written so shortly before it was read may be written again without a new date."""
MOST_DEPTH = 64
"""Folders below these are left out: each level holds a descriptor while it is walked."""
BATCH_BYTES = 8 << 20
BATCH_FILES = 1000
_NO_FILE = {
    errno.ELOOP,
    errno.ENOENT,
    errno.EACCES,
    errno.ENXIO,
    errno.EPERM,
    errno.ENOTDIR,
    errno.ESTALE,
    errno.EMLINK,
}


class Folder(msgspec.Struct, frozen=True):
    """label: first part of its documents' identifiers. path: resolved."""

    label: str
    path: Path


class Report(msgspec.Struct):
    """What a pass over the folders saw. skipped: too large, no text, unreadable."""

    files: int = 0
    read: int = 0
    written: int = 0
    gone: int = 0
    skipped: int = 0


def named(texts: list[str]) -> list[Folder]:
    """`PATH` or `LABEL=PATH` each; the label is the folder's name when not given.

    Raises:
        ConfigError: not a folder, or two with the same label.

    """
    folders: list[Folder] = []
    for text in texts:
        label, given, rest = text.partition("=")
        path = Path(rest if given else text).expanduser()
        if not path.is_dir():
            raise ConfigError(f"--folder {text}: {path} is not a folder.")
        resolved = path.resolve()
        label = label if given else resolved.name or "root"
        if not label or "/" in label:
            raise ConfigError(f"--folder {text}: a label must not be empty and must not contain '/'.")
        if any(folder.label == label for folder in folders):
            raise ConfigError(f"--folder {text}: another folder has the label '{label}'. Write LABEL=PATH.")
        folders.append(Folder(label, resolved))
    return folders


def differences(folders: list[Folder], known: dict[str, Stamp], most_bytes: int, report: Report) -> Iterator[Changes]:
    """What to write so that the index says what the folders hold, in batches. known: what is indexed.

    A folder that cannot be listed at all keeps its documents: an unmounted disk must not empty the index.
    """
    left = dict(known)
    written: list[Document] = []
    touched: dict[str, Stamp] = {}
    size = 0
    for folder in folders:
        if not _listable(folder.path):
            left = {name: stamp for name, stamp in left.items() if not name.startswith(f"{folder.label}/")}
            continue
        for identifier, descriptor, name in _files(folder):
            old = known.get(identifier)
            found = _look(identifier, descriptor, name, old, most_bytes, report)
            if found is None:
                continue
            left.pop(identifier, None)
            if isinstance(found, Document):
                written.append(found)
                size += len(found.body)
            elif found is not old:
                touched[identifier] = found
            if size >= BATCH_BYTES or len(written) + len(touched) >= BATCH_FILES:
                yield Changes(written, touched)
                written, touched, size = [], {}, 0
    report.gone = len(left)
    yield Changes(written, touched, sorted(left))


def _listable(path: Path) -> bool:
    try:
        with os.scandir(path):
            return True
    except OSError:
        return False


def _files(folder: Folder) -> Iterator[tuple[str, int, str]]:
    """(identifier, descriptor of the directory, name) of each readable file; hidden files and folders are left out."""
    for root, below, names, descriptor in os.fwalk(folder.path, follow_symlinks=False):
        below[:] = sorted(name for name in below if not name.startswith("."))
        relative = os.path.relpath(root, folder.path)
        if relative.count("/") >= MOST_DEPTH:
            below.clear()
        prefix = folder.label if relative == "." else f"{folder.label}/{relative}"
        for name in names:
            if not name.startswith(".") and is_readable(name):
                yield f"{prefix}/{name}", descriptor, name


def _look(  # noqa: PLR0917 - one call, beside its loop
    identifier: str, descriptor: int, name: str, old: Stamp | None, most_bytes: int, report: Report
) -> Document | Stamp | None:
    """A Document when the text is new, a Stamp when only its stamp is (the old one itself when nothing is)."""
    report.files += 1
    data: bytes | None = None
    status: os.stat_result | None = None
    try:
        identifier.encode()
        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most_bytes:
            report.skipped += 1
            return None
        if old is not None and old.same_as(_stamp(status, old.digest), RACY):
            return old
        status, data = _read(name, descriptor, most_bytes)
    except UnicodeEncodeError:
        data = None  # a name that is not text
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
    if data is None or status is None:
        report.skipped += 1
        return None
    report.read += 1
    stamp = _stamp(status, hashlib.sha256(data).digest())
    if old is not None and old.digest == stamp.digest:
        return stamp
    content = extract(name, data)
    if content is None:
        report.skipped += 1
        return None
    report.written += 1
    return Document(identifier, content.title, content.kind, content.body, stamp)


def _stamp(status: os.stat_result, digest: bytes) -> Stamp:
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, time.time_ns(), digest)


def _read(name: str, descriptor: int, most_bytes: int) -> tuple[os.stat_result, bytes | None]:
    """The file's state and content; no content when it is not (or no longer) a regular file of allowed size."""
    opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
    with os.fdopen(opened, "rb") as file:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            return status, None
        data = file.read(most_bytes + 1)
        return status, data if len(data) <= most_bytes else None
