"""The requirement manifest and the tests name each other: docs/requirements.yaml, docs/built.yaml, the marks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "docs" / "requirements.yaml"
BUILT = ROOT / "docs" / "built.yaml"


def promised() -> set[str]:
    areas = yaml.safe_load(REQUIREMENTS.read_text(encoding="utf-8"))
    return {name for area in areas.values() for name in area}


def built() -> list[str]:
    return yaml.safe_load(BUILT.read_text(encoding="utf-8"))


def marks() -> Iterator[tuple[str, str]]:
    """(id, place) of every `pytest.mark.requirement(...)` on a test or, as `pytestmark`, on a module of tests."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        place = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for decorator in node.decorator_list:
                    for name in ids_in(decorator):
                        assert node.name.lower().startswith("test"), f"{place}:{node.lineno} marks {node.name}, no test"
                        yield name, f"{place}:{node.lineno}"
            elif isinstance(node, ast.Assign) and any(ast.unparse(target) == "pytestmark" for target in node.targets):
                yield from ((name, f"{place}:{node.lineno}") for name in ids_in(node.value))


def ids_in(expression: ast.expr) -> Iterator[str]:
    for node in ast.walk(expression):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.requirement"):
            yield from (ast.literal_eval(argument) for argument in node.args)


def test_every_id_is_promised_once():
    lines = [line.strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines()]
    names = [line.partition(":")[0] for line in lines if line.partition(":")[0] in promised()]
    assert sorted(names) == sorted(promised())


def test_what_is_built_was_promised():
    assert sorted(set(built()) - promised()) == []
    assert len(built()) == len(set(built()))


def test_every_built_promise_has_a_test():
    tested = {name for name, _ in marks()}
    assert [name for name in built() if name not in tested] == []


def test_no_test_names_a_promise_that_is_unknown_or_not_built():
    assert [f"{place} {name}" for name, place in marks() if name not in built()] == []


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.requirement('XX-1')\ndef test_a(): ...",
        "pytestmark = [pytest.mark.anyio, pytest.mark.requirement('XX-1')]",
    ],
)
def test_marks_are_found_on_tests_and_modules(source: str):
    statement = ast.parse(source).body[0]
    expression = statement.decorator_list[0] if isinstance(statement, ast.FunctionDef) else statement.value  # type: ignore[union-attr,attr-defined]
    assert list(ids_in(expression)) == ["XX-1"]
