"""Verifies every stored log: leaves, roots, checkpoints, signatures, search columns, witnesses, open calls.

Streams, so that any number of events fits; the loop is never held for more than one chunk (a few milliseconds).
Above: reader. Below: walk, note, stores.
"""

import asyncio
import base64
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec

from ai_platform.audit.files import CheckpointFiles
from ai_platform.audit.keys import Keys
from ai_platform.audit.leaf import read_leaf
from ai_platform.audit.log import LEAVES_FROM
from ai_platform.audit.note import NoteError, open_checkpoint
from ai_platform.audit.walk import Calls, Expected, Walk
from ai_platform.stores.postgres import SystemDatabase

CHUNK = 1000
_READ_AHEAD = 2
_COLUMNS_AT_ONCE = 10_000
_NOTES_AT_ONCE = 200
_SHOWN = 100

_SLOTS = """
WITH RECURSIVE used AS (
    (SELECT log FROM audit_leaf ORDER BY log LIMIT 1)
    UNION ALL SELECT (SELECT l.log FROM audit_leaf l WHERE l.log > used.log ORDER BY l.log LIMIT 1) FROM used
    WHERE used.log IS NOT NULL
)
SELECT slot, origin, reason,
    coalesce((SELECT max(index) + 1 FROM audit_leaf WHERE log = slot), 0) AS total
FROM (
    SELECT log AS slot FROM used WHERE log IS NOT NULL UNION SELECT log FROM audit_checkpoint
    UNION SELECT slot FROM audit_log UNION SELECT unnest($1::integer[])
) AS every LEFT JOIN audit_log USING (slot) LEFT JOIN audit_log_sealed USING (slot) ORDER BY slot
"""

_WRONG_COLUMNS = """
SELECT l.index FROM audit_leaf AS l, json_to_record(convert_from(l.leaf, 'UTF8')::json) AS r(index bigint,
    event_id text, event_type text, at timestamptz, call_id text, subject_ref text, retention text, expires date,
    facts json)
WHERE l.log = $1 AND l.index >= $2 AND l.index < $2 + $3
    AND (l.index, l.event_id, l.event_type, l.at, l.call_id, l.subject_ref, l.retention, l.expires, l.tenant)
        IS DISTINCT FROM (r.index, r.event_id, r.event_type, r.at, r.call_id, r.subject_ref, r.retention, r.expires,
            coalesce(r.facts ->> 'tenant', 'default'))
ORDER BY l.index LIMIT 3
"""


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """done, total: events."""

    done: int
    total: int


class LogReport(msgspec.Struct, frozen=True):
    """uncovered: events at the end that no checkpoint covers yet. expired: leaves kept as hash. sealed: why, or ""."""

    log: str
    events: int
    checkpoints: int
    uncovered: int
    expired: int
    root: str
    first_at: str
    last_at: str
    sealed: str


class Report(msgspec.Struct, frozen=True, tag="report"):
    """open_calls: intents without outcome, interrupted or still running; not a failure. seconds: how long it took."""

    intact: bool
    events: int
    checkpoints: int
    logs: list[LogReport]
    first_at: str
    last_at: str
    open_calls: list[str]
    open_call_count: int
    problems: list[str]
    problem_count: int
    seconds: float


async def verify(database: SystemDatabase, keys: Keys, files: CheckpointFiles) -> AsyncIterator[Progress | Report]:
    """See `AuditReader.verify`."""
    began = time.monotonic()
    logs = await database.fetch(_SLOTS, files.slots())
    total = sum(row["total"] for row in logs)
    calls = Calls()
    checks: list[_LogCheck] = []
    done = 0
    yield Progress(done=0, total=total)
    for row in logs:
        check = _LogCheck(database, keys, files, row, calls)
        checks.append(check)
        await check.prepare()
        async for size in check.walk_all(row["total"]):
            yield Progress(done=done + size, total=total)
        done += check.walk.frontier.size
    problems = [problem for check in checks for problem in (*check.problems, *check.walk.problems)]
    problems += _cross_check(checks)
    reports = [check.report() for check in checks]
    yield Report(
        intact=not problems,
        events=done,
        checkpoints=sum(report.checkpoints for report in reports),
        logs=reports,
        first_at=min((report.first_at for report in reports if report.first_at), default=""),
        last_at=max((report.last_at for report in reports), default=""),
        open_calls=sorted(calls.open)[:_SHOWN],
        open_call_count=len(calls.open),
        problems=problems[:_SHOWN],
        problem_count=len(problems),
        seconds=round(time.monotonic() - began, 3),
    )


