"""Brings a database to the schema this release needs: numbered SQL files, each applied once, in one transaction.

Applied by the owner's role. Ranges: 01xx audit, 02xx ledger and budget, 03xx identity, 04xx protection, 05xx MCP, 06xx
tenants and provisioning, 07xx OAuth of programs. Each file grants its tables to aip_gateway and isolates them
(ARCHITECTURE.md, "A new table").
Not a way back: a release never changes a file that was published.
Above: bootstrap, testing. Below: domain.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
import msgspec

from ai_platform.domain.errors import ConfigError, StoreUnavailable
from ai_platform.stores.failures import REFUSED, UNREACHABLE, place
from ai_platform.stores.settings import SYSTEM, StoresSettings

GATEWAY = "aip_gateway"
LOCK = 0x61695F706C6174  # "ai_plat": any number will do that nothing else takes
ALONE = "-- Without a transaction:"
"""How a file begins whose statements must not be in one: indexes built while writers go on."""
RECORD = """
CREATE TABLE IF NOT EXISTS aip.migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class Migration(msgspec.Struct, frozen=True):
    """One file: `0203_budget_windows.sql` is version 203, name `budget_windows`."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.version:04d}_{self.name}"


def shipped_migrations(folder: Traversable | None = None) -> list[Migration]:
    """The files of this release in order; line ends are normalised so that a checkout cannot change a checksum.

    Raises:
        ConfigError: a file is misnamed, or two have one number.

    """
    place = folder or resources.files("ai_platform.stores") / "migrations"
    found: dict[int, Migration] = {}
    for file in sorted(place.iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".sql"):
            continue
        parts = re.fullmatch(r"(\d{4})_([a-z0-9_]+)\.sql", file.name)
        if parts is None or int(parts[1]) in found:
            raise ConfigError(f"{file.name}: a migration is named NNNN_name.sql and its number is used once")
        sql = file.read_text(encoding="utf-8").replace("\r\n", "\n")
        found[int(parts[1])] = Migration(int(parts[1]), parts[2], sql)
    return list(found.values())


async def migrate(
    owner_dsn: str,
    gateway_dsn: str,
    settings: StoresSettings | None = None,
    migrations: Sequence[Migration] | None = None,
) -> list[Migration]:
    """Apply what is missing and make sure that the gateway's role can sign in. Returns what was applied.

    Safe to call from many replicas at once, and through a transaction pooler.

    Raises:
        ConfigError: a migration was changed, or the database is of a newer release, or a file fails.
        StoreUnavailable: the database cannot be reached, or a table stays locked; nothing is half-applied.

    """
    settings = settings or StoresSettings()
    wanted = shipped_migrations() if migrations is None else list(migrations)
    applied: list[Migration] = []
    async with _owner_connection(owner_dsn, settings) as connection:
        await _ensure_roles(connection, gateway_dsn, settings)
        await _prepare(connection, settings)
        while (step := await _apply_next(connection, owner_dsn, wanted, settings)) is not None:
            applied.append(step)
    await _check_role(gateway_dsn, "gateway_dsn", GATEWAY, settings)
    await _check_role(settings.system_of(gateway_dsn), "system_dsn", SYSTEM, settings)
    return applied


async def _sign_in(dsn: str, name: str, settings: StoresSettings) -> Any:
    """A connection without prepared statements, so that a transaction pooler may stand between."""
    try:
        async with asyncio.timeout(settings.connect_timeout):
            return await asyncpg.connect(dsn, statement_cache_size=0)
    except UNREACHABLE as error:
        reason = str(error) or "no answer in time"
        raise StoreUnavailable(f"PostgreSQL at {place(dsn)} ({name}) cannot be reached: {reason}.") from error
    except REFUSED as error:
        raise ConfigError(
            f"{name} for {place(dsn)} is refused: {error}. Correct its user, password or database."
        ) from error


@asynccontextmanager
async def _owner_connection(dsn: str, settings: StoresSettings) -> AsyncGenerator[Any]:
    connection = await _sign_in(dsn, "owner_dsn", settings)
    try:
        yield connection
    except asyncpg.LockNotAvailableError as error:
        raise StoreUnavailable(
            f"The migration of {place(dsn)} waited too long for a lock ({error}). Nothing was changed; try again when"
            " the long transaction or the other migration has ended."
        ) from error
    except (*UNREACHABLE, asyncpg.InterfaceError) as error:  # the driver's word for a transaction on a dead connection
        raise StoreUnavailable(f"The connection to {place(dsn)} broke during a migration ({error}).") from error
    finally:
        await connection.close(timeout=settings.connect_timeout)


async def _prepare(connection: Any, settings: StoresSettings) -> None:
    try:
        async with _locked(connection, settings):
            await connection.execute("CREATE SCHEMA IF NOT EXISTS aip")
            await connection.execute(RECORD)
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigError(
            f"The role of owner_dsn may not create the schema aip ({error}). Use the database's owner."
        ) from error


async def _apply_next(
    connection: Any, owner_dsn: str, wanted: Sequence[Migration], settings: StoresSettings
) -> Migration | None:
    """One migration in one transaction, chosen under the lock, so that each is applied by one replica only."""
    async with _locked(connection, settings):
        done = await connection.fetch("SELECT version, name, checksum FROM aip.migrations ORDER BY version")
        step = _next_step({row["version"]: (row["name"], row["checksum"]) for row in done}, wanted)
        if step is None:
            return None
        await connection.execute("SELECT set_config('search_path', 'aip', true)")
        try:
            if step.sql.startswith(ALONE):
                await _apply_alone(owner_dsn, step, settings)
            else:
                await connection.execute(step.sql)
        except (asyncpg.LockNotAvailableError, *UNREACHABLE):
            raise
        except asyncpg.PostgresError as error:
            raise ConfigError(f"Migration {step} failed and was taken back: {error}") from error
        await connection.execute(
            "INSERT INTO aip.migrations (version, name, checksum) VALUES ($1, $2, $3)",
            step.version,
            step.name,
            step.checksum,
        )
        return step


async def _apply_alone(owner_dsn: str, step: Migration, settings: StoresSettings) -> None:
    """Each statement by itself, on a connection of its own, while the other one holds the migration lock and no
    snapshot. What is broken off leaves a part behind, so these files begin by taking such parts away.
    """
    connection = await _sign_in(owner_dsn, "owner_dsn", settings)
    try:
        for statement in step.sql.split(";\n"):
            if any(line and not line.startswith("--") for line in statement.splitlines()):
                await connection.execute(statement)
    finally:
        await connection.close(timeout=settings.connect_timeout)


@asynccontextmanager
async def _locked(connection: Any, settings: StoresSettings) -> AsyncGenerator[None]:
    """A transaction that holds the migration lock: wait long for another replica, briefly for tables in use."""
    async with connection.transaction():
        await connection.execute("SELECT set_config('lock_timeout', $1, true)", f"{settings.migration_wait:g}s")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await connection.execute("SELECT set_config('lock_timeout', $1, true)", f"{settings.migration_lock_timeout:g}s")
        yield


def _next_step(done: dict[int, tuple[str, str]], wanted: Sequence[Migration]) -> Migration | None:
    known = {step.version: step for step in wanted}
    for version, (name, checksum) in done.items():
        step = known.get(version)
        if step is None:
            raise ConfigError(
                f"The database has migration {version:04d}_{name}, which this release does not know: it was used by a"
                " newer release. Start that release, or restore the backup made before the upgrade."
            )
        if step.checksum != checksum:
            raise ConfigError(
                f"Migration {step} was applied with other content than this release has. A published migration must not"
                " change: install an unmodified release, and put the change into a new migration."
            )
    return next((step for version, step in sorted(known.items()) if version not in done), None)


async def _ensure_roles(connection: Any, gateway_dsn: str, settings: StoresSettings) -> None:
    """Make the two roles with the passwords of their URLs. A role that exists keeps its own: it may serve other
    databases of the server. A URL with another user is that user's business: it must be a member of the role.
    """
    rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
    try:
        async with _locked(connection, settings):
            for role, dsn in ((GATEWAY, gateway_dsn), (SYSTEM, settings.system_of(gateway_dsn))):
                parts = urlsplit(dsn)
                password = unquote(parts.password or "") if unquote(parts.username or "") == role else ""
                if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role):
                    # The verifier holds no character that needs quoting; the password itself is never sent.
                    secret = f" PASSWORD '{scram_verifier(password)}'" if password else ""
                    await connection.execute(f"CREATE ROLE {role} {rights}{secret}")
            # What the gateway may do, the system may do for every tenant: it is a member of it, and policies know it.
            if not await connection.fetchval("SELECT pg_has_role($1::name, $2::name, 'MEMBER')", SYSTEM, GATEWAY):
                await connection.execute(f"GRANT {GATEWAY} TO {SYSTEM}")
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigError(
            f"The role of owner_dsn may not create roles ({error}). Ask an administrator of the server to run once:"
            f" CREATE ROLE {GATEWAY} {rights} PASSWORD '...'; CREATE ROLE {SYSTEM} {rights} PASSWORD '...';"
            f" GRANT {GATEWAY} TO {SYSTEM};"
        ) from error


async def _check_role(dsn: str, name: str, role: str, settings: StoresSettings) -> None:
    """Sign in as the platform will, so that a wrong password or role is found at the start, not at the first call."""
    connection = await _sign_in(dsn, name, settings)
    try:
        if not await connection.fetchval("SELECT pg_has_role($1::name, 'MEMBER')", role):
            raise ConfigError(f"The role of {name} is not a member of {role}. Run: GRANT {role} TO that role;")
    finally:
        await connection.close(timeout=settings.connect_timeout)


def scram_verifier(password: str, *, salt: bytes | None = None, iterations: int = 4096) -> str:
    """What PostgreSQL stores for a SCRAM-SHA-256 password (RFC 5803, RFC 7677)."""
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    words = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${iterations}:{words[0]}${words[1]}:{words[2]}"
