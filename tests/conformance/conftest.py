import socket
from collections.abc import AsyncIterator

import pytest

from ai_platform.conformance import recording_upstream


@pytest.fixture
async def upstream() -> AsyncIterator[str]:
    """The address of an upstream that answers everything."""
    async with recording_upstream("claude-sonnet-5-5").listening() as running:
        yield running.url


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
