"""The tables of trust: what is approved, what is held, who is quarantined. It decides nothing.

Above: pins. Below: stores.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ai_platform.mcp.trust.flag import Flag
from ai_platform.stores.postgres import SystemDatabase

Flags = list[Flag]


class Pin(msgspec.Struct, frozen=True):
    """One definition as known. approved, held: SHA-256, None when there is none."""

    kind: str
    name: str
    approved: str | None
    held: str | None


class Sighting(msgspec.Struct, frozen=True):
    """A definition that is not approved, as a server showed it."""

    kind: str
    name: str
    digest: str
    item: dict[str, Any]
    flags: Flags


class Review(msgspec.Struct, frozen=True):
    """A held definition, for the person who decides. approved: what is approved, None for a new one."""

    kind: str
    name: str
    digest: str
    held: dict[str, Any]
    held_at: dt.datetime
    flags: Flags
    approved: dict[str, Any] | None = None
    approved_by: str | None = None


class Wanted(msgspec.Struct, frozen=True):
    """A definition that somebody read and approves: exactly this one."""

    kind: str
    name: str
    digest: str


class Outdated(Exception):
    """What was read is not what is held; its text is the name."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One server. quarantine: the reason, "" when there is none."""

    server: str
    version: int = 0
    quarantine: str = ""
    quarantined_at: dt.datetime | None = None
    quarantined_by: str | None = None
    approved: int = 0
    held: int = 0
    grave: int = 0


