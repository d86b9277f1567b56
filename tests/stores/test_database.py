"""Queries, batches and what happens when PostgreSQL is slow, full, gone or back."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_platform.domain.errors import ConfigError, StoreUnavailable
from ai_platform.stores.embedded import PostgresServer, embedded_postgres
from ai_platform.stores.migrate import migrate
from ai_platform.stores.postgres import Database, Duplicate, connect
from ai_platform.stores.rows import Insert
from ai_platform.stores.settings import StoresSettings
from ai_platform.testing.eventually import eventually
from ai_platform.testing.postgres import FreshDatabase, TestPostgres

pytestmark = pytest.mark.anyio

HASTY = StoresSettings(
    pool_max=2, connect_timeout=1, acquire_timeout=0.8, command_timeout=0.8, probe_interval=0.05, stop_timeout=3
)

TABLES = """
CREATE TABLE aip.facts (id bigint PRIMARY KEY, who text, facts jsonb, labels text[]);
CREATE TABLE aip.sums (who text PRIMARY KEY, amount bigint NOT NULL CHECK (amount >= 0));
GRANT SELECT, INSERT ON aip.facts, aip.sums TO aip_gateway;
"""


async def as_owner(dsn: str, sql: str) -> None:
    owner = await asyncpg.connect(dsn)
    try:
        await owner.execute(sql)
    finally:
        await owner.close()


@asynccontextmanager
async def connected(dsn: str, configured: StoresSettings = HASTY) -> AsyncIterator[Database]:
    database = await connect(dsn, configured)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def fresh(postgres_server: TestPostgres) -> AsyncIterator[FreshDatabase]:
    async with postgres_server.fresh_database() as made:
        await as_owner(made.owner_dsn, TABLES)
        yield made


@pytest.fixture
async def tables(fresh: FreshDatabase) -> AsyncIterator[Database]:
    async with connected(fresh.gateway_dsn) as database:
        yield database


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    """A server that a test may stop."""
    async with embedded_postgres(tmp_path, HASTY) as server:
        await migrate(server.owner_dsn, server.gateway_dsn)
        await as_owner(server.owner_dsn, TABLES)
        yield server


async def backends_of(server: PostgresServer) -> list[int]:
    """The processes that serve the gateway's connections."""
    owner = await asyncpg.connect(server.owner_dsn)
    try:
        rows = await owner.fetch("SELECT pid FROM pg_stat_activity WHERE usename = 'aip_gateway'")
        return [row["pid"] for row in rows]
    finally:
        await owner.close()


def fact(number: int, facts: Any = None, who: str | None = "ada") -> Insert:
    return Insert("aip.facts", ("id", "who", "facts"), (number, who, facts))


def total(who: str, amount: int) -> Insert:
    return Insert("aip.sums", ("who", "amount"), (who, amount))


async def test_a_fresh_database_is_migrated_and_reached_as_the_gateway(database: Database):
    assert await database.fetchval("SELECT current_user") == "aip_gateway"
    assert await database.fetchval("SELECT has_schema_privilege('aip', 'USAGE')")
    assert not await database.fetchval("SELECT has_schema_privilege('aip', 'CREATE')")


async def test_json_columns_hold_python_values(database: Database):
    for value in ({"a": [1, 2.5, None, True, "é"]}, [], [[1], [2, 3]], "text", 7, None):
        assert await database.fetchval("SELECT $1::jsonb", value) == value
        assert await database.fetchval("SELECT $1::json", value) == value
    row = await database.fetchrow("SELECT 1 AS one, 'x' AS letter")
    assert dict(row) == {"one": 1, "letter": "x"}
    assert await database.fetchrow("SELECT 1 WHERE false") is None
    assert [row["n"] for row in await database.fetch("SELECT n FROM generate_series(1, $1::int) AS n", 3)] == [1, 2, 3]


async def test_a_batch_over_several_tables_is_written_whole(tables: Database):
    await tables.write([fact(1, {"n": 1}), total("ada", 5), fact(2, [1, [2]]), total("bob", 6), fact(3, who=None)])
    rows = await tables.fetch("SELECT id, who, facts FROM aip.facts ORDER BY id")
    assert [tuple(row) for row in rows] == [(1, "ada", {"n": 1}), (2, "ada", [1, [2]]), (3, None, None)]
    assert await tables.fetchval("SELECT sum(amount) FROM aip.sums") == 11


