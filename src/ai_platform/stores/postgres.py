"""The gateway's connections to PostgreSQL: queries, transactions and batched writes, each with a bounded wait.

Knows no table and no business. Connects as a role that is neither owner nor superuser. Errors of the store become
StoreUnavailable by the one table in `failures`; errors of a statement stay asyncpg's own. Above: every room that
keeps something. Below: failures, rows.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from ai_platform.domain.errors import ConfigError, StoreUnavailable
from ai_platform.stores.failures import REFUSED, UNREACHABLE, place
from ai_platform.stores.rows import Insert
from ai_platform.stores.settings import StoresSettings

Duplicate = asyncpg.UniqueViolationError
"""A row with this key exists already."""


class Database:
    """A pool of connections that heals itself.

    healthy: whether PostgreSQL answered last, asked again every `probe_interval` seconds. failures: how often it did
    not. Every method raises StoreUnavailable within connect + acquire + command timeouts; a write that failed so may
    or may not have been done, as with any server that vanishes before its answer.
    """

    def __init__(self, pool: Any, settings: StoresSettings, where: str) -> None:
        self._pool = pool
        self._settings = settings
        self._where = where
        self._patience = settings.connect_timeout + settings.acquire_timeout + settings.command_timeout
        self._columns: dict[tuple[str, tuple[str, ...]], str] = {}
        self._answered_at = asyncio.get_running_loop().time()
        self._prober = asyncio.create_task(self._probe())
        self.healthy = True
        self.failures = 0

    async def fetch(self, sql: str, *args: Any) -> list[Any]:
        """Rows as asyncpg records: `row["name"]`, `row[0]`, `dict(row)`."""
        async with self._connection() as connection:
            return await connection.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: Any) -> Any | None:
        async with self._connection() as connection:
            return await connection.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """First column of the first row, None without a row."""
        async with self._connection() as connection:
            return await connection.fetchval(sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        """The command tag, e.g. `UPDATE 3`."""
        async with self._connection() as connection:
            return await connection.execute(sql, *args)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Any]:
        """An asyncpg connection inside a transaction: committed at the end of the block, undone by any error.

        Do nothing but SQL inside: the connection is taken from the pool for the whole block.
        """
        async with self._connection() as connection, connection.transaction():
            yield connection

    async def write(self, inserts: Sequence[Insert]) -> None:
        """All rows or none, durable on return. Order within one (table, columns) is kept.

        A NUL character, which PostgreSQL cannot store, becomes U+FFFD, so that one caller's input cannot spoil a
        batch that holds other callers' rows.
        """
        groups: dict[tuple[str, tuple[str, ...]], list[tuple[Any, ...]]] = {}
        for insert in inserts:
            groups.setdefault((insert.table, insert.columns), []).append(insert.values)
        if not groups:
            return
        async with self._connection() as connection:
            if len(groups) == 1:
                ((key, rows),) = groups.items()
                await self._insert(connection, key, rows)
                return
            async with connection.transaction():
                for key, rows in groups.items():
                    await self._insert(connection, key, rows)

    async def close(self) -> None:
        """Give connections back; those still in use are cut after `acquire_timeout`."""
        self._prober.cancel()
        try:
            async with asyncio.timeout(self._settings.acquire_timeout):
                await self._pool.close()
        except (TimeoutError, *UNREACHABLE):
            self._pool.terminate()

    async def _insert(self, connection: Any, key: tuple[str, tuple[str, ...]], rows: list[tuple[Any, ...]]) -> None:
        sql = self._columns.get(key)
        if sql is None:
            sql = self._columns[key] = await _unnest_statement(connection, *key)
        columns = [[_storable(value) for value in column] for column in zip(*rows, strict=True)]
        await connection.execute(sql, *columns)

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Any]:
        settings = self._settings
        connection: Any = None
        try:
            async with self._pool.acquire(timeout=settings.acquire_timeout) as connection:
                yield connection
        except UNREACHABLE as error:
            raise self._failed(error) from error
        except asyncpg.InterfaceError as error:
            if self._pool.is_closing() or connection is None or connection.is_closed():
                raise self._failed(error) from error
            raise
        self.healthy = True
        self._answered_at = asyncio.get_running_loop().time()

    def _failed(self, error: Exception) -> StoreUnavailable:
        self.healthy = False
        self.failures += 1
        return StoreUnavailable(f"PostgreSQL at {self._where} does not answer ({error or type(error).__name__}).")

    async def _probe(self) -> None:
        """Ask when nobody else does, so that `healthy` turns true again without a call that dares to try."""
        interval = self._settings.probe_interval
        while True:
            await asyncio.sleep(interval)
            if self.healthy and asyncio.get_running_loop().time() - self._answered_at < interval:
                continue
            with contextlib.suppress(StoreUnavailable):
                await self.fetchval("SELECT 1")


async def connect(dsn: str, settings: StoresSettings | None = None) -> Database:
    """Open the pool as the gateway's role.

    Raises:
        StoreUnavailable: nothing answers there.
        ConfigError: the URL or its password is wrong, or the role is allowed too much.

    """
    settings = settings or StoresSettings()
    pool = asyncpg.create_pool(
        dsn,
        min_size=settings.pool_min,
        max_size=settings.pool_max,
        timeout=settings.connect_timeout,
        command_timeout=settings.command_timeout,
        max_inactive_connection_lifetime=0,
        connection_class=_Connection,
        init=_install_codecs,
        server_settings={"application_name": "ai-platform", "search_path": "aip", "timezone": "UTC"},
    )
    try:
        await pool
        too_much = await pool.fetchval("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
    except UNREACHABLE as error:
        pool.terminate()
        raise StoreUnavailable(
            f"PostgreSQL at {place(dsn)} does not answer ({error or type(error).__name__})."
        ) from error
    except REFUSED as error:
        pool.terminate()
        raise ConfigError(f"gateway_dsn for {place(dsn)} is refused: {error}") from error
    if too_much:
        await pool.close()
        raise ConfigError(
            f"gateway_dsn for {place(dsn)} signs in as a superuser or past row-level security. Use a role without those"
            " rights, such as aip_gateway."
        )
    return Database(pool, settings, place(dsn))


class _Connection(asyncpg.Connection):
    """Goes back to the pool without a round trip: nothing here sets anything that outlives its transaction."""

    def get_reset_query(self) -> str:
        return ""


async def _install_codecs(connection: Any) -> None:
    """Jsonb and json columns hold Python values; jsonb's binary form is a version byte before the text."""
    for name, encode, decode in (("jsonb", _encode_jsonb, _decode_jsonb), ("json", _encode_json, msgspec.json.decode)):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=encode, decoder=decode, format="binary")


_ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def _encode_json(value: Any) -> bytes:
    text = msgspec.json.encode(value)
    return _ESCAPED_NUL.sub(rb"\1\\ufffd", text) if rb"\u0000" in text else text


def _encode_jsonb(value: Any) -> bytes:
    return b"\x01" + _encode_json(value)


def _decode_jsonb(data: bytes) -> Any:
    return msgspec.json.decode(data[1:])


def _storable(value: Any) -> Any:
    return value.replace("\x00", "\ufffd") if type(value) is str and "\x00" in value else value


async def _unnest_statement(connection: Any, table: str, columns: tuple[str, ...]) -> str:
    """One statement for any number of rows: each column travels as one array of the column's own type."""
    types = await connection.fetch(
        "SELECT attname, format_type(atttypid, NULL) AS kind FROM pg_attribute"
        " WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
        table,
    )
    kinds = {row["attname"]: row["kind"] for row in types}
    arrays = ", ".join(f"${index}::{kinds[name]}[]" for index, name in enumerate(columns, 1))
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({arrays})"  # noqa: S608 - names come from code
