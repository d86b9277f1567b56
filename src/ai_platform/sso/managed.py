"""Claude Code settings for signed-in people, chosen by group, role and team.

Fails static: a file that stops being valid leaves its last valid content in force, counted in `failures`.
Above: entrypoints/signin. Below: documents, audit's canonical JSON.
"""

import asyncio
import hashlib
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ai_platform.audit.canonical import canonical
from ai_platform.documents import load
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.principal import Principal
from ai_platform.sso.settings import ManagedSettings


class Document(msgspec.Struct, frozen=True):
    """checksum: `sha256:` and the hex digest of the settings with sorted keys and no white space, as clients compute
    it. body: what is sent.
    """

    checksum: str
    body: bytes


class Managed:
    """failures: reads that found a file not valid."""

    def __init__(self, entries: Sequence[ManagedSettings]) -> None:
        """Raises ConfigError: a file is missing or not valid."""
        self._entries = tuple(entries)
        self._read: dict[Path, tuple[tuple[int, int], Document]] = {}
        self.failures = 0
        for entry in self._entries:
            self._read[entry.file] = (_stamp(entry.file), _document(entry.file))

    async def of(self, principal: Principal) -> Document | None:
        """What is meant for them; None = nothing."""
        entry = next((entry for entry in self._entries if _fits(entry, principal)), None)
        if entry is None:
            return None
        return await asyncio.to_thread(self._current, entry.file)

    def _current(self, path: Path) -> Document:
        stamp, document = self._read[path]
        try:
            now = _stamp(path)
            if now != stamp:
                document = _document(path)
                self._read[path] = (now, document)
        except ConfigError:
            self.failures += 1
        return document


def _fits(entry: ManagedSettings, principal: Principal) -> bool:
    return all(
        not wanted or set(wanted) & set(has)
        for wanted, has in (
            (entry.groups, principal.groups),
            (entry.roles, principal.roles),
            (entry.teams, (principal.team or "",)),
        )
    )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(f"It cannot be read: {error.strerror}.", where=str(path)) from error
    return found.st_mtime_ns, found.st_size


def _document(path: Path) -> Document:
    settings: dict[str, Any] = load(path, dict[str, Any])
    checksum = "sha256:" + hashlib.sha256(canonical(settings)).hexdigest()
    name = uuid.uuid5(uuid.NAMESPACE_URL, f"ai-platform:managed:{path.stem}")
    return Document(checksum, msgspec.json.encode({"uuid": str(name), "checksum": checksum, "settings": settings}))
