"""Every test of the upstream room runs on asyncio's own loop and on uvloop, against real servers on loopback."""

from typing import Any

import pytest


@pytest.fixture(
    scope="session",
    params=[pytest.param(("asyncio", {}), id="asyncio"), pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")],
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param
