"""Incidents as the security team reads them: one per person and value, newest first. Never a value.

Above: the admin API. Below: tables.py. The names of people come from the table of principals.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from ai_platform.domain.errors import NotFound
from ai_platform.domain.finding import Severity


class Status(StrEnum):
    OPEN = "open"
    ACK = "ack"
    CLOSED = "closed"


class Incident(msgspec.Struct, frozen=True):
    """sent: the person sent the value, otherwise an answer held it. count: in how many calls it was new to a process.

    call_id: of the first. path: where it stood. value_hash: keyed, the same for the same value. Times are ISO 8601, UTC.
    """

    id: str
    person: str
    name: str | None
    team: str | None
    type: str
    data_class: str
    rule: str
    severity: str
    action: str
    sent: bool
    status: str
    count: int
    first_seen: str
    last_seen: str
    model: str
    path: str
    call_id: str
    value_hash: str


class IncidentQuery(msgspec.Struct, frozen=True, kw_only=True):
    """person: id, e-mail address or name. since, until: of the last sighting, epoch seconds. after: an incident's id."""

    person: str | None = None
    type: str | None = None
    team: str | None = None
    severity: Severity | None = None
    status: Status | None = None
    since: float | None = None
    until: float | None = None
    after: str | None = None
    limit: int = 100


_LIST = """
SELECT 'inc_' || md5(i.principal_id || '/' || i.value_hash) AS id, coalesce(p.email, p.name) AS name, i.*
FROM aip.incidents i LEFT JOIN aip.principals p ON p.tenant = i.tenant AND p.id = i.principal_id
WHERE i.tenant = $1
    AND ($2::text IS NULL OR i.principal_id = $2 OR lower(p.email) = lower($2) OR lower(p.name) = lower($2))
    AND ($3::text IS NULL OR i.type = $3)
    AND ($4::text IS NULL OR i.team = $4)
    AND ($5::text IS NULL OR i.severity = $5)
    AND ($6::text IS NULL OR i.status = $6)
    AND ($7::timestamptz IS NULL OR i.last_seen >= $7)
    AND ($8::timestamptz IS NULL OR i.last_seen < $8)
    AND ($9::text IS NULL OR (i.last_seen, i.principal_id, i.value_hash) <
        (SELECT b.last_seen, b.principal_id, b.value_hash FROM aip.incidents b
         WHERE b.tenant = $1 AND 'inc_' || md5(b.principal_id || '/' || b.value_hash) = $9))
ORDER BY i.last_seen DESC, i.principal_id DESC, i.value_hash DESC
LIMIT $10
"""
_ONE = """
SELECT 'inc_' || md5(i.principal_id || '/' || i.value_hash) AS id, coalesce(p.email, p.name) AS name, i.*
FROM aip.incidents i LEFT JOIN aip.principals p ON p.tenant = i.tenant AND p.id = i.principal_id
WHERE i.tenant = $1 AND 'inc_' || md5(i.principal_id || '/' || i.value_hash) = $2
"""
_SET = """
UPDATE aip.incidents SET status = $3 WHERE tenant = $1 AND 'inc_' || md5(principal_id || '/' || value_hash) = $2
"""


class Within(Protocol):
    async def fetch(self, sql: str, /, *args: Any) -> list[Any]: ...

    async def execute(self, sql: str, /, *args: Any) -> str: ...


class Database(Protocol):
    """What is needed of a database. Its methods raise StoreUnavailable."""

    def within(self, tenant: str) -> Within: ...


class Incidents:
    """Of one tenant at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, tenant: str, query: IncidentQuery) -> list[Incident]:
        """Raises NotFound when `after` names no incident."""
        if query.after is not None:
            await self.get(tenant, query.after)
        rows = await self._database.within(tenant).fetch(
            _LIST,
            tenant,
            query.person,
            query.type,
            query.team,
            query.severity,
            query.status,
            _moment(query.since),
            _moment(query.until),
            query.after,
            query.limit,
        )
        return [_incident(row) for row in rows]

    async def get(self, tenant: str, incident_id: str) -> Incident:
        """Raises NotFound."""
        rows = await self._database.within(tenant).fetch(_ONE, tenant, incident_id)
        if not rows:
            raise NotFound(f"There is no incident {incident_id[:60]!r}. `ai-platform incidents list` shows their ids.")
        return _incident(rows[0])

    async def mark(self, tenant: str, incident_id: str, status: Status) -> Incident:
        """Raises NotFound."""
        await self._database.within(tenant).execute(_SET, tenant, incident_id, status.value)
        return await self.get(tenant, incident_id)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _incident(row: Any) -> Incident:
    return Incident(
        id=row["id"],
        person=row["principal_id"],
        name=row["name"],
        team=row["team"],
        type=row["type"],
        data_class=row["data_class"],
        rule=row["rule"],
        severity=row["severity"],
        action=row["action"],
        sent=row["shown"],
        status=row["status"],
        count=row["count"],
        first_seen=_iso(row["first_seen"]),
        last_seen=_iso(row["last_seen"]),
        model=row["model"],
        path=row["path"],
        call_id=row["call_id"],
        value_hash=row["value_hash"],
    )


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
