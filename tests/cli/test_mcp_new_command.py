"""`ai-platform mcp new` and `mcp test`: what an author gets, and that it works as it is (MC-7)."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ai_platform.cli.mcp import app

ROOT = Path(__file__).parents[2]
RUFF = Path(sys.executable).with_name("ruff")


def invoke(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """In the new project, with nothing of this checkout on the path."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "PYTEST"))}
    return subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("author") / "weather"
    invoke("new", "weather-map", "--folder", str(place), "--title", 'Weather "map"')
    return place


@pytest.mark.requirement("MC-7")
def test_a_new_servers_own_tests_pass(project: Path):
    done = run(project, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"1[0-9] passed", done.stdout)


@pytest.mark.requirement("MC-7")
def test_its_load_test_measures_and_has_bounds(project: Path):
    load = [sys.executable, "load/load.py", "--sessions", "4", "--calls", "10"]
    done = run(project, *load, "--max-p95-ms", "60000")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "calls     40 in" in done.stdout
    assert run(project, *load, "--max-p95-ms", "0.001").returncode == 1


@pytest.mark.skipif(not RUFF.exists(), reason="ruff is not installed")
def test_it_is_tidy(project: Path):
    for command in ("check", "format"):
        words = [str(RUFF), command, "--no-cache", *(["--check"] if command == "format" else []), "."]
        done = run(project, *words)
        assert done.returncode == 0, done.stdout


@pytest.mark.requirement("MC-7")
def test_its_image_runs_as_nobody_with_nothing_that_is_not_pinned(project: Path):
    lines = (project / "Dockerfile").read_text().splitlines()
    last = lines[len(lines) - 1 - [line.startswith("FROM") for line in reversed(lines)].index(True) :]
    assert "USER 10001:10001" in last
    assert not any(line.startswith(("USER 0", "USER root", "ADD ")) for line in lines)
    assert any("--require-hashes" in line for line in lines)
    assert any(line.startswith("HEALTHCHECK") for line in last)
    assert any('"--token-env"' in line for line in last), "it must not serve strangers"
    for block in re.split(r"\n(?=\S)", (project / "requirements.txt").read_text().strip()):
        assert "==" in block
        assert "--hash=sha256:" in block
    assert re.fullmatch(r"\*\n(!\S+\n)+\*\*/__pycache__\n", (project / ".dockerignore").read_text())


def test_its_pins_are_the_platforms_own():
    """Whoever updates the platform's requirements updates what a new server begins with."""
    pin = re.compile(r"(?m)^([a-z0-9-]+)==(\S+)")
    template = ROOT / "src/ai_platform/cli/templates/mcp_server/requirements.txt.tmpl"
    own = dict(pin.findall((ROOT / "requirements" / "dev.txt").read_text()))
    theirs = dict(pin.findall(template.read_text()))
    assert {name: version for name, version in theirs.items() if own.get(name, version) != version} == {}


def test_no_blank_is_left_and_the_title_stays_within_its_quotes(project: Path):
    texts = [path.read_text() for path in project.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert not any(re.search(r"@(name|package|title|VARIABLE)@", text) for text in texts)
    assert "Weather 'map'" in (project / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", ["Weather", "a b", "-x", "../up", "x" * 40, "a__b"])
def test_names_that_cannot_be_one_are_refused(tmp_path: Path, name: str):
    invoke("new", "--folder", str(tmp_path / "place"), "--", name, code=2)
    assert not (tmp_path / "place").exists()


def test_nothing_that_is_there_is_written_over(tmp_path: Path):
    (tmp_path / "mine.py").write_text("mine")
    assert "not empty" in invoke("new", "weather", "--folder", str(tmp_path), code=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
@pytest.mark.requirement("MC-7")
def test_it_passes_the_platforms_own_test_inside_the_sandbox(project: Path, monkeypatch: pytest.MonkeyPatch):
    for folder in (project, project.parent):
        folder.chmod(0o755)
    monkeypatch.chdir(project)
    path = f"PYTHONPATH={project / 'src'}"
    words = ["test", "--json", "--strict", "--env", path, "--", sys.executable, "-m", "weather_map_server"]
    report = json.loads(invoke(*words))
    assert report["ok"] is True
    outcomes = {check["name"]: check["outcome"] for check in report["checks"]}
    assert outcomes["works inside the sandbox"] == "passed"
    assert outcomes["calls convert_length"] == "passed"


def test_a_test_without_a_target_or_with_wrong_arguments_is_used_wrongly():
    invoke("test", code=2)
    invoke("test", "--call", "x=notjson", "--", "cat", "x", code=2)
    invoke("test", "--header", "x", "http://127.0.0.1:1/mcp", code=2)


def test_a_server_that_is_not_there_is_not_good():
    assert "Not good" in invoke("test", "http://127.0.0.1:1/mcp", code=1)
