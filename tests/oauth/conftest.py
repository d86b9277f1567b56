import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "sso"))  # its provider and browser serve this suite too

from accounts_kit import SERVERS, Owner  # noqa: E402 - after the path is set
from guarded_server import Guarded, guarded  # noqa: E402 - the same
from mcp_client import Person, Tools, tools_site  # noqa: E402 - the same


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


@pytest.fixture(scope="session")
def guarded_server() -> Iterator[Guarded]:
    with guarded() as found:
        yield found


@pytest.fixture(scope="session")
def guarded_twin() -> Iterator[Guarded]:
    with guarded() as found:
        yield found


@pytest.fixture
def there(guarded_server: Guarded) -> Guarded:
    """A server that asks for OAuth, and says the usual."""
    return guarded_server.usual()


@pytest.fixture
def twin(guarded_twin: Guarded) -> Guarded:
    """Another one, with an authorisation server of its own, that a stranger runs."""
    return guarded_twin.usual()


@pytest.fixture(scope="session")
def here(guarded_server: Guarded, guarded_twin: Guarded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    """A platform in front of both."""
    servers = SERVERS.format(url=guarded_server.url, twin=guarded_twin.url)
    environ = {"MACHINE_SECRET": "secret-of-the-machine"}
    with tools_site(tmp_path_factory.mktemp("accounts"), servers=servers, environ=environ) as found:
        yield found


@pytest.fixture
def owners(here: Tools, there: Guarded, twin: Guarded) -> Iterator[Callable[[str], Owner]]:
    """People by name, each in a browser of their own; in the end they have no accounts again."""
    del there, twin  # which say the usual again
    with ExitStack() as stack:

        def come(name: str) -> Owner:
            person = stack.enter_context(Owner(here, name))
            stack.callback(person.disconnect_all)
            return person

        yield come
