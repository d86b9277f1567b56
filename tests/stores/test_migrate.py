"""Migrations: each once, in order, by one of many replicas, never half, never over the database of a newer release."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import msgspec
import pytest

from ai_platform.domain.errors import ConfigError, StoreUnavailable
from ai_platform.stores.migrate import Migration, migrate, scram_verifier, shipped_migrations
from ai_platform.stores.postgres import connect
from ai_platform.stores.settings import StoresSettings
from ai_platform.testing.postgres import FreshDatabase, TestPostgres

pytestmark = pytest.mark.anyio

FOUNDATION = shipped_migrations()[0]
PEOPLE = Migration(301, "people", "CREATE TABLE people (name text); GRANT SELECT ON people TO aip_gateway;")
LEDGER = Migration(201, "ledger", "CREATE TABLE ledger (id serial PRIMARY KEY); GRANT INSERT ON ledger TO aip_gateway;")
HASTY = StoresSettings(migration_wait=0.3, migration_lock_timeout=0.2, connect_timeout=3)


@pytest.fixture
async def empty(postgres_server: TestPostgres) -> AsyncIterator[FreshDatabase]:
    async with postgres_server.fresh_database(template="template0") as made:
        yield made


TABLES_BEFORE = (
    "principals",
    "keys",
    "sso_identities",
    "sso_sessions",
    "sso_grants",
    "ledger",
    "audit_leaf",
    "incidents",
)
FILES = """
SELECT string_agg(relname || relfilenode, ' ' ORDER BY relname) FROM pg_class
WHERE relnamespace = 'aip'::regnamespace AND relkind = 'r'
    AND relname IN ('principals', 'keys', 'sso_identities', 'sso_sessions', 'sso_grants', 'ledger', 'open_call',
                    'audit_leaf', 'incidents')
"""
BEFORE_TENANTS = """
SET search_path = aip;
INSERT INTO principals (id, kind, handle, name) VALUES ('usr_1', 'person', 'ann@example.com', 'Ann');
INSERT INTO keys (id, principal_id, name, secret_hash, roles, scopes, created_by)
    VALUES ('key_1', 'usr_1', 'ann', decode(repeat('00', 32), 'hex'), '{}', '{}', 'platform');
INSERT INTO sso_identities (provider, subject, principal_id) VALUES ('corp', '1', 'usr_1');
INSERT INTO sso_sessions (id_hash, principal_id, account, created_at, seen_at)
    VALUES (decode(repeat('00', 32), 'hex'), 'usr_1', '{}', now(), now());
INSERT INTO sso_grants (id, principal_id, account, request, salt, created_at, rotated_at, checked_at, expires_at)
    VALUES ('grt_1', 'usr_1', '{}', '{}', decode(repeat('00', 32), 'hex'), now(), now(), now(), now());
INSERT INTO ledger (call_id, at, tenant, principal, operation, status, input_tokens, output_tokens, cache_read_tokens,
        cache_write_5m_tokens, cache_write_1h_tokens, limited_tokens, micros)
    SELECT 'call_' || n, now(), 'default', 'usr_1', 'messages.create', 200, 1, 1, 0, 0, 0, 2, 3
    FROM generate_series(1, 1000) AS n;
INSERT INTO audit_leaf (log, index, event_id, event_type, at, call_id, retention, expires, leaf)
    SELECT 0, n, 'evt_' || n, 'platform', now(), '', '1y', current_date, '{}' FROM generate_series(1, 1000) AS n;
INSERT INTO incidents (principal_id, value_hash, type, rule, severity, first_seen, last_seen)
    VALUES ('usr_1', 'x', 'US_SSN', 'ssn', 'critical', now(), now());
