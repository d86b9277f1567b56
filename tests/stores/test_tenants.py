"""Row-level security as it works on every table: another tenant's rows are not there, and cannot be made."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from ai_platform.domain.errors import ConfigError
from ai_platform.stores.migrate import migrate
from ai_platform.stores.postgres import Database, SystemDatabase, connect, connect_system
from ai_platform.testing.postgres import FreshDatabase, TestPostgres

pytestmark = pytest.mark.anyio

TENANTS = ("default", "acme", "zeta")
ISOLATED = """
SELECT c.relname AS name FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid AND p.polname = 'tenant'
WHERE c.relnamespace = 'aip'::regnamespace ORDER BY 1
"""
COLUMNS = """
SELECT attname AS name, format_type(atttypid, atttypmod) AS kind FROM pg_attribute a
WHERE attrelid = ('aip.' || $1)::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""
RULES = "SELECT conname AS name FROM pg_constraint WHERE conrelid = ('aip.' || $1)::regclass AND contype = 'c'"


@pytest.fixture
async def filled(own_database: FreshDatabase) -> AsyncIterator[list[str]]:
    """Each isolated table with one row for each tenant, whatever its columns; the names of the tables."""
    owner = await asyncpg.connect(own_database.owner_dsn)
    try:
        await owner.execute("SET search_path = aip; SET session_replication_role = replica")  # no foreign keys
        names = [row["name"] for row in await owner.fetch(ISOLATED)]
        for name in names:
            columns = await owner.fetch(COLUMNS, name)
            for rule in await owner.fetch(RULES, name):
                await owner.execute(f'ALTER TABLE {name} DROP CONSTRAINT "{rule["name"]}"')
            await owner.execute(f"DELETE FROM {name}")
            for number, tenant in enumerate(TENANTS):
                values = [_value(row, tenant, number, name) for row in columns]
                listed = ", ".join(f'"{row["name"]}"' for row in columns)
                await owner.execute(f"INSERT INTO {name} ({listed}) VALUES ({', '.join(values)})")
        yield names
    finally:
        await owner.close()


def _value(row: Any, tenant: str, number: int, table: str) -> str:
    """SQL for something this column takes, by its type; another one for each tenant."""
    name, kind = row["name"], row["kind"]
    if name == "tenant" or (table, name) == ("tenants", "name"):
        return f"'{tenant}'"
    if kind == "bytea":
        return f"decode(repeat('0{number}', 32), 'hex')"
    texts = {"jsonb": "'{}'", "boolean": "false", "date": "current_date", "interval": "'1 second'"}
    if kind.endswith("[]"):
        return "'{}'"
    if kind.startswith("timestamp"):
        return "now()"
    if kind in {"integer", "bigint", "smallint", "double precision"} or kind.startswith("numeric"):
        return str(number)
    return texts.get(kind, f"'{tenant}-{number}'")


@pytest.mark.requirement("ID-5")
async def test_each_tenant_sees_its_own_row_of_every_table_and_no_other(
    filled: list[str], database: Database, system: SystemDatabase
):
    assert len(filled) >= 10
    for name in filled:
        column = "name" if name == "tenants" else "tenant"
        assert await system.fetchval(f"SELECT count(*) FROM {name}") == 3, name
        for tenant in TENANTS:
            reading = database.within(tenant)
            if await reading.fetchval("SELECT NOT has_table_privilege($1, 'SELECT')", name):
                continue  # the gateway's role may not read it at all
            rows = await reading.fetch(f"SELECT {column} AS tenant FROM {name}")
            assert [row["tenant"] for row in rows] == [tenant], name
            others = await reading.fetchval(f"SELECT count(*) FROM {name} WHERE {column} <> $1 OR true", tenant)
            assert others == 1, name


@pytest.mark.requirement("ID-5")
async def test_without_a_tenant_every_table_is_empty(filled: list[str], database: Database):
    for name in filled:
        if await database.fetchval("SELECT has_table_privilege($1, 'SELECT')", name):
            assert await database.fetch(f"SELECT FROM {name}") == [], name
    async with database.within("acme").transaction() as connection:
        assert await connection.fetchval("SELECT tenant()") == "acme"
    assert await database.fetchval("SELECT tenant()") is None, "a transaction's tenant ends with it"


@pytest.mark.requirement("ID-5")
async def test_nobody_writes_into_another_tenant(filled: list[str], database: Database, system: SystemDatabase):
    for name in filled:
        column = "name" if name == "tenants" else "tenant"
        insert = f"INSERT INTO {name} ({column}) VALUES ('zeta')"
        for sql in (insert, f"UPDATE {name} SET {column} = 'zeta'"):
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.IntegrityConstraintViolationError)):
                await database.within("acme").execute(sql)
        assert await system.fetchval(f"SELECT count(*) FROM {name} WHERE {column} = 'zeta'") == 1, name
        if await database.fetchval("SELECT has_table_privilege($1, 'DELETE')", name):
            assert await database.within("acme").execute(f"DELETE FROM {name} WHERE {column} = 'zeta'") == "DELETE 0"


