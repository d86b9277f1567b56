from collections.abc import Iterator
from pathlib import Path

import pytest

from platform_process import PlatformProcess, running


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    """One platform with the simulated upstream and the built-in policy, shared by tests that leave it as it was."""
    with running(tmp_path_factory.mktemp("platform") / "data") as process:
        yield process


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"