async def test_a_batch_with_one_bad_row_is_not_written_at_all(tables: Database):
    await tables.write([total("ada", 1)])
    with pytest.raises(Duplicate):
        await tables.write([fact(1), total("bob", 1), total("ada", 2)])
    with pytest.raises(asyncpg.CheckViolationError):
        await tables.write([fact(2), total("eve", -1)])
    assert await tables.fetchval("SELECT count(*) FROM aip.facts") == 0
    assert await tables.fetchval("SELECT count(*) FROM aip.sums") == 1
    assert tables.healthy


async def test_an_empty_batch_is_nothing(tables: Database):
    await tables.write([])
    assert await tables.fetchval("SELECT count(*) FROM aip.facts") == 0


async def test_batches_work_on_tables_with_row_level_security(fresh: FreshDatabase):
    await as_owner(
        fresh.owner_dsn,
        "ALTER TABLE aip.sums ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY own ON aip.sums USING (true) WITH CHECK (who <> 'other-tenant')",
    )
    async with connected(fresh.gateway_dsn) as database:
        await database.write([total("ada", 1)])
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.write([total("other-tenant", 1)])


async def test_array_and_unknown_columns_are_named_instead_of_spoiling_rows(tables: Database):
    with pytest.raises(ValueError, match=r"aip\.facts\.labels is text\[\].*jsonb"):
        await tables.write([Insert("aip.facts", ("id", "labels"), (1, ["a", "b"]))])
    with pytest.raises(ValueError, match=r"aip\.facts\.colour is missing"):
        await tables.write([Insert("aip.facts", ("id", "colour"), (1, "red"))])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def storable(value: Any) -> Any:
    """What a value reads back as: NUL, which PostgreSQL has no room for, becomes U+FFFD."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    return value


async def test_broken_unicode_does_not_spoil_the_batch(tables: Database):
    await tables.write([fact(1, {"\udfff": ["a\ud800"]}, "x\ud800y"), fact(2, "fine", "fine")])
    rows = await tables.fetch("SELECT who, facts FROM aip.facts ORDER BY id")
    assert [tuple(row) for row in rows] == [("x?y", {"?": ["a?"]}), ("fine", "fine")]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.none() | st.text(), JSON), min_size=1, max_size=5))
async def test_any_text_and_json_is_stored_and_read_back(tables: Database, rows: list[tuple[str | None, Any]]):
    start = await tables.fetchval("SELECT coalesce(max(id), 0) FROM aip.facts")
    await tables.write([fact(start + number, facts, who) for number, (who, facts) in enumerate(rows, 1)])
    stored = await tables.fetch("SELECT who, facts FROM aip.facts WHERE id > $1 ORDER BY id", start)
    assert [tuple(row) for row in stored] == [(storable(who), storable(facts)) for who, facts in rows]


async def test_an_escaped_backslash_before_u0000_is_not_taken_for_a_nul(tables: Database):
    text = "\\u0000 and \0 and \\\\u0000"
    assert await tables.fetchval("SELECT $1::jsonb", [text]) == ["\\u0000 and \ufffd and \\\\u0000"]


async def twice(database: Database) -> None:
    async with database.transaction() as connection:
        for _ in range(2):
            await connection.execute("INSERT INTO aip.sums VALUES ('ada', 1)")


async def test_a_transaction_is_undone_by_any_error(tables: Database):
    with pytest.raises(Duplicate):
        await twice(tables)
    async with tables.transaction() as connection:
        await connection.execute("INSERT INTO aip.sums VALUES ('bob', 1)")
    assert await tables.fetchval("SELECT array_agg(who) FROM aip.sums") == ["bob"]


async def test_a_connection_lost_inside_a_transaction_is_an_outage(tables: Database):
    with pytest.raises(StoreUnavailable):
        await end_own_connection(tables)
    assert await tables.fetchval("SELECT count(*) FROM aip.sums") == 0


async def end_own_connection(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO aip.sums VALUES ('ada', 1)")
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_a_mistake_in_a_statement_is_not_taken_for_an_outage(tables: Database):
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await tables.execute("SELEC 1")
    with pytest.raises(asyncpg.InterfaceError):
        await tables.fetchval("SELECT $1::int")
    assert tables.healthy
    assert tables.failures == 0


async def test_a_pool_in_use_refuses_within_its_bound(tables: Database):
    async with asyncio.timeout(20), tables.transaction(), tables.transaction():
        with pytest.raises(StoreUnavailable):
            await tables.fetchval("SELECT 1")
    assert await tables.fetchval("SELECT 1") == 1


async def test_a_session_keeps_its_lock_until_it_is_ended(tables: Database):
    session = await tables.session()
    await session.execute("SELECT pg_advisory_lock(7)")
    assert await tables.fetchval("SELECT pg_try_advisory_lock(7)") is False
    await session.close()
    await tables.execute("SELECT pg_advisory_xact_lock(7)")  # waits no longer than a statement may


async def test_a_session_that_the_pool_has_no_place_for_is_refused(tables: Database):
    async with tables.transaction(), tables.transaction():
        with pytest.raises(StoreUnavailable):
            await tables.session()


async def test_a_slow_statement_is_cut_off(tables: Database):
    async with asyncio.timeout(20):
        with pytest.raises(StoreUnavailable):
            await tables.execute("SELECT pg_sleep(600)")
        assert await tables.fetchval("SELECT 1") == 1


async def test_connections_that_the_server_ended_are_replaced(tables: Database, fresh: FreshDatabase):
    await as_owner(
        fresh.owner_dsn,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE usename = 'aip_gateway' AND datname = current_database()",
    )
    async with asyncio.timeout(20):
        while True:
            try:
                assert await tables.fetchval("SELECT 1") == 1
            except StoreUnavailable:
                continue
            return


async def test_a_stopped_server_refuses_at_once_and_works_again_when_it_is_back(own_server: PostgresServer):
    async with connected(own_server.gateway_dsn) as database:
        await database.write([total("ada", 1)])
        backends = await backends_of(own_server)
        os.kill(own_server.pid, signal.SIGSTOP)  # so that it cannot come back before the test has looked
        for pid in backends:
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            with pytest.raises(StoreUnavailable, match="is not available"):
                await database.write([total("bob", 1)])
            assert not database.healthy
            os.kill(own_server.pid, signal.SIGKILL)
            await eventually(lambda: database.healthy)
        assert database.failures > 0
        assert own_server.restarts == 1
        await database.write([total("eve", 1)])
        assert await database.fetchval("SELECT count(*) FROM aip.sums WHERE who IN ('ada', 'eve')") == 2


async def test_a_frozen_server_refuses_within_the_bound_and_works_again_when_thawed(own_server: PostgresServer):
    async with connected(own_server.gateway_dsn) as database:
        frozen = [*await backends_of(own_server), own_server.pid]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(20):
                for _ in range(4):
                    with pytest.raises(StoreUnavailable):
                        await database.fetchval("SELECT 1")
            assert not database.healthy
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        await eventually(lambda: database.healthy)
        assert await database.fetchval("SELECT 1") == 1


async def test_closing_does_not_wait_for_a_frozen_server(own_server: PostgresServer):
    database = await connect(own_server.gateway_dsn, HASTY)
    frozen = await backends_of(own_server)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(20):
            await database.close()
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    with pytest.raises(StoreUnavailable):
        await database.fetchval("SELECT 1")


async def test_an_address_where_nothing_answers_is_told_without_the_password():
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1/nowhere") as error:
        await connect("postgresql://aip_gateway:hidden@127.0.0.1:1/nowhere", HASTY)
    assert "hidden" not in str(error.value)


async def test_a_wrong_password_or_database_is_a_configuration_error(fresh: FreshDatabase):
    with pytest.raises(ConfigError, match="password authentication failed"):
        await connect(fresh.gateway_dsn.replace("aip_gateway:", "aip_gateway:wrong"), HASTY)
    with pytest.raises(ConfigError, match="does not exist"):
        await connect(fresh.gateway_dsn.replace(fresh.name, "nowhere"), HASTY)
    with pytest.raises(ConfigError):
        await connect("not a url", HASTY)


async def test_the_gateway_never_works_as_a_superuser(fresh: FreshDatabase):
    with pytest.raises(ConfigError, match="superuser"):
        await connect(fresh.owner_dsn, HASTY)
