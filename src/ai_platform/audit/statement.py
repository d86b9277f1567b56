"""The one statement of a group commit: leaves and other rooms' rows, all or none, in one round trip.

Leaves travel as bytes and the server takes the search columns out of them, so the columns cannot say something else;
every other table is one more `WITH` part fed by one JSON document (a third of the client's cost of one array a
column: the driver checks every element of an array). Above: log. Below: stores.rows.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from ai_platform.stores.rows import Insert

_LEAVES = """
INSERT INTO audit_leaf (log, index, event_id, event_type, at, call_id, subject_ref, retention, expires, leaf, tenant)
SELECT $1, l.index, l.event_id, l.event_type, l.at, l.call_id, l.subject_ref, l.retention, l.expires, u.leaf,
    coalesce(l.facts ->> 'tenant', 'default')
FROM unnest($2::bytea[]) AS u(leaf), json_to_record(convert_from(u.leaf, 'UTF8')::json) AS l(index bigint,
    event_id text, event_type text, at timestamptz, call_id text, subject_ref text, retention text, expires date,
    facts json)
"""

_Group = tuple[str, tuple[str, ...]]


class _Shape(msgspec.Struct, frozen=True):
    """The prepared statement, and the names its JSON documents give to the columns of each group."""

    prepared: Any
    names: tuple[tuple[str, ...], ...]


class Statements:
    """Builds and remembers statements for one connection, by the tables that take part (a handful of shapes)."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._shapes: dict[tuple[_Group, ...], _Shape] = {}

    async def write(self, slot: int, leaves: Sequence[bytes], inserts: Sequence[Insert], timeout: float) -> None:
        """Durable on return. timeout: seconds.

        Raises:
            asyncpg.PostgresError, OSError, TimeoutError, ValueError: as the driver does; the caller sorts them.

        """
        groups: dict[_Group, list[tuple[Any, ...]]] = {}
        for insert in inserts:
            groups.setdefault((insert.table, insert.columns), []).append(insert.values)
        shape = self._shapes.get(tuple(groups))
        if shape is None:
            shape = await self._build(tuple(groups))
        documents = [
            _json_text([dict(zip(names, _plain(row), strict=True)) for row in rows])
            for names, rows in zip(shape.names, groups.values(), strict=True)
        ]
        await shape.prepared.fetch(slot, leaves, *documents, timeout=timeout)

    async def _build(self, groups: tuple[_Group, ...]) -> _Shape:
        parts: list[str] = []
        names: list[tuple[str, ...]] = []
        for number, (table, columns) in enumerate(groups):
            kinds = await self._kinds(table)
            typed: list[str] = []
            for at, name in enumerate(columns):
                kind = kinds.get(name, "missing")
                if kind == "missing" or kind.endswith("[]"):
                    raise ValueError(f"{table}.{name} is {kind}: the trail writes plain columns only (use jsonb)")
                typed.append(f"c{at} {kind}")
            names.append(tuple(f"c{at}" for at in range(len(columns))))
            parts.append(
                f"w{number} AS (INSERT INTO {table} ({', '.join(columns)}) SELECT *"  # noqa: S608 - names come from code
                f" FROM json_to_recordset(${number + 3}::text::json) AS r({', '.join(typed)}))"
            )
        sql = f"WITH {', '.join(parts)} {_LEAVES}" if parts else _LEAVES
        shape = _Shape(await self._connection.prepare(sql), tuple(names))
        self._shapes[groups] = shape
        return shape

    async def _kinds(self, table: str) -> dict[str, str]:
        rows = await self._connection.fetch(
            "SELECT attname, format_type(atttypid, atttypmod) AS kind FROM pg_attribute"
            " WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
            table,
        )
        return {row["attname"]: row["kind"] for row in rows}


def _plain(row: tuple[Any, ...]) -> Sequence[Any]:
    """Bytes as PostgreSQL writes them in text; most rows hold none."""
    if bytes not in map(type, row):
        return row
    return [f"\\x{value.hex()}" if type(value) is bytes else value for value in row]


def _json_text(value: Any) -> str:
    """What PostgreSQL's text cannot hold must not spoil the commit of others: NUL becomes U+FFFD, half of a surrogate
    pair `?`.
    """
    try:
        text = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        text = ""
    return text if text and "\\u0000" not in text else msgspec.json.encode(_storable(value)).decode()


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_storable(item) for item in value]
    return value
