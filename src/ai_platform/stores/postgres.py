"""Connections to PostgreSQL: queries, transactions and batched writes, each with a bounded wait.

Knows no table and no business. `Database` is for whoever answers a request: it sees one tenant at a time (`within`).
`SystemDatabase` is for background work and sees all. Neither signs in as owner or superuser. Errors of the store become
StoreUnavailable by the one table in `failures`; errors of a statement stay asyncpg's own. Above: every room that
keeps something. Below: tenancy, failures, rows.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from ai_platform.domain.errors import ConfigError, StoreUnavailable
from ai_platform.stores.failures import REFUSED, UNREACHABLE, place
from ai_platform.stores.rows import Insert
from ai_platform.stores.settings import StoresSettings
from ai_platform.stores.tenancy import PRESENTED, TENANT, Scoped

Duplicate = asyncpg.UniqueViolationError
"""A row with this key exists already."""

Gone = asyncpg.ForeignKeyViolationError
"""What a row is about does not exist, or not any more."""

_Group = tuple[str, tuple[str, ...]]


class Pool:
    """Connections of one role; heals itself.

    healthy: whether PostgreSQL answered last, asked again every `probe_interval` seconds. failures: how often it did
    not. Every method raises StoreUnavailable within connect + acquire + command timeouts; a write that failed so may
    or may not have been done, as with any server that vanishes before its answer.
    """

    def __init__(self, pool: Any, settings: StoresSettings, where: str) -> None:
        self._pool = pool
        self._settings = settings
        self._where = where
        self._statements: dict[tuple[_Group, ...], _Statement] = {}
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
        """All rows or none, durable on return, in one statement and one round trip whatever the number of tables.

        What PostgreSQL cannot store - a NUL character, half of a surrogate pair - becomes U+FFFD or `?`, so that one
        caller's input cannot spoil a batch that holds other callers' rows.
        """
        groups: dict[_Group, list[tuple[Any, ...]]] = {}
        for insert in inserts:
            groups.setdefault((insert.table, insert.columns), []).append(insert.values)
        if not groups:
            return
        async with self._connection() as connection:
            statement = await self._statement(connection, tuple(groups))
            columns = [column for rows in groups.values() for column in zip(*rows, strict=True)]
            arrays = [
                [None if value is None else encode(value) for value in column] if encode else column
                for encode, column in zip(statement.encoders, columns, strict=True)
            ]
            await connection.execute(statement.sql, *arrays)

    async def session(self) -> Any:
        """An asyncpg connection that the caller keeps, for locks that live as long as a session does.

        It takes one place of the pool until the caller ends it with `close()` or `terminate()`; it never goes back to
        be used by others. Its errors are asyncpg's own.
        """
        try:
            return await self._pool.acquire(timeout=self._settings.acquire_timeout)
        except (*UNREACHABLE, asyncpg.InterfaceError) as error:
            raise self._failed(error) from error

    async def close(self) -> None:
        """Give connections back; those still in use are cut after `acquire_timeout`."""
        self._prober.cancel()
        try:
            async with asyncio.timeout(self._settings.acquire_timeout):
                await self._pool.close()
        except (TimeoutError, *UNREACHABLE):
            self._pool.terminate()

    async def _statement(self, connection: Any, groups: tuple[_Group, ...]) -> "_Statement":
        statement = self._statements.get(groups)
        if statement is None:
            kinds = {table: await _column_types(connection, table) for table, _ in groups}
            statement = self._statements[groups] = _insert_from_arrays(groups, kinds)
        return statement

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Any]:
        try:
            async with self._pool.acquire(timeout=self._settings.acquire_timeout) as connection:
                try:
                    yield connection
                except asyncpg.InterfaceError as error:  # a mistake in the call, unless the connection broke before
                    if _is_dead(connection):
                        raise self._failed(error) from error
                    raise
        except UNREACHABLE as error:
            raise self._failed(error) from error
        except asyncpg.InterfaceError as error:
            if self._pool.is_closing():
                raise self._failed(error) from error
            raise
        self.healthy = True
        self._answered_at = asyncio.get_running_loop().time()

    def _failed(self, error: Exception) -> StoreUnavailable:
        self.healthy = False
        self.failures += 1
        return StoreUnavailable(f"PostgreSQL at {self._where} is not available: {error or type(error).__name__}.")

    async def _probe(self) -> None:
        """Ask when nobody else does, so that `healthy` turns true again without a call that dares to try."""
        interval = self._settings.probe_interval
        while True:
            await asyncio.sleep(interval)
            if self.healthy and asyncio.get_running_loop().time() - self._answered_at < interval:
                continue
            with contextlib.suppress(StoreUnavailable):
                await self.fetchval("SELECT 1")


class Database(Pool):
    """As the gateway's role, for what is done in answer to a request.

    Its own `fetch` and so on are for tables that belong to no organisation: of the others row-level security shows
    nothing and takes nothing, so that a forgotten `within` is an empty answer and never somebody else's rows.
    """

    def within(self, tenant: str) -> Scoped:
        """For the rows of this tenant. ValueError for no tenant at all."""
        return Scoped(self.transaction, TENANT, tenant)

    def presenting(self, secret: str | bytes) -> Scoped:
        """Before the tenant is known: for the one row of a table that lets itself be found by a secret (its id or
        hash, whole), such as the session of a cookie.
        """
        return Scoped(self.transaction, PRESENTED, f"\\x{secret.hex()}" if isinstance(secret, bytes) else secret)


class SystemDatabase(Pool):
    """As the system's role: every tenant's rows. For start-up, group commits, watches, sweeps; never handed to what
    answers a request.
    """


async def connect(dsn: str, settings: StoresSettings | None = None) -> Database:
    """Open the pool as the gateway's role.

    Raises:
        StoreUnavailable: nothing answers there.
        ConfigError: the URL or its password is wrong, or the role is allowed too much.

    """
    settings = settings or StoresSettings()
    pool, role = await _opened(dsn, settings, "gateway_dsn")
    if role["too_much"] or role["is_system"]:
        await pool.close()
        raise ConfigError(
            f"gateway_dsn for {place(dsn)} signs in as a superuser, as the owner or past row-level security. Use a role"
            " without those rights, such as aip_gateway."
        )
    return Database(pool, settings, place(dsn))


async def connect_system(dsn: str, settings: StoresSettings | None = None) -> SystemDatabase:
    """Open the pool as the system's role. Raises as `connect` does."""
    settings = settings or StoresSettings()
    pool, role = await _opened(dsn, settings, "system_dsn")
    if role["too_much"] or not role["is_system"]:
        await pool.close()
        raise ConfigError(
            f"system_dsn for {place(dsn)} must sign in as aip_system or a member of it, and not as a superuser or the"
            " owner."
        )
    return SystemDatabase(pool, settings, place(dsn))


