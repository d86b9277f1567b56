"""The pre-commit hook and the GitHub Action, run as pre-commit and the Actions runner run them."""

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import ai_platform

ROOT = Path(__file__).parents[2]
SSN = "536-22-8491"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit; `ai-platform` is a command on the PATH, as after an installation."""
    folder = tmp_path / "repository"
    folder.mkdir()
    commands = tmp_path / "bin"
    commands.mkdir()
    program = commands / "ai-platform"
    source = Path(ai_platform.__file__).parents[1]
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{source}" exec "{sys.executable}" -m ai_platform "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (folder / "readme.txt").write_text("hello\n")
    shell(folder, "git init -q && git add . && git -c user.name=A -c user.email=a@example.org commit -qm one")
    return folder


def shell(folder: Path, script: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """As the Actions runner runs `shell: bash`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "AI_PLATFORM_"))}
    path = f"{folder.parent / 'bin'}:{os.environ['PATH']}"
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    env = kept | {"PATH": path, "COLUMNS": "160", "NO_COLOR": "1"} | environ
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


def declared(name: str) -> dict[str, Any]:
    hooks = {each["id"]: each for each in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    assert hooks[name]["language"] == "python"
    return hooks[name]


def hook(folder: Path) -> "subprocess.CompletedProcess[str]":
    assert declared("ai-platform-scan")["pass_filenames"] is False
    return shell(folder, shlex.join(shlex.split(declared("ai-platform-scan")["entry"])))


@pytest.mark.requirement("DP-6")
def test_the_hook_stops_a_commit_that_adds_a_secret_and_no_other(repository: Path) -> None:
    (repository / "notes.txt").write_text(f"ssn {SSN}\n")
    assert hook(repository).returncode == 0, "nothing is staged"
    shell(repository, "git add notes.txt")
    stopped = hook(repository)
    assert stopped.returncode == 1
    assert "notes.txt:1:5" in stopped.stdout
    assert SSN not in stopped.stdout + stopped.stderr
    (repository / "notes.txt").write_text("mail jane@acme.io\n")
    shell(repository, "git add notes.txt")
    assert hook(repository).returncode == 0, "a warning stops nobody"


@pytest.mark.requirement("DP-6")
def test_the_hook_for_whole_files_finds_what_was_committed_before(repository: Path) -> None:
    """`pre-commit run --all-files` stages nothing: the other hook would have nothing to look at."""
    hook_of_files = declared("ai-platform-scan-files")
    assert hook_of_files.get("pass_filenames", True)
    (repository / "--notes.txt").write_text(f"ssn {SSN}\n")
    shell(repository, "git add . && git -c user.name=A -c user.email=a@example.org commit -qm two")
    assert hook(repository).returncode == 0
    names = ["readme.txt", "--notes.txt"]
    stopped = shell(repository, shlex.join([*shlex.split(hook_of_files["entry"]), *names]))
    assert stopped.returncode == 1
    assert "--notes.txt:1:5" in stopped.stdout
    assert shell(repository, shlex.join([*shlex.split(hook_of_files["entry"]), names[0]])).returncode == 0


@pytest.mark.requirement("DP-6")
def test_a_real_git_hook_refuses_the_commit(repository: Path) -> None:
    script = repository / ".git" / "hooks" / "pre-commit"
    script.write_text(f"#!/bin/sh\nexec {declared('ai-platform-scan')['entry']}\n")
    script.chmod(0o755)
    (repository / "notes.txt").write_text(f"ssn {SSN}\n")
    commit = "git add . && git -c user.name=A -c user.email=a@example.org commit -qm two"
    assert shell(repository, commit).returncode == 1
    (repository / "notes.txt").write_text("nothing\n")
    assert shell(repository, commit).returncode == 0


ACTION: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "actions" / "scan" / "action.yml").read_text())


