"""The organisations that share this deployment: made, listed, disabled. Only who runs the platform gets here.

Disabled: whatever anybody of it holds is refused within a second and answers under way are cut; nothing is deleted.
Above: entrypoints. Below: identity. Its database sees all tenants, which is its subject.
"""

import datetime as dt
import re
from typing import Any

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall, NotFound
from ai_platform.domain.principal import HOME, Principal
from ai_platform.identity import Keys
from ai_platform.identity.ended import Ended
from ai_platform.stores.postgres import Duplicate, SystemDatabase

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")

_SELECT = """
SELECT t.name, t.title, t.created_at, t.created_by, t.disabled_at, t.disabled_by,
    (SELECT count(*) FROM principals p WHERE p.tenant = t.name AND p.state = 'active') AS people,
    (SELECT count(*) FROM keys k WHERE k.tenant = t.name AND k.revoked_at IS NULL
        AND (k.expires_at IS NULL OR k.expires_at > now())) AS keys
FROM tenants t
"""


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """name: as it stands in rows, settings and budgets. people, keys: active ones, service accounts included."""

    name: str
    title: str
    created_at: dt.datetime
    created_by: str
    disabled_at: dt.datetime | None
    disabled_by: str | None
    people: int
    keys: int


class Tenants:
    def __init__(self, system: SystemDatabase, *, keys: Keys, ended: Ended) -> None:
        self._system = system
        self._keys = keys
        self._ended = ended

    async def list(self) -> list[Tenant]:
        return [Tenant(**dict(row)) for row in await self._system.fetch(f"{_SELECT} ORDER BY t.name LIMIT 10000")]

    async def get(self, name: str) -> Tenant:
        """Raises NotFound."""
        row: Any = await self._system.fetchrow(f"{_SELECT} WHERE t.name = $1", name.replace("\0", ""))
        if row is None:
            raise NotFound(f"There is no tenant '{name[:60]}'. `ai-platform tenants list` shows what there is.")
        return Tenant(**dict(row))

    async def create(self, name: str, title: str, *, by: Principal) -> tuple[Tenant, str]:
        """The tenant, and the text of its first admin key, which is shown this once.

        Raises:
            InvalidCall: the name or title is not usable, or the name is taken.

        """
        if not _NAME.fullmatch(name):
            message = (
                f"'{name[:40]}' is not usable: lower-case letters, digits and '-', at most 40, for example `acme`."
            )
            raise InvalidCall(Refusal.INVALID_REQUEST, message)
        if len(title) > 200 or not (title.isprintable() or not title):
            raise InvalidCall(Refusal.INVALID_REQUEST, "The title must be at most 200 printable characters.")
        try:
            await self._system.execute(
                "INSERT INTO tenants (name, title, created_by) VALUES ($1, $2, $3)", name, title or name, by.id
            )
        except Duplicate as error:
            raise InvalidCall(Refusal.INVALID_REQUEST, f"There is a tenant '{name}' already.") from error
        return await self.get(name), await self.new_admin_key(name)

    async def new_admin_key(self, name: str) -> str:
        """For who lost theirs: a new key named `admin`, which ends the one before. Raises NotFound."""
        await self.get(name)
        text = await self._keys.ensure_admin_key(tenant=name, replace=True)
        if text is None:
            message = "Another admin key was made at the same moment. Ask again if you did not get it."
            raise InvalidCall(Refusal.INVALID_REQUEST, message)
        return text

    async def disable(self, name: str, *, by: Principal) -> Tenant:
        """Raises NotFound; InvalidCall for the operator's own."""
        if name == HOME:
            message = f"'{HOME}' is the operator's own tenant: without it nobody could run the platform."
            raise InvalidCall(Refusal.INVALID_REQUEST, message)
        await self.get(name)
        await self._system.execute(
            "UPDATE tenants SET disabled_at = now(), disabled_by = $2, changed_at = now()"
            " WHERE name = $1 AND disabled_at IS NULL",
            name,
            by.id,
        )
        self._ended.add(tenant=name)
        return await self.get(name)

    async def enable(self, name: str) -> Tenant:
        """Its keys work again, its people sign in anew. Raises NotFound."""
        await self.get(name)
        await self._system.execute(
            "UPDATE tenants SET disabled_at = NULL, disabled_by = NULL, changed_at = now() WHERE name = $1", name
        )
        return await self.get(name)
