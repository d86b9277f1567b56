"""Can we afford it: request windows, token limits and budgets, by hold and settle.

Fails closed: a call that does not fit, or whose counters cannot be reached, is refused. Not the ledger (it keeps what
was spent), not pricing (it says what a call costs). Above: gateway. Below: pricing, stores, domain.
"""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import msgspec
from msgspec.structs import replace

from ai_platform.budget.counters import Counters, Limit, NoRoom, Plan, RequestWindow, TooManyRequests, Unit
from ai_platform.budget.hold import Admission, Estimate, Hold
from ai_platform.budget.load import load_counters
from ai_platform.budget.memory import MemoryCounters
from ai_platform.budget.messages import over_budget, rate_limited
from ai_platform.budget.plan import FREE, REQUESTS, counted, make_plan
from ai_platform.budget.settings import BudgetSettings
from ai_platform.budget.spending import Interrupted
from ai_platform.domain.call import Call
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Limits
from ai_platform.domain.principal import Principal
from ai_platform.stores.postgres import SystemDatabase

PLANS = 8192


class BudgetAlert(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold was passed; told once a window. owner: `tenant/id`. amounts in micro-dollars."""

    scope: str
    owner: str
    name: str
    period: str
    percent: int
    limit: int
    spent: int
    hard: bool
    window_start: float
    resets_at: float
    rule: str


class Alerts(Protocol):
    def crossed(self, alert: BudgetAlert) -> None:
        """Called in the middle of a call: must not block or raise."""
        ...


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One limit as it stands. unit: `requests`, `tokens` or `micros`. resets_at: when all (requests: the next one)
    is possible again, epoch seconds; None = now. limit None = counted, but not limited.
    """

    unit: str
    scope: str
    period: str
    spent: int
    held: int = 0
    resets_at: float | None = None
    rule: str = ""
    limit: int | None = None
    hard: bool = False


class Budget:
    """refused: calls that did not fit, by rule. held: calls in flight."""

    def __init__(
        self,
        settings: BudgetSettings,
        clock: Clock,
        *,
        alerts: Alerts | None = None,
        counters: Counters | None = None,
    ) -> None:
        self.settings = settings
        self.refused: dict[str, int] = {}
        self._clock = clock
        self._alerts = alerts
        self._counters: Counters = counters or MemoryCounters(clock)
        self._plans: dict[tuple[str | Limits | None, ...], Plan] = {}
        self._latest: dict[str, tuple[Principal, Limits]] = {}

    def hold(
        self,
        principal: Principal,
        call: Call,
        limits: Limits,
        estimate: Estimate,
        *,
        count_request: bool | None = None,
    ) -> Admission:
        """`async with budget.hold(...) as hold:` reserves the estimate on entry; the block settles it.

        count_request: None = by operation (count_tokens, models and other free ones are not counted).
        The call counts for the windows of the moment it was received.

        Raises (on entry):
            RateLimited: an hour's requests are used up.
            OverBudget: tokens or money are used up.
            StoreUnavailable: counters that are not in memory cannot be reached.

        """
        counts = call.operation not in FREE if count_request is None else count_request
        at = call.received_at or self._clock.now()
        return Admission(partial(self._admit, self._plan(principal, limits), estimate, at, counts=counts))

    async def _admit(self, plan: Plan, estimate: Estimate, at: float, *, counts: bool) -> Hold:
        try:
            reservation = await self._counters.reserve(
                plan, estimate.micros, estimate.tokens, at=at, count_request=counts
            )
        except NoRoom as error:
            unit = plan.counters[error.limit.counter].unit
            wanted = estimate.tokens if unit is Unit.TOKENS else estimate.micros
            self._count_refusal(error.limit.rule)
            raise over_budget(error, plan, wanted, at) from None
        except TooManyRequests as error:
            self._count_refusal(REQUESTS[error.window.scope])
            raise rate_limited(error, self._clock.now()) from None
        stops_at = [limit for limit in plan.limits if limit.hard] if self.settings.stop_streams else []
        return Hold(
            reservation, estimate, at=at, stops_at=stops_at, report=lambda changes: self._report(plan, changes, at)
        )

    def _report(self, plan: Plan, changes: Sequence[tuple[int, int]], at: float) -> None:
        """Tell of every threshold that lies between before and after: spending only grows, so each is told once."""
        if self._alerts is None:
            return
        for limit in plan.limits:
            before, after = changes[limit.counter]
            for percent, amount in limit.alerts:
                if before < amount <= after:
                    self._alerts.crossed(self._alert(plan, limit, percent, after, at))

    async def load(self, system: SystemDatabase) -> None:
        """Counters from the ledger: what was spent in the windows of now and in those before, the last hour's
        requests. Once, before the first hold. Thresholds passed before count as told.

        Raises:
            StoreUnavailable: nothing is known then, so nothing may start.

        """
        await load_counters(self._counters, system, counted(self.settings), self._clock.now())

    def charge(self, call: Interrupted) -> None:
        """Count a call that was settled after a crash, in the windows it was made in."""
        principal = Principal(
            id=call.principal, name=call.principal, tenant=call.tenant, team=call.team, key_id=call.key_id
        )
        plan = make_plan(principal, self._limits_of(call.principal), self.settings)
        changes = [
            self._counters.add(counter, call.micros if counter.unit is Unit.MICROS else call.tokens, at=call.at)
            for counter in plan.counters
        ]
        self._report(plan, changes, call.at)

    def standing(self, principal: Principal, limits: Limits | None = None) -> list[Standing]:
        """Where a principal stands. limits: those of the policy, None = those of the principal's last call."""
        plan = make_plan(principal, limits or self._limits_of(principal.id), self.settings)
        now = self._clock.now()
        return [*(self._requests(window, now) for window in plan.requests), *self._amounts(plan, now)]

    def seen(self, principal_id: str) -> Principal | None:
        """Somebody who has made a call since the start, as of the last one."""
        known = self._latest.get(principal_id)
        return known[0] if known else None

    def _limits_of(self, principal_id: str) -> Limits:
        known = self._latest.get(principal_id)
        return known[1] if known else Limits()

    def _requests(self, window: RequestWindow, now: float) -> Standing:
        made, wait = self._counters.requests(window)
        return Standing(
            unit="requests",
            scope=window.scope.value,
            period="hour",
            spent=made,
            resets_at=now + wait if wait else None,
            rule=REQUESTS[window.scope],
            limit=window.limit,
            hard=True,
        )

    def _amounts(self, plan: Plan, now: float) -> list[Standing]:
        rows: list[Standing] = []
        for index, counter in enumerate(plan.counters):
            level = self._counters.level(counter, at=now)
            counted = Standing(
                unit=counter.unit.value,
                scope=counter.scope.value,
                period=counter.period.value,
                spent=level.spent,
                held=level.held,
                resets_at=level.end,
            )
            limits = [limit for limit in plan.limits if limit.counter == index]
            rows += [replace(counted, rule=limit.rule, limit=limit.cap, hard=limit.hard) for limit in limits] or [
                counted
            ]
        return rows

    def _plan(self, principal: Principal, limits: Limits) -> Plan:
        self._latest[principal.id] = (principal, limits)
        key = (principal.tenant, principal.id, principal.team, principal.key_id, principal.email, limits)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= PLANS:
                self._plans.clear()
                self._latest.clear()
            plan = self._plans[key] = make_plan(principal, limits, self.settings)
        return plan

    def _count_refusal(self, rule: str) -> None:
        self.refused[rule] = self.refused.get(rule, 0) + 1

    def _alert(self, plan: Plan, limit: Limit, percent: int, spent: int, at: float) -> BudgetAlert:
        counter = plan.counters[limit.counter]
        level = self._counters.level(counter, at=at)
        return BudgetAlert(
            scope=counter.scope.value,
            owner=counter.owner,
            name=limit.name,
            period=counter.period.value,
            percent=percent,
            limit=limit.cap,
            spent=spent,
            hard=limit.hard,
            window_start=level.start,
            resets_at=level.end,
            rule=limit.rule,
        )
