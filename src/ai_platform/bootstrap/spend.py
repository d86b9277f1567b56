"""The ledger, the budgets and the prices."""

import socket
from collections.abc import Sequence

from ai_platform.bootstrap.base import Base
from ai_platform.budget import Budget, Ledger
from ai_platform.budget.spending import Interrupted
from ai_platform.domain.identifiers import new_id


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
    return ledger, budget
