"""The ledger: one row for each call that was executed, written with its audit event in one transaction.

Append-only: the gateway's role can neither change nor delete a row. It counts nothing itself (budget.py) and prices
nothing (pricing). Above: gateway, admin API. Below: stores, domain.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ai_platform.budget.hold import Estimate
from ai_platform.budget.plan import FREE
from ai_platform.budget.reading import read_costs, read_usage
from ai_platform.budget.recovery import Lease
from ai_platform.budget.settings import BudgetSettings
from ai_platform.budget.spending import By, Costs, Filters, Interrupted, UsageRow
from ai_platform.domain.call import Call
from ai_platform.domain.principal import Principal
from ai_platform.domain.route import Target
from ai_platform.domain.usage import Usage
from ai_platform.pricing import total_usage
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.stores.rows import Insert

WHO_AND_WHAT = (
    "call_id",
    "at",
    "tenant",
    "principal",
    "team",
    "project",
    "key_id",
    "session_id",
    "agent_id",
    "operation",
    "counted",
    "model_asked",
    "upstream",
    "platform",
    "region",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "limited_tokens",
    "micros",
    "price_rows",
    "unknown_price",
    "tool",
)
"""Columns that aip.open_call and aip.ledger share."""

OPEN_CALL = (*WHO_AND_WHAT, "process")
LEDGER = (
    *WHO_AND_WHAT,
    "model_served",
    "thinking_tokens",
    "web_searches",
    "web_fetches",
    "tier",
    "speed",
    "geo",
    "status",
    "estimated",
    "interrupted",
    "simulated",
)
LONGEST_ID = 200
"""Session and agent ids come from the client's headers."""


class Ledger:
    """process: the id of this process (new at each start). slot: what only one process at a time can be, e.g. its
    data folder; a new process of a slot knows that the former one is gone.
    """

    def __init__(
        self, database: Database, system: SystemDatabase, settings: BudgetSettings, *, process: str, slot: str
    ) -> None:
        self.process = process
        self.lease = Lease(system, settings, process=process, slot=slot)
        self._database = database

    def row(
        self,
        *,
        call: Call,
        principal: Principal,
        usage: Usage,
        micros: int,
        tokens: int,
        target: Target | None,
        at: float,
        status: int,
        model_served: str | None = None,
        price_rows: Sequence[str] = (),
        unknown: bool = False,
        interrupted: bool = False,
        simulated: bool = False,
    ) -> Insert:
        """The row of a call that has ended, to be written with its outcome. Written twice, it counts once.

        tokens: those that count against token limits. at: the hold's moment (Hold.at), which decides the windows.
        usage: with all its passes; the row keeps their sum. status: the upstream's, 0 when it never answered.
        """
        total = total_usage(usage)
        own = (
            model_served[:LONGEST_ID] if model_served else None,
            total.thinking_tokens,
            total.web_search_requests,
            total.web_fetch_requests,
            total.tier,
            total.speed,
            total.geo,
            status,
            total.estimated,
            interrupted,
            simulated,
        )
        money = (tokens, micros, "; ".join(price_rows), unknown, _tool(call))
        return Insert("aip.ledger", LEDGER, (*_who(call, principal, target, at), *_counts(total), *money, *own))

    def intent_row(
        self, *, call: Call, principal: Principal, estimate: Estimate, target: Target | None, at: float
    ) -> Insert:
        """The open call, to be written with its intent: what it is settled by when this process dies."""
        counts = _counts(total_usage(estimate.usage))
        money = (estimate.tokens, estimate.micros, "; ".join(estimate.price_rows), estimate.unknown, _tool(call))
        values = (*_who(call, principal, target, at), *counts, *money, self.process)
        return Insert("aip.open_call", OPEN_CALL, values)

    async def recover(self) -> list[Interrupted]:
        """At the start: settle the open calls of processes that are gone, by a ledger row each with the estimate,
        marked interrupted. Safe to call from many processes at once: each call is settled by one. See recovery.py;
        `lease.keep` goes on with it while the process lives.
        """
        return await self.lease.recover(takes_slot=True)

    async def usage(
        self,
        by: By,
        *,
        tenant: str,
        since: float,
        until: float,
        filters: Filters | None = None,
        limit: int = 1000,
    ) -> list[UsageRow]:
        """Calls of [since, until) of one tenant by group; the dearest first, days in order."""
        return await read_usage(
            self._database, tenant, by, since=since, until=until, filters=filters or Filters(), limit=limit
        )

    async def costs(self, *, tenant: str, now: float, top: int = 10) -> Costs:
        """Today, this month, the complete days of the last four weeks, and who spent most this month."""
        return await read_costs(self._database, tenant, now=now, top=top)


def _who(call: Call, principal: Principal, target: Target | None, at: float) -> tuple[Any, ...]:
    client, model = call.client, call.head.model
    return (
        call.id,
        datetime.fromtimestamp(at, UTC),
        principal.tenant,
        principal.id,
        principal.team,
        principal.project,
        principal.key_id,
        client.session_id[:LONGEST_ID] if client.session_id else None,
        client.agent_id[:LONGEST_ID] if client.agent_id else None,
        call.operation.value,
        call.operation not in FREE,
        model[:LONGEST_ID] if model else None,
        target.name if target else "",
        target.platform if target else "",
        target.region if target else "",
    )


def _tool(call: Call) -> str | None:
    return call.head.tool[:LONGEST_ID] if call.head.tool else None


def _counts(total: Usage) -> tuple[int, ...]:
    return (
        total.input_tokens,
        total.output_tokens,
        total.cache_read_tokens,
        total.cache_write_5m_tokens,
        total.cache_write_1h_tokens,
    )
