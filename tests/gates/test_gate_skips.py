"""In CI nothing is skipped silently."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

SUITE = """
import pytest

def test_that_passes(): pass

def test_that_skips(): pytest.skip("no server here")

@pytest.mark.skipif(True, reason="not today")
def test_that_is_marked(): pass

@pytest.mark.xfail(strict=True)
def test_that_is_known_to_fail(): assert False
"""


@pytest.mark.parametrize(
    ("setting", "counts"), [("1", "1 failed, 1 passed, 1 xfailed, 1 error"), ("", "1 passed, 2 skipped, 1 xfailed")]
)
def test_a_skip_is_a_failure_only_when_it_is_asked_for(tmp_path: Path, setting: str, counts: str):
    shown = suite(tmp_path, SUITE, setting)
    assert counts in shown.stdout
    assert shown.returncode == (1 if setting else 0)


def test_a_whole_module_that_is_skipped_is_a_failure_too(tmp_path: Path):
    shown = suite(tmp_path, "import pytest\npytest.importorskip('no_such_module_anywhere')\n", "1")
    assert shown.returncode != 0
    assert "AI_PLATFORM_NO_SKIPS=1 forbids" in shown.stdout


def suite(folder: Path, text: str, setting: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_suite.py").write_text(text)
    environment = {**os.environ, "AI_PLATFORM_NO_SKIPS": setting, "PYTHONPATH": str(TESTS), "PYTEST_ADDOPTS": ""}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        os.devnull,
        "--rootdir",
        folder,
        "-p",
        "no_skips",
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run(
        [*command, folder], env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