"""


async def apply(database: FreshDatabase, *steps: Migration, configured: StoresSettings | None = None) -> list[str]:
    done = await migrate(database.owner_dsn, database.gateway_dsn, configured, (FOUNDATION, *steps))
    return [str(step) for step in done]


async def value_in(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_all_shipped_migrations_apply_to_an_empty_database_and_only_once(empty: FreshDatabase):
    done = await migrate(empty.owner_dsn, empty.gateway_dsn)
    assert [str(step) for step in done] == [str(step) for step in shipped_migrations()]
    assert await migrate(empty.owner_dsn, empty.gateway_dsn) == []
    assert str(done[0]) == "0001_foundation"


async def test_every_table_of_the_schema_is_open_to_the_platform_and_owned_by_somebody_else(empty: FreshDatabase):
    await migrate(empty.owner_dsn, empty.gateway_dsn)
    closed = await value_in(
        empty.owner_dsn,
        "SELECT string_agg(relname, ', ') FROM pg_class"
        " WHERE relnamespace = 'aip'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'migrations'"
        " AND (relowner IN ('aip_gateway'::regrole, 'aip_system'::regrole)"
        "      OR NOT has_table_privilege('aip_system', oid, 'SELECT, INSERT'))",
    )
    assert closed is None, f"without a GRANT to aip_gateway or aip_system, or owned by one: {closed}"


async def test_a_later_release_applies_only_what_is_new_even_in_an_earlier_range(empty: FreshDatabase):
    assert await apply(empty, PEOPLE) == ["0001_foundation", "0301_people"]
    assert await apply(empty, LEDGER, PEOPLE) == ["0201_ledger"]


async def test_replicas_that_start_together_apply_each_step_once(empty: FreshDatabase):
    results = await asyncio.gather(*(apply(empty, LEDGER, PEOPLE) for _ in range(6)))
    assert sorted(step for steps in results for step in steps) == ["0001_foundation", "0201_ledger", "0301_people"]


async def test_a_changed_migration_is_refused(empty: FreshDatabase):
    await apply(empty, PEOPLE)
    with pytest.raises(ConfigError, match="0301_people was applied with other content"):
        await apply(empty, msgspec.structs.replace(PEOPLE, sql=PEOPLE.sql + " -- better"))


async def test_a_database_of_a_newer_release_is_refused(empty: FreshDatabase):
    await apply(empty, PEOPLE)
    with pytest.raises(ConfigError, match=r"0301_people, which this release does not know.*newer release"):
        await apply(empty)


async def test_a_failing_migration_leaves_nothing_behind(empty: FreshDatabase):
    broken = Migration(302, "broken", "CREATE TABLE half (n int); INSERT INTO no_such_table VALUES (1);")
    with pytest.raises(ConfigError, match=r"0302_broken failed and was taken back.*no_such_table"):
        await apply(empty, PEOPLE, broken)
    assert await value_in(empty.owner_dsn, "SELECT to_regclass('aip.half')") is None
    assert await value_in(empty.owner_dsn, "SELECT max(version) FROM aip.migrations") == 301


async def test_a_table_in_use_is_not_waited_for_longer_than_the_lock_timeout(empty: FreshDatabase):
    await apply(empty, PEOPLE)
    change = Migration(302, "more", "ALTER TABLE people ADD COLUMN email text")
    reader = await asyncpg.connect(empty.owner_dsn)
    async with reader.transaction():
        await reader.fetch("SELECT * FROM aip.people")
        async with asyncio.timeout(20):
            with pytest.raises(StoreUnavailable, match=r"waited too long for a lock.*Nothing was changed"):
                await apply(empty, PEOPLE, change, configured=HASTY)
    await reader.close()
    assert await apply(empty, PEOPLE, change, configured=HASTY) == ["0302_more"]


async def test_another_migration_is_not_waited_for_without_end(empty: FreshDatabase):
    await apply(empty)
    slow = Migration(302, "slow", "SELECT pg_sleep(600)")
    first = asyncio.create_task(apply(empty, slow))
    try:
        async with asyncio.timeout(20):
            while not await value_in(
                empty.owner_dsn, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)'"
            ):
                assert not first.done()
            with pytest.raises(StoreUnavailable, match="waited too long"):
                await apply(empty, slow, configured=HASTY)
    finally:
        await value_in(
            empty.owner_dsn,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'",
        )
        with pytest.raises(StoreUnavailable, match="broke during a migration"):
            await first


async def test_the_gateways_role_can_do_nothing_but_what_it_was_granted(empty: FreshDatabase):
    await apply(empty, LEDGER, PEOPLE)
    rights = await value_in(
        empty.owner_dsn,
        "SELECT rolcanlogin AND NOT (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)"
        " FROM pg_roles WHERE rolname = 'aip_gateway'",
    )
    assert rights is True
    gateway = await connect(empty.gateway_dsn)
    await gateway.execute("INSERT INTO ledger DEFAULT VALUES")
    assert await gateway.fetch("SELECT * FROM people") == []
    for forbidden in (
        "SELECT * FROM aip.migrations",
        "SELECT * FROM ledger",
        "INSERT INTO people VALUES ('eve')",
        "DROP TABLE people",
        "CREATE TABLE aip.mine (n int)",
        "ALTER ROLE aip_gateway SUPERUSER",
        "SELECT * FROM pg_authid",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await gateway.execute(forbidden)
    await gateway.close()


async def test_the_platforms_roles_make_no_temporary_tables(empty: FreshDatabase):
    """Names in pg_temp are found before those of any schema, so one could stand before a table of the platform."""
    await migrate(empty.owner_dsn, empty.gateway_dsn)
    for role in ("aip_gateway", "aip_system"):
        allowed = f"SELECT has_database_privilege('{role}', current_database(), 'TEMPORARY')"
        assert await value_in(empty.owner_dsn, allowed) is False


async def test_another_role_works_once_it_is_a_member_of_the_gateways(empty: FreshDatabase):
    role = f"app_{empty.name}"
    await apply(empty)
    await value_in(empty.owner_dsn, f"CREATE ROLE {role} LOGIN PASSWORD 'pass word'")
    theirs = FreshDatabase(
        empty.name,
        empty.owner_dsn,
        empty.owner_dsn.replace(empty.owner_dsn.split("@")[0], f"postgresql://{role}:pass%20word"),
    )
    try:
        with pytest.raises(ConfigError, match="GRANT aip_gateway TO"):
            await apply(theirs)
        await value_in(empty.owner_dsn, f"GRANT aip_gateway TO {role}")
        both = StoresSettings(system_dsn=empty.system_dsn)
        assert await apply(theirs, PEOPLE, configured=both) == ["0301_people"]
        database = await connect(theirs.gateway_dsn)
        assert await database.fetch("SELECT * FROM people") == []
        await database.close()
    finally:
        await value_in(empty.owner_dsn, f"DROP ROLE {role}")


async def test_an_owner_without_the_right_to_make_roles_is_told_what_to_ask_for(postgres_server: TestPostgres):
    async with postgres_server.fresh_database(template="template0") as made:
        role = f"plain_{made.name}"
        await value_in(made.owner_dsn, f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        plain = made.owner_dsn.replace(made.owner_dsn.split("@")[0], f"postgresql://{role}:x")
        try:
            with pytest.raises(ConfigError, match="may not create the schema"):
                await migrate(plain, made.gateway_dsn, migrations=[FOUNDATION])
            await value_in(made.owner_dsn, f"GRANT CREATE ON DATABASE {made.name} TO {role}")
            assert await migrate(plain, made.gateway_dsn, migrations=[FOUNDATION]) == [FOUNDATION]
        finally:
            await value_in(made.owner_dsn, f"DROP OWNED BY {role} CASCADE")
            await value_in(made.owner_dsn, f"DROP ROLE {role}")


async def test_wrong_addresses_and_passwords_are_told_apart_and_never_shown(empty: FreshDatabase):
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1/x \(owner_dsn\) cannot be reached") as error:
        await migrate("postgresql://aip_owner:hidden@127.0.0.1:1/x", empty.gateway_dsn)
    assert "hidden" not in str(error.value)
    with pytest.raises(ConfigError, match=r"owner_dsn .* is refused"):
        await migrate(empty.owner_dsn.replace("aip_owner:", "aip_owner:wrong"), empty.gateway_dsn)
    with pytest.raises(ConfigError, match=r"gateway_dsn .* is refused"):
        await migrate(empty.owner_dsn, empty.gateway_dsn.replace("aip_gateway:", "aip_gateway:wrong"))


async def test_the_password_is_given_as_a_verifier_that_postgresql_accepts(empty: FreshDatabase):
    role = f"scram_{empty.name}"
    verifier = scram_verifier("correct horse")
    assert "correct horse" not in verifier
    await value_in(empty.owner_dsn, f"CREATE ROLE {role} LOGIN PASSWORD '{verifier}'")
    try:
        dsn = empty.owner_dsn.replace(empty.owner_dsn.split("@")[0], f"postgresql://{role}:correct%20horse")
        assert await value_in(dsn, "SELECT current_user") == role
        with pytest.raises(asyncpg.InvalidPasswordError):
            await value_in(dsn.replace("horse", "mule"), "SELECT 1")
    finally:
        await value_in(empty.owner_dsn, f"DROP ROLE {role}")


@pytest.mark.parametrize("names", [("0001_a.sql", "0001_b.sql"), ("1_a.sql",), ("0001-a.sql",)])
def test_misnamed_migrations_are_refused(tmp_path: Path, names: tuple[str, ...]):
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(ConfigError, match="NNNN_name"):
        shipped_migrations(tmp_path)


def test_line_ends_of_a_checkout_do_not_change_a_checksum(tmp_path: Path):
    sums: set[str] = set()
    for end in (b"\n", b"\r\n"):
        (tmp_path / "0001_a.sql").write_bytes(b"SELECT 1;" + end + b"SELECT 2;" + end)
        sums.add(shipped_migrations(tmp_path)[0].checksum)
    assert len(sums) == 1


async def test_a_database_of_the_release_before_tenants_keeps_everything(empty: FreshDatabase):
    shipped = shipped_migrations()
    await migrate(empty.owner_dsn, empty.gateway_dsn, migrations=[step for step in shipped if step.version < 600])
    owner = await asyncpg.connect(empty.owner_dsn)
    try:
        await owner.execute(BEFORE_TENANTS)
        counts = {table: await owner.fetchval(f"SELECT count(*) FROM aip.{table}") for table in TABLES_BEFORE}
        storage = await owner.fetchval(FILES)
        assert len(await migrate(empty.owner_dsn, empty.gateway_dsn)) >= 5
        assert await owner.fetchval(FILES) == storage, "no table was written anew, so no lock was held for long"
        for table, count in counts.items():
            found = await owner.fetchrow(f"SELECT count(*), min(tenant), max(tenant) FROM aip.{table}")
            assert tuple(found) == (count, "default", "default"), table
    finally:
        await owner.close()
    database = await connect(empty.gateway_dsn)
    for table in TABLES_BEFORE:
        if await database.fetchval("SELECT has_table_privilege($1, 'SELECT')", table):
            assert await database.within("default").fetchval(f"SELECT count(*) FROM {table}") == counts[table]
            assert await database.within("acme").fetchval(f"SELECT count(*) FROM {table}") == 0
    await database.close()


async def test_indexes_are_built_while_writers_go_on(empty: FreshDatabase):
    shipped = shipped_migrations()
    await migrate(empty.owner_dsn, empty.gateway_dsn, migrations=[step for step in shipped if step.version != 608])
    insert = (
        "INSERT INTO aip.audit_leaf (tenant, log, index, event_id, event_type, at, call_id, retention, expires, leaf)"
        " VALUES ('acme', 0, $1, $1::bigint::text, 'platform', now(), '', '1y', current_date, '')"
    )
    slow, other = await asyncpg.connect(empty.system_dsn), await asyncpg.connect(empty.system_dsn)
    try:
        under_way = slow.transaction()
        await under_way.start()
        await slow.execute(insert, 1)
        building = asyncio.create_task(migrate(empty.owner_dsn, empty.gateway_dsn))
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONC%' AND wait_event_type = 'Lock'"
        )
        async with asyncio.timeout(20):
            while not await value_in(empty.owner_dsn, waits):
                pass
        await other.execute(insert, 2, timeout=5)
        await under_way.commit()
        assert [step.version for step in await building] == [608]
        valid = "SELECT bool_and(indisvalid) FROM pg_index WHERE indexrelid::regclass::text LIKE '%_tenant'"
        assert await value_in(empty.owner_dsn, valid) is True
        assert await migrate(empty.owner_dsn, empty.gateway_dsn) == []
    finally:
        await slow.close()
        await other.close()


async def test_a_neighbour_with_much_does_not_slow_a_tenant_with_little(empty: FreshDatabase):
    await migrate(empty.owner_dsn, empty.gateway_dsn)
    system = await asyncpg.connect(empty.system_dsn)
    await system.execute(
        "INSERT INTO aip.audit_leaf (tenant, log, index, event_id, event_type, at, call_id, retention, expires, leaf)"
        " SELECT CASE WHEN n % 4000 = 0 THEN 'acme' ELSE 'default' END, 0, n, lpad(n::text, 10, '0'), 'platform',"
        " now(), '', '1y', current_date, '' FROM generate_series(1, 20000) AS n"
    )
    await system.close()
    await value_in(empty.owner_dsn, "ANALYZE aip.audit_leaf")
    database = await connect(empty.gateway_dsn)
    rows = await database.within("acme").fetch(
        "EXPLAIN SELECT event_id FROM audit_leaf WHERE leaf IS NOT NULL AND tenant <> 'default'"
        " ORDER BY event_id DESC LIMIT 100"
    )
    assert "audit_leaf_tenant" in "\n".join(row[0] for row in rows)
    await database.close()
