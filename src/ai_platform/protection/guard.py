"""The room's front door: bodies in, bodies out, findings named, critical values blocked.

A scan that cannot finish in its time refuses the call (fail closed, counted in `Guard.refused_unfinished`).
Above: gateway. Below: sessions, texts, stream. It records nothing itself: the caller writes what it returns.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from ai_platform.domain.call import Call, Operation
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Blocked, Refused
from ai_platform.domain.finding import Action, Direction, Finding, ProtectionPlan, Severity
from ai_platform.domain.principal import Principal
from ai_platform.protection.actions import REWRITING, plan_for, tokenises
from ai_platform.protection.body import BodyInspector, Memo
from ai_platform.protection.exchange import Exchange
from ai_platform.protection.fixed import Fixed
from ai_platform.protection.heading import inspect_heading
from ai_platform.protection.injected import note_earlier, note_tokens
from ai_platform.protection.inspection import Inspection
from ai_platform.protection.located import Inspected, Located, splice
from ai_platform.protection.people import OutOfTime, People, TooMuchProse
from ai_platform.protection.restore import restore_body
from ai_platform.protection.rewriting import ByteEdit, edits_of, findings_of
from ai_platform.protection.scanner import Scanner, TooManyValues
from ai_platform.protection.seen import MemorySeen, SeenValues
from ai_platform.protection.sessions import Sessions
from ai_platform.protection.settings import ProtectionSettings
from ai_platform.protection.stream import StreamGuard
from ai_platform.protection.texts import inspect_texts, is_json
from ai_platform.protection.thinking import is_redacted, release_thinking, signed_again
from ai_platform.protection.vault import Scope, Vault, VaultStore
from ai_platform.protection.wording import (
    blocked_arguments,
    blocked_for_good,
    blocked_input,
    blocked_output,
    too_much_prose,
    unfinished,
)

_MOST_PLANS = 64


class _News(NamedTuple):
    """Of a person, for the first time: what becomes an incident, and what else is alerted."""

    incidents: tuple[Finding, ...]
    alerts: tuple[Finding, ...]


class Guard:
    """secret: 32 random bytes that all replicas share; keys value hashes and replacements, so they never change.

    seen, store: what is remembered over restarts. people: looks for names, in requests and what tools get and give.
    """

    def __init__(
        self,
        settings: ProtectionSettings,
        clock: Clock,
        *,
        secret: bytes,
        seen: SeenValues | None = None,
        store: VaultStore | None = None,
        people: People | None = None,
    ) -> None:
        self.settings = settings
        self.refused_unfinished = 0
        self.vault = Vault(
            clock, secret=secret, store=store, limit=settings.vault_tokens, lifetime=settings.vault_hours * 3600
        )
        self._clock = clock
        self._secret = secret
        self._people = people
        self._seen = seen or MemorySeen(settings.seen_values)
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
        exchange = Exchange(self.vault, _scope(principal, call.client.session_id), plan.restore_in_tools)
        if not plan.enabled:
            return Inspection((), call.body, 0, 0, bytes_unchecked=len(call.body))
        if tokenises(plan):
            await exchange.recall()
        if not plan.scan_input:
            return Inspection((), call.body, 0, 0, bytes_unchecked=len(call.body), exchange=exchange)
        started = self._clock.monotonic()
        inspector = self._inspector(plan, upstreams)
        result = await self._finished(self._steps(principal, call, inspector))
        if _is_json_body(call):
            result = await self._with_people(result, inspector, Direction.INPUT, principal.team, started)
        if beside := inspect_heading(inspector, call, principal.team):
            result = replace(result, located=[*result.located, *beside])  # what a session remembers stays as it is
        news = await self._news(principal, result.located, shown=True)
        self._check_input(inspector, result, news)
        edits = edits_of(result, exchange.mint)
        if tokenises(plan) and call.body:
            await note_tokens(call.body, exchange)
            if call.operation is Operation.BATCHES_CREATE:
                exchange.keep_injected()
        if is_redacted(result):
            edits = sorted(edits + await signed_again(call.body, exchange))
        return _inspection(result, edits, news, exchange, seconds=self._clock.monotonic() - started)

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
                come again with every later turn. What is new of this person is in its `news`.
            Refused: INSPECTION_FAILED, the time is used up.

        """
        sent = direction is Direction.INPUT
        if not (plan.enabled and (plan.scan_input if sent else plan.scan_output)) or not value:
            return Inspection((), value, 0, 0, bytes_unchecked=len(value))
        started = self._clock.monotonic()
        inspector = self._inspector(plan, (upstream,))
        result = await self._finished(inspector.whole(value, direction, principal.team, free=True))
        result = await self._with_people(result, inspector, direction, principal.team, started)
        news = await self._news(principal, result.located, shown=sent)
        blocking = [item.finding for item in result.located if item.finding.action is Action.BLOCK]
        if blocking:
            say = blocked_arguments if sent else blocked_output
            raise _blocked(say(blocking, inspector.scanner.label), blocking, result, news)
        exchange = Exchange(self.vault, _scope(principal, session))
        edits = edits_of(result, exchange.token)
        return _inspection(result, edits, news, exchange, seconds=self._clock.monotonic() - started)

    def watch(
        self,
        principal: Principal,
        call: Call,
        plan: ProtectionPlan,
        upstream: str = "",
        exchange: Exchange | None = None,
    ) -> StreamGuard:
        """A guard for one streamed answer (server-sent events of the Messages API). exchange: of the call's inspection."""
        active = plan.enabled and plan.scan_output
        return StreamGuard(
            self._inspector(plan, (upstream,)) if active else None,
            principal.team,
            exchange or Exchange(self.vault, _scope(principal, call.client.session_id), plan.restore_in_tools),
            lambda finding: self._is_news(principal, finding),
        )

    async def inspect_answer(
        self,
        principal: Principal,
        call: Call,
        plan: ProtectionPlan,
        body: bytes,
        upstream: str = "",
        exchange: Exchange | None = None,
    ) -> Inspection:
        """A complete JSON answer, or lines of them (batch results), or a text. exchange: of the call's inspection.

        Raises Blocked where an action is block, Refused(INSPECTION_FAILED) when the time is used up.
        """
        if not (plan.enabled and plan.scan_output) or not body:
            return Inspection((), body, 0, 0, bytes_unchecked=len(body))
        started = self._clock.monotonic()
        exchange = exchange or Exchange(self.vault, _scope(principal, call.client.session_id), plan.restore_in_tools)
        inspector = self._inspector(plan, (upstream,))
        result = await self._finished(_answer_steps(inspector, body, principal.team))
        news = await self._news(principal, result.located, shown=False)
        blocking = [item.finding for item in result.located if item.finding.action is Action.BLOCK]
        if blocking:
            raise _blocked(blocked_output(blocking, inspector.scanner.label), blocking, result, news)
        release_thinking(result, exchange)
        edits = edits_of(result, exchange.token)
        inspection = _inspection(result, edits, news, exchange, seconds=self._clock.monotonic() - started)
        if exchange.holds and call.operation is Operation.BATCHES:
            await note_earlier(inspection.body, exchange)
        if exchange.holds and (body := restore_body(inspection.body, exchange)) is not inspection.body:
            return replace(inspection, body=body, changed=True)
        return inspection

    def _steps(self, principal: Principal, call: Call, inspector: BodyInspector) -> Iterator[Inspected | None]:
        if _is_json_body(call):
            key = (principal.id, principal.team, call.client.session_id, call.operation, inspector)
            return self._sessions.steps(key, inspector, call.body, Direction.INPUT, principal.team)
        content_type = call.header(b"content-type") or b""
        return inspect_texts(inspector.scanner, call.body, content_type, Direction.INPUT, principal.team)

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

    async def _with_people(
        self, result: Inspected, inspector: BodyInspector, direction: Direction, team: str | None, started: float
    ) -> Inspected:
        """Raises Refused when the names cannot be looked for in time (fails closed); what was read is remembered, so
        that the call sent again gets further.
        """
        if self._people is None:
            return result
        budget = self.settings.time_budget
        try:
            return await self._people.beside(result, inspector.scanner, direction, team, started + budget)
        except OutOfTime:
            self.refused_unfinished += 1
            raise Refused(Refusal.INSPECTION_FAILED, unfinished(budget), rule="protection.time_budget") from None
        except TooMuchProse:
            self.refused_unfinished += 1
            raise Refused(
                Refusal.INSPECTION_FAILED,
                too_much_prose(self.settings.names.most_characters),
                rule="protection.names.most_characters",
            ) from None

    def _bounded(self, steps: Iterator[Inspected | None]) -> Iterator[Inspected | None]:
        """Raises Refused when there are too many values (fails closed)."""
        try:
            yield from steps
        except TooManyValues as error:
            self.refused_unfinished += 1
            raise Refused(Refusal.INSPECTION_FAILED, str(error), rule="protection.most_values") from None

    def _inspector(self, plan: ProtectionPlan, upstreams: Sequence[str] = ()) -> BodyInspector:
        plan = self._plan(plan, tuple(upstreams))
        known, inspector = self._latest
        if inspector is None or known is not plan:
            inspector = self._inspectors.get(plan)
            if inspector is None:
                if len(self._inspectors) >= _MOST_PLANS:
                    self._inspectors.clear()
                scanner = Scanner(plan, secret=self._secret, most_values=self.settings.most_values)
                inspector = self._inspectors[plan] = BodyInspector(scanner, self._memo)
            self._latest = (plan, inspector)
        return inspector

    def _plan(self, plan: ProtectionPlan, upstreams: tuple[str, ...]) -> ProtectionPlan:
        if all(entry.upstream is None for entry in plan.actions):
            return plan
        resolved = self._resolved.get((plan, upstreams))
        if resolved is None:
            if len(self._resolved) >= _MOST_PLANS:
                self._resolved.clear()
            resolved = self._resolved[plan, upstreams] = plan_for(plan, upstreams)
        return resolved

    async def _news(self, principal: Principal, located: Sequence[Located], *, shown: bool) -> _News:
        """What is told for the first time of this person. shown: they sent it (it blocks once), else they were sent it."""
        incidents: dict[str, Finding] = {}
        alerts: list[Finding] = []
        for finding in (item.finding for item in located):
            if finding.action is Action.ALLOW:
                continue
            if finding.severity is Severity.CRITICAL or finding.action is Action.BLOCK:
                first = self._seen.first_sight if shown else self._seen.first_report
                if finding.value_hash not in incidents and first(principal.id, finding.value_hash):
                    incidents[finding.value_hash] = finding
            elif self._is_news(principal, finding):
                alerts.append(finding)
        if incidents:
            known = await self._seen.known(principal.tenant, principal.id, list(incidents), shown=shown)
            incidents = {value: finding for value, finding in incidents.items() if value not in known}
        return _News(tuple(incidents.values()), tuple(alerts))

    def _is_news(self, principal: Principal, finding: Finding) -> bool:
        """Of an answer, or of what is only alerted."""
        loud = finding.severity is Severity.CRITICAL or finding.action in {Action.BLOCK, Action.ALERT}
        return loud and finding.action is not Action.ALLOW and self._seen.first_report(principal.id, finding.value_hash)

    def _check_input(self, inspector: BodyInspector, result: Inspected, news: _News) -> None:
        """Raises Blocked for what this person shows for the first time, and for what would have to be changed in a
        place that must not be: a replay could not be redacted there.
        """
        new = {finding.value_hash for finding in news.incidents}
        stuck = [item.finding for item in result.located if _is_stuck(item, inspector.scanner.plan)]
        blocking = [
            item.finding
            for item in result.located
            if item.finding.action is Action.BLOCK and item.finding.value_hash in new
        ]
        if stuck:
            raise _blocked(blocked_for_good(stuck, inspector.scanner.label), stuck, result, news)
        if blocking:
            raise _blocked(blocked_input(blocking, inspector.scanner.label), blocking, result, news)


