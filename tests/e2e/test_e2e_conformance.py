"""The published suite, run against a platform as a user starts it."""

from pathlib import Path

import pytest

from platform_process import run_command

DENYING = 'version: "1"\nmodels:\n  deny: ["claude-denied-*"]\n'


@pytest.mark.requirement("CC-9", "CC-4", "CC-5", "CC-6")
def test_the_platform_passes_every_case(tmp_path: Path) -> None:
    report = run_command("conformance", "--spawn", "--json", environ={"HOME": str(tmp_path)})
    assert '"failed":0' in report.replace(" ", "")
