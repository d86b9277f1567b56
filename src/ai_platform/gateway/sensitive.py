"""What inspection found in a call, as the audit log, the metrics and the alerts tell it. Never a value.

Above: entries, rows, book. Below: record.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ai_platform.domain.errors import Blocked
from ai_platform.domain.finding import Action, Direction, Finding, Severity
from ai_platform.gateway.record import Record
from ai_platform.protection import Inspection
from ai_platform.telemetry import Alert

_MOST_PATHS = 20
_REWRITTEN = frozenset({Action.REDACT, Action.MASK, Action.TOKENISE})


def sensitive(findings: Sequence[Finding]) -> dict[str, Any]:
    if not findings:
        return {"sensitive_data_detected": False}
    types = Counter(f"{found.type}:{found.action.value}" for found in findings)
    return {
        "sensitive_data_detected": True,
        "sensitive_data_types": sorted({found.type for found in findings}),
        "sensitive_data_counts": dict(sorted(types.items())),
    }


def inspected_input(record: Record) -> dict[str, Any]:
    """How much of the request was checked, also when it was refused for what was found."""
    if inspection := record.inspection:
        facts = sensitive(inspection.findings) | {
            "bytes_inspected": inspection.bytes_checked,
            "bytes_unchecked": inspection.bytes_unchecked,
            "redacted": inspection.changed,
        }
        if inspection.exchange is not None and inspection.exchange.minted:
            facts["tokens_minted"] = dict(sorted(inspection.exchange.minted.items()))
        return facts
    if isinstance(record.error, Blocked):
        return sensitive(record.error.findings) | {"bytes_inspected": record.error.bytes_checked}
    return {}


def inspected_output(record: Record) -> dict[str, Any]:
    """The same of the answer, and of what was said on the way to it."""
    guard, inspection = record.stream_guard, record.answer_inspection
    unchecked = record.unchecked_bytes + sum(each.bytes_unchecked for each in _inspections(record))
    facts = sensitive(output_findings(record)) | {
        "bytes_inspected": output_bytes(record),
        "bytes_unchecked": unchecked + (guard.bytes_unchecked if guard else 0),
    }
    exchange = guard.exchange if guard else inspection.exchange if inspection else None
    if exchange is not None and exchange.restored:
        facts["tokens_restored"] = dict(sorted(exchange.restored.items()))
    return facts


def _inspections(record: Record) -> list[Inspection]:
    return [*record.aside, *([record.answer_inspection] if record.answer_inspection else [])]


def _stopped(record: Record) -> Blocked | None:
    """What ended an answer that was asked for."""
    error = record.error
    return error if record.is_admitted and isinstance(error, Blocked) and not record.stream_guard else None


def input_findings(record: Record) -> tuple[Finding, ...]:
    if record.inspection:
        return record.inspection.findings
    return record.error.findings if isinstance(record.error, Blocked) else ()


def output_findings(record: Record) -> tuple[Finding, ...]:
    found = [finding for each in _inspections(record) for finding in each.findings]
    if record.stream_guard:
        found += record.stream_guard.findings
    if error := _stopped(record):
        found += error.findings
    return tuple(found)


def output_bytes(record: Record) -> int:
    checked = sum(each.bytes_checked for each in _inspections(record))
    if record.stream_guard:
        checked += record.stream_guard.bytes_checked
    if error := _stopped(record):
        checked += error.bytes_checked
    return checked


def input_news(record: Record) -> tuple[Finding, ...]:
    """What this person sent for the first time: incidents, and what the policy alerts."""
    if record.inspection:
        return news_of(record.inspection)
    return record.error.news if isinstance(record.error, Blocked) and not record.is_admitted else ()


def output_news(record: Record) -> tuple[Finding, ...]:
    """The same of what they were sent."""
    found = [finding for each in _inspections(record) for finding in news_of(each)]
    if record.stream_guard:
        found += record.stream_guard.news
    if error := _stopped(record):
        found += error.news
    return tuple(found)


def news_of(inspection: Inspection) -> tuple[Finding, ...]:
    return inspection.new_incidents + inspection.new_alerts


def incidents(news: Sequence[Finding]) -> tuple[Finding, ...]:
    """Those of them that are incidents."""
    return tuple(found for found in news if found.severity is Severity.CRITICAL or found.action is Action.BLOCK)


def incident_facts(record: Record, found: Sequence[Finding], direction: Direction) -> dict[str, Any]:
    """One event for all that one call brought to light; each value is an incident of its own (see `rows`)."""
    actions = [action.value for action in Action if any(one.action is action for one in found)]
    return {
        "severity": Severity.CRITICAL.value,
        "action": actions[0],
        "direction": direction.value,
        "rule": found[0].rule,
        "model": record.call.head.model,
        "values": sorted({one.value_hash for one in found}),
        "paths": sorted({one.path for one in found})[:_MOST_PATHS],
        "tenant": record.known_caller.tenant,
    } | sensitive(found)


def alerts_about(record: Record, news: Sequence[Finding]) -> list[Alert]:
    """What a person should hear of within seconds; nothing where the policy does not alert."""
    if record.decision is not None and not record.decision.plan.alert:
        return []
    serious = incidents(news)
    rest = tuple(found for found in news if found not in serious)
    alerts: list[Alert] = []
    if serious:
        alerts.append(_alert(record, serious, "critical"))
    if rest:
        alerts.append(_alert(record, rest, "warning"))
    return alerts


def _alert(record: Record, found: Sequence[Finding], severity: Any) -> Alert:
    types = sorted({one.type for one in found})
    person = record.caller.id if record.caller else None
    actions = {one.action for one in found}
    done = "Blocked" if Action.BLOCK in actions else "Redacted" if actions & _REWRITTEN else "Found"
    hashes = ",".join(sorted({one.value_hash for one in found}))
    return Alert(
        kind="sensitive_data",
        severity=severity,
        title=f"{done}: {', '.join(types)}",
        person=person,
        facts={"types": types, "call": record.call.id, "model": record.call.head.model},
        dedupe=f"{person}:{hashes}",
    )