def _answer_steps(inspector: BodyInspector, body: bytes, team: str | None) -> Iterator[Inspected | None]:
    if (yield from is_json(body)):
        yield from inspector.whole(body, Direction.OUTPUT, team)
    else:
        yield from inspect_texts(inspector.scanner, body, b"", Direction.OUTPUT, team)


def _is_json_body(call: Call) -> bool:
    return call.operation is not Operation.FILES_CREATE and call.body.lstrip()[:1] in {b"{", b"["}


def _scope(principal: Principal, session: str | None) -> Scope:
    return Scope(principal.tenant, principal.id, session or "")


def _is_stuck(item: Located, plan: ProtectionPlan) -> bool:
    """Does a value that must not leave stand where it cannot be taken out? Thinking of an answer that was inspected
    holds none, so what it holds now was put there.
    """
    if item.finding.action not in REWRITING or item.fixed is Fixed.FREE:
        return False
    return item.fixed is Fixed.NAME or (plan.scan_output and item.finding.path.endswith(".thinking"))


def _blocked(message: str, findings: Sequence[Finding], result: Inspected, news: _News) -> Blocked:
    return Blocked(
        message, findings, rule=findings[0].rule, news=news.incidents + news.alerts, bytes_checked=result.bytes_checked
    )


def _inspection(
    result: Inspected, edits: Sequence[ByteEdit], news: _News, exchange: Exchange, *, seconds: float
) -> Inspection:
    return Inspection(
        findings=findings_of(result.located),
        body=splice(result.body, edits) if edits else result.body,
        bytes_checked=result.bytes_checked,
        leaves=result.leaves,
        changed=bool(edits),
        new_incidents=news.incidents,
        new_alerts=news.alerts,
        bytes_unchecked=result.bytes_unchecked,
        seconds=seconds,
        exchange=exchange,
    )
