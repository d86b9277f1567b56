"""What happens beside the calls (a new policy, a threshold, a call that a crash interrupted) into audit and alerts.

Queued and written in order by one task; fails open (the trail's own state already refuses calls), counted in `lost`.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from ai_platform.audit import Trail
from ai_platform.budget.budget import BudgetAlert
from ai_platform.budget.spending import Interrupted
from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import AuditUnavailable
from ai_platform.domain.event import Event, EventType
from ai_platform.domain.finding import Severity
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.money import to_usd
from ai_platform.mcp.trust.characters import visible
from ai_platform.mcp.trust.ledger import Sighting
from ai_platform.policy.store import PolicyChange
from ai_platform.telemetry import Alert, Alerts

WAITING = 1000
MOST_NAMES = 50
_GRAVE = frozenset({Severity.CRITICAL, Severity.HIGH})


class Happenings:
    """Callbacks for the rooms; none waits and none raises."""

    def __init__(self, trail: Trail, alerts: Alerts, clock: Clock) -> None:
        self.lost = 0
        self._trail = trail
        self._alerts = alerts
        self._clock = clock
        self._waiting: asyncio.Queue[Event | None] = asyncio.Queue(WAITING)
        self._writer = asyncio.create_task(self._write(), name="happenings")

    def policy_changed(self, change: PolicyChange) -> None:
        """A policy file was taken, or refused while the old one stays in force."""
        facts: dict[str, Any] = {
            "what": "policy",
            "source": change.source,
            "before": change.before_version,
            "before_sha256": change.before_sha256,
            "after": change.after_version,
            "after_sha256": change.after_sha256,
            "result": "refused" if change.error else "in force",
            "error": change.error[:500],
        }
        self._record(EventType.CONFIGURATION_CHANGE, facts, personal={"changed_by": change.by})
        if change.error:
            self._alerts.send(
                Alert(
                    kind="policy_invalid",
                    severity="warning",
                    title="A changed policy file is not valid; the old policy stays in force",
                    facts={"source": change.source, "error": change.error[:500]},
                    dedupe=change.after_sha256,
                )
            )

    def crossed(self, alert: BudgetAlert) -> None:
        """Spending passed a threshold; told once per window and threshold."""
        self._alerts.send(
            Alert(
                kind="budget_threshold",
                severity="critical" if alert.percent >= 100 else "warning",
                title=f"{alert.percent} % of the limit {alert.rule} is used ({alert.scope} {alert.name})",
                facts={
                    "scope": alert.scope,
                    "name": alert.name,
                    "period": alert.period,
                    "limit_usd": to_usd(alert.limit),
                    "spent_usd": to_usd(alert.spent),
                    "refuses": alert.hard,
                },
                dedupe=f"{alert.rule}:{alert.owner}:{alert.percent}:{alert.window_start}",
            )
        )

    def definitions_held(self, server: str, held: Sequence[Sighting], *, changed: Sequence[str]) -> None:
        """An MCP server offers what nobody approved: new, changed since it was approved, or suspicious."""
        grave = sorted({flag.rule for one in held for flag in one.flags if flag.severity in _GRAVE})
        names = [f"{one.kind}: {visible(one.name)[:100]}" for one in held[:MOST_NAMES]]
        is_incident = bool(changed or grave)
        facts: dict[str, Any] = {
            "what": "mcp_definitions_held",
            "server": server,
            "definitions": names,
            "count": len(held),
            "changed": [visible(name)[:100] for name in changed[:MOST_NAMES]],
            "flags": grave,
            "digests": [one.digest for one in held[:MOST_NAMES]],
        }
        kind = EventType.SECURITY_INCIDENT if is_incident else EventType.CONFIGURATION_CHANGE
        self._record(kind, facts)
        shown = ", ".join(names[:5])
        why = "changed its definitions" if changed else "offers new definitions"
        self._alerts.send(
            Alert(
                kind="mcp_definitions_held",
                severity="critical" if changed and grave else "warning" if is_incident else "info",
                title=f"The MCP server {server} {why}; they are held until somebody approves them",
                facts={"server": server, "definitions": shown, "count": len(held), "flags": ", ".join(grave)},
                dedupe=f"{server}:{held[0].digest}",
            )
        )

    def server_changed(self, name: str, *, by: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Somebody added, replaced or removed an MCP server."""
        facts = {"what": "mcp_server", "server": name, "decided_by": by, "before": before, "after": after}
        self._record(EventType.CONFIGURATION_CHANGE, facts)

    def trust_decided(self, server: str, what: str, *, by: str, before: str, after: str) -> None:
        """Somebody approved a definition of an MCP server, or put the server into quarantine or out of it."""
        facts = {
            "what": "mcp_trust",
            "server": server,
            "decision": visible(what)[:300],
            "decided_by": by,
            "before": before[:300],
            "after": after[:300],
        }
        self._record(EventType.CONFIGURATION_CHANGE, facts)
        if what == "quarantined":
            self._alerts.send(
                Alert(
                    kind="mcp_quarantine",
                    severity="warning",
                    title=f"The MCP server {server} is in quarantine: {after[:200]}",
                    facts={"server": server, "decided_by": by},
                    dedupe=f"{server}:{after}",
                )
            )

    def interrupted(self, calls: Sequence[Interrupted]) -> None:
        """Calls that a process left open when it died; they were settled by estimate."""
        for call in calls:
            facts = {
                "result": "interrupted",
                **({"model": call.model} if call.tool is None else {"server": call.upstream, "tool": call.tool}),
                "team": call.team,
                "tenant": call.tenant,
                "key_id": call.key_id,
                "tokens_used": call.tokens,
                "cost_usd": to_usd(call.micros),
                "estimated": True,
            }
            kind = EventType.CHAT_RESPONSE if call.tool is None else EventType.TOOL_RESULT
            self._record(kind, facts, call_id=call.call_id, subject=call.principal)

    def _record(self, kind: EventType, facts: dict[str, Any], **fields: Any) -> None:
        now = self._clock.now()
        event = Event(id=new_id("evt", now), type=kind, at=now, facts=facts, **fields)
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            self.lost += 1

    async def _write(self) -> None:
        while (event := await self._waiting.get()) is not None:
            try:
                await self._trail.append((event,))
            except AuditUnavailable:
                self.lost += 1

    async def close(self) -> None:
        """Write what waits."""
        await self._waiting.put(None)
        await self._writer
