"""Group commit: one task takes everything that waits and commits it as one transaction, then wakes the waiters.

Knows drafts, rows and logs; not events, subjects or keys. Fails closed: whoever waits is told within bounded time.
Above: trail. Below: log, files, sink.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import asyncpg

from ai_platform.audit.files import CheckpointFiles
from ai_platform.audit.leaf import Draft
from ai_platform.audit.log import OpenLog, Pending
from ai_platform.audit.settings import AuditSettings
from ai_platform.audit.sink import JsonlSink
from ai_platform.domain.errors import AuditUnavailable, PlatformError
from ai_platform.stores.rows import Insert

_DISTRUSTED = ("08", "57", "58", "XX")
"""SQLSTATE classes after which the session's word is not taken, although the server answered."""

_LOST = "40"
"""The SQLSTATE class of a transaction that had to yield to another replica's (a deadlock over the same rows)."""

_AWAY = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError, PlatformError)

OpenLogAgain = Callable[[OpenLog | None], Awaitable[OpenLog]]
"""Opens a log, preferably the one given. Raises PlatformError."""


class Waiter:
    """One append. retried: its commit was tried on two connections. alone: it must not share a transaction."""

    __slots__ = ("alone", "done", "drafts", "lines", "retried", "rows")

    def __init__(self, drafts: list[Draft], rows: Sequence[Insert], lines: list[bytes]) -> None:
        self.drafts = drafts
        self.rows = rows
        self.lines = lines
        self.retried = False
        self.alone = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(AuditUnavailable(why))

    def succeed(self) -> None:
        if not self.done.done():  # a cancelled caller no longer listens; its events are stored all the same
            self.done.set_result(None)


