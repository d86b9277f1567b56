"""The room's front door: bodies in, bodies out, findings named, critical values blocked.

A scan that cannot finish in its time refuses the call (fail closed, counted in `Guard.refused_unfinished`).
Above: gateway. Below: sessions, texts, stream. It records nothing itself: the caller writes what it returns.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from ai_platform.domain.call import Call
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Blocked, Refused
from ai_platform.domain.finding import Action, Direction, Finding, ProtectionPlan, Severity
from ai_platform.domain.principal import Principal
from ai_platform.protection.actions import plan_for
from ai_platform.protection.body import BodyInspector, Inspected, Located, Memo, splice
from ai_platform.protection.replace import Mint, replacement
from ai_platform.protection.restore import restore_body
from ai_platform.protection.scanner import Scanner, TooManyValues
from ai_platform.protection.seen import MemorySeen, SeenValues
from ai_platform.protection.sessions import Sessions
from ai_platform.protection.settings import ProtectionSettings
from ai_platform.protection.stream import StreamGuard
from ai_platform.protection.texts import inspect_texts
from ai_platform.protection.vault import Exchange, Vault
from ai_platform.protection.wording import blocked_arguments, blocked_input, blocked_output, unfinished


@dataclass(frozen=True, slots=True)
class Inspection:
    """body: the bytes to send on, the same object when nothing changed. leaves: string literals looked at.

    new_incidents: critical findings whose value this person has not shown before (each becomes one incident).
    restored: how many tokens of an answer were replaced by the values they stand for.
    """

    findings: tuple[Finding, ...]
    body: bytes
    bytes_checked: int
    leaves: int
    changed: bool = False
    new_incidents: tuple[Finding, ...] = ()
    bytes_unchecked: int = 0
    restored: int = 0


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
        self.vault = Vault(clock, secret=secret, limit=settings.vault_tokens, lifetime=settings.vault_hours * 3600)
        self._memo = Memo(settings.memo_entries, secret)
        self._sessions = Sessions(settings.session_bytes)
        self._inspectors: dict[ProtectionPlan, BodyInspector] = {}
        self._latest: tuple[ProtectionPlan | None, BodyInspector | None] = (None, None)
        self._resolved: dict[tuple[ProtectionPlan, tuple[str, ...]], ProtectionPlan] = {}

    def prepare(self, plan: ProtectionPlan) -> None:
        """Compile the detectors of this plan now (half a second, once a process), not while a call waits."""
        self._inspector(plan)

    async def inspect(
        self, principal: Principal, call: Call, plan: ProtectionPlan, upstreams: Sequence[str] = ()
    ) -> Inspection:
        """upstreams: names of those that may get this body.

        Raises Blocked (critical value on first sight) and Refused(INSPECTION_FAILED) when the time is used up.
        """
        if not (plan.enabled and plan.scan_input) or not call.body:
            return Inspection((), call.body, 0, 0, bytes_unchecked=len(call.body))
        inspector = self._inspector(plan, upstreams)
        result = await self._finished(self._steps(principal, call, inspector))
        return self._conclude(principal, inspector, result, self._exchange(principal, call, plan))

    async def inspect_value(
        self,
        principal: Principal,
        value: bytes,
        plan: ProtectionPlan,
        direction: Direction,
        *,
        upstream: str = "",
        session: str | None = None,
    ) -> Inspection:
        """JSON that is no body of the Messages API: the arguments of a tool call (INPUT, towards the tool) or its
        result (OUTPUT, towards the caller). `body` of what is returned is the JSON to pass on.

        value: JSON text in UTF-8, any JSON value. upstream: the tool's server, as policies name it. session: the
        client's, if known: within it a value is tokenised as it is in messages (nobody gets these tokens back).

        Raises:
            Blocked: an action is block. Each time, not on first sight only: unlike a message, a tool call does not
                come again with every later turn. `new_incidents` are in its `incidents`.
            Refused: INSPECTION_FAILED, the time is used up.

        """
        wanted = plan.scan_input if direction is Direction.INPUT else plan.scan_output
        if not (plan.enabled and wanted) or not value:
            return Inspection((), value, 0, 0, bytes_unchecked=len(value))
        inspector = self._inspector(plan, (upstream,))
        result = await self._finished(inspector.whole(value, direction, principal.team, free=True))
        fresh = self._first_sights(principal, result.located)
        blocking = [item.finding for item in result.located if item.finding.action is Action.BLOCK]
        if blocking:
            say = blocked_arguments if direction is Direction.INPUT else blocked_output
            raise Blocked(
                say(blocking, inspector.scanner.label),
                blocking,
                rule=blocking[0].rule,
                incidents=fresh,
                bytes_checked=result.bytes_checked,
            )
        scope = (principal.tenant, principal.id, session or "")
        return _rewritten(
            result, [item.finding for item in result.located], fresh, self.vault.exchange(scope, tools=False).stand_in
        )

    def watch(self, principal: Principal, call: Call, plan: ProtectionPlan, upstream: str = "") -> StreamGuard:
        """A guard for one streamed answer (server-sent events of the Messages API)."""
        active = plan.enabled and plan.scan_output
        scanner = self._inspector(plan, (upstream,)).scanner if active else None
        return StreamGuard(scanner, principal.team, self._exchange(principal, call, plan))

    async def inspect_answer(
        self, principal: Principal, call: Call, plan: ProtectionPlan, body: bytes, upstream: str = ""
    ) -> Inspection:
        """A complete JSON answer, or one line of batch results. Raises Blocked where an action is block."""
        if not (plan.enabled and plan.scan_output) or not body:
            return Inspection((), body, 0, 0, bytes_unchecked=len(body))
        inspector = self._inspector(plan, (upstream,))
        result = await self._finished(inspector.whole(body, Direction.OUTPUT, principal.team))
        blocking = [item.finding for item in result.located if item.finding.action is Action.BLOCK]
        if blocking:
            raise Blocked(
                blocked_output(blocking, inspector.scanner.label),
                blocking,
                rule=blocking[0].rule,
                bytes_checked=result.bytes_checked,
            )
        exchange = self._exchange(principal, call, plan)
        inspection = _rewritten(result, [_settled(item) for item in result.located], (), exchange.mint)
        if not exchange.holds:
            return inspection
        body = restore_body(inspection.body, exchange)
        changed = inspection.changed or body is not inspection.body
        return replace(inspection, body=body, changed=changed, restored=exchange.restored)

    async def _finished(self, steps: Iterator[Inspected | None]) -> Inspected:
        """The result of `steps`; others run in between. Raises Refused when the time is used up (fails closed)."""
        started = pause = self._clock.monotonic()
        result: Inspected | None = None
        for step in self._bounded(steps):
            result = step
            now = self._clock.monotonic()
            if now - started > self.settings.time_budget:
                self.refused_unfinished += 1
                raise Refused(
                    Refusal.INSPECTION_FAILED, unfinished(self.settings.time_budget), rule="protection.time_budget"
                )
            if (now - pause) * 1000 >= self.settings.slice_ms:
                await asyncio.sleep(0)
                pause = self._clock.monotonic()
        assert result is not None
        return result

    def _bounded(self, steps: Iterator[Inspected | None]) -> Iterator[Inspected | None]:
        """Raises Refused when there are too many values (fails closed)."""
        try:
            yield from steps
        except TooManyValues as error:
            self.refused_unfinished += 1
            raise Refused(Refusal.INSPECTION_FAILED, str(error), rule="protection.most_values") from None

    def _steps(self, principal: Principal, call: Call, inspector: BodyInspector) -> Iterator[Inspected | None]:
        if call.body.lstrip()[:1] in {b"{", b"["}:
            key = (principal.id, principal.team, call.client.session_id, call.operation, inspector)
            return self._sessions.steps(key, inspector, call.body, Direction.INPUT, principal.team)
        content_type = call.header(b"content-type") or b""
        return inspect_texts(inspector.scanner, call.body, content_type, Direction.INPUT, principal.team)

    def _inspector(self, plan: ProtectionPlan, upstreams: Sequence[str] = ()) -> BodyInspector:
        plan = self._plan(plan, tuple(upstreams))
        known, inspector = self._latest
        if inspector is None or known is not plan:
            inspector = self._inspectors.get(plan)
            if inspector is None:
                if len(self._inspectors) >= _MOST_PLANS:
                    self._inspectors.clear()
                inspector = self._inspectors[plan] = BodyInspector(self._scanner(plan), self._memo)
            self._latest = (plan, inspector)
        return inspector

    def _scanner(self, plan: ProtectionPlan) -> Scanner:
        return Scanner(plan, secret=self._secret, most_values=self.settings.most_values)

    def _plan(self, plan: ProtectionPlan, upstreams: tuple[str, ...]) -> ProtectionPlan:
        if all(entry.upstream is None for entry in plan.actions):
            return plan
        resolved = self._resolved.get((plan, upstreams))
        if resolved is None:
            if len(self._resolved) >= _MOST_PLANS:
                self._resolved.clear()
            resolved = self._resolved[plan, upstreams] = plan_for(plan, upstreams)
        return resolved

    def _exchange(self, principal: Principal, call: Call, plan: ProtectionPlan) -> Exchange:
        scope = (principal.tenant, principal.id, call.client.session_id or "")
        return self.vault.exchange(scope, tools=plan.restore_tool_arguments)

    def _first_sights(self, principal: Principal, located: Sequence[Located]) -> tuple[Finding, ...]:
        """Of what is critical or blocks: one finding for each value that this person has not shown before."""
        fresh: dict[str, Finding] = {}
        for finding in (item.finding for item in located):
            if finding.severity is not Severity.CRITICAL and finding.action is not Action.BLOCK:
                continue
            if finding.value_hash not in fresh and self._seen.first_sight(principal.id, finding.value_hash):
                fresh[finding.value_hash] = finding
        return tuple(fresh.values())

    def _conclude(
        self, principal: Principal, inspector: BodyInspector, result: Inspected, exchange: Exchange
    ) -> Inspection:
        fresh = self._first_sights(principal, result.located)
        new = {finding.value_hash for finding in fresh}
        blocking = [
            item.finding
            for item in result.located
            if item.finding.action is Action.BLOCK and item.finding.value_hash in new
        ]
        if blocking:
            raise Blocked(
                blocked_input(blocking, inspector.scanner.label),
                blocking,
                rule=blocking[0].rule,
                incidents=fresh,
                bytes_checked=result.bytes_checked,
            )
        return _rewritten(result, [_settled(item) for item in result.located], fresh, exchange.mint)


_MOST_PLANS = 64

_REST = b'"[REDACTED]"'
"""Stands for the second half of a value that two text blocks share (an empty block would be refused upstream)."""


def _settled(item: Located) -> Finding:
    """What was done in the end: a replay of a blocked value is redacted; what may not be changed is only reported."""
    action = Action.REDACT if item.finding.action is Action.BLOCK else item.finding.action
    if item.fixed and replacement(item.finding, item.value) is not None:
        action = Action.ALERT
    return item.finding if action is item.finding.action else msgspec.structs.replace(item.finding, action=action)


def _rewritten(result: Inspected, findings: list[Finding], fresh: tuple[Finding, ...], mint: Mint) -> Inspection:
    edits: list[tuple[int, int, bytes]] = []
    for item, finding in zip(result.located, findings, strict=True):
        text = None if item.fixed else replacement(finding, item.value, mint)
        if text is not None:
            new = _REST if item.rest else msgspec.json.encode(text)
            edits.append((item.start, item.end, new[1:-1] if item.quoted else new))
    return Inspection(
        findings=tuple(finding for item, finding in zip(result.located, findings, strict=True) if not item.rest),
        body=splice(result.body, edits) if edits else result.body,
        bytes_checked=result.bytes_checked,
        leaves=result.leaves,
        changed=bool(edits),
        new_incidents=fresh,
        bytes_unchecked=result.bytes_unchecked,
    )
