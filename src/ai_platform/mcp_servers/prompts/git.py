"""Material from a local repository, as committed or staged; the working copy's files are never opened.

git runs without hooks, pagers, external diff programs or network, its output and time are bounded.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ai_platform.domain.errors import ConfigError
from ai_platform.mcp_servers.prompts.material import (
    MOST_FILES,
    Change,
    ChangedFile,
    Measure,
    SourceFile,
    Unfilled,
)

MOST_OUTPUT = 64 << 20
MOST_CONTENT = 32 << 20
"""Of all files that one prompt looks into; of the others only the size is told."""
LARGEST_FILE = 200_000
_SECONDS = 30.0
_REVIEW_SECONDS = 90.0
_MOST_COMPLAINT = 1 << 20
_SAFE = (
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never"),
    *("-c", "log.showSignature=false", "-c", "diff.submodule=short"),
    # Whose repository it is does not matter: whoever started this chose it, and nothing in it is run.
    *("-c", "safe.directory=*"),
    *("--no-pager", "--no-optional-locks", "--no-replace-objects"),
)
_STATUS = {"A": "added", "M": "modified", "D": "removed", "R": "renamed", "C": "copied", "T": "modified"}
_FILE_MODES = {b"100644", b"100755"}


class GitRepository:
    """base: the branch that changes go into; found by itself when empty."""

    def __init__(self, path: Path, base: str = "") -> None:
        if not path.is_dir():
            raise ConfigError(f"--repository {path} is not a folder.")
        self._path = path
        self._base = base

    async def change(self, number: int) -> Change:
        """Pull request N from a ref that was fetched; 0 is the branch that is checked out."""
        try:
            async with asyncio.timeout(_REVIEW_SECONDS):
                return await self._change(number)
        except TimeoutError as error:
            raise Unfilled(f"git took longer than {_REVIEW_SECONDS:.0f} seconds for this change.") from error

    async def _change(self, number: int) -> Change:
        head = "HEAD" if number == 0 else await self._fetched(number)
        base = await self._base_branch()
        span = f"{base}...{head}"
        stats = await self._git("diff", "--numstat", "-z", "--no-renames", "--no-ext-diff", "--end-of-options", span)
        letters = await self._git("diff", "--name-status", "-z", "--no-renames", "--end-of-options", span)
        status = dict(_pairs(letters))
        listed = [_stat(entry) for entry in stats.split(b"\0") if entry]
        files: list[ChangedFile] = []
        for added, removed, path in listed[:MOST_FILES]:
            kind = _STATUS.get(status.get(path, "M"), "modified")
            patch = await self._patch(span, path) if added + removed < LARGEST_FILE else ""
            files.append(ChangedFile(path, kind, added, removed, patch))
        subject, author, body = await self._words("log", "-1", "--format=%s%x00%an%x00%b", "--end-of-options", head)
        branch = await self._text("rev-parse", "--abbrev-ref", head) if number == 0 else f"#{number}"
        return Change(
            name="this branch" if number == 0 else f"pull request #{number}",
            title=subject,
            author=author,
            description=body.strip(),
            base=base,
            head=branch,
            files=tuple(files),
            more_files=max(0, len(listed) - MOST_FILES),
        )

    async def numbers(self) -> list[str]:
        refs = await self._text("for-each-ref", "--format=%(refname)", "--sort=-creatordate", "refs/pull")
        parts = [ref.split("/") for ref in refs.splitlines()]
        return ["0", *dict.fromkeys(part[2] for part in parts if len(part) > 3 and part[2].isdecimal())]

    async def commit(self) -> str:
        return await self._text("rev-parse", "--short", "HEAD")

    async def paths(self) -> list[str]:
        """Every tracked file."""
        listed = await self._git("ls-files", "-z")
        return [entry.decode(errors="replace") for entry in listed.split(b"\0") if entry]

    async def matching(self, patterns: Sequence[str]) -> tuple[list[SourceFile], int]:
        """Tracked files that match any of the globs (`**` crosses folders), as staged, and how many more there are."""
        entries = await self._staged([f":(glob){pattern}" for pattern in patterns])
        contents = await self._contents([blob for blob, _ in entries[:MOST_FILES]])
        files = [_source(path, *found) for (_, path), found in zip(entries[:MOST_FILES], contents, strict=True)]
        return files, max(0, len(entries) - MOST_FILES)

    async def measures(self, directory: str) -> tuple[list[Measure], int]:
        """Tracked files below a folder, the most changed and largest first, and how many more there are."""
        inside = f":(literal){directory.strip('/')}/" if directory.strip("/") not in {"", "."} else ":/"
        entries = await self._staged([inside])
        log = await self._git("log", "--since=1.year", "--format=", "--name-only", "-z", "HEAD", "--", inside)
        commits = Counter(name.strip(b"\n").decode(errors="replace") for name in log.split(b"\0"))
        contents = await self._contents([blob for blob, _ in entries])
        found = [
            Measure(path, size, None if data is None or b"\0" in data else data.count(b"\n"), commits[path])
            for (_, path), (size, data) in zip(entries, contents, strict=True)
        ]
        found.sort(key=lambda file: (-((file.commits or 0) + 1) * (file.lines or 1), file.path))
        return found[:MOST_FILES], max(0, len(found) - MOST_FILES)

    async def _fetched(self, number: int) -> str:
        for name in (
            f"refs/pull/{number}/head",
            f"refs/remotes/origin/pr/{number}",
            f"refs/remotes/origin/pull/{number}",
        ):
            if await self._exists(name):
                return name
        raise Unfilled(
            f"Pull request {number} was not fetched. Run: git fetch origin pull/{number}/head:refs/pull/{number}/head"
            " - or give 0 for the branch that is checked out."
        )

    async def _base_branch(self) -> str:
        for name in (self._base,) if self._base else ("origin/HEAD", "origin/main", "origin/master", "main", "master"):
            if await self._exists(name):
                return name
        raise Unfilled(f"There is no base branch {self._base or 'main'}: start the server with --base BRANCH.")

    async def _exists(self, name: str) -> bool:
        try:
            await self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        except Unfilled:
            return False
        return True

    async def _patch(self, span: str, path: str) -> str:
        shown = await self._git(
            *("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "-U5"),
            *("--end-of-options", span, "--", f":(top,literal){path}"),
        )
        text = shown.decode(errors="replace")
        return text[text.find("@@") :] if "\n@@" in text and len(text) <= LARGEST_FILE else ""

    async def _staged(self, patterns: list[str]) -> list[tuple[str, str]]:
        """(object, path) of regular files."""
        listed = await self._git("ls-files", "-z", "--stage", "--", *patterns)
        found: list[tuple[str, str]] = []
        for entry in listed.split(b"\0"):
            about, _, path = entry.partition(b"\t")
            if path and about.split()[0] in _FILE_MODES:
                found.append((about.split()[1].decode(), path.decode(errors="replace")))
        if not found:
            raise Unfilled(f"No tracked file matches {', '.join(pattern.partition(')')[2] for pattern in patterns)}.")
        return found

    async def _contents(self, blobs: list[str]) -> list[tuple[int, bytes | None]]:
        """Size and content of each; no content of one that is large, or when there is enough already."""
        asked = "".join(f"{blob}\n" for blob in blobs).encode()
        checked = (await self._git("cat-file", "--batch-check=%(objectsize)", sent=asked)).splitlines()
        sizes = [int(line) if line.isdigit() else 0 for line in checked]
        room = MOST_CONTENT
        wanted: dict[str, bytes] = {}
        for blob, size in zip(blobs, sizes, strict=True):
            if size <= min(LARGEST_FILE, room) and blob not in wanted:
                wanted[blob] = b""
                room -= size
        data = await self._git("cat-file", "--batch", sent="".join(f"{blob}\n" for blob in wanted).encode())
        at = 0
        for blob in wanted:
            end = data.index(b"\n", at)
            about = data[at:end].split()
            size = int(about[2]) if len(about) == 3 else -1  # "missing", of a repository that is not whole
            wanted[blob] = data[end + 1 : end + 1 + max(size, 0)]
            at = end + 2 + size
        return [(size, wanted.get(blob)) for blob, size in zip(blobs, sizes, strict=True)]

    async def _text(self, *arguments: str) -> str:
        return (await self._git(*arguments)).decode(errors="replace").strip()

    async def _words(self, *arguments: str) -> tuple[str, str, str]:
        first, second, third = (await self._git(*arguments)).decode(errors="replace").split("\0", 2)
        return first, second, third

    async def _git(self, *arguments: str, sent: bytes = b"") -> bytes:
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "LC_ALL": "C",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_LITERAL_PATHSPECS": "0",
        }
        try:
            process = await asyncio.create_subprocess_exec(
                *("git", *_SAFE, "-C", str(self._path), *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
            )
        except OSError as error:
            raise Unfilled(f"git cannot be started: {error.strerror or error}.") from error
        try:
            async with asyncio.timeout(_SECONDS):
                output, complaint, _ = await asyncio.gather(
                    _bounded(process.stdout, MOST_OUTPUT, process.kill),
                    _bounded(process.stderr, _MOST_COMPLAINT, process.kill),
                    _send(process.stdin, sent),
                )
                await process.wait()
        except TimeoutError as error:
            raise Unfilled(f"git {arguments[0]} took longer than {_SECONDS:.0f} seconds.") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if len(output) > MOST_OUTPUT:
            raise Unfilled(f"git {arguments[0]} has too much to say; choose less.")
        if process.returncode != 0:
            words = complaint.decode(errors="replace").strip().splitlines()
            said = words[0].replace(str(self._path), "its folder") if words else "it failed"
            raise Unfilled(f"git {arguments[0]}: {said[:300]}")
        return output


async def _bounded(stream: asyncio.StreamReader | None, most: int, stop: Callable[[], None]) -> bytes:
    """What comes, until there is more than `most`; then git is stopped."""
    assert stream is not None
    data = bytearray()
    while chunk := await stream.read(1 << 16):
        data += chunk
        if len(data) > most:
            with suppress(ProcessLookupError):
                stop()
            break
    return bytes(data)


async def _send(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    assert stream is not None
    with suppress(ConnectionError):  # git ended before it had read everything; its exit code tells
        stream.write(data)
        await stream.drain()
        stream.close()


def _source(path: str, size: int, data: bytes | None) -> SourceFile:
    readable = data is not None and b"\0" not in data
    return SourceFile(path, size, data.decode(errors="replace") if data is not None and readable else None)


def _stat(entry: bytes) -> tuple[int, int, str]:
    added, removed, path = entry.decode(errors="replace").split("\t", 2)
    return int(added) if added.isdecimal() else 0, int(removed) if removed.isdecimal() else 0, path


def _pairs(listed: bytes) -> list[tuple[str, str]]:
    """(path, letter) from `letter NUL path NUL`."""
    words = [word.decode(errors="replace") for word in listed.split(b"\0")]
    return [(path, letter[:1]) for letter, path in zip(words[0::2], words[1::2], strict=False)]