def action(folder: Path, **inputs: str) -> "subprocess.CompletedProcess[str]":
    """The action's own commands with its inputs, in order; the installation is left out."""
    values = {name: str(declared["default"]) for name, declared in ACTION["inputs"].items()}
    assert not inputs.keys() - {name.replace("-", "_") for name in values}
    values |= {name.replace("_", "-"): value for name, value in inputs.items()}
    steps = [step for step in ACTION["runs"]["steps"] if step.get("name") == "Scan"]
    (step,) = steps
    assert step["shell"] == "bash"
    environ = {}
    for name, text in step["env"].items():
        assert text.startswith("${{ inputs.")
        environ[name] = values[text.removeprefix("${{ inputs.").removesuffix(" }}")]
    assert "${{" not in step["run"], "inputs reach the script as variables, not as code"
    return shell(folder, step["run"], **environ)


def results(folder: Path, name: str = "ai-platform-scan.sarif") -> list[dict[str, Any]]:
    return json.loads((folder / name).read_text())["runs"][0]["results"]


@pytest.mark.requirement("DP-6")
def test_the_action_reports_what_a_change_adds_and_fails_the_job(repository: Path) -> None:
    clean = action(repository)
    assert clean.returncode == 0, clean.stderr
    assert results(repository) == []
    (repository / "a b.txt").write_text(f"ssn {SSN}\n")
    shell(repository, "git add . && git -c user.name=A -c user.email=a@example.org commit -qm two")
    for inputs in ({}, {"since": "HEAD~1"}):
        failed = action(repository, sarif="out.sarif", **inputs)
        assert failed.returncode == 1
        assert [result["ruleId"] for result in results(repository, "out.sarif")] == ["us-ssn"]
        assert "a b.txt:1:5" in failed.stdout
        assert SSN not in failed.stdout + failed.stderr
    assert action(repository, since="HEAD").returncode == 0


@pytest.mark.requirement("DP-6")
def test_the_action_takes_a_policy_and_a_threshold_and_tells_a_wrong_use(repository: Path) -> None:
    (repository / "mail.txt").write_text("mail jane@acme.io\n")
    assert action(repository).returncode == 0
    assert action(repository, fail_on="warning").returncode == 1
    (repository / "policy.yaml").write_text('protection: {allow: ["*@acme.io"]}\n')
    assert action(repository, fail_on="warning", policy="policy.yaml").returncode == 0
    assert action(repository, since="nowhere").returncode == 2
    assert action(repository, since="$(touch hacked)").returncode == 2
    assert not (repository / "hacked").exists()


def test_a_files_name_gives_the_runner_no_command(repository: Path) -> None:
    folder = repository / "::add-mask::x"
    folder.mkdir()
    (folder / "a.txt").write_text(f"ssn {SSN}\n")
    shell(repository, "git add . && git -c user.name=A -c user.email=a@example.org commit -qm two")
    lines = action(repository, since="HEAD~1").stdout.splitlines()
    assert any("::add-mask::x" in line for line in lines)
    assert lines[0].startswith("::stop-commands::")
    fence = lines[0].removeprefix("::stop-commands::")
    assert len(fence) == 32
    assert lines[-1] == f"::{fence}::", "until this line the runner obeys none"


def test_the_action_is_complete_and_what_it_uses_is_pinned() -> None:
    used = [step["uses"] for step in ACTION["runs"]["steps"] if "uses" in step]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", name) for name in used), "a tag can be moved, a commit cannot"
    (install,) = [step["run"] for step in ACTION["runs"]["steps"] if step.get("name") == "Install"]
    assert "--require-hashes" in install
    assert all((ROOT / name).is_file() for name in re.findall(r"\$root/([\w/.]+)", install))
    assert ACTION["runs"]["using"] == "composite"
    names = [step.get("name") for step in ACTION["runs"]["steps"]]
    assert names[-2:] == ["Install", "Scan"]
    assert all(declared["description"] for declared in ACTION["inputs"].values())
