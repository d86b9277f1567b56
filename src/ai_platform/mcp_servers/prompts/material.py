"""What a prompt is filled with, and how much of it."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from ai_platform.mcp_servers.marks import fenced

MOST_CHARACTERS = 200_000
"""Of one prompt's material; about 50 000 tokens."""
MOST_FILES = 300


class ChangedFile(msgspec.Struct, frozen=True):
    """status: added, modified, removed, renamed. patch: empty for binary files and what is too large to be shown."""

    path: str
    status: str
    added: int
    removed: int
    patch: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A pull request, or a branch that could be one."""

    name: str
    title: str
    author: str
    description: str
    base: str
    head: str
    files: tuple[ChangedFile, ...]
    more_files: int = 0


class SourceFile(msgspec.Struct, frozen=True):
    """text: None when it is binary or too large."""

    path: str
    size: int
    text: str | None


class Measure(msgspec.Struct, frozen=True):
    """A file in an assessment. commits: that touched it within the last year. None: not known."""

    path: str
    size: int
    lines: int | None
    commits: int | None


class Changes(Protocol):
    """Where a change comes from."""

    async def change(self, number: int) -> Change:
        """Raises Unfilled when there is none, or the source cannot be reached."""
        ...

    async def numbers(self) -> list[str]:
        """The numbers of open pull requests, newest first; empty when unknown."""
        ...


class Files(Protocol):
    """Tracked files of a repository. Every method raises Unfilled when there are none, or it cannot be read."""

    async def commit(self) -> str:
        """Which one it is, for people."""
        ...

    async def paths(self) -> list[str]: ...

    async def matching(self, patterns: Sequence[str]) -> tuple[list[SourceFile], int]:
        """Those that match any of the globs, and how many more there are."""
        ...

    async def measures(self, directory: str) -> tuple[list[Measure], int]:
        """Those below a folder, what matters most first, and how many more there are."""
        ...


class Unfilled(Exception):
    """The prompt cannot be filled. The message says why and what to do."""


class Budget:
    """Characters left for one prompt."""

    def __init__(self, characters: int = MOST_CHARACTERS) -> None:
        self._left = characters
        self.left_out: list[str] = []

    def take(self, name: str, text: str) -> str | None:
        """The text when there is room for it, None (and noted) when not."""
        if len(text) > self._left:
            self.left_out.append(name)
            return None
        self._left -= len(text)
        return text


def left_out(budget: Budget) -> str:
    """What is not shown, empty when everything is. Names are others' words, too."""
    names = budget.left_out
    if not names:
        return ""
    more = [f"and {len(names) - 20} more"] if len(names) > 20 else []
    return "Too large to be shown here, read them yourself:\n" + fenced("left-out", "\n".join([*names[:20], *more]))
