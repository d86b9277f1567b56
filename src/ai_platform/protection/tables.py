"""What this room keeps in PostgreSQL: the vault's entries. Above: bootstrap. Below: vault.py."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from ai_platform.protection.vault import MOST_OF_A_SCOPE, Stored

_NEWEST = (
    "SELECT name, sealed, expires_at FROM aip.vault WHERE tenant = $1 AND scope = $2 AND expires_at > $3"
    " ORDER BY expires_at DESC LIMIT $4"
)
_NAMED = (
    "SELECT name, sealed, expires_at FROM aip.vault WHERE tenant = $1 AND scope = $2 AND expires_at > $3"
    " AND name = ANY($5::text[]) LIMIT $4"
)


class Within(Protocol):
    """One tenant's rows: `fetch(query, *args)` -> rows by column name."""

    async def fetch(self, sql: str, /, *args: Any) -> list[Any]: ...


class Database(Protocol):
    """What is needed of a database. Its methods raise StoreUnavailable."""

    def within(self, tenant: str) -> Within: ...


class Everywhere(Protocol):
    """A database that works over all tenants."""

    async def execute(self, sql: str, /, *args: Any) -> str: ...


class PostgresVault:
    """Only ciphertext is in it; its keys come from the data folder's secret."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fetch(self, tenant: str, scope: bytes, names: Collection[str] | None, now: float) -> Iterable[Stored]:
        moment = datetime.fromtimestamp(now, UTC)
        known = self._database.within(tenant)
        if names is None:
            rows = await known.fetch(_NEWEST, tenant, scope, moment, MOST_OF_A_SCOPE)
        else:
            rows = await known.fetch(_NAMED, tenant, scope, moment, MOST_OF_A_SCOPE, list(names))
        return [Stored(row["name"], row["sealed"], row["expires_at"].timestamp()) for row in rows]


async def purge_vault(system: Everywhere, now: float) -> int:
    """Delete what has expired, of all tenants; how much it was."""
    tag = await system.execute("DELETE FROM aip.vault WHERE expires_at <= $1", datetime.fromtimestamp(now, UTC))
    return int(tag.rpartition(" ")[2] or 0)
