"""Files of a repository on GitHub, at the newest commit of its default branch (docs.github.com/rest/git/trees, blobs).

How often a file changed cannot be had for many files at once, and is not told. Below: github.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import Sequence

import httpx2
import msgspec

from ai_platform.mcp_servers.prompts.github import GitHub
from ai_platform.mcp_servers.prompts.globs import matching
from ai_platform.mcp_servers.prompts.material import MOST_CHARACTERS, MOST_FILES, Measure, SourceFile, Unfilled

AT_ONCE = 8
_NAME = re.compile(r"[0-9a-f]{40,64}")
_FILE_MODES = {"100644", "100755"}


class _Tree(msgspec.Struct):
    sha: str


class _About(msgspec.Struct):
    tree: _Tree


class _Commit(msgspec.Struct):
    sha: str
    commit: _About


class _Entry(msgspec.Struct):
    path: str
    mode: str
    sha: str
    size: int = 0


class _Listing(msgspec.Struct):
    tree: list[_Entry]
    truncated: bool = False


class _Blob(msgspec.Struct):
    content: str


class GitHubFiles:
    """See material.Files. A tree is asked for once, as long as it is the newest."""

    def __init__(self, github: GitHub) -> None:
        self._github = github
        self._known: tuple[str, list[_Entry]] = ("", [])

    async def commit(self) -> str:
        async with self._github.client() as http:
            return (await self._newest(http)).sha[:10]

    async def paths(self) -> list[str]:
        async with self._github.client() as http:
            return [entry.path for entry in await self._entries(http)]

    async def matching(self, patterns: Sequence[str]) -> tuple[list[SourceFile], int]:
        """As many contents as there is room for in a prompt, in the order of their paths."""
        async with self._github.client() as http:
            entries = await self._entries(http)
            chosen = set(await asyncio.to_thread(matching, [entry.path for entry in entries], patterns))
            found = [entry for entry in entries if entry.path in chosen]
            if not found:
                raise Unfilled(f"No tracked file matches {', '.join(patterns)}.")
            room = MOST_CHARACTERS
            asked: list[_Entry] = []
            for entry in found[:MOST_FILES]:
                if entry.size <= room:
                    asked.append(entry)
                    room -= entry.size
            contents = await self._contents(http, asked)
        files = [_source(entry, contents.get(entry.path)) for entry in found[:MOST_FILES]]
        return files, max(0, len(found) - MOST_FILES)

    async def measures(self, directory: str) -> tuple[list[Measure], int]:
        """The largest first; lines and commits are not known."""
        name = directory.strip("/")
        below = "" if name in {"", "."} else f"{name}/"
        async with self._github.client() as http:
            found = [entry for entry in await self._entries(http) if entry.path.startswith(below)]
        if not found:
            raise Unfilled(f"No tracked file matches {directory}.")
        found.sort(key=lambda entry: (-entry.size, entry.path))
        measured = [Measure(entry.path, entry.size, None, None) for entry in found[:MOST_FILES]]
        return measured, max(0, len(found) - MOST_FILES)

    async def _newest(self, http: httpx2.AsyncClient) -> _Commit:
        commits = await self._github.get(http, "/commits?per_page=1", list[_Commit])
        if not commits or not _NAME.fullmatch(commits[0].commit.tree.sha):
            raise Unfilled("GitHub knows no commit of this repository.")
        return commits[0]

    async def _entries(self, http: httpx2.AsyncClient) -> list[_Entry]:
        """Regular files, by path."""
        tree = (await self._newest(http)).commit.tree.sha
        if self._known[0] != tree:
            listing = await self._github.get(http, f"/git/trees/{tree}?recursive=1", _Listing)
            if listing.truncated:
                raise Unfilled("The repository has more files than GitHub lists: start the server with --repository.")
            files = [entry for entry in listing.tree if entry.mode in _FILE_MODES and _NAME.fullmatch(entry.sha)]
            self._known = tree, sorted(files, key=lambda entry: entry.path)
        return self._known[1]

    async def _contents(self, http: httpx2.AsyncClient, entries: Sequence[_Entry]) -> dict[str, bytes]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def content(entry: _Entry) -> tuple[str, bytes]:
            async with gate:
                blob = await self._github.get(http, f"/git/blobs/{entry.sha}", _Blob)
            try:
                return entry.path, base64.b64decode(blob.content)
            except (binascii.Error, ValueError) as error:
                raise Unfilled("GitHub's answer cannot be understood.") from error

        return dict(await asyncio.gather(*(content(entry) for entry in entries)))


def _source(entry: _Entry, data: bytes | None) -> SourceFile:
    readable = data is not None and b"\0" not in data
    return SourceFile(entry.path, entry.size, data.decode(errors="replace") if data is not None and readable else None)