class _LogCheck:
    """One log: its checkpoints, then its leaves."""

    def __init__(self, database: SystemDatabase, keys: Keys, files: CheckpointFiles, row: Any, calls: Calls) -> None:
        self.problems: list[str] = []
        self.heads: dict[int, bytes] = {}
        self.origin: str = row["origin"] or ""
        self.walk = Walk(self.origin, ())
        self._slot: int = row["slot"]
        self._sealed: str = row["reason"] or ""
        self._database = database
        self._keys = keys
        self._files = files
        self._calls = calls

    async def prepare(self) -> None:
        """Check every checkpoint's signature and collect what roots to expect."""
        if not self.origin:
            self.origin = f"log {self._slot}"
            self.problems.append(f"{self.origin}: leaves or checkpoints exist, but the log itself was removed")
        after = -1
        while notes := await self._database.fetch(
            "SELECT size, note FROM audit_checkpoint WHERE log = $1 AND size > $2 ORDER BY size LIMIT $3",
            self._slot,
            after,
            _NOTES_AT_ONCE,
        ):
            after = notes[-1]["size"]
            await asyncio.to_thread(self._read_notes, notes)
        expected = [Expected(size, root, f"the checkpoint at {size}") for size, root in self.heads.items()]
        try:
            if filed := self._files.newest(self._slot):
                if filed.origin != self.origin:
                    raise NoteError(f"it is of another log, {filed.origin}")
                expected.append(Expected(filed.size, filed.root, f"the file {self._files.path(self._slot)}"))
        except NoteError as error:
            self.problems.append(f"{self.origin}: the file {self._files.path(self._slot)} is not genuine ({error})")
        self.walk = Walk(self.origin, expected, calls=self._calls)

    def _read_notes(self, notes: list[Any]) -> None:
        for row in notes:
            try:
                checkpoint = open_checkpoint(row["note"], self._keys.trusted)
            except NoteError as error:
                self.problems.append(f"{self.origin}: the checkpoint at {row['size']} is not genuine ({error})")
                continue
            if checkpoint.size != row["size"] or checkpoint.origin != self.origin:
                self.problems.append(f"{self.origin}: the checkpoint at {row['size']} is of another place")
            self.heads[checkpoint.size] = checkpoint.root

    async def walk_all(self, total: int) -> AsyncIterator[int]:
        """Yields the leaves done. The next chunks are on their way while one is hashed."""
        reading: deque[asyncio.Task[list[Any]]] = deque()
        columns = asyncio.create_task(self._check_columns(total))
        start = 0
        try:
            while not self.walk.is_lost:
                while len(reading) < _READ_AHEAD:
                    reading.append(asyncio.create_task(self._leaves(start)))
                    start += CHUNK
                rows = await reading.popleft()
                self.walk.feed(rows)
                yield self.walk.frontier.size
                if len(rows) < CHUNK:
                    break
            await columns
        finally:
            tasks: list[asyncio.Task[Any]] = [*reading, columns]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.walk.finish()

    async def _leaves(self, start: int) -> list[Any]:
        """A full chunk unless the log ends in it. Behind a gap rows come twice, and the walk reports the gap."""
        return await self._database.fetch(LEAVES_FROM, self._slot, start, CHUNK)

    async def _check_columns(self, total: int) -> None:
        """The columns that searches use must say what the leaf says. The server compares, beside our hashing."""
        for start in range(0, total, 2 * _COLUMNS_AT_ONCE):
            await asyncio.gather(*(self._check_part(start + part * _COLUMNS_AT_ONCE) for part in range(2)))

    async def _check_part(self, start: int) -> None:
        try:
            wrong = await self._database.fetch(_WRONG_COLUMNS, self._slot, start, _COLUMNS_AT_ONCE)
        except asyncpg.PostgresError as error:
            self.problems.append(f"{self.origin}: columns from {start} on cannot be compared ({error})")
        else:
            for row in wrong:
                self.problems.append(f"{self.origin}: the columns of leaf {row['index']} do not say what the leaf says")

    def report(self) -> LogReport:
        walk = self.walk
        return LogReport(
            log=self.origin,
            events=walk.frontier.size,
            checkpoints=len(self.heads),
            uncovered=max(0, walk.frontier.size - max(self.heads, default=0)),
            expired=len(walk.missing),
            root=base64.b64encode(walk.frontier.root()).decode(),
            first_at=_moment(walk.first),
            last_at=_moment(walk.last),
            sealed=self._sealed,
        )


def _moment(leaf: bytes | None) -> str:
    try:
        return read_leaf(leaf).at if leaf else ""
    except msgspec.MsgspecError:
        return ""


def _cross_check(checks: list[_LogCheck]) -> list[str]:
    """What logs say of each other: heads they witnessed must still exist, leaves that are gone must have expired."""
    heads = {check.origin: check.heads for check in checks}
    problems: list[str] = []
    allowed: list[tuple[str, int, int]] = []
    for check in checks:
        allowed += [(gone.log, gone.first, gone.last) for gone in check.walk.expiries]
        problems += [
            f"{check.origin}: witnessed {seen.log} at {seen.size} leaves, but that head is gone"
            for seen in check.walk.witnessed
            if heads.get(seen.log, {}).get(seen.size, b"").hex() != seen.root
        ]
    for check in checks:
        problems += [
            f"{check.origin}: leaf {index} is withheld without a record of its expiry"
            for index in check.walk.missing
            if not any(log == check.origin and first <= index <= last for log, first, last in allowed)
        ]
    return problems
