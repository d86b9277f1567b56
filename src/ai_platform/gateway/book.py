"""ONE place turns the facts of a call into audit events, the ledger row, metrics, a log line and alerts.

The intent is durable before the upstream is called; the outcome, with its ledger row in the same transaction, before
the caller has the end of the answer. Fails closed: what cannot be recorded is not executed, and not completed.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from msgspec.structs import replace

from ai_platform.audit import Trail
from ai_platform.budget import Ledger
from ai_platform.domain.call import Call
from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import AuditUnavailable, Blocked, PlatformError, Unauthenticated
from ai_platform.domain.event import Event
from ai_platform.domain.finding import Direction, Finding
from ai_platform.gateway.charge import Cashier, Charge, Consumption
from ai_platform.gateway.defects import defect
from ai_platform.gateway.entries import (
    alerts_for,
    call_facts,
    incident_events,
    intent_event,
    login_event,
    outcome_event,
    refusal_events,
)
from ai_platform.gateway.failures import FailureLimit
from ai_platform.gateway.record import Record
from ai_platform.gateway.rows import kept_rows, ledger_row, open_row, sightings, tool_use_rows
from ai_platform.gateway.sensitive import alerts_about, input_news, output_news
from ai_platform.stores.rows import Insert
from ai_platform.telemetry import Alerts, CallLog, Meter

LATE_OUTCOMES = 10_000
"""How many outcomes wait for a trail that is down. Beyond it, the next start settles the call from its intent."""

KNOWN_LOGINS = 20_000
"""How many (credential, address) pairs are remembered, so that a sign-in is recorded once and not at each call."""


class Book:
    """Opens records; one per process. status_of: the status a door answers an error with, for the metrics.

    failures: its counter of failed sign-ins that were not written one by one.
    """

    def __init__(
        self,
        *,
        trail: Trail,
        cashier: Cashier,
        ledger: Ledger,
        meter: Meter,
        alerts: Alerts,
        log: CallLog,
        clock: Clock,
        status_of: Callable[[PlatformError], int],
    ) -> None:
        self.clock = clock
        self.in_flight = 0
        self.late_outcomes: deque[tuple[tuple[Event, ...], tuple[Insert, ...]]] = deque(maxlen=LATE_OUTCOMES)
        self.failures = FailureLimit()
        self._trail = trail
        self._cashier = cashier
        self._ledger = ledger
        self._meter = meter
        self._alerts = alerts
        self._log = log
        self._status_of = status_of
        self._logins: dict[tuple[str | None, str], None] = {}
        self._writes: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncGenerator[Record]:
        """A record for this call; whatever way the block is left, one outcome or refusal is written."""
        record = Record(call, self)
        self.in_flight += 1
        try:
            yield record
        except PlatformError as error:
            record.failed(error)
            if isinstance(error, AuditUnavailable) and not record.is_admitted:
                record.is_finished = True  # the trail cannot take the refusal either; metrics and log still can
                self._observe(record)
            await record.finished()
            raise
        except BaseException as error:
            if isinstance(error, Exception):  # a defect is not a client that left: it is recorded and told as one
                failure = defect(error, call.id)
                record.failed(failure)
                await record.finished()
                raise failure from error
            record.aborted = True
            await record.finished()
            raise
        else:
            await record.finished()
        finally:
            self.in_flight -= 1

    def price(self, record: Record) -> Charge:
        status = record.answer.status if record.answer else 0
        used = Consumption(
            meter=record.usage_meter,
            status=status,
            streamed=record.stream_guard is not None,
            streamed_bytes=record.streamed_bytes,
        )
        return self._cashier.charge(record.known_caller, record.call, record.target, used)

    async def write_intent(self, record: Record) -> None:
        news = input_news(record)
        events = (intent_event(record), *incident_events(record, news, Direction.INPUT))
        kept = record.inspection.rows if record.inspection else ()
        login = (record.known_caller.key_id, record.call.client.ip)
        if login not in self._logins:
            events = (login_event(record), *events)
        self.tell(record, news)
        rows = (open_row(self._ledger, record), *sightings(record, news, Direction.INPUT), *kept)
        await self._trail.append(events, rows)
        if record.inspection and record.inspection.exchange:
            record.inspection.exchange.written()
        self._remember(login)

    def tell(self, record: Record, news: Sequence[Finding]) -> None:
        """Send what inspection found to the alert sinks, where the policy says so."""
        for alert in alerts_about(record, news):
            self._alerts.send(alert)

    async def write_end(self, record: Record) -> None:
        """Outcome or refusal to the trail, then metrics, log line and alerts. Goes on when the call is cancelled."""
        if record.is_admitted:
            news = output_news(record)
            events = (outcome_event(record), *incident_events(record, news, Direction.OUTPUT))
            rows = (
                ledger_row(self._ledger, record),
                *sightings(record, news, Direction.OUTPUT),
                *kept_rows(record),
                *tool_use_rows(record),
            )
        else:
            news = input_news(record)
            events, rows = refusal_events(record), sightings(record, news, Direction.INPUT)
            if isinstance(record.error, Unauthenticated):
                events = self._bounded(record, events)
        if isinstance(record.error, Blocked):
            self.tell(record, record.error.news)
        self._observe(record)
        if not record.aborted:  # a cancellation from here on finds the events in the trail's queue already
            await self._append(events, rows)
            return
        task = asyncio.create_task(self._append(events, rows))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        await asyncio.shield(task)

    async def close(self) -> None:
        """Wait until every write under way is through."""
        if self._writes:
            await asyncio.wait(self._writes)

    async def _append(self, events: tuple[Event, ...], rows: tuple[Insert, ...]) -> None:
        if not events:
            return
        try:
            await self._trail.append(events, rows)
        except AuditUnavailable:
            self.late_outcomes.append((events, rows))
            raise
        while self.late_outcomes:
            late = self.late_outcomes.popleft()
            try:
                await self._trail.append(*late)
            except AuditUnavailable:
                self.late_outcomes.appendleft(late)
                return

    def _bounded(self, record: Record, events: tuple[Event, ...]) -> tuple[Event, ...]:
        skipped = self.failures.admit(record.call.client.ip, self.clock.monotonic())
        if skipped is None:
            return ()
        return tuple(replace(event, facts=event.facts | {"unrecorded": skipped}) for event in events)

    def _remember(self, login: tuple[str | None, str]) -> None:
        if len(self._logins) >= KNOWN_LOGINS:
            self._logins.pop(next(iter(self._logins)))
        self._logins[login] = None

    def _observe(self, record: Record) -> None:
        facts = call_facts(record, self._status_of)
        self._meter.observe(facts)
        self._log.write(facts)
        for alert in alerts_for(record):
            self._alerts.send(alert)
