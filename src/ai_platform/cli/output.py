"""How commands speak: a rich table for people, one JSON document for programs (`--json`), errors on standard error."""

import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from ai_platform.client import ClientError
from ai_platform.domain.errors import PlatformError

_PIPE_WIDTH = 160
_WIDE = 100

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def emit_json(value: Any) -> None:
    """One JSON document on standard output."""
    Console(soft_wrap=True).print(msgspec.json.encode(value).decode(), markup=False, highlight=False)


def emit_table(
    title: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, empty: str, right: Sequence[str] = ()
) -> None:
    """A table of `rows` by column name; `empty` is what a person reads (and should do next) when there are none."""
    console = screen()
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(
            column.replace("_", " "),
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column == "id" and console.width >= _WIDE,
        )
    count = 0
    for row in rows:
        count += 1
        table.add_row(*("" if row.get(column) is None else str(row[column]) for column in columns))
    console.print(table if count else empty)


def screen() -> Console:
    """Standard output; in a pipe or a file as wide as tables need, so that what is searched for stands in one piece."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=_PIPE_WIDTH)


def count_of(number: int, noun: str, several: str = "") -> str:
    """`1 key`, `2 keys`; `several` where an s is not enough."""
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"


def fail(message: str, *, code: int = 1) -> NoReturn:
    """Print an error and leave with `code` (1 = the command failed, 2 = it was used wrongly)."""
    escaped = message.replace("[", r"\[")
    Console(stderr=True).print(f"[bold red]error:[/] {escaped}", highlight=False, soft_wrap=True)
    raise typer.Exit(code)


@contextmanager
def explained() -> Generator[None]:
    """Turn expected errors into a message and an exit code; anything else is a defect and shows its trace."""
    try:
        yield
    except (ClientError, PlatformError) as error:
        fail(str(error))
