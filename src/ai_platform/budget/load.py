"""Counters after a start: read back from the ledger."""

from collections.abc import Sequence
from datetime import UTC, datetime

from ai_platform.budget.counters import Counters, Unit, counter_of, request_key
from ai_platform.budget.settings import Period, Scope
from ai_platform.budget.windows import window_of
from ai_platform.stores.postgres import SystemDatabase

OWNER = {
    Scope.ORG: "tenant || '/'",
    Scope.TEAM: "tenant || '/' || team",
    Scope.USER: "tenant || '/' || principal",
    Scope.KEY: "tenant || '/' || key_id",
}
"""SQL for the owner of a counter, as plan.owner_of writes it; null = the call has none."""

AMOUNT = {Unit.MICROS: "micros", Unit.TOKENS: "limited_tokens"}


async def load_counters(
    counters: Counters, system: SystemDatabase, kinds: Sequence[tuple[Unit, Scope, Period]], now: float
) -> None:
    for unit, scope, period in kinds:
        start = window_of(period, window_of(period, now).start - 1).start
        rows = await system.fetch(
            f"SELECT {OWNER[scope]} AS owner, sum({AMOUNT[unit]})::bigint AS amount,"  # noqa: S608 - from our own tables
            f" extract(epoch FROM date_trunc('{period.value}', at AT TIME ZONE 'UTC'))::float8 AS window"
            f" FROM aip.spend WHERE at >= $1 AND {OWNER[scope]} IS NOT NULL GROUP BY 1, 3",
            datetime.fromtimestamp(start, UTC),
        )
        for row in rows:
            counters.set_spent(counter_of(unit, scope, row["owner"], period), row["amount"], at=row["window"])
    for scope in (Scope.USER, Scope.TEAM):
        rows = await system.fetch(
            f"SELECT {OWNER[scope]} AS owner,"  # noqa: S608 - from our own tables
            " array_agg((extract(epoch FROM at))::float8) AS moments FROM aip.spend"
            f" WHERE counted AND at > $1 AND {OWNER[scope]} IS NOT NULL GROUP BY 1",
            datetime.fromtimestamp(now - 3600, UTC),
        )
        for row in rows:
            counters.set_requests(request_key(scope, row["owner"]), [now - moment for moment in row["moments"]])