@pytest.mark.parametrize(
    "sql",
    [
        "SET ROLE aip_system",
        "SET SESSION AUTHORIZATION aip_system",
        "SET ROLE aip_owner",
        "ALTER TABLE keys DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE keys NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON keys",
        "CREATE POLICY mine ON keys USING (true)",
        "CALL isolate('keys')",
        "CREATE OR REPLACE FUNCTION tenant() RETURNS text LANGUAGE sql AS 'SELECT ''zeta'''",
        "CREATE EXTENSION dblink",
        "GRANT aip_system TO aip_gateway",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY keys TO PROGRAM 'true'",
    ],
)
async def test_the_gateways_role_cannot_step_over_the_wall(database: Database, sql: str):
    with pytest.raises(asyncpg.PostgresError) as error:
        await database.execute(sql)
    assert isinstance(error.value, asyncpg.InsufficientPrivilegeError | asyncpg.InvalidParameterValueError), error.value


async def test_row_security_off_is_an_error_and_not_a_way_around(filled: list[str], database: Database):
    async with database.within("acme").transaction() as connection:
        await connection.execute("SET LOCAL row_security = off")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await connection.fetch("SELECT * FROM keys")


async def test_two_tenants_at_once_on_few_connections_never_mix(filled: list[str], database: Database):

    async def look(tenant: str) -> set[str]:
        rows = await database.within(tenant).fetch("SELECT tenant FROM keys, pg_sleep(0.001)")
        return {row["tenant"] for row in rows}

    wanted = [TENANTS[number % 3] for number in range(120)]
    assert await asyncio.gather(*map(look, wanted)) == [{tenant} for tenant in wanted]


async def test_a_cancelled_look_leaves_no_tenant_behind(filled: list[str], database: Database):

    for _ in range(20):
        task = asyncio.create_task(database.within("acme").fetch("SELECT pg_sleep(5)"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    seen = await asyncio.gather(*(database.fetchval("SELECT tenant()") for _ in range(20)))
    assert set(seen) == {None}


async def test_no_tenant_is_not_a_tenant(database: Database):
    with pytest.raises(ValueError, match="must not be empty"):
        database.within("")


async def test_the_two_roles_cannot_be_mixed_up(own_database: FreshDatabase):
    with pytest.raises(ConfigError, match="without those rights"):
        await connect(own_database.system_dsn)
    with pytest.raises(ConfigError, match="must sign in as aip_system"):
        await connect_system(own_database.gateway_dsn)
    with pytest.raises(ConfigError, match="must sign in as aip_system"):
        await connect_system(own_database.owner_dsn)


async def test_an_owner_who_is_no_superuser_is_held_by_the_same_wall(postgres_server: TestPostgres):
    """As in a managed PostgreSQL. Foreign keys and the look-up of a key work there too."""
    async with postgres_server.fresh_database(template="template0") as made:
        role = f"plain_{made.name}"
        administrator = await asyncpg.connect(made.owner_dsn)
        await administrator.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        await administrator.execute(f"GRANT CREATE ON DATABASE {made.name} TO {role}")
        owner_dsn = made.owner_dsn.replace(made.owner_dsn.split("@")[0], f"postgresql://{role}:x")
        try:
            await migrate(owner_dsn, made.gateway_dsn)
            database, system = await connect(made.gateway_dsn), await connect_system(made.system_dsn)
            async with database.within("default").transaction() as connection:
                await connection.execute(
                    "INSERT INTO principals (id, kind, handle, name) VALUES ('usr_1', 'person', 'a@b', 'Ann')"
                )
                await connection.execute(
                    "INSERT INTO keys (id, principal_id, name, secret_hash, roles, scopes, created_by)"
                    " VALUES ('key_1', 'usr_1', 'ann', $1, '{}', '{}', 'x')",
                    b"\0" * 32,
                )
            found = await database.fetchrow("SELECT owner, tenant FROM aip.key_presented('key_1')")
            assert tuple(found or ()) == ("Ann", "default")
            assert await database.fetch("SELECT FROM aip.key_presented('key_2')") == []
            with pytest.raises(asyncpg.ForeignKeyViolationError):
                await database.within("acme").execute(
                    "INSERT INTO keys (id, principal_id, name, secret_hash, roles, scopes, created_by)"
                    " VALUES ('key_2', 'usr_1', 'ann', $1, '{}', '{}', 'x')",
                    b"\0" * 32,
                )
            owner = await asyncpg.connect(owner_dsn)
            assert await owner.fetchval("SELECT count(*) FROM aip.keys") == 0
            with pytest.raises(ConfigError, match="without those rights"):
                await connect(owner_dsn)
            for opened in (database, system, owner):
                await opened.close()
        finally:
            await administrator.execute(f"DROP OWNED BY {role} CASCADE")
            await administrator.execute(f"DROP ROLE {role}")
            await administrator.close()
