"""The rows of other rooms' tables that travel with the events of a call, in the same transaction."""

from datetime import UTC, datetime

from ai_platform.budget import Estimate, Ledger
from ai_platform.domain.errors import Blocked
from ai_platform.domain.finding import Finding
from ai_platform.domain.money import Micros
from ai_platform.gateway.charge import Charge
from ai_platform.gateway.record import Record
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


def _at(record: Record) -> float:
    return record.hold.at if record.hold else record.call.received_at


SIGHTING = ("principal_id", "value_hash", "type", "rule", "severity", "team", "call_id", "at")


def incident_rows(record: Record) -> tuple[Insert, ...]:
    """One sighting for each critical value: the database makes one incident of them per person and value."""
    found: dict[str, Finding] = {}
    if isinstance(record.error, Blocked):
        found |= {finding.value_hash: finding for finding in record.error.findings}
    if record.inspection:
        found |= {finding.value_hash: finding for finding in record.inspection.new_incidents}
    if not found or record.caller is None:
        return ()
    at = datetime.fromtimestamp(record.scribe.clock.now(), UTC)
    caller = record.caller
    return tuple(
        Insert(
            "aip.incident_sightings",
            SIGHTING,
            (caller.id, key, one.type, one.rule, one.severity.value, caller.team, record.call.id, at),
        )
        for key, one in found.items()
    )
