"""Incidents: one per person and value (keyed hash), as rows for the transaction that records the call.

`PostgresSeen` is the memory of SeenValues over restarts. Above: gateway. Below: seen.py, stores.rows.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from ai_platform.domain.finding import Finding
from ai_platform.domain.principal import Principal
from ai_platform.protection.seen import MemorySeen
from ai_platform.stores.rows import Insert

_TABLE = "aip.incident_sightings"
_COLUMNS = ("tenant", "principal_id", "value_hash", "type", "rule", "severity", "team", "call_id", "at")
_RECENT = "SELECT principal_id, value_hash FROM aip.incidents ORDER BY last_seen DESC LIMIT $1"


class Rows(Protocol):
    """What is needed of a database that sees every tenant: `fetch(query, *args)` -> rows by column name."""

    async def fetch(self, query: str, /, *args: Any) -> Iterable[Any]: ...


def incident_rows(principal: Principal, call_id: str, findings: Iterable[Finding], at: float) -> tuple[Insert, ...]:
    """One row per distinct value. at: seconds since the epoch. The database merges them into incidents."""
    distinct = {finding.value_hash: finding for finding in findings if finding.value_hash}
    when = datetime.fromtimestamp(at, UTC)
    return tuple(
        Insert(
            _TABLE,
            _COLUMNS,
            (
                principal.tenant,
                principal.id,
                value_hash,
                finding.type,
                finding.rule,
                finding.severity.value,
                principal.team,
                call_id,
                when,
            ),
        )
        for value_hash, finding in distinct.items()
    )


class PostgresSeen(MemorySeen):
    """MemorySeen that remembers what was an incident before this start. The writer of incidents is the gateway."""

    async def load(self, database: Rows) -> int:
        """Read the most recent incidents; returns how many. Raises what the database raises."""
        rows = list(await database.fetch(_RECENT, self.limit))
        for row in reversed(rows):
            self.first_sight(row["principal_id"], row["value_hash"])
        return len(rows)
