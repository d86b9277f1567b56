"""The ledger, the budgets and the prices."""

import socket
from collections.abc import Sequence

from ai_platform.bootstrap.base import Base
from ai_platform.budget import Budget, Ledger
from ai_platform.budget.spending import Interrupted
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.principal import Principal
from ai_platform.policy.view import Spent


async def spend_of(base: Base) -> tuple[Ledger, Budget]:
    """The ledger, with the calls that a crash left open settled, and counters that know what was spent."""
    settings, clock = base.settings, base.clock
    process = new_id("run", clock.now())
    slot = f"{socket.gethostname()}:{settings.data}"
    ledger = Ledger(base.database, base.system, settings.budget, process=process, slot=slot)
    budget = Budget(settings.budget, clock, alerts=base.happenings)
    await budget.load(base.system)

    def found(calls: Sequence[Interrupted]) -> None:
        for call in calls:
            budget.charge(call)
        base.happenings.interrupted(calls)

    found(await ledger.recover())
    base.stack.push_async_callback(ledger.lease.release)
    await base.in_background(ledger.lease.keep(found), "process lease")
    base.policies.spent = lambda principal: _spent(budget, principal)
    return ledger, budget


def _spent(budget: Budget, principal: Principal) -> Spent:
    """For conditions of the policy: what is spent, with what calls under way hold."""
    rows = {(row.unit, row.scope, row.period): row.spent + row.held for row in budget.standing(principal)}
    return Spent(
        user_tokens_today=rows.get(("tokens", "user", "day"), 0),
        user_today=rows.get(("micros", "user", "day"), 0),
        user_month=rows.get(("micros", "user", "month"), 0),
        team_month=rows.get(("micros", "team", "month"), 0),
    )
