"""Approvals into the audit log and to the alert receivers: who asked for what, who decided it, how it ended.

The use of a consent stands in the call's own intent. Never content: what was asked for is named by its digest.
Above: wiring. Below: audit, telemetry.
"""

from typing import Any

from ai_platform.approvals import Ask, Request, State
from ai_platform.audit import Trail
from ai_platform.domain.clock import Clock
from ai_platform.domain.event import Event, EventType
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.principal import Principal
from ai_platform.gateway.rows import joined
from ai_platform.stores.rows import Insert
from ai_platform.telemetry import Alert, Alerts


class ApprovalWitness:
    def __init__(self, trail: Trail, alerts: Alerts, clock: Clock) -> None:
        self._trail = trail
        self._alerts = alerts
        self._clock = clock

    async def asked(self, request_id: str, ask: Ask, expires_at: float) -> None:
        """Raises AuditUnavailable."""
        caller, call, demand = ask.caller, ask.call, ask.demand
        facts: dict[str, Any] = {
            "approval_id": request_id,
            "policy_rule": demand.rule,
            "policy_version": ask.policy_version,
            "approvers": list(demand.approvers),
            "covers": demand.covers.value,
            "digest": ask.digest.hex(),
            "expires_at": expires_at,
            "door": call.door.value,
            "operation": call.operation.value,
            "server": call.head.server,
            "tool": call.head.tool,
            "tool_use_id": call.head.tool_use_id,
            "model": call.head.model,
            "tenant": caller.tenant,
            "team": caller.team,
            "key_id": caller.key_id,
        }
        join = joined(caller, request_id, call.id)
        await self._write(EventType.APPROVAL_REQUESTED, facts, call_id=call.id, who=caller, rows=(join,))

    def announced(self, request: Request) -> None:
        """Somebody has to look, so it is a warning (within the hour)."""
        self._alerts.send(
            Alert(
                kind="approval_pending",
                severity="warning",
                title=f"Consent wanted: {request.what} ({request.rule})",
                person=request.principal_id,
                facts={
                    "approval": request.id,
                    "policy": request.rule,
                    "approvers": list(request.approvers),
                    "team": request.team,
                    "tenant": request.tenant,
                    "decide": f"ai-platform approvals show {request.id}",
                },
                dedupe=request.id,
            )
        )

    async def decided(self, request: Request, by: Principal) -> None:
        """Raises AuditUnavailable."""
        facts = _facts(request) | {
            "result": request.state.value,
            "decided_by": by.id,
            "key_id": by.key_id,
            "asked_by": request.principal_id,
            "waited_seconds": round((request.decided_at or 0) - request.requested_at, 1),
            "has_note": bool(request.note),
        }
        await self._write(EventType.APPROVAL_DECIDED, facts, call_id=request.call_id, who=by)

    async def ended(self, request: Request, state: State) -> None:
        """Raises AuditUnavailable."""
        facts = _facts(request) | {"result": state.value, "asked_by": request.principal_id}
        await self._write(EventType.APPROVAL_ENDED, facts, call_id=request.call_id, who=None)

    async def _write(
        self,
        kind: EventType,
        facts: dict[str, Any],
        *,
        call_id: str,
        who: Principal | None,
        rows: tuple[Insert, ...] = (),
    ) -> None:
        now = self._clock.now()
        personal: dict[str, Any] = {}
        if who is not None:
            personal = {"user_name": who.name} | ({"user_email": who.email} if who.email else {})
        event = Event(
            id=new_id("evt", now),
            type=kind,
            at=now,
            call_id=call_id,
            subject=who.id if who else None,
            personal=personal,
            facts={name: value for name, value in facts.items() if value is not None},
        )
        await self._trail.append((event,), rows)


def _facts(request: Request) -> dict[str, Any]:
    return {
        "approval_id": request.id,
        "policy_rule": request.rule,
        "policy_version": request.policy_version,
        "digest": request.digest.hex(),
        "server": request.server,
        "tool": request.tool,
        "tool_use_id": request.tool_use_id,
        "model": request.model,
        "tenant": request.tenant,
    }
