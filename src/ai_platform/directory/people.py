"""People and service accounts: shown, suspended, brought back, removed.

An end is one UPDATE: the database ends keys, browser sessions and sign-ins in the same transaction (migration 0605),
whoever asks for it. Other processes hear of it within a second. Above: scim, entrypoints. Below: identity.
"""

import datetime as dt
from typing import Any

from ai_platform.directory.person import SELECT, Entry, State, entry_of
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied, InvalidCall, NotFound
from ai_platform.domain.principal import Principal
from ai_platform.identity import Keys
from ai_platform.identity.ended import Ended
from ai_platform.identity.scopes import Reach, RoleBook, exceeds, reach_of
from ai_platform.stores.postgres import Database

MOST = 10_000


class People:
    """ended: told first hand, so that this process refuses and cuts at once."""

    def __init__(self, database: Database, *, keys: Keys, roles: RoleBook, ended: Ended, clock: Clock) -> None:
        self._database = database
        self._roles = roles
        self._keys = keys
        self._ended = ended
        self._clock = clock

    async def list(self, *, tenant: str, team: str | None = None, removed: bool = False) -> list[Entry]:
        """By name. team: of this team only. removed: these too."""
        rows = await self._database.within(tenant).fetch(
            f"{SELECT} WHERE ($2::text IS NULL OR p.team = $2) AND ($3 OR p.state <> 'removed')"
            " ORDER BY lower(p.name), p.id LIMIT $4",
            self._now(),
            team,
            removed,
            MOST,
        )
        return [entry_of(row) for row in rows]

    async def get(self, who: str, *, tenant: str) -> Entry:
        """By id, e-mail address or name. Raises NotFound; InvalidCall when several have this name."""
        wanted = who.replace("\0", "")
        rows = await self._database.within(tenant).fetch(
            f"{SELECT} WHERE p.id = $2 OR lower(p.email) = lower($2) OR lower(p.name) = lower($2) LIMIT 20",
            self._now(),
            wanted,
        )
        found = [entry_of(row) for row in rows]
        exact = [one for one in found if wanted in {one.id, one.email}] or found
        living = [one for one in exact if one.state is not State.REMOVED] or exact
        if not living:
            raise NotFound(f"There is nobody '{who[:60]}'. `ai-platform people list` shows who there is.")
        if len(living) > 1:
            names = ", ".join(f"{one.id} ({one.email or one.kind.value})" for one in living[:5])
            raise InvalidCall(Refusal.INVALID_REQUEST, f"Several are called '{who[:60]}'. Name one by id: {names}.")
        return living[0]

    async def end(self, who: str, state: State, *, by: Principal) -> Entry:
        """Suspend or remove: keys, browser sessions and sign-ins end for good, answers under way are cut.

        Raises:
            NotFound: nobody is called so.
            Denied: they may do more than the caller.
            InvalidCall: it is the caller, or nobody would be left whose key may do everything.

        """
        person = await self.get(who, tenant=by.tenant)
        if person.id == by.id:
            message = "You cannot end your own access. Ask another administrator."
            raise InvalidCall(Refusal.INVALID_REQUEST, message)
        theirs = reach_of(person.roles, (), self._roles)
        if more := exceeds(theirs, Reach(by.permissions, (), ())):
            message = f"{person.name} may do more than you (you do not have {more}). Ask another administrator."
            raise Denied(Refusal.PERMISSION_MISSING, message, rule="no privilege escalation")
        async with self._keys.keeping_an_admin(by.tenant, lambda key: key.principal_id == person.id) as connection:
            await end(connection, person.id, state, by=by.id)
        self._ended.add(principal=person.id)
        return await self.get(person.id, tenant=by.tenant)

    async def resume(self, who: str, *, by: Principal) -> Entry:
        """May sign in and have keys again; what has ended stays ended. Raises NotFound."""
        person = await self.get(who, tenant=by.tenant)
        async with self._database.within(by.tenant).transaction() as connection:
            await resume(connection, person.id)
        return await self.get(person.id, tenant=by.tenant)

    async def assign(self, who: str, team: str | None, *, tenant: str) -> Entry:
        """Put somebody into a team, out of the one before; None = into none. Raises NotFound."""
        person = await self.get(who, tenant=tenant)
        await self._database.within(tenant).execute("UPDATE principals SET team = $2 WHERE id = $1", person.id, team)
        return await self.get(person.id, tenant=tenant)

    async def leave(self, who: str, team: str, *, tenant: str) -> Entry:
        """Out of this team. Raises NotFound: nobody of this team is called so."""
        person = await self.get(who, tenant=tenant)
        if person.team != team:
            raise NotFound(f"{person.name} is not in the team '{team[:60]}'.")
        return await self.assign(person.id, None, tenant=tenant)

    def _now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._clock.now(), dt.UTC)


async def end(connection: Any, principal: str, state: State, *, by: str) -> bool:
    """In a transaction within the tenant. Whether anything changed; who is removed already stays removed."""
    tag = await connection.execute(
        "UPDATE principals SET state = $2, ended_at = coalesce(ended_at, now()), ended_by = $3"
        " WHERE id = $1 AND state <> $2 AND state <> 'removed'",
        principal,
        state.value,
        by,
    )
    return tag == "UPDATE 1"


async def resume(connection: Any, principal: str) -> bool:
    """In a transaction within the tenant. Whether anything changed."""
    tag = await connection.execute(
        "UPDATE principals SET state = 'active', ended_at = NULL, ended_by = NULL WHERE id = $1 AND state <> 'active'",
        principal,
    )
    return tag == "UPDATE 1"
