"""Local administrators in PostgreSQL: who they are, their security keys, what is good once, and how often they failed.

All of it is the operator's tenant's. Above: emergency. Below: stores.
"""

import hmac
import secrets
from typing import Any

from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall, NotFound
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.principal import HOME, PrincipalKind
from ai_platform.sso.breakglass.kinds import Admin, SecurityKey
from ai_platform.sso.rows import moment
from ai_platform.stores.postgres import Database, Duplicate, SystemDatabase

_SELECT = (
    "SELECT a.*, (SELECT count(*) FROM break_glass_keys k WHERE k.admin_id = a.id) AS keys"
    " FROM break_glass_admins a WHERE a.removed_at IS NULL"
)


class Store:
    """failures: how many sign-ins of one name may fail over the network in `seconds` before it is closed to it."""

    def __init__(self, database: Database, *, pepper: bytes, clock: Clock, failures: int, seconds: float) -> None:
        self._database = database.within(HOME)
        self._pepper = pepper
        self._clock = clock
        self._failures = failures
        self._seconds = seconds

    async def add(self, name: str, *, password: str, by: str) -> Admin:
        """Not active yet. Raises InvalidCall: the name is taken."""
        now = self._clock.now()
        admin, principal = new_id("bga", now), new_id("usr", now)
        try:
            async with self._database.transaction() as connection:
                await connection.execute(
                    "DELETE FROM break_glass_keys k USING break_glass_admins a WHERE k.admin_id = a.id"
                    " AND a.name = $1 AND a.removed_at IS NULL AND a.active_at IS NULL",
                    name,
                )
                # One that was begun and never finished makes room.
                await connection.execute(
                    "UPDATE break_glass_admins SET removed_at = $2, removed_by = $3"
                    " WHERE name = $1 AND removed_at IS NULL AND active_at IS NULL",
                    name,
                    moment(now),
                    by,
                )
                await connection.execute(
                    "INSERT INTO principals (id, kind, handle, name) VALUES ($1, $2, $3, $4)",
                    principal,
                    PrincipalKind.PERSON.value,
                    f"break-glass:{admin}",
                    f"{name} (break-glass)",
                )
                await connection.execute(
                    "INSERT INTO break_glass_admins (id, name, principal_id, password, created_at, created_by)"
                    " VALUES ($1, $2, $3, $4, $5, $6)",
                    admin,
                    name,
                    principal,
                    password,
                    moment(now),
                    by,
                )
        except Duplicate as error:
            message = f"There is a local administrator '{name}' already. Remove them first, or choose another name."
            raise InvalidCall(Refusal.INVALID_REQUEST, message) from error
        return await self.of(admin)

    async def all(self) -> list[Admin]:
        return [self._admin(row) for row in await self._database.fetch(f"{_SELECT} ORDER BY a.name")]

    async def of(self, id_or_name: str) -> Admin:
        """Raises NotFound."""
        row = await self._database.fetchrow(f"{_SELECT} AND (a.id = $1 OR a.name = $1)", id_or_name)
        if row is None:
            raise NotFound(f"There is no local administrator '{id_or_name[:60]}'. See `ai-platform break-glass list`.")
        return self._admin(row)

    async def named(self, name: str) -> Admin | None:
        """One who may sign in."""
        row = await self._database.fetchrow(f"{_SELECT} AND a.active_at IS NOT NULL AND a.name = $1", name)
        return self._admin(row) if row else None

    async def remove(self, admin: Admin, *, by: str) -> None:
        """Everything that goes on in their name ends in the same transaction: the principal ends."""
        now = moment(self._clock.now())
        async with self._database.transaction() as connection:
            await connection.execute(
                "UPDATE break_glass_admins SET removed_at = $2, removed_by = $3, totp_secret = NULL WHERE id = $1",
                admin.id,
                now,
                by,
            )
            await connection.execute("DELETE FROM break_glass_keys WHERE admin_id = $1", admin.id)
            await connection.execute(
                "UPDATE principals SET state = 'removed', ended_at = $2, ended_by = $3"
                " WHERE id = $1 AND ended_at IS NULL",
                admin.principal,
                now,
                by,
            )

    async def set_secret(self, admin: Admin, sealed: str) -> None:
        await self._database.execute(
            "UPDATE break_glass_admins SET totp_secret = $2, totp_step = 0 WHERE id = $1", admin.id, sealed
        )

    async def activate(self, admin: Admin) -> None:
        await self._database.execute(
            "UPDATE break_glass_admins SET active_at = $2 WHERE id = $1 AND active_at IS NULL",
            admin.id,
            moment(self._clock.now()),
        )

    async def take_step(self, admin: Admin, step: int) -> bool:
        """Whether this code's thirty seconds are after those of the last code that was taken."""
        tag = await self._database.execute(
            "UPDATE break_glass_admins SET totp_step = $2 WHERE id = $1 AND totp_step < $2", admin.id, step
        )
        return tag == "UPDATE 1"

    async def keys_of(self, admin: Admin) -> list[SecurityKey]:
        rows = await self._database.fetch(
            "SELECT credential_id, public_key, sign_count FROM break_glass_keys WHERE admin_id = $1", admin.id
        )
        return [SecurityKey(row["credential_id"], row["public_key"], row["sign_count"]) for row in rows]

    async def add_key(self, admin: Admin, key: SecurityKey) -> None:
        """Raises InvalidCall: it is registered already."""
        try:
            await self._database.execute(
                "INSERT INTO break_glass_keys (credential_id, admin_id, public_key, sign_count, created_at)"
                " VALUES ($1, $2, $3, $4, $5)",
                key.credential_id,
                admin.id,
                key.public_key,
                key.sign_count,
                moment(self._clock.now()),
            )
        except Duplicate as error:
            raise InvalidCall(Refusal.INVALID_REQUEST, "This security key is registered already.") from error

    async def key_used(self, key: SecurityKey, count: int) -> bool:
        """Whether the count is still the one it was checked against: two answers at once count as one."""
        tag = await self._database.execute(
            "UPDATE break_glass_keys SET sign_count = $2, last_used_at = $3"
            " WHERE credential_id = $1 AND sign_count = $4",
            key.credential_id,
            count,
            moment(self._clock.now()),
            key.sign_count,
        )
        return tag == "UPDATE 1"

    async def used(self, admin: Admin) -> None:
        await self._database.execute(
            "UPDATE break_glass_admins SET last_used_at = $2, failures = 0, failing_since = NULL WHERE id = $1",
            admin.id,
            moment(self._clock.now()),
        )

    async def failed(self, admin: Admin) -> None:
        """A sign-in over the network that did not succeed; the count begins anew when the first is long ago."""
        now = self._clock.now()
        await self._database.execute(
            "UPDATE break_glass_admins SET failures = CASE WHEN failing_since > $2 THEN failures + 1 ELSE 1 END,"
            " failing_since = CASE WHEN failing_since > $2 THEN failing_since ELSE $3 END WHERE id = $1",
            admin.id,
            moment(now - self._seconds),
            moment(now),
        )

    async def give(self, admin: Admin, purpose: str, *, seconds: float, uses: int = 1) -> bytes:
        """Something random that `take` takes so often."""
        value = secrets.token_bytes(32)
        await self._database.execute(
            "INSERT INTO break_glass_once (hash, admin_id, purpose, expires_at, uses_left) VALUES ($1, $2, $3, $4, $5)",
            self._hash(purpose, value),
            admin.id,
            purpose,
            moment(self._clock.now() + seconds),
            uses,
        )
        return value

    async def take(self, purpose: str, value: bytes) -> str | None:
        """Whose it is, when it was given for this purpose and is still good; it is good once less from now on."""
        row: Any = await self._database.fetchrow(
            "UPDATE break_glass_once SET uses_left = uses_left - 1"
            " WHERE hash = $1 AND uses_left > 0 AND expires_at > $2 RETURNING admin_id",
            self._hash(purpose, value),
            moment(self._clock.now()),
        )
        return row["admin_id"] if row else None

    async def sweep(self, system: SystemDatabase) -> None:
        """Forget what is good no more."""
        await system.execute("DELETE FROM break_glass_once WHERE expires_at < $1", moment(self._clock.now()))

    def _hash(self, purpose: str, value: bytes) -> bytes:
        return hmac.digest(self._pepper, purpose.encode() + b"\0" + value, "sha256")

    def _admin(self, row: Any) -> Admin:
        since = row["failing_since"].timestamp() if row["failing_since"] else 0.0
        closed = row["failures"] >= self._failures and since + self._seconds > self._clock.now()
        return Admin(
            id=row["id"],
            name=row["name"],
            principal=row["principal_id"],
            password=row["password"],
            totp=row["totp_secret"],
            keys=row["keys"],
            created_at=row["created_at"].timestamp(),
            created_by=row["created_by"],
            active_at=row["active_at"].timestamp() if row["active_at"] else None,
            last_used_at=row["last_used_at"].timestamp() if row["last_used_at"] else None,
            open_at=since + self._seconds if closed else 0.0,
        )
