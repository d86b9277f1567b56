"""ONE place turns the facts of a call into audit events, the ledger row, metrics, a log line and alerts.

Rooms return facts; the record carries them. The intent is durable before the upstream is called, the outcome (with
its ledger row, in the same transaction) before the caller has the end of the answer.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog

from ai_platform.audit import Trail
from ai_platform.budget import Estimate, Hold
from ai_platform.domain.call import Answer, Call
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Decision
from ai_platform.domain.errors import AuditUnavailable, Blocked, PlatformError, Refused
from ai_platform.domain.event import Event
from ai_platform.domain.principal import Principal
from ai_platform.domain.route import Route, Target
from ai_platform.gateway.charge import Cashier, Charge
from ai_platform.gateway.entries import alerts_for, call_facts, intent_event, outcome_event, refusal_events
from ai_platform.pricing import UsageMeter
from ai_platform.protection import Inspection, StreamGuard
from ai_platform.stores.rows import Insert
from ai_platform.telemetry import Alerts, Meter

LATE_OUTCOMES = 10_000
"""How many outcomes wait for a trail that is down; older ones are settled from the open call at the next start."""


class Record:
    """The facts of one call, filled in step by step by the flow."""

    def __init__(self, call: Call, book: "Book") -> None:
        self.call = call
        self.book = book
        self.began = book.clock.monotonic()
        self.caller: Principal | None = None
        self.decision: Decision | None = None
        self.inspection: Inspection | None = None
        self.answer_inspection: Inspection | None = None
        self.stream_guard: StreamGuard | None = None
        self.route: Route | None = None
        self.estimate: Estimate | None = None
        self.hold: Hold | None = None
        self.answer: Answer | None = None
        self.error: PlatformError | None = None
        self.upstream_error = b""
        self.usage_meter = UsageMeter()
        self.streamed_bytes = 0
        self.unchecked_bytes = 0
        self.tools: list[tuple[str, str]] = []
        self.charge: Charge | None = None
        self.aborted = False
        self.admitted_at: float | None = None
        self._finished = False

    @property
    def known_caller(self) -> Principal:
        assert self.caller is not None
        return self.caller

    @property
    def known_decision(self) -> Decision:
        assert self.decision is not None
        return self.decision

    @property
    def target(self) -> Target | None:
        return self.answer.facts.get("target") if self.answer else None

    @property
    def target_name(self) -> str:
        return self.target.name if self.target else ""

    async def admitted(self) -> None:
        """Make the intent durable, with the open call the ledger settles after a crash.

        Raises:
            AuditUnavailable: no audit, no execution.
        """
        await self.book.trail.append((intent_event(self),), (self.book.cashier.open_row(self),))
        self.admitted_at = self.book.clock.monotonic()

    def answered(self, answer: Answer) -> None:
        self.answer = answer

    def tool_used(self, tool_use_id: str, name: str) -> None:
        if len(self.tools) < 256:
            self.tools.append((tool_use_id, name))

    def failed(self, error: PlatformError) -> None:
        self.error = error

    def settle(self) -> None:
        """Price what was used and replace the hold by it; once."""
        if self.charge is None and self.admitted_at is not None:
            self.charge = self.book.cashier.charge(self)
            if self.hold is not None:
                self.hold.settle(self.charge.micros, self.charge.tokens)

    async def finished(self) -> None:
        """Settle and make the outcome durable; once.

        Raises:
            AuditUnavailable: the caller must not get the end of the answer.
        """
        if self._finished:
            return
        self._finished = True
        self.settle()
        await self.book.write(self)


class Book:
    """Opens records; one per process."""

    def __init__(
        self, *, trail: Trail, cashier: Cashier, meter: Meter, alerts: Alerts, clock: Clock
    ) -> None:
        self.trail = trail
        self.cashier = cashier
        self.meter = meter
        self.alerts = alerts
        self.clock = clock
        self.late_outcomes: deque[tuple[tuple[Event, ...], tuple[Insert, ...]]] = deque(maxlen=LATE_OUTCOMES)
        self.in_flight = 0
        self._log = structlog.get_logger("call")
        self._writes: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncGenerator[Record]:
        """A record for this call; whatever way the block is left, one outcome or refusal is written."""
        record = Record(call, self)
        self.in_flight += 1
        try:
            yield record
        except PlatformError as error:
            if record.error is None:
                record.failed(error)
            if isinstance(error, AuditUnavailable) and record.admitted_at is None:
                self._observe(record)  # the trail cannot take the refusal either
            else:
                await record.finished()
            raise
        except BaseException:
            record.aborted = True
            await record.finished()
            raise
        else:
            await record.finished()
        finally:
            self.in_flight -= 1

    async def write(self, record: Record) -> None:
        """Outcome (or refusal) to the trail, then metrics, log line and alerts. Survives cancellation of the call."""
        if record.admitted_at is None:
            events = refusal_events(record)
            rows = tuple(record.error.rows) if isinstance(record.error, Blocked) else ()
        else:
            events = (outcome_event(record),)
            rows = (self.cashier.ledger_row(record),)
        self._observe(record)
        task = asyncio.ensure_future(self._append(events, rows))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        await asyncio.shield(task)

    async def _append(self, events: tuple[Event, ...], rows: tuple[Insert, ...]) -> None:
        try:
            await self.trail.append(events, rows)
        except AuditUnavailable:
            self.late_outcomes.append((events, rows))
            raise
        while self.late_outcomes:
            late = self.late_outcomes.popleft()
            try:
                await self.trail.append(*late)
            except AuditUnavailable:
                self.late_outcomes.appendleft(late)
                return

    def _observe(self, record: Record) -> None:
        facts = call_facts(record)
        self.meter.observe(facts)
        self._log.info(
            "call",
            call=record.call.id,
            person=record.caller.id if record.caller else None,
            operation=record.call.operation.value,
            model=record.call.head.model,
            status=facts.status,
            refusal=record.error.reason.value if isinstance(record.error, Refused) else None,
            ms=round(facts.seconds * 1000, 1),
            micros=facts.micros,
        )
        for alert in alerts_for(record):
            self.alerts.send(alert)

    async def close(self) -> None:
        """Wait until every write under way is through."""
        if self._writes:
            await asyncio.wait(self._writes)