_ROLE = """
SELECT rolsuper OR rolbypassrls OR EXISTS (
        SELECT FROM pg_namespace WHERE nspname = 'aip' AND pg_has_role(current_user, nspowner, 'MEMBER')) AS too_much,
    EXISTS (SELECT FROM pg_roles s WHERE s.rolname = 'aip_system' AND pg_has_role(current_user, s.oid, 'MEMBER'))
        AS is_system
FROM pg_roles WHERE rolname = current_user
"""


async def _opened(dsn: str, settings: StoresSettings, name: str) -> tuple[Any, Any]:
    """The pool, and what its role is allowed."""
    pool = asyncpg.create_pool(
        dsn,
        min_size=0,  # a floor would have asyncpg log a traceback for every attempt while PostgreSQL is away
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
        return pool, await pool.fetchrow(_ROLE)
    except UNREACHABLE as error:
        pool.terminate()
        raise StoreUnavailable(
            f"PostgreSQL at {place(dsn)} does not answer ({error or type(error).__name__})."
        ) from error
    except REFUSED as error:
        pool.terminate()
        raise ConfigError(f"{name} for {place(dsn)} is refused: {error}") from error


class _Connection(asyncpg.Connection):
    """Goes back to the pool without a round trip: nothing here sets anything that outlives its transaction."""

    def get_reset_query(self) -> str:
        return ""


def _is_dead(connection: Any) -> bool:
    """Of a connection in use: the pool takes a closed one away, and its proxy then only says that it is gone."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True


async def _install_codecs(connection: Any) -> None:
    """Jsonb and json columns hold Python values; jsonb's binary form is a version byte before the text."""
    for name, encode, decode in (("jsonb", _encode_jsonb, _decode_jsonb), ("json", _encode_json, msgspec.json.decode)):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=encode, decoder=decode, format="binary")


_ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def _encode_json(value: Any) -> bytes:
    try:
        text = msgspec.json.encode(value)
    except UnicodeEncodeError:
        text = msgspec.json.encode(_whole(msgspec.to_builtins(value)))
    return _ESCAPED_NUL.sub(rb"\1\\ufffd", text) if rb"\u0000" in text else text


def _encode_jsonb(value: Any) -> bytes:
    return b"\x01" + _encode_json(value)


def _decode_jsonb(data: bytes) -> Any:
    return msgspec.json.decode(data[1:])


async def _column_types(connection: Any, table: str) -> dict[str, str]:
    rows = await connection.fetch(
        "SELECT attname, format_type(atttypid, atttypmod) AS kind FROM pg_attribute"
        " WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
        table,
    )
    return {row["attname"]: row["kind"] for row in rows}


class _Statement(msgspec.Struct, frozen=True):
    """encoders: one for each array parameter, None where asyncpg's own will do."""

    sql: str
    encoders: tuple[Callable[[Any], Any] | None, ...]


def _insert_from_arrays(groups: tuple[_Group, ...], kinds: dict[str, dict[str, str]]) -> _Statement:
    """Any number of rows as one array a column; several tables as one statement (all but the last in WITH).

    COPY is a fifth faster for hundreds of rows but is not allowed on tables with row-level security, and a VALUES
    list a batch size would fill the statement cache.

    Raises:
        ValueError: a column does not exist, or is an array itself (unnest would flatten it: use jsonb).

    """
    parts: list[str] = []
    encoders: list[Callable[[Any], Any] | None] = []
    for number, (table, columns) in enumerate(groups):
        arrays: list[str] = []
        values: list[str] = []
        for name in columns:
            kind = kinds[table].get(name, "missing")
            if kind == "missing" or kind.endswith("[]"):
                raise ValueError(f"{table}.{name} is {kind}: write() needs a plain column, such as jsonb")
            is_json = kind in {"json", "jsonb"}
            encoders.append(_json_text if is_json else _storable if kind.startswith(("text", "char")) else None)
            # As text: asyncpg would take a list in an array of jsonb for a second dimension.
            arrays.append(f"${len(encoders)}::{'text' if is_json else kind}[]")
            values.append(f"c{len(values)}::{kind}" if is_json else f"c{len(values)}")
        names = ", ".join(f"c{index}" for index in range(len(columns)))
        parts.append(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)}"  # noqa: S608 - names come from code
            f" FROM unnest({', '.join(arrays)}) AS r{number}({names})"
        )
    named = ", ".join(f"w{index} AS ({part})" for index, part in enumerate(parts[:-1]))
    return _Statement(f"WITH {named} {parts[-1]}" if named else parts[-1], tuple(encoders))


def _storable(value: str) -> str:
    if not value.isascii():
        value = value.encode("utf-8", "replace").decode()
    return value.replace("\x00", "\ufffd") if "\x00" in value else value


def _whole(value: Any) -> Any:
    """The same JSON value with `?` for every half of a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


def _json_text(value: Any) -> str:
    return _encode_json(value).decode()
