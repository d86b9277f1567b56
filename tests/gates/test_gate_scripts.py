"""scripts/up and scripts/test on machines that are not as they should be: what they say, and what they leave alone."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "dirname", "cat", "cksum", "mkdir", "id", "rm", "ls", "sleep")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A bin folder with the basic tools and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    return folder


def install(machine: Path, name: str, script: str) -> None:
    path = machine / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def prepare(machine: Path, venv: Path, script: str = "prepare") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(machine), "AI_PLATFORM_VENV": str(venv)}
    command = [str(ROOT / "scripts" / script)]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("script", ["up", "test", "prepare"])
def test_the_scripts_are_executable_posix_shell(script: str):
    path = ROOT / "scripts" / script
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/bin/sh\n")
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0


@pytest.mark.requirement("OP-1")
@pytest.mark.parametrize("script", ["up", "test"])
def test_only_an_old_python_is_told_with_its_version_and_a_remedy(machine: Path, tmp_path: Path, script: str):
    install(machine, "python3", '[ "$1" = --version ] && echo "Python 3.9.2" || exit 1')
    shown = prepare(machine, tmp_path / "venv", script)
    assert shown.returncode == 1
    assert "needs Python 3.11 or newer" in shown.stderr
    assert "python3 is Python 3.9.2" in shown.stderr
    assert "apt install" in shown.stderr
    assert not (tmp_path / "venv").exists()


def test_no_python_at_all_is_told(machine: Path, tmp_path: Path):
    shown = prepare(machine, tmp_path / "venv")
    assert shown.returncode == 1
    assert "needs Python 3.11 or newer" in shown.stderr


def test_a_folder_that_is_no_environment_is_left_alone(machine: Path, tmp_path: Path):
    install(machine, "python3", "exit 0")
    precious = tmp_path / "home" / "letter.txt"
    precious.parent.mkdir()
    precious.write_text("dear reader")
    shown = prepare(machine, precious.parent)
    assert shown.returncode == 1
    assert "is no Python environment" in shown.stderr
    assert precious.read_text() == "dear reader"


def test_a_failed_preparation_is_not_taken_for_done_and_leaves_no_lock(machine: Path, tmp_path: Path):
    install(machine, "python3", '[ "$1" = -m ] && exit 7; exit 0')
    venv = tmp_path / "venv"
    assert prepare(machine, venv).returncode == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin"]


def test_a_lock_whose_owner_is_gone_does_not_stop_the_next_one(machine: Path, tmp_path: Path):
    install(machine, "python3", '[ "$1" = -m ] && exit 7; exit 0')
    ended = subprocess.Popen(["true"])
    ended.wait()
    lock = tmp_path / "venv.lock"
    lock.mkdir()
    (lock / "pid").write_text(f"{ended.pid}\n")
    assert prepare(machine, tmp_path / "venv").returncode == 7
    assert not lock.exists()


def test_an_environment_that_is_up_to_date_is_used_as_it_is(machine: Path, tmp_path: Path):
    """A stand-in environment: its programs only say what they were asked."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text("")
    install(venv / "bin", "python", 'if [ "$2" = pip ]; then exit 0; fi; if [ "$1" = -c ]; then exit 0; fi; echo "$@"')
    install(venv / "bin", "ai-platform", 'echo "$@"')
    install(machine, "python3", "exit 0")
    assert prepare(machine, venv).returncode == 0
    stamp = (venv / "requirements.stamp").read_text()
    assert stamp.startswith("runtime ")
    again = prepare(machine, venv, "up")
    assert (again.stdout, again.stderr) == ("up\n", "")
    tests = prepare(machine, venv, "test")
    assert tests.stdout == "-m pytest\n"
    assert "Preparing" in tests.stderr, "the tests need more than the product"
    assert prepare(machine, venv, "up").stderr == "", "what was installed for the tests also runs the product"
