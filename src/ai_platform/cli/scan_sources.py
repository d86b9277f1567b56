"""What `ai-platform scan` reads: files, folders, standard input, and what a git diff adds."""

import codecs
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from ai_platform.cli.output import fail
from ai_platform.protection.coding import coding_of

PIECE = 8 * 1024 * 1024
"""A large file is read and scanned this many bytes at a time."""

_OVERLAP = 20_000
"""Longer than any value, in characters: one that two pieces share is found in the first."""

_SKIPPED = frozenset({".git", ".hg", ".svn", "node_modules", ".venv", "venv", "__pycache__", ".tox", ".mypy_cache"})
_HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_QUOTED = re.compile(r"\\([0-7]{3}|.)")
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class Source(msgspec.Struct):
    """A text to scan. line, column, offset: where it begins in its file (line from 1; column, characters from 0).

    own: only findings that begin in this range of the text belong to it. lines: if given, only findings that touch one
    of these lines count.
    """

    name: str
    text: str
    own: tuple[int, int]
    line: int = 1
    offset: int = 0
    lines: frozenset[int] | None = None
    column: int = 0


class Unread(msgspec.Struct):
    """A file that could not be read, and why; or, without a reason, one that holds no text."""

    name: str
    reason: str = ""


def files_of(paths: Sequence[str]) -> list[str]:
    """The files behind PATHS (`-` stays), and folders that cannot be listed, which `read` then says; ends the program
    when one does not exist.
    """
    found: list[str] = []
    for given in paths:
        path = Path(given)
        if given == "-" or path.is_file():
            found.append(given)
        elif path.is_dir():
            found += _walk(given)
        elif path.exists():
            fail(f"{given} is neither a file nor a folder.", code=2)
        else:
            fail(f"{given} does not exist.", code=2)
    return found


def _walk(folder: str) -> Iterator[str]:
    closed: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: closed.append(str(error.filename))):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        yield from (str(Path(parent, name)) for name in sorted(names))
    yield from closed


def read(name: str) -> Iterator[Source | Unread]:
    """The text of a file, or of standard input (`-`), in pieces. Nothing for a pipe or a device."""
    try:
        if name == "-":
            yield from _pieces(name, sys.stdin.buffer)
        elif Path(name).is_file():  # a folder may hold pipes and devices, which have no end
            with Path(name).open("rb") as stream:
                yield from _pieces(name, stream)
        elif Path(name).is_dir():
            os.scandir(name).close()
    except OSError as error:
        yield Unread(name, error.strerror or str(error))


def _pieces(name: str, stream: IO[bytes]) -> Iterator[Source | Unread]:
    first = stream.read(PIECE)
    coding = coding_of(first) or ("utf-8" if name == "-" else None)
    if coding is None:
        yield Unread(name)
        return
    decoder = codecs.getincrementaldecoder(coding)("replace")
    before = ""
    current = decoder.decode(first).removeprefix("\ufeff")
    line, offset, column = 1, 0, 0
    while current:
        more = stream.read(PIECE)
        following = decoder.decode(more, final=not more)
        own = len(before), len(before) + len(current)
        yield Source(name, before + current + following[:_OVERLAP], own, line, offset, column=column)
        if not more:
            return
        text = before + current
        before = text[-_OVERLAP:]
        passed = len(text) - len(before)
        line += text.count("\n", 0, passed)
        offset += passed
        newest = text.rfind("\n", 0, passed)
        column = column + passed if newest < 0 else passed - newest - 1
        current = following


def changes(revision: str | None, paths: Sequence[str]) -> Iterator[Source | Unread]:
    """The new side of every file that differs from `revision` (None: what is staged), with the lines that are added.

    The whole file is scanned, as what stands before a line often says what is in it. What git takes for binary (UTF-16,
    or because .gitattributes says so) counts as added whole.
    """
    if revision is not None and revision.startswith("-"):
        fail(f"{revision!r} is not a revision.", code=2)
    what = ["--cached"] if revision is None else [revision]
    yield from _new_sides(_diff([*what, "--unified=999999999"], paths).split(b"\n"))
    for record in _diff([*what, "--numstat", "-z", "--diff-filter=d"], paths).split(b"\0"):
        if record.startswith(b"-\t-\t"):
            name = os.fsdecode(record[4:])
            yield from read(name) if revision is not None else _staged(name)


def _diff(options: Sequence[str], paths: Sequence[str]) -> bytes:
    command = ["git", "-c", "core.quotePath=false", "diff", *options, "--no-color", "--no-renames", "--relative"]
    command += ["--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/", "--ignore-submodules"]
    try:
        done = subprocess.run([*command, "--", *paths], capture_output=True, check=False)  # noqa: S603 - a list
    except FileNotFoundError:
        fail("git is not installed.", code=2)
    if done.returncode:
        outside = subprocess.run(("git", "rev-parse", "--git-dir"), capture_output=True, check=False)  # noqa: S607 - as above
        if outside.returncode:
            fail("This is no git repository: change into one, or scan files (`ai-platform scan .`).", code=2)
        reason = done.stderr.decode("utf-8", "replace").strip().removeprefix("fatal: ").split("\n")[0]
        if options[0] == "HEAD" and reason == "bad revision 'HEAD'":
            fail("There is no commit yet to compare with: `git add` what is new, and use --staged.", code=2)
        fail(f"git diff failed: {reason}", code=2)
    return done.stdout


def _staged(name: str) -> Iterator[Source | Unread]:
    command = ["git", "cat-file", "blob", f":./{name}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - a list
        assert process.stdout is not None
        yield from _pieces(name, process.stdout)
        process.kill()  # of what is no text only the beginning was read


def _new_sides(lines: Iterable[bytes]) -> Iterator[Source]:
    name = ""
    rows = iter(lines)
    for row in rows:
        if row.startswith(b"+++ "):
            name = _path(row[4:].decode("utf-8", "replace"))
        elif (hunk := _HUNK.match(row)) is not None:
            old, new, number = int(hunk[1] or 1), int(hunk[3] or 1), int(hunk[2])
            text: list[bytes] = []
            added: set[int] = set()
            while old > 0 or new > 0:
                line = next(rows, b"")
                if line[:1] == b"+":
                    added.add(number)
                if line[:1] in b"+ ":
                    text.append(line[1:])
                    number += 1
                    new -= 1
                if line[:1] in b"- ":
                    old -= 1
            if added:
                shown = b"\n".join(text).decode("utf-8", "replace")
                yield Source(name, shown, (0, len(shown)), int(hunk[2]), 0, frozenset(added))


def _path(written: str) -> str:
    """The path of a `+++` line; git quotes names with quotes, backslashes or control characters."""
    name = written.rstrip("\t")
    if name.startswith('"'):
        name = _QUOTED.sub(lambda match: _unquoted(match[1]), name[1:-1])
    return name.removeprefix("b/")


def _unquoted(escape: str) -> str:
    return chr(int(escape, 8)) if escape.isdigit() else _CONTROL.get(escape, escape)
