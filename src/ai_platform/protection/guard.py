"""The room's front door: bodies in, bodies out, findings named, critical values blocked.

A scan that cannot finish in its time refuses the call (fail closed, counted in `Guard.refused_unfinished`).
Above: gateway. Below: body, stream, scanner. It records nothing itself: the caller writes what it returns.
"""

import asyncio
from dataclasses import dataclass

import msgspec

from ai_platform.domain.call import Call
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Blocked, Refused
from ai_platform.domain.finding import Action, Direction, Finding, ProtectionPlan, Severity
from ai_platform.domain.principal import Principal
from ai_platform.protection.body import BodyInspector, Inspected, Located, Memo, splice
from ai_platform.protection.replace import replacement
from ai_platform.protection.scanner import Scanner
from ai_platform.protection.seen import MemorySeen, SeenValues
from ai_platform.protection.settings import ProtectionSettings
from ai_platform.protection.stream import StreamGuard
from ai_platform.protection.wording import blocked_input, blocked_output


@dataclass(frozen=True, slots=True)
class Inspection:
    """body: the bytes to send on, the same object when nothing changed. leaves: string literals looked at.

    new_incidents: critical findings whose value this person has not shown before (each becomes one incident).
    """

    findings: tuple[Finding, ...]
    body: bytes
    bytes_checked: int
    leaves: int
    changed: bool = False
    new_incidents: tuple[Finding, ...] = ()
    bytes_unchecked: int = 0


class Guard:
    """secret: 32 random bytes that all replicas share; keys value hashes and replacements, so they never change."""

    def __init__(
        self, settings: ProtectionSettings, clock: Clock, *, secret: bytes, seen: SeenValues | None = None
    ) -> None:
        self.settings = settings
        self.refused_unfinished = 0
        self._clock = clock
        self._secret = secret
        self._seen = seen or MemorySeen(settings.seen_values)
        self._memo = Memo(settings.memo_entries, secret)
        self._inspectors: dict[ProtectionPlan, BodyInspector] = {}

    async def inspect(self, principal: Principal, call: Call, plan: ProtectionPlan) -> Inspection:
        """Raises Blocked (critical value on first sight) and Refused(INSPECTION_FAILED) when the time is used up."""
        if not (plan.enabled and plan.scan_input) or not call.body:
            return Inspection((), call.body, 0, 0)
        inspector = self._inspector(plan)
        started = pause = self._clock.monotonic()
        result: Inspected | None = None
        for result in inspector.steps(call.body, Direction.INPUT, principal.team):
            now = self._clock.monotonic()
            if now - started > self.settings.time_budget:
                self.refused_unfinished += 1
                raise Refused(
                    Refusal.INSPECTION_FAILED,
                    f"The request could not be inspected within {self.settings.time_budget:g} seconds, so it was not"
                    " sent. Send less text in one request, or ask the operator to raise protection.time_budget.",
                    rule="protection.time_budget",
                )
            if (now - pause) * 1000 > self.settings.slice_ms:
                await asyncio.sleep(0)
                pause = self._clock.monotonic()
        assert result is not None
        return self._conclude(principal, call.body, result)

    def watch(self, principal: Principal, call: Call, plan: ProtectionPlan) -> StreamGuard:
        """A guard for one streamed answer (server-sent events of the Messages API)."""
        active = plan.enabled and plan.scan_output
        return StreamGuard(self._inspector(plan).scanner if active else None, principal.team)

    def inspect_answer(self, principal: Principal, call: Call, plan: ProtectionPlan, body: bytes) -> Inspection:
        """A complete JSON answer, or one line of batch results. Raises Blocked where an action is block."""
        if not (plan.enabled and plan.scan_output) or not body:
            return Inspection((), body, 0, 0)
        result = [step for step in self._inspector(plan).steps(body, Direction.OUTPUT, principal.team) if step][-1]
        blocking = [item.finding for item in result.located if item.finding.action is Action.BLOCK]
        if blocking:
            raise Blocked(blocked_output(blocking), blocking, rule=blocking[0].rule)
        return self._rewritten(body, result, ())

    def _inspector(self, plan: ProtectionPlan) -> BodyInspector:
        inspector = self._inspectors.get(plan)
        if inspector is None:
            if len(self._inspectors) >= 64:
                self._inspectors.clear()
            inspector = self._inspectors[plan] = BodyInspector(Scanner(plan, secret=self._secret), self._memo)
        return inspector

    def _conclude(self, principal: Principal, body: bytes, result: Inspected) -> Inspection:
        fresh: list[Finding] = []
        blocking: list[Finding] = []
        for item in result.located:
            finding = item.finding
            if finding.severity is not Severity.CRITICAL and finding.action is not Action.BLOCK:
                continue
            if self._seen.first_sight(principal.id, finding.value_hash):
                fresh.append(finding)
                if finding.action is Action.BLOCK:
                    blocking.append(finding)
            elif fresh and finding.value_hash in {seen.value_hash for seen in blocking}:
                blocking.append(finding)
        if blocking:
            raise Blocked(blocked_input(blocking), blocking, rule=blocking[0].rule)
        for item in result.located:
            if item.finding.action is Action.BLOCK:  # a replay: redacted, or only reported where nothing may change
                done = Action.ALERT if item.fixed else Action.REDACT
                item.finding = msgspec.structs.replace(item.finding, action=done)
        return self._rewritten(body, result, tuple(fresh))

    def _rewritten(self, body: bytes, result: Inspected, fresh: tuple[Finding, ...]) -> Inspection:
        edits = [edit for item in result.located if (edit := _edit(item)) is not None]
        return Inspection(
            findings=tuple(item.finding for item in result.located),
            body=splice(body, edits) if edits else body,
            bytes_checked=result.bytes_checked,
            leaves=result.leaves,
            changed=bool(edits),
            new_incidents=fresh,
            bytes_unchecked=result.bytes_unchecked,
        )


def _edit(item: Located) -> tuple[int, int, str] | None:
    text = None if item.fixed else replacement(item.finding, item.value)
    return None if text is None else (item.start, item.end, _json_safe(text))


def _json_safe(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
