"""The rows of other rooms' tables that travel with the events of a call, in the same transaction."""

from ai_platform.budget import Ledger
from ai_platform.domain.errors import Blocked
from ai_platform.gateway.record import Record
from ai_platform.stores.rows import Insert


def open_row(ledger: Ledger, record: Record) -> Insert:
    """Written with the intent: what to settle when the process dies before the outcome."""
    return ledger.intent_row(record.call, record.known_caller, record.route, record.estimate)


def ledger_row(ledger: Ledger, record: Record) -> Insert:
    """Written with the outcome: what the call is charged."""
    return ledger.row(record.call, record.known_caller, record.charge)


def incident_rows(record: Record) -> tuple[Insert, ...]:
    return ()
