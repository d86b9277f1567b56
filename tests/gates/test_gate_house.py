"""The house rules that no linter knows: sizes, light dependencies, portable files, tests that do not wait."""

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_LINES, TEST_LINES, PACKAGES = 400, 600, 40


def tracked(*patterns: str) -> list[Path]:
    """Files git knows, plus new ones it does not ignore; a checkout without git is read as it stands."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    names = listed.stdout.splitlines() if listed.returncode == 0 else []
    files = [ROOT / name for name in names] or [path for pattern in patterns or ("*",) for path in ROOT.rglob(pattern)]
    return sorted(path for path in files if path.is_file() and ".venv" not in path.parts)


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""  # a picture


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_files_stay_short():
    long: list[str] = []
    for path in tracked("*.py"):
        bound = TEST_LINES if place(path).startswith("tests/") else SOURCE_LINES
        if (lines := text_of(path).count("\n")) > bound:
            long.append(f"{place(path)}: {lines} lines, at most {bound}")
    assert long == []


@pytest.mark.requirement("OP-7")
def test_the_core_install_is_light_and_pinned_by_hash():
    pins = [
        line
        for line in (ROOT / "requirements" / "core.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line.partition(";")[0]
    ]
    assert 0 < len(pins) <= PACKAGES
    for kind in ("core", "runtime", "names", "dev", "build"):
        blocks = re.split(r"\n(?=\S)", (ROOT / "requirements" / f"{kind}.txt").read_text(encoding="utf-8").strip())
        assert [
            block.partition("\n")[0] for block in blocks if not block.startswith("#") and "--hash=sha256:" not in block
        ] == []


def test_the_pins_satisfy_the_declared_dependencies():
    pinned = set(
        re.findall(r"(?m)^([a-z0-9-]+)==", (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8"))
    )
    declared = re.search(r"(?ms)^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert declared is not None
    names = {name.lower().replace("_", "-") for name in re.findall(r'"([A-Za-z0-9_-]+)', declared[1])}
    assert sorted(names - pinned) == [], "run requirements/compile"


def test_no_file_names_a_registry_or_a_place_on_one_machine():
    hosts = (
        r"files\.pythonhosted\.org|pypi\.org/simple|registry\.npmjs\.org|registry\.yarnpkg\.com|--index-url|/simple/"
    )
    places = r"(?<![\w.:/~$}])/(?:root|work|Users)/\w"
    found: list[str] = []
    for path in tracked():
        if path in {Path(__file__), ROOT / "docs" / "requirements.yaml"}:  # the latter speaks of auto/simple/standard
            continue
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if re.search(hosts, line) or re.search(places, line):
                found.append(f"{place(path)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_lock_files_that_record_download_addresses_are_not_kept():
    assert [
        place(path) for path in tracked() if path.name in {"uv.lock", "package-lock.json", "yarn.lock", "poetry.lock"}
    ] == []


def test_tests_wait_for_events_and_never_sleep():
    """`sleep(0)` only gives others a turn. Bounded waits for a state: ai_platform.testing.eventually."""
    sleeping = [
        f"{place(path)}:{node.lineno}"
        for path in tracked("tests/*.py")
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "sleep"
        if [ast.unparse(argument) for argument in node.args] != ["0"]
    ]
    assert sleeping == []


def test_modules_of_tests_have_names_of_their_own():
    names = Counter(path.name for path in tracked("tests/*.py") if path.name not in {"conftest.py", "__init__.py"})
    assert [name for name, count in names.items() if count > 1] == [], "pytest imports tests by bare name"


def test_code_catches_no_blind_exception_and_leaves_no_stub():
    found: list[str] = []
    for path in tracked("src/*.py"):
        text = text_of(path)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception"):
                found.append(f"{place(path)}:{node.lineno} catches everything")
            if isinstance(node, ast.Global):
                found.append(f"{place(path)}:{node.lineno} global")
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = [child for child in ast.walk(node) if isinstance(child, ast.Import | ast.ImportFrom)]
                found += [f"{place(path)}:{child.lineno} import inside a function" for child in inner]
        found += [f"{place(path)}: {word}" for word in re.findall(r"\b(?:TODO|FIXME|XXX)\b", text)]
    assert found == []
