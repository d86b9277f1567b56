"""Incidents: one per person and value (keyed hash), as rows for the transaction that records the call.

`PostgresSeen` is the memory of SeenValues over restarts and replicas. Above: gateway. Below: seen.py, stores.rows.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from ai_platform.domain.errors import StoreUnavailable
from ai_platform.domain.finding import Finding
from ai_platform.domain.principal import Principal
from ai_platform.protection.seen import MemorySeen
from ai_platform.protection.tables import Database
from ai_platform.stores.rows import Insert

_TABLE = "aip.incident_sightings"
_COLUMNS = (
    "tenant",
    "principal_id",
    "value_hash",
    "type",
    "rule",
    "severity",
    "team",
    "call_id",
    "at",
    "data_class",
    "action",
    "path",
    "model",
    "shown",
)
_LONGEST_PATH = 500
_KNOWN = (
    "SELECT value_hash FROM aip.incidents WHERE principal_id = $1 AND value_hash = ANY($2::text[])"
    " AND (shown OR NOT $3)"
)


def incident_rows(
    principal: Principal, call_id: str, findings: Iterable[Finding], at: float, *, model: str = "", shown: bool = True
) -> tuple[Insert, ...]:
    """One row per distinct value. at: seconds since the epoch. The database merges them into incidents.

    shown: the person sent it, otherwise an answer held it.
    """
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
                finding.data_class.value,
                finding.action.value,
                finding.path[:_LONGEST_PATH],
                model,
                shown,
            ),
        )
        for value_hash, finding in distinct.items()
    )


class PostgresSeen(MemorySeen):
    """MemorySeen that asks the database before it calls something new. The writer of incidents is the gateway.

    Fails closed: without the database, a value counts as seen for the first time, so it blocks once more.
    """

    def __init__(self, database: Database, limit: int = 100_000) -> None:
        super().__init__(limit)
        self._database = database

    async def known(self, tenant: str, principal_id: str, hashes: Collection[str], *, shown: bool) -> Collection[str]:
        try:
            rows = await self._database.within(tenant).fetch(_KNOWN, principal_id, list(hashes), shown)
        except StoreUnavailable:
            return ()
        return {row["value_hash"] for row in rows}
