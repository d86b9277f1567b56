"""Teams and projects: names under which limits apply and spend is booked. Made by their first use, or here.

Above: entrypoints. Below: stores.
"""

import datetime as dt
import re
from enum import StrEnum
from typing import Any

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall, NotFound
from ai_platform.domain.principal import Principal
from ai_platform.stores.postgres import Database, Duplicate

MOST = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
"""As the teams and projects of keys."""


class Label(StrEnum):
    """The value is the table and the word for one of it, without its s."""

    TEAM = "teams"
    PROJECT = "projects"

    @property
    def one(self) -> str:
        return self.value[:-1]


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """members: people of the team (of a project: none). keys: working keys that name it."""

    name: str
    title: str
    members: int
    keys: int
    created_at: dt.datetime
    created_by: str


_SELECT = {
    label: f"""
SELECT t.name, t.title, t.created_at, t.created_by, {members} AS members,
    (SELECT count(*) FROM keys k WHERE k.{label.one} = t.name AND k.revoked_at IS NULL
        AND (k.expires_at IS NULL OR k.expires_at > now())) AS keys
FROM {label.value} t
"""  # noqa: S608 - names of this module
    for label, members in (
        (Label.TEAM, "(SELECT count(*) FROM principals p WHERE p.team = t.name AND p.state = 'active')"),
        (Label.PROJECT, "0"),
    )
}


class Teams:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, label: Label, *, tenant: str) -> list[Named]:
        rows = await self._database.within(tenant).fetch(f"{_SELECT[label]} ORDER BY lower(t.name) LIMIT $1", MOST)
        return [Named(**dict(row)) for row in rows]

    async def get(self, label: Label, name: str, *, tenant: str) -> Named:
        """Raises NotFound."""
        row: Any = await self._database.within(tenant).fetchrow(
            f"{_SELECT[label]} WHERE t.name = $1", name.replace("\0", "")
        )
        if row is None:
            message = f"There is no {label.one} '{name[:60]}'. `ai-platform {label.value} list` shows what there is."
            raise NotFound(message)
        return Named(**dict(row))

    async def create(self, label: Label, name: str, title: str, *, by: Principal) -> Named:
        """Raises InvalidCall: the name is not usable, or taken."""
        if not _NAME.fullmatch(name):
            message = f"'{name[:40]}' is not usable: letters, digits, space, '.', '_' and '-', at most 64."
            raise InvalidCall(Refusal.INVALID_REQUEST, message)
        if len(title) > 200 or not (title.isprintable() or not title):
            raise InvalidCall(Refusal.INVALID_REQUEST, "The title must be at most 200 printable characters.")
        try:
            await self._database.within(by.tenant).execute(
                f"INSERT INTO {label.value} (name, title, created_by) VALUES ($1, $2, $3)",  # noqa: S608 - an enum's
                name,
                title,
                by.id,
            )
        except Duplicate as error:
            raise InvalidCall(Refusal.INVALID_REQUEST, f"There is a {label.one} '{name}' already.") from error
        return await self.get(label, name, tenant=by.tenant)

    async def remove(self, label: Label, name: str, *, by: Principal) -> Named:
        """What it spent stays in the ledger. Raises NotFound; InvalidCall when it is in use."""
        found = await self.get(label, name, tenant=by.tenant)
        if found.members or found.keys:
            message = (
                f"The {label.one} '{name}' has {found.members} members and {found.keys} keys. Move its members and"
                " revoke its keys first."
            )
            raise InvalidCall(Refusal.INVALID_REQUEST, message)
        async with self._database.within(by.tenant).transaction() as connection:
            if label is Label.TEAM:  # of people who have ended
                await connection.execute("UPDATE principals SET team = NULL WHERE team = $1", name)
            await connection.execute(f"DELETE FROM {label.value} WHERE name = $1", name)  # noqa: S608 - an enum's
        return found
