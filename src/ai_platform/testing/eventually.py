"""A bounded wait for something that announces itself by nothing but its state."""

import asyncio
from collections.abc import Callable


async def eventually(holds: Callable[[], object], *, within: float = 20.0) -> None:
    """Return as soon as `holds()` is true; look every few milliseconds.

    Raises:
        TimeoutError: it did not come true within so many seconds.

    """
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)
