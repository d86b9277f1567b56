"""What the facts of a call look like in the audit log, in the metrics and in an alert. Never content, never a value."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from ai_platform.domain.call import Call, Door, Operation
from ai_platform.domain.errors import ApprovalNeeded, Blocked, PlatformError, Refused, Unauthenticated
from ai_platform.domain.event import Event, EventType
from ai_platform.domain.finding import Direction, Finding
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.money import to_usd
from ai_platform.domain.principal import HOME, Principal
from ai_platform.domain.trace import trace_id_of
from ai_platform.domain.usage import Usage
from ai_platform.gateway.record import Record
from ai_platform.gateway.sensitive import (
    incident_facts,
    incidents,
    input_findings,
    input_news,
    inspected_input,
    inspected_output,
    output_bytes,
    output_findings,
)
from ai_platform.telemetry import Alert, CallFacts

_SNAKE = re.compile(r"(?<=[a-z])(?=[A-Z])")


def _event(record: Record, kind: EventType, facts: dict[str, Any]) -> Event:
    now = record.scribe.clock.now()
    caller = record.caller
    return Event(
        id=new_id("evt", now),
        type=kind,
        at=now,
        call_id=record.call.id,
        subject=caller.id if caller else None,
        personal=_personal(record),
        facts=facts,
    )


def _personal(record: Record) -> dict[str, Any]:
    personal: dict[str, Any] = {}
    if record.caller:
        personal["user_name"] = record.caller.name
        if record.caller.email:
            personal["user_email"] = record.caller.email
    if record.call.client.ip:
        personal["ip_address"] = record.call.client.ip
    if record.call.client.user_agent:
        personal["user_agent"] = record.call.client.user_agent[:200]
    return personal


def _who_and_what(record: Record) -> dict[str, Any]:
    """The same in both events of a call, built once."""
    if record.who_and_what is not None:
        return dict(record.who_and_what)
    call = record.call
    facts: dict[str, Any] = {
        "door": call.door.value,
        "operation": call.operation.value,
        "message_length": len(call.body),
    } | _asked_for(call)
    if caller := record.caller:
        facts |= {
            "user_roles": list(caller.roles),
            "team": caller.team,
            "project": caller.project,
            "tenant": caller.tenant,
            "key_id": caller.key_id,
        }
    if call.client.session_id:
        facts["session_id"] = call.client.session_id
    if call.client.agent_id:
        facts["agent_id"] = call.client.agent_id
    if trace_id := trace_id_of(call.client.traceparent):
        facts["trace_id"] = trace_id
    if approval := record.approval:
        facts |= {"approval_id": approval.id, "approved_by": approval.decided_by, "approval_digest": approval.digest}
    if record.decision:
        facts |= {"policy_version": record.decision.policy_version, "policy_rule": record.decision.rule}
        record.who_and_what = dict(facts)
    return facts


def _asked_for(call: Call) -> dict[str, Any]:
    """The model, or the server with its tool, prompt or resource and the `tool_use` that it answers."""
    head = call.head
    if call.door is Door.MESSAGES:
        return {"model": head.model}
    facts: dict[str, Any] = {"server": head.server, "tool": head.tool}
    if head.tool_use_id:
        facts["tool_use_id"] = head.tool_use_id
    return facts


def intent_event(record: Record) -> Event:
    """Written and durable before the upstream is called."""
    facts = _who_and_what(record) | inspected_input(record)
    if record.route:
        facts["targets"] = [target.name for target in record.route.targets]
    if record.estimate:
        facts["held_usd"] = to_usd(record.estimate.micros)
    kind = EventType.CHAT_REQUEST if record.call.door is Door.MESSAGES else EventType.TOOL_CALL
    return _event(record, kind, facts)


def outcome_event(record: Record) -> Event:
    """Written and durable before the caller has the end of the answer."""
    facts = _who_and_what(record) | inspected_output(record)
    facts |= {
        "result": _result(record),
        "status": _status(record),
        "latency_ms": round((record.scribe.clock.monotonic() - record.began) * 1000, 1),
    }
    if target := record.target:
        facts |= {"upstream": target.name, "region": target.region or None, "model_served": target.model}
    if charge := record.charge:
        facts |= {
            "tokens_used": charge.total.total_tokens,
            "input_tokens": charge.total.prompt_tokens,
            "output_tokens": charge.total.output_tokens,
            "cost_usd": to_usd(charge.micros),
            "estimated": charge.usage.estimated,
            "unknown_price": charge.unknown,
        }
    if record.call.door is Door.MCP and record.answer:
        facts["questions"] = record.answer.facts.get("questions", 0)
    if record.tools:
        facts["tool_uses"] = [{"id": tool_use_id, "name": name} for tool_use_id, name in record.tools]
    if record.flagged_tools:
        facts["tool_uses_refused"] = [
            {"id": tool_use_id, "name": name, "rule": rule} for tool_use_id, name, rule in record.flagged_tools
        ]
    if record.answer:
        request_id = record.answer.header(b"request-id")
        facts["upstream_request_id"] = request_id.decode("latin-1")[:100] if request_id else None
        facts["simulated"] = record.is_simulated
        facts["attempts"] = len(record.answer.facts.get("attempts", ()))
    if record.error:
        facts["error"] = str(record.error)[:500]
        facts["reason"] = _reason(record)
    kind = EventType.CHAT_RESPONSE if record.call.door is Door.MESSAGES else EventType.TOOL_RESULT
    return _event(record, kind, facts)


def refusal_events(record: Record) -> tuple[Event, ...]:
    """A call that was not executed: who asked for what, which rule refused it, and the incident if there is one."""
    facts = _who_and_what(record) | inspected_input(record)
    facts |= {"result": _result(record) if record.aborted else "refused", "reason": _reason(record), "success": False}
    if record.error:
        facts["error"] = str(record.error)[:500]
    if isinstance(record.error, Refused) and record.error.rule:
        facts["policy_rule"] = record.error.rule
    if isinstance(record.error, ApprovalNeeded) and record.error.id:
        facts["approval_id"] = record.error.id
    if isinstance(record.error, Unauthenticated):
        return (_event(record, EventType.AUTHENTICATION, facts),)
    refused = _event(record, EventType.CALL_REFUSED, facts)
    return (refused, *incident_events(record, input_news(record), Direction.INPUT))


def incident_events(record: Record, news: Sequence[Finding], direction: Direction) -> tuple[Event, ...]:
    """The incident that this call brought to light, if it did: once per person and value."""
    found = incidents(news)
    if not found:
        return ()
    return (_event(record, EventType.SECURITY_INCIDENT, incident_facts(record, found, direction)),)


def login_event(record: Record) -> Event:
    """A credential was accepted for the first time from this address."""
    return _event(record, EventType.AUTHENTICATION, _who_and_what(record) | {"success": True, "method": "key"})


def _reason(record: Record) -> str:
    if isinstance(record.error, Refused):
        return record.error.reason.value
    return type(record.error).__name__ if record.error else _result(record)


def _result(record: Record) -> str:
    if record.aborted:
        return "client_gone"
    if record.error:
        return "stopped" if isinstance(record.error, Refused) else "failed"
    if record.upstream_error or _status(record) >= 400:
        return "upstream_error"
    if record.needs_input:
        return "input_required"
    return "tool_error" if record.result_is_error else "ok"


def _status(record: Record) -> int:
    if record.answer:
        return record.answer.status
    return 0


def call_facts(record: Record, status_of: Callable[[PlatformError], int]) -> CallFacts:
    """The same call as the metrics and the log line see it: no personal data."""
    call, charge, answer = record.call, record.charge, record.answer
    sent_at = answer.facts.get("sent_at") if answer else None
    first_byte_at = answer.facts.get("first_byte_at") if answer else None
    return CallFacts(
        call_id=call.id,
        door=call.door.value,
        operation=call.operation.value,
        status=_answered_status(record, status_of),
        seconds=record.scribe.clock.monotonic() - record.began,
        model=call.head.model,
        refusal=record.error.reason.value if isinstance(record.error, Refused) else None,
        error=_failure(record),
        upstream=record.target_name,
        server=call.head.server,
        tool=call.head.tool if call.operation is Operation.TOOLS_CALL else None,
        tool_failed=record.result_is_error,
        team=_team(record.caller),
        person=record.caller.id if record.caller else None,
        usage=charge.usage if charge else Usage(),
        micros=charge.micros if charge else 0,
        first_byte_seconds=first_byte_at - record.began if first_byte_at else None,
        overhead_seconds=sent_at - record.began if sent_at else None,
        inspection_seconds=record.inspection.seconds if record.inspection else None,
        bytes_inspected=_input_bytes(record) + output_bytes(record),
        input_findings=input_findings(record),
        output_findings=output_findings(record),
        attempts=len(answer.facts.get("attempts", ())) if answer else 0,
        streamed=call.head.stream,
        aborted=record.aborted,
    )


def _team(caller: Principal | None) -> str | None:
    """One metrics page shows all tenants; equal names of two are not one team."""
    if caller is None or caller.team is None or caller.tenant == HOME:
        return caller.team if caller else None
    return f"{caller.tenant}/{caller.team}"


def _input_bytes(record: Record) -> int:
    if record.inspection:
        return record.inspection.bytes_checked
    return record.error.bytes_checked if isinstance(record.error, Blocked) and not record.is_admitted else 0


def _answered_status(record: Record, status_of: Callable[[PlatformError], int]) -> int:
    """The status the caller got: the upstream's, once it answered; else the one the error maps to."""
    if record.answer is not None and record.error is None:
        return record.answer.status
    return status_of(record.error) if record.error else 0


def _failure(record: Record) -> str:
    if record.error is None or isinstance(record.error, Refused):
        return ""
    return _SNAKE.sub("_", type(record.error).__name__).lower()


def alerts_for(record: Record) -> list[Alert]:
    """What a person should hear of when the call has ended (of findings they hear earlier, see the book)."""
    alerts: list[Alert] = []
    if record.charge and record.charge.unknown:
        alerts.append(
            Alert(
                kind="unknown_price",
                severity="warning",
                title=f"No price is known for the model {record.call.head.model}",
                facts={"model": record.call.head.model, "charged_usd": to_usd(record.charge.micros)},
                dedupe=str(record.call.head.model),
            )
        )
    return alerts
