"""How often a server that cannot be reached is tried: by a clock that the test turns."""

from contextlib import asynccontextmanager
from typing import Any

import pytest

from ai_platform.domain.errors import UpstreamUnreachable
from ai_platform.mcp.line import Lines
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.anyio


async def test_a_server_that_cannot_be_reached_is_left_alone_twice_as_long_each_time_up_to_half_a_minute():
    clock = FakeClock()
    tries: list[float] = []

    @asynccontextmanager
    async def gone(owner: Any) -> Any:
        del owner
        tries.append(clock.monotonic())
        raise UpstreamUnreachable("it is not there", target="one")
        yield

    lines = Lines(McpServerSettings(name="one", url="http://127.0.0.1:9/mcp"), gone, clock, lambda *_: None)
    for pause in (0.5, 1, 2, 4, 8, 16, 30, 30):
        with pytest.raises(UpstreamUnreachable, match="not there"):
            await lines.shared(None)
        made = len(tries)
        clock.advance(pause - 0.01)
        with pytest.raises(UpstreamUnreachable, match="a moment ago"):
            await lines.shared(None)
        assert len(tries) == made
        clock.advance(0.02)
    assert len(tries) == 8
