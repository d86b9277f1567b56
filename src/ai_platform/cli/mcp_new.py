"""`ai-platform mcp new`: a folder with a working MCP server, its tests, a load test and a Dockerfile."""

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ai_platform.cli.output import fail
from ai_platform.mcp.settings import LONGEST_NAME, NAME

_ENDING = ".tmpl"
_DOTTED = {"gitignore", "dockerignore"}
_BLANK = re.compile(r"@(name|package|title|VARIABLE)@")


def new(
    name: Annotated[str, typer.Argument(help="The server's name: lower-case letters, digits, `-`.")],
    *,
    folder: Annotated[Path | None, typer.Option(help="Where to make it. [default: ./NAME]", show_default=False)] = None,
    title: Annotated[str, typer.Option(help="What people read. [default: the name]")] = "",
) -> None:
    """Make a new server with the official SDK: tests, an integration check with a real client, a load test, an image.

    It works as it is: change `server.py`, keep the rest.
    """
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        fail(f"{name!r}: write up to {LONGEST_NAME} lower-case letters, digits and single `-`.", code=2)
    place = folder or Path(name)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        fail(f"{place} is there already and not empty. Choose another --folder.")
    words = {
        "name": name,
        "package": f"{name.replace('-', '_').removesuffix('_server')}_server",
        "title": " ".join(title.split()).replace('"', "'") or name.replace("-", " ").capitalize(),
        "VARIABLE": name.replace("-", "_").upper(),
    }
    try:
        written = _write(resources.files("ai_platform.cli") / "templates" / "mcp_server", place, words)
    except OSError as error:
        fail(f"{place} cannot be written: {error.strerror}.")
    console = Console(soft_wrap=True)
    console.print(Text(f"Made {place} with {written} files. Next:", style="bold"))
    for line in (f"cd {place}", "uv run pytest", f"ai-platform mcp test -- .venv/bin/python -m {words['package']}"):
        console.print(Text(f"  {line}"))


def _write(source: Traversable, target: Path, words: dict[str, str]) -> int:
    """The number of files written."""
    target.mkdir(parents=True, exist_ok=True)
    count = 0
    for entry in sorted(source.iterdir(), key=lambda one: one.name):
        if entry.is_dir():
            count += _write(entry, target / (words["package"] if entry.name == "package" else entry.name), words)
        elif entry.name.endswith(_ENDING):
            name = entry.name.removesuffix(_ENDING)
            text = _BLANK.sub(lambda blank: words[blank[1]], entry.read_text(encoding="utf-8"))
            (target / (f".{name}" if name in _DOTTED else name)).write_text(text, encoding="utf-8")
            count += 1
    return count
