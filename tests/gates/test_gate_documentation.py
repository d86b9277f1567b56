"""Documentation cannot drift: what the code offers stands in docs/, and what docs/ shows is what the code offers."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ai_platform.config import Settings
from ai_platform.domain.decision import Refusal
from ai_platform.domain.event import EventType
from ai_platform.domain.permission import Permission

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "ai_platform"
sys.path.insert(0, str(ROOT / "tools"))


def words_of(*pages: Path) -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in pages or sorted(DOCS.glob("*.md")))


def literals(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_the_generated_pages_are_what_the_code_says():
    shown = subprocess.run(
        [sys.executable, ROOT / "tools" / "docs.py", "--check"], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr


def test_every_command_and_option_is_documented():
    docs = importlib.import_module("docs")
    page = words_of(DOCS / "cli.md")
    missing: list[str] = []
    for path, command in docs.commands():
        name = " ".join(path)
        _, found, section = page.partition(f"\n## `{name}`\n")
        section = section.partition("\n## ")[0]
        options = [
            option
            for parameter in command.params
            for option in getattr(parameter, "opts", [])
            if option.startswith("-")
        ]
        missing += (
            [name]
            if not found
            else [f"{name} {option}" for option in options if f"`{option}`" not in section and option != "--help"]
        )
    assert missing == []


def test_every_command_and_option_explains_itself():
    docs = importlib.import_module("docs")
    silent: list[str] = []
    for path, command in docs.commands():
        parameters = [
            parameter.name
            for parameter in command.params
            if not getattr(parameter, "help", "") and parameter.name != "help"
        ]
        silent += [f"{' '.join(path)} {name}" for name in parameters] + ([] if command.help else [" ".join(path)])
    assert silent == []


def test_every_setting_is_explained_beside_the_code_and_in_the_docs():
    docs = importlib.import_module("docs")
    page = words_of(DOCS / "configuration.md")
    fields = list(docs.settings_fields())
    assert [field.path for field in fields if f"`{field.path}`" not in page] == []
    unexplained = [
        f"{field.owner.__module__}.{field.owner.__name__}: {field.name}" for field in fields if not field.meaning
    ]
    assert unexplained == [], "say in the docstring what it does: `name: meaning.`"


def test_every_settings_struct_is_part_of_the_configuration():
    """A Struct that only gathers others (a room's view of several sections) adds no setting of its own."""
    docs = importlib.import_module("docs")
    owners = {field.owner for field in docs.settings_fields()} | {Settings}
    reached = {base for owner in owners for base in owner.__mro__}
    apart: list[str] = []
    for path in sorted(SOURCE.glob("*/settings.py")):
        module = importlib.import_module(f"ai_platform.{path.parent.name}.settings")
        for struct in vars(module).values():
            if not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
                continue
            inner = {docs.struct_in(field.type)[0] for field in msgspec.structs.fields(struct)}
            if struct.__module__ == module.__name__ and struct not in reached and not inner <= reached:
                apart.append(f"{path.parent.name}.{struct.__name__}")
    assert apart == []


def test_every_environment_variable_is_documented():
    named = {
        name for text in literals(SOURCE) for name in re.findall(r"\b(?:AI_PLATFORM|ANTHROPIC)_[A-Z_]*[A-Z]\b", text)
    }
    scripts = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "scripts").iterdir())
    named |= set(re.findall(r"\bAI_PLATFORM_[A-Z_]*[A-Z]\b", scripts))
    page = words_of()
    assert sorted(name for name in named if name not in page) == []


def test_every_metric_is_documented():
    others = {str(event.value) for event in EventType} | {
        "aip_gateway",
        "aip_owner",
        "aip_system",
    }  # not metrics: events, database roles
    named = {text for text in literals(SOURCE) if re.fullmatch(r"(claude|aip)_[a-z0-9_]+", text)} - others
    page = words_of(DOCS / "metrics.md")
    assert named
    assert sorted(name for name in named if not re.search(rf"`{name}(_total)?`", page)) == []


@pytest.mark.parametrize("kind", [Permission, EventType, Refusal])
def test_every_permission_event_and_refusal_is_documented(kind: type[Permission] | type[EventType] | type[Refusal]):
    page = words_of()
    assert [str(member.value) for member in kind if f"`{member.value}`" not in page] == []


def test_links_between_pages_lead_somewhere():
    links = (
        (page, target)
        for page in [*DOCS.glob("**/*.md"), *ROOT.glob("*.md")]
        for target in re.findall(r"\]\(([^)#\s]+)", words_of(page))
        if "://" not in target and not target.startswith("mailto:")
    )
    broken = [f"{page.relative_to(ROOT)}: {target}" for page, target in links if not (page.parent / target).exists()]
    assert broken == []