class Writer:
    """appended, refused: events. commits, reconnects, checkpoints: how many. queued: events that wait for a commit.

    unavailable: why appends fail at present, "" when they do not. last_error: the driver's words, for operators.
    log: the one written to, None while it is away.
    """

    def __init__(
        self, settings: AuditSettings, reopen: OpenLogAgain, files: CheckpointFiles, sink: JsonlSink | None
    ) -> None:
        self.appended = self.refused = self.commits = self.reconnects = self.checkpoints = self.queued = 0
        self.unavailable = self.last_error = ""
        self.log: OpenLog | None = None
        self._last: OpenLog | None = None
        self._settings = settings
        self._reopen_log = reopen
        self._files = files
        self._sink = sink
        self._queue: deque[Waiter] = deque()
        self._committing: list[Waiter] = []
        self._wake: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sign_now = False
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self, log: OpenLog) -> None:
        self.log = log
        self._task = asyncio.create_task(self._run(), name="audit writer")
        self._task.add_done_callback(self._ended)

    def submit(self, waiter: Waiter) -> None:
        """Queue an append; its `done` tells.

        Raises:
            AuditUnavailable: at once, when the log is away or too much waits already.

        """
        if self.unavailable or self._closing:
            self.refused += len(waiter.drafts)
            raise AuditUnavailable(self.unavailable or "The audit trail is closing: the platform is stopping.")
        if self.queued + len(waiter.drafts) > self._settings.queue_events:
            self.refused += len(waiter.drafts)
            raise AuditUnavailable(f"{self.queued} audit events already wait for PostgreSQL. Try again in a moment.")
        self._queue.append(waiter)
        self.queued += len(waiter.drafts)
        self._wake_up()

    def sign(self) -> None:
        """Sign a checkpoint over what none covers yet, soon."""
        self._sign_now = True
        self._wake_up()

    async def close(self) -> None:
        """Commit what waits, sign a last checkpoint, give the log free."""
        self._closing = self._sign_now = True
        self._wake_up()
        if self._task:
            await asyncio.wait({self._task}, timeout=2 * self._settings.commit_timeout)
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._timer:
            self._timer.cancel()
        if self.log:
            await self.log.close()

    async def _run(self) -> None:
        while True:
            if self.log is None:
                if self._closing:
                    return
                await self._sleep(self._settings.retry_seconds)
                await self._reopen()
            elif self._queue:
                # A turn of the event loop: what has arrived by now shares this commit and need not await the next.
                await asyncio.sleep(0)
                await self._commit(self.log, self._take())
            elif self._sign_now:
                self._sign_now = False
                if self.log.frontier.size > self.log.covered:
                    await self._commit(self.log, [])
            elif self._closing:
                return
            else:
                await self._sleep(None)

    def _take(self) -> list[Waiter]:
        waiter = self._queue.popleft()
        batch = [waiter]
        events = len(waiter.drafts)
        while self._queue and not waiter.alone:
            waiter = self._queue[0]
            if waiter.alone or events + len(waiter.drafts) > self._settings.batch_events:
                break
            events += len(waiter.drafts)
            batch.append(self._queue.popleft())
        self.queued -= events
        return batch

    async def _commit(self, log: OpenLog, batch: list[Waiter]) -> None:
        """One transaction. An empty batch signs a checkpoint."""
        self._committing = batch
        drafts = [draft for waiter in batch for draft in waiter.drafts]
        pending = log.plan(drafts, [row for waiter in batch for row in waiter.rows], sign=not batch)
        try:
            await log.write(pending)
        except asyncpg.PostgresError as error:
            if log.is_cut or str(getattr(error, "sqlstate", "")).startswith(_DISTRUSTED):
                await self._resolve(log, batch, pending, error)
            else:
                self._undone(batch, error)
        except (OSError, TimeoutError, asyncpg.InternalClientError) as error:
            await self._resolve(log, batch, pending, error)
        except asyncpg.InterfaceError as error:
            if log.is_cut:
                await self._resolve(log, batch, pending, error)
            else:  # a value the driver cannot encode: nothing was sent
                self._undone(batch, error)
        except (ValueError, TypeError) as error:  # the same, or a column that does not exist
            self._undone(batch, error)
        else:
            await self._committed(log, batch, pending)
        self._committing = []

    async def _committed(self, log: OpenLog, batch: list[Waiter], pending: Pending) -> None:
        self.commits += 1
        self.appended += len(pending.leaves)
        if pending.note:
            self.checkpoints += 1
            self._files.save(log.slot, pending.note)
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._settings.checkpoint_seconds, self._checkpoint_due)
        if self._sink and batch:
            try:
                await self._sink.write([line for waiter in batch for line in waiter.lines])
            except AuditUnavailable as error:  # the copy is required: the events are stored, the calls are refused
                self._fail(batch, str(error))
                return
        for waiter in batch:
            waiter.succeed()

    def _undone(self, batch: list[Waiter], error: Exception) -> None:
        """The server took back the transaction, or never saw it. One caller's bad row must not refuse the others."""
        if len(batch) == 1 and not batch[0].retried and str(getattr(error, "sqlstate", "")).startswith(_LOST):
            batch[0].retried = True
            self._requeue(batch)
            return
        if len(batch) <= 1 or isinstance(error, asyncpg.InsufficientResourcesError):
            self.last_error = str(error)
            self._fail(batch, f"PostgreSQL did not take the audit record ({type(error).__name__}).")
            return
        for waiter in batch:
            waiter.alone = True
        self._requeue(batch)

    async def _resolve(self, log: OpenLog, batch: list[Waiter], pending: Pending, error: Exception) -> None:
        """No answer: whether the batch was committed is read from the table before anything else happens.

        Holding the log's lock again proves that the old session has ended, so the answer is final.
        """
        log.abandon()
        self.log, self._last = None, log
        self.last_error = str(error)
        self.unavailable = f"PostgreSQL does not take audit records ({type(error).__name__})."
        is_held = await self._reopen(pending)
        if self.log is None:
            self._fail(batch, self.unavailable)
            self._fail_queue(self.unavailable)
        elif is_held is None:  # fails closed: it may be there, but nobody can tell
            self._fail(batch, "PostgreSQL broke off during the commit, and its outcome cannot be told.")
        elif is_held:
            await self._committed(self.log, batch, pending)
        else:
            self._fail([waiter for waiter in batch if waiter.retried], "PostgreSQL broke off twice during the commit.")
            again = [waiter for waiter in batch if not waiter.retried]
            for waiter in again:
                waiter.retried = True
            self._requeue(again)

    def _requeue(self, batch: list[Waiter]) -> None:
        """Before everything that came later."""
        self._queue.extendleft(reversed(batch))
        self.queued += sum(len(waiter.drafts) for waiter in batch)

    async def _reopen(self, pending: Pending | None = None) -> bool | None:
        """One attempt to have a log again; without one, `unavailable` says why.

        Returns whether it holds `pending`; None when it is another log, or there are no leaves to look for.
        """
        log = None
        try:
            async with asyncio.timeout(self._settings.commit_timeout):
                log = await self._reopen_log(self._last)
                is_same = self._last is not None and log.slot == self._last.slot
                is_held = await log.holds(pending) if is_same and pending and pending.leaves else None
        except _AWAY as error:
            self.last_error = str(error) or "PostgreSQL does not answer in time"
            known = isinstance(error, PlatformError)  # its text is meant for callers, the driver's is not
            self.unavailable = f"The audit trail is not available: {error if known else type(error).__name__}"
            if log:
                log.abandon()
            return None
        self.log = log
        self.reconnects += 1
        self.unavailable = ""
        self._sign_now = True
        return is_held

    def _checkpoint_due(self) -> None:
        self._timer = None
        self.sign()

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _sleep(self, seconds: float | None) -> None:
        """Until woken, for at most `seconds`."""
        self._wake = asyncio.get_running_loop().create_future()
        if seconds is None:
            await self._wake
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake
        self._wake = None

    def _fail(self, batch: Sequence[Waiter], why: str) -> None:
        for waiter in batch:
            self.refused += len(waiter.drafts)
            waiter.fail(why)

    def _fail_queue(self, why: str) -> None:
        waiting = list(self._queue)
        self._queue.clear()
        self.queued = 0
        self._fail(waiting, why)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Nobody may wait for a writer that is gone. A defect shows itself here and stops every call (fail closed)."""
        error = None if task.cancelled() else task.exception()
        why = f"The audit writer stopped ({error!r})." if error else "The audit trail was closed."
        self.unavailable = self.unavailable or why
        self._fail(self._committing, self.unavailable)
        self._fail_queue(self.unavailable)