class Ledger:
    """Every method may raise StoreUnavailable."""

    def __init__(self, database: SystemDatabase) -> None:
        self._database = database

    async def pins(self, server: str, kind: str) -> tuple[dict[str, Pin], bool]:
        """Pins by name, and whether this kind was looked at before."""
        rows = await self._database.fetch(
            "SELECT name, approved_digest, held_digest FROM mcp_pins WHERE server = $1 AND kind = $2", server, kind
        )
        seen = await self._database.fetchval("SELECT $2 = ANY(seen) FROM mcp_trust WHERE server = $1", server, kind)
        return {row[0]: Pin(kind, row[0], row[1], row[2]) for row in rows}, bool(seen)

    async def approved(self, server: str, kind: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The approved definitions of these names."""
        rows = await self._database.fetch(
            "SELECT name, approved FROM mcp_pins WHERE server = $1 AND kind = $2 AND name = ANY($3::text[])"
            " AND approved IS NOT NULL",
            server,
            kind,
            list(names),
        )
        return {row["name"]: row["approved"] for row in rows}

    async def record(
        self, server: str, kind: str, *, held: Sequence[Sighting], trusted: Sequence[Sighting], back: Sequence[str]
    ) -> list[Sighting]:
        """Write what was seen: held, approved at first use (`trusted`), or again as approved (`back`).

        Returns the held ones that nobody wrote before, so that one replica alone tells of them.
        """
        async with self._database.transaction() as connection:
            await connection.execute(
                "INSERT INTO mcp_trust (server, seen) VALUES ($1, ARRAY[$2]) ON CONFLICT (server) DO UPDATE SET"
                " version = mcp_trust.version + 1, seen = CASE WHEN $2 = ANY(mcp_trust.seen) THEN mcp_trust.seen"
                " ELSE mcp_trust.seen || $2 END",
                server,
                kind,
            )
            if trusted:
                await connection.executemany(_TRUST, [_row(server, one)[:5] for one in trusted])
            if back:
                await connection.execute(
                    "UPDATE mcp_pins SET held_digest = NULL, held = NULL, held_flags = NULL, held_at = NULL"
                    " WHERE server = $1 AND kind = $2 AND name = ANY($3::text[]) AND approved_digest IS NOT NULL",
                    server,
                    kind,
                    list(back),
                )
            news = [await connection.fetchval(_HOLD, *_row(server, one)) for one in held]
        return [one for one, is_new in zip(held, news, strict=True) if is_new]

    async def approve(self, server: str, wanted: Sequence[Wanted], *, by: str) -> list[str | None]:
        """All of them or none. Returns the digests that were approved before.

        Raises:
            Outdated: one of them is not what is held any more.

        """
        before: list[str | None] = []
        async with self._database.transaction() as connection:
            for one in wanted:
                row = await connection.fetchrow(
                    "SELECT approved_digest FROM mcp_pins WHERE server = $1 AND kind = $2 AND name = $3"
                    " AND held_digest = $4 FOR UPDATE",
                    *(server, one.kind, one.name, one.digest),
                )
                if row is None:
                    raise Outdated(one.name)
                before.append(row[0])
                await connection.execute(
                    "UPDATE mcp_pins SET approved_digest = held_digest, approved = held, approved_by = $4,"
                    " approved_at = now(), held_digest = NULL, held = NULL, held_flags = NULL, held_at = NULL"
                    " WHERE server = $1 AND kind = $2 AND name = $3",
                    *(server, one.kind, one.name, by),
                )
            await connection.execute("UPDATE mcp_trust SET version = version + 1 WHERE server = $1", server)
        return before

    async def quarantine(self, server: str, reason: str | None, *, by: str) -> str:
        """None as reason ends it. Returns the reason before, "" when there was none."""
        async with self._database.transaction() as connection:
            before = await connection.fetchval("SELECT quarantine FROM mcp_trust WHERE server = $1 FOR UPDATE", server)
            await connection.execute(
                "INSERT INTO mcp_trust (server, quarantine, quarantined_at, quarantined_by) VALUES ($1, $2, now(), $3)"
                " ON CONFLICT (server) DO UPDATE SET version = mcp_trust.version + 1, quarantine = $2,"
                " quarantined_at = now(), quarantined_by = $3",
                *(server, reason, by),
            )
        return before or ""

    async def forget(self, server: str, connection: Any) -> None:
        """Everything but a quarantine. connection: of the transaction in which it is another server."""
        await connection.execute("DELETE FROM mcp_pins WHERE server = $1", server)
        await connection.execute("UPDATE mcp_trust SET seen = '{}', version = version + 1 WHERE server = $1", server)

    async def reviews(self, server: str) -> list[Review]:
        """What is held, in the order of kind and name."""
        rows = await self._database.fetch(
            "SELECT kind, name, held_digest, held, held_at, held_flags, approved, approved_by FROM mcp_pins"
            " WHERE server = $1 AND held_digest IS NOT NULL ORDER BY kind, name LIMIT 5000",
            server,
        )
        return [
            Review(row[0], row[1], row[2], row[3], row[4], msgspec.convert(row[5] or [], Flags), row[6], row[7])
            for row in rows
        ]

    async def pinned(self, server: str) -> list[Any]:
        """What is approved: kind, name, approved_digest, approved, approved_at, approved_by."""
        return await self._database.fetch(
            "SELECT kind, name, approved_digest, approved, approved_at, approved_by FROM mcp_pins"
            " WHERE server = $1 AND approved_digest IS NOT NULL ORDER BY kind, name LIMIT 5000",
            server,
        )

    async def standings(self) -> dict[str, Standing]:
        rows = await self._database.fetch(_STANDINGS)
        return {row["server"]: msgspec.convert(dict(row), Standing) for row in rows}

    async def versions(self) -> Mapping[str, tuple[int, str]]:
        """Of every server: the number of its last decision, and why it is quarantined ("" = it is not)."""
        rows = await self._database.fetch("SELECT server, version, quarantine FROM mcp_trust")
        return {row[0]: (row[1], row[2] or "") for row in rows}


def _row(server: str, one: Sighting) -> tuple[Any, ...]:
    return (server, one.kind, one.name, one.digest, one.item, msgspec.to_builtins(one.flags))


_HOLD = """
INSERT INTO mcp_pins AS pin (server, kind, name, held_digest, held, held_flags, held_at)
VALUES ($1, $2, $3, $4, $5, $6, now())
ON CONFLICT (server, kind, name) DO UPDATE
SET held_digest = excluded.held_digest, held = excluded.held, held_flags = excluded.held_flags, held_at = now()
WHERE pin.held_digest IS DISTINCT FROM excluded.held_digest
  AND pin.approved_digest IS DISTINCT FROM excluded.held_digest
RETURNING 1
"""
_TRUST = """
INSERT INTO mcp_pins (server, kind, name, approved_digest, approved, approved_at, approved_by)
VALUES ($1, $2, $3, $4, $5, now(), 'first use')
ON CONFLICT (server, kind, name) DO NOTHING
"""
_STANDINGS = """
SELECT coalesce(t.server, p.server) AS server, coalesce(t.version, 0) AS version,
       coalesce(t.quarantine, '') AS quarantine, t.quarantined_at, t.quarantined_by,
       coalesce(p.approved, 0) AS approved, coalesce(p.held, 0) AS held, coalesce(p.grave, 0) AS grave
FROM mcp_trust t
FULL JOIN (
    SELECT server, count(approved_digest) AS approved, count(held_digest) AS held,
           count(*) FILTER (WHERE held_flags @? '$[*] ? (@.severity == "critical" || @.severity == "high")') AS grave
    FROM mcp_pins GROUP BY server
) p ON p.server = t.server
"""
