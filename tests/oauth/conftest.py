import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "sso"))  # its provider and browser serve this suite too

from mcp_client import Person, Tools, tools_site  # noqa: E402 - after the path is set


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    """One platform with sign-in and an MCP server, shared by tests that leave it as it was."""
    with tools_site(tmp_path_factory.mktemp("tools")) as found:
        yield found


@pytest.fixture
def ann(tools: Tools) -> Iterator[Person]:
    """In a browser of her own."""
    with Person(tools, "ann") as person:
        yield person
