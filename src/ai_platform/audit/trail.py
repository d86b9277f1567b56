"""The trail: events become durable, or the caller hears that they did not. No audit, no execution.

Turns events into drafts of leaves (personal fields encrypted) and hands them to the writer. Not for reading (`reader`).
Above: gateway, bootstrap. Below: writer, subjects, keys.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from ai_platform.audit.errors import TamperedLog
from ai_platform.audit.files import CheckpointFiles
from ai_platform.audit.keys import Keys, load_keys
from ai_platform.audit.leaf import Draft, retention_by_type, timestamp
from ai_platform.audit.lines import line_of_event
from ai_platform.audit.log import OpenLog, open_log, seal_log
from ai_platform.audit.settings import AuditSettings
from ai_platform.audit.sink import JsonlSink
from ai_platform.audit.subjects import SubjectKeys
from ai_platform.audit.walk import LOG_OPENED
from ai_platform.audit.writer import Waiter, Writer
from ai_platform.domain.clock import Clock, SystemClock
from ai_platform.domain.errors import AuditUnavailable, StoreUnavailable
from ai_platform.domain.event import Event, EventType
from ai_platform.domain.identifiers import new_id
from ai_platform.stores.postgres import SystemDatabase
from ai_platform.stores.rows import Insert


class Trail(Protocol):
    """Where events go."""

    async def append(self, events: Sequence[Event], rows: Sequence[Insert] = ()) -> None:
        """Make events, and rows of other rooms, durable together: all or none, on return.

        Raises:
            AuditUnavailable: they are not, as far as is known: do not execute, do not complete. When the connection
                broke during the commit they may turn out to be there; nothing is ever half there.

        """
        ...


class PostgresTrail:
    """Satisfies `Trail`. writer, subjects, files, sink: their counters are what telemetry reads."""

    def __init__(self, database: SystemDatabase, data: Path, settings: AuditSettings, keys: Keys, clock: Clock) -> None:
        self.keys = keys
        self.subjects = SubjectKeys(database, keys.kek, keys.pepper, clock)
        self.files = CheckpointFiles(data / "audit" / "checkpoints", keys.trusted)
        self.sink = JsonlSink(settings.sink) if settings.sink.enabled else None
        self.writer = Writer(settings, self._open, self.files, self.sink)
        self._database = database
        self._settings = settings
        self._clock = clock
        self._retention = retention_by_type(settings.retention_days)

    async def start(self) -> None:
        """Claim a log and record that it was opened. Raises: see `open_trail`."""
        log = await self._open_or_seal()
        try:
            opened = self._opened(log, await log.others())
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.abandon()
            raise AuditUnavailable("PostgreSQL broke off while the audit log was opened.") from error
        self.writer.start(log)
        await self.append([opened])

    async def append(self, events: Sequence[Event], rows: Sequence[Insert] = ()) -> None:
        if self.writer.unavailable:  # before keys are asked for, so that an outage is answered at once
            self.writer.refused += len(events)
            raise AuditUnavailable(self.writer.unavailable)
        drafts = [await self._sealed(event) if event.personal else self._plain(event) for event in events]
        lines: list[bytes] = []
        if self.sink:
            lines = [line_of_event(event, with_personal=self.sink.settings.personal) for event in events]
        waiter = Waiter(drafts, rows, lines)
        self.writer.submit(waiter)
        await waiter.done

    @property
    def origin(self) -> str:
        """The log that is written to, `NAME/audit/SLOT`; empty while PostgreSQL is away."""
        return self.writer.log.origin if self.writer.log else ""

    def checkpoint(self) -> None:
        """Sign a checkpoint over what none covers yet, soon."""
        self.writer.sign()

    def is_covered(self) -> bool:
        """Whether a signed checkpoint covers every event."""
        log = self.writer.log
        return log is not None and log.covered == log.frontier.size

    async def close(self) -> None:
        """Commit what waits, sign a last checkpoint, give the log free. Appends from now on are refused."""
        await self.writer.close()
        await self.files.close()
        if self.sink:
            await self.sink.close()

    def _plain(self, event: Event) -> Draft:
        ref = self.subjects.ref(event.subject) if event.subject is not None else None
        return Draft(event, self._retention[event.type], ref, None)

    async def _sealed(self, event: Event) -> Draft:
        # Personal fields of nobody in particular (a failed sign-in) share one key a month.
        subject = event.subject or f"unattributed:{timestamp(event.at)[:7]}"
        key = self.subjects.cached(subject)
        if key is None:
            try:
                key = await self.subjects.load(subject, str(event.personal.get("user_email") or ""))
            except (StoreUnavailable, asyncpg.PostgresError) as error:
                self.writer.refused += 1
                raise AuditUnavailable(f"The audit trail cannot reach its keys: {error}") from error
        return Draft(event, self._retention[event.type], key.ref, key.seal(event.id, event.personal))

    async def _open(self, last: OpenLog | None) -> OpenLog:
        return await open_log(self._database, self._settings, self.keys, self.files, last)

    async def _open_or_seal(self) -> OpenLog:
        while True:
            try:
                return await self._open(None)
            except TamperedLog as error:
                if not self._settings.start_new_log:
                    raise
                await seal_log(self._database, error.slot, str(error))

    def _opened(self, log: OpenLog, others: list[dict[str, Any]]) -> Event:
        """First record of a writer: where it continues, and the heads of the other logs, which it witnesses."""
        now = self._clock.now()
        facts: dict[str, Any] = {
            "action": LOG_OPENED,
            "continues_at": log.frontier.size,
            "logs": others,
            "key": str(self.keys.signer.verifier),
        }
        return Event(id=new_id("evt", now), type=EventType.PLATFORM, at=now, facts=facts)


async def open_trail(
    database: SystemDatabase, data: Path, settings: AuditSettings | None = None, clock: Clock | None = None
) -> PostgresTrail:
    """A trail that is ready to take events; `close()` it. data: the data folder (keys, checkpoint files).

    Raises:
        TamperedLog: the stored log is not what was signed, and `start_new_log` is off.
        ConfigError: the key files or the sink's file cannot be used, or are not those of this database.
        AuditUnavailable, StoreUnavailable: PostgreSQL does not take the first record.

    """
    settings = settings or AuditSettings()
    trail = PostgresTrail(database, data, settings, load_keys(settings, data), clock or SystemClock())
    try:
        await trail.start()
    except BaseException:
        await trail.close()
        raise
    return trail
