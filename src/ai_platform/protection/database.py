"""Compiled Hyperscan databases, kept on disk between starts: loading one takes a millisecond, compiling half a second.

The cache is a convenience: without a private folder to keep it in, or after any doubt, the database is compiled. A
database is native code's input, so only a file of this very user in a folder nobody else can write is loaded.
Above: engine.py. Below: nothing.
"""

import hashlib
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import hyperscan

Expression = tuple[str, int]
"""(Hyperscan expression over Latin-1, its flags)."""


def compiled(expressions: Sequence[Expression], *, keep: bool = False) -> hyperscan.Database:
    """A block-mode database whose match numbers are indices into `expressions`. keep: use the cache on disk."""
    file = _cache_file(expressions) if keep else None
    loaded = _loaded(file) if file is not None else None
    if loaded is not None:
        return loaded
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[expression.encode("latin-1") for expression, _ in expressions],
        ids=list(range(len(expressions))),
        elements=len(expressions),
        flags=[flags for _, flags in expressions],
    )
    if file is not None:
        _store(file, hyperscan.dumpb(database))
    return database


def _cache_file(expressions: Sequence[Expression]) -> Path | None:
    told = f"{version('hyperscan')} {platform.machine()} {platform.processor()} {list(expressions)!r}"
    name = hashlib.sha256(told.encode()).hexdigest()[:32]
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = base / "ai-platform"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.stat()
    except (OSError, RuntimeError):  # no home, or nothing may be written there
        return None
    private = facts.st_uid == os.geteuid() and not facts.st_mode & 0o022
    return folder / f"detectors-{name}.hs" if private else None


def _loaded(file: Path) -> hyperscan.Database | None:
    try:
        database = hyperscan.loadb(file.read_bytes(), hyperscan.HS_MODE_BLOCK)
        database.scratch = hyperscan.Scratch(database)
        database.scan(b"x", match_event_handler=_ignore)
    except (OSError, hyperscan.HyperscanError):  # missing, damaged, or from another kind of processor
        return None
    return database


def _ignore(_number: int, _start: int, _end: int, _flags: int, _context: object) -> None:
    pass


def _store(file: Path, data: bytes) -> None:
    fresh = file.with_suffix(f".{os.getpid()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
        fresh.replace(file)
    except OSError:
        fresh.unlink(missing_ok=True)
