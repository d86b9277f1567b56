"""Crash recovery: a process says that it lives; the open calls of one that does not are settled by their estimate.

A process is gone when its lease is older than lease_seconds by PostgreSQL's clock (one clock for all replicas), or at
once when a new process takes its slot as it starts. If it was only slow, its late outcome replaces the estimate: both
rows stay, the view aip.spend counts the outcome. Fails closed for money: what may have run is charged what was held.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from ai_platform.budget.settings import BudgetSettings
from ai_platform.budget.spending import Interrupted
from ai_platform.domain.errors import StoreUnavailable
from ai_platform.stores.postgres import SystemDatabase

BEAT = """
INSERT INTO aip.gateway_process (process, slot) VALUES ($1, $2)
ON CONFLICT (process) DO UPDATE SET seen_at = now()
"""

SWEEP = """
DELETE FROM aip.open_call o USING aip.ledger l WHERE l.call_id = o.call_id AND NOT l.recovered AND o.process = $1
"""

RECOVER = """
WITH gone AS (
    DELETE FROM aip.gateway_process
    WHERE process <> $1 AND (slot = $2::text OR seen_at < now() - make_interval(secs => $3))
    RETURNING process
), lost AS (
    DELETE FROM aip.open_call o
    WHERE o.process <> $1
      AND (o.process IN (SELECT process FROM gone)
           OR (o.written_at < now() - make_interval(secs => $3)
               AND NOT EXISTS (SELECT FROM aip.gateway_process p WHERE p.process = o.process)))
    RETURNING *
), settled AS (
    INSERT INTO aip.ledger (
        call_id, recovered, at, tenant, principal, team, project, key_id, session_id, agent_id, operation, counted,
        model_asked, upstream, platform, region, input_tokens, output_tokens, cache_read_tokens,
        cache_write_5m_tokens, cache_write_1h_tokens, limited_tokens, micros, price_rows, unknown_price, tool,
        status, estimated, interrupted)
    SELECT call_id, true, at, tenant, principal, team, project, key_id, session_id, agent_id, operation, counted,
        model_asked, upstream, platform, region, input_tokens, output_tokens, cache_read_tokens,
        cache_write_5m_tokens, cache_write_1h_tokens, limited_tokens, micros, price_rows, unknown_price, tool, 0, true,
        true
    FROM lost
    WHERE NOT EXISTS (SELECT FROM aip.ledger l WHERE l.call_id = lost.call_id)
    ON CONFLICT DO NOTHING
    RETURNING *
)
SELECT call_id, extract(epoch FROM at)::float8 AS at, tenant, principal, team, key_id, model_asked, micros,
       limited_tokens, upstream, tool
FROM settled ORDER BY at
"""

_log = structlog.get_logger(__name__)


class Lease:
    """beats, failed_beats: how often the lease was (not) renewed. recovered: calls settled for dead processes."""

    def __init__(self, system: SystemDatabase, settings: BudgetSettings, *, process: str, slot: str) -> None:
        self.beats = self.failed_beats = self.recovered = 0
        self._system = system
        self._settings = settings
        self._process = process
        self._slot = slot

    async def beat(self) -> None:
        """Say that this process lives; drop its open calls that have their ledger row.

        Raises:
            StoreUnavailable: it could not be said.

        """
        await self._system.execute(BEAT, self._process, self._slot)
        await self._system.execute(SWEEP, self._process)
        self.beats += 1

    async def recover(self, *, takes_slot: bool = False) -> list[Interrupted]:
        """The calls settled now; one statement, so that each is settled once whoever asks.

        takes_slot: this process has just started, so whoever had its slot is gone.

        Raises:
            StoreUnavailable: nothing was settled.

        """
        await self.beat()
        slot = self._slot if takes_slot else None
        rows = await self._system.fetch(RECOVER, self._process, slot, self._settings.lease_seconds)
        self.recovered += len(rows)
        return [
            Interrupted(
                call_id=row["call_id"],
                at=row["at"],
                tenant=row["tenant"],
                principal=row["principal"],
                team=row["team"],
                key_id=row["key_id"],
                model=row["model_asked"],
                micros=row["micros"],
                tokens=row["limited_tokens"],
                upstream=row["upstream"],
                tool=row["tool"],
            )
            for row in rows
        ]

    async def keep(self, found: Callable[[Sequence[Interrupted]], None]) -> None:
        """Renew the lease and settle what others left, until cancelled. found: gets the calls that were settled.

        Fails open: when PostgreSQL is away nothing can be settled, and no call is admitted anyway (no audit, no
        execution); the beat is counted as failed and comes again.
        """
        while True:
            await asyncio.sleep(self._settings.heartbeat_seconds)
            try:
                calls = await self.recover()
            except StoreUnavailable as error:
                self.failed_beats += 1
                _log.warning("lease not renewed", error=str(error), failed=self.failed_beats)
                continue
            if calls:
                _log.warning("interrupted calls settled by estimate", calls=len(calls))
                found(calls)

    async def release(self) -> None:
        """At an orderly stop: nothing of this process is open any more."""
        await self._system.execute(SWEEP, self._process)
        await self._system.execute("DELETE FROM aip.gateway_process WHERE process = $1", self._process)
