"""Keeps the index current: a pass over the folders at the start and at intervals, one process at a time.

Fails open: when a pass fails, the old index keeps answering; the failure is counted and said on standard error.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator

from ai_platform.domain.errors import StoreUnavailable
from ai_platform.mcp_servers.knowledge_base.entry import Changes, Index
from ai_platform.mcp_servers.knowledge_base.folders import Folder, Report, differences


class Keeper:
    """run() until cancelled. ready: the first pass is over. failed: passes that failed. report: the last pass."""

    def __init__(
        self,
        index: Index,
        folders: list[Folder],
        *,
        most_bytes: int,
        every: float,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._index = index
        self._folders = folders
        self._most_bytes = most_bytes
        self._every = every
        self._changed = changed
        self.ready = asyncio.Event()
        self.failed = 0
        self.report = Report()

    async def run(self) -> None:
        while True:
            try:
                await self.refresh()
            except (StoreUnavailable, OSError) as error:
                self.failed += 1
                sys.stderr.write(f"The index was not brought up to date: {error}\n")
            self.ready.set()
            await asyncio.sleep(self._every)

    async def refresh(self) -> Report:
        """One pass. Without effect while another process keeps the same index."""
        report = Report()
        if not await self._index.claim():
            return report
        known = await self._index.stamps()
        batches = differences(self._folders, known, self._most_bytes, report)
        listed = False
        while (changes := await asyncio.to_thread(_following, batches)) is not None:
            if changes:
                await self._index.apply(changes)
                listed = listed or bool(changes.written or changes.gone)
        self.report = report
        if listed:
            await self._index.settle()
            await self._changed()
        return report


def _following(batches: Iterator[Changes]) -> Changes | None:
    return next(batches, None)
