"""The rows of other rooms' tables that travel with the events of a call, in the same transaction."""

from collections.abc import Sequence

from ai_platform.budget import Estimate, Ledger
from ai_platform.domain.finding import Direction, Finding
from ai_platform.domain.money import Micros
from ai_platform.domain.principal import Principal
from ai_platform.gateway.charge import Charge
from ai_platform.gateway.record import Record
from ai_platform.gateway.sensitive import incidents
from ai_platform.protection.incidents import incident_rows
from ai_platform.stores.rows import Insert

NOTHING = Charge()
NO_ESTIMATE = Estimate(micros=Micros(0), tokens=0)


def open_row(ledger: Ledger, record: Record) -> Insert:
    """Written with the intent: what the call is settled by when this process dies before its outcome."""
    return ledger.intent_row(
        call=record.call,
        principal=record.known_caller,
        estimate=record.estimate or NO_ESTIMATE,
        target=record.route.targets[0] if record.route else None,
        at=_at(record),
    )


def ledger_row(ledger: Ledger, record: Record) -> Insert:
    """Written with the outcome: what the call is charged."""
    charge = record.charge or NOTHING
    return ledger.row(
        call=record.call,
        principal=record.known_caller,
        usage=charge.usage,
        micros=charge.micros,
        tokens=charge.tokens,
        target=record.target,
        at=_at(record),
        status=record.answer.status if record.answer else 0,
        model_served=charge.model,
        price_rows=charge.rows,
        unknown=charge.unknown,
        interrupted=record.aborted,
        simulated=record.is_simulated,
    )


TOOL_USES = ("tenant", "principal", "tool_use_id", "call_id")


def tool_use_rows(record: Record) -> tuple[Insert, ...]:
    """What joins a model's answer with the tool calls it asked for: both sides name the `tool_use`; and a call with
    the request for consent that it used.
    """
    named = dict.fromkeys(tool_use_id for tool_use_id, _ in record.tools)
    if record.call.head.tool_use_id:
        named[record.call.head.tool_use_id] = None
    if record.approval:
        named[record.approval.id] = None
    return tuple(joined(record.known_caller, name, record.call.id) for name in named if is_plain(name))


def joined(caller: Principal, identifier: str, call_id: str) -> Insert:
    """The call belongs to whatever else of the same person has this identifier."""
    return Insert("aip.tool_uses", TOOL_USES, (caller.tenant, caller.id, identifier, call_id))


def is_plain(identifier: str) -> bool:
    """An identifier as programs make them; anything else joins nothing."""
    return bool(identifier) and identifier.isascii() and identifier.isprintable()


def _at(record: Record) -> float:
    return record.hold.at if record.hold else record.call.received_at


def sightings(record: Record, news: Sequence[Finding], direction: Direction) -> tuple[Insert, ...]:
    """Critical values that are new of this person: the database keeps one incident of each."""
    found = incidents(news)
    if not found or record.caller is None:
        return ()
    return incident_rows(
        record.caller,
        record.call.id,
        found,
        record.scribe.clock.now(),
        model=record.call.head.model or "",
        shown=direction is Direction.INPUT,
    )


def kept_rows(record: Record) -> tuple[Insert, ...]:
    """What the answer has to be read with later: the thinking that its caller got redacted."""
    if record.stream_guard and record.stream_guard.exchange:
        return tuple(record.stream_guard.exchange.rows)
    return record.answer_inspection.rows if record.answer_inspection else ()
