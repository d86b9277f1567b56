"""scim2-server's storage in PostgreSQL: one request's view of one tenant's users and groups.

Each operation is one transaction within the tenant, with what it means for people in it and its audit event durable
before its commit. Above: the scim door. Below: persons, rows, narrow.
"""

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import asyncpg
import msgspec
from scim2_models import (
    InvalidValueException,
    NotFoundException,
    PreconditionFailedException,
    ResourceType,
    ScimProvider,
    TooManyException,
    UniquenessException,
)
from scim2_server.storage import AsyncScimStorage, SearchPage

from ai_platform.domain.clock import Clock
from ai_platform.domain.identifiers import new_id
from ai_platform.scim import persons
from ai_platform.scim.facts import LONGEST, facts_of
from ai_platform.scim.narrow import mentions, narrowed
from ai_platform.scim.rows import GROUP, USER, external_of, kept, name_of, resource_of, version_of
from ai_platform.scim.settings import ScimSettings
from ai_platform.stores.postgres import Database

SLICE = 200
"""Resources matched against a filter before others get their turn on the event loop."""

_COLUMNS = "id, kind, principal_id, name, resource, version, created_at, changed_at"
_RELATED = """
SELECT m.group_id AS of, r.id, r.kind,
    coalesce(m.display, r.resource ->> 'displayName', r.resource ->> 'userName') AS display
FROM scim_members m JOIN scim_resources r ON r.id = m.member_id WHERE m.group_id = ANY($1::text[])
UNION ALL
SELECT m.member_id, r.id, r.kind, r.resource ->> 'displayName'
FROM scim_members m JOIN scim_resources r ON r.id = m.group_id WHERE m.member_id = ANY($2::text[]) ORDER BY 1, 2
"""

_TOUCH = """
UPDATE scim_resources SET version = version + 1 WHERE id IN (SELECT group_id FROM scim_members WHERE member_id = $1)
"""
"""Groups that lose a member are other ones than before."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What an operation did. ended: the principal whose access ended by it."""

    action: str
    kind: str
    id: str
    principal: str | None = None
    name: str = ""
    email: str | None = None
    ended: bool = False
    facts: dict[str, Any] = {}


class Groups(Protocol):
    """What provisioning needs of sign-in."""

    async def mapped(self, group: str, tenant: str) -> bool:
        """Whether a rule gives something to the members of the group of this name."""
        ...


class Listener:
    """What the storage tells: `recording` before the commit (what it raises undoes the change), `done` after it.

    mapped: whether a rule of sign-in gives something to the members of the group of this name.
    """

    async def recording(self, changes: Sequence[Change]) -> None:
        del changes

    def done(self, changes: Sequence[Change]) -> None:
        del changes

    async def mapped(self, group: str) -> bool:
        del group
        return False


class TenantStorage(AsyncScimStorage):
    """locks: this request may change what it reads, so that two of them take turns instead of failing."""

    def __init__(
        self,
        database: Database,
        tenant: str,
        provider: ScimProvider,
        *,
        clock: Clock,
        settings: ScimSettings,
        listener: Listener | None = None,
        locks: bool = True,
    ) -> None:
        self._scoped = database.within(tenant)
        self._provider = provider
        self._clock = clock
        self._settings = settings
        self._listener = listener or Listener()
        self._lock = " FOR UPDATE" if locks else ""
        self._connection: Any = None
        self._changes: list[Change] = []

    def operation(self) -> AbstractAsyncContextManager[None]:
        return self._operation()

    @asynccontextmanager
    async def _operation(self) -> AsyncGenerator[None]:
        self._changes = []
        async with self._scoped.transaction() as connection:
            self._connection = connection
            try:
                yield
                if self._changes:
                    await self._listener.recording(self._changes)
            finally:
                self._connection = None
        self._listener.done(self._changes)

    @asynccontextmanager
    async def _work(self) -> AsyncGenerator[Any]:
        """The operation's connection; outside of one, an operation of its own."""
        if self._connection is not None:
            yield self._connection
            return
        async with self._operation():
            yield self._connection

    async def get(self, resource_type: ResourceType, resource_id: str, *, response_parameters: Any = None) -> Any:
        async with self._work() as connection:
            row = await self._row(connection, str(resource_type.name), resource_id, self._lock)
            related = {} if _leaves_out_members(row, response_parameters) else await self._related(connection, [row])
            return self._resource(row, related)

    async def create(self, resource_type: ResourceType, resource: Any) -> Any:
        kind = str(resource_type.name)
        name, external, now = name_of(resource, kind), external_of(resource), self._clock.now()
        scim_id = new_id("scu" if kind == USER else "scg", now)
        async with self._work() as connection:
            change = Change(action="create", kind=kind, id=scim_id)
            if kind == USER:
                change = await self._joined(connection, change, resource, now)
            try:
                await connection.execute(
                    "INSERT INTO scim_resources (id, kind, name, external_id, principal_id, resource, created_at,"
                    " changed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
                    scim_id,
                    kind,
                    name,
                    external,
                    change.principal,
                    kept(resource),
                    _moment(now),
                )
            except asyncpg.UniqueViolationError as error:
                raise UniquenessException(detail="This userName is taken.") from error
            if kind == GROUP:
                change = await self._with_members(connection, change, resource, before="")
            self._changes.append(change)
            return await self._stored(connection, kind, scim_id)

    async def update(self, resource_type: ResourceType, resource: Any, *, expected_version: str | None = None) -> Any:
        kind = str(resource_type.name)
        name, external = name_of(resource, kind), external_of(resource)
        async with self._work() as connection:
            row = await self._row(connection, kind, str(resource.id), " FOR UPDATE")
            _check(row, expected_version)
            change = Change(action="update", kind=kind, id=row["id"], principal=row["principal_id"])
            if kind == USER:
                change = await self._changed(connection, change, resource)
            try:
                await connection.execute(
                    "UPDATE scim_resources SET name = $2, external_id = $3, resource = $4, version = version + 1,"
                    " changed_at = $5 WHERE id = $1",
                    row["id"],
                    name,
                    external,
                    kept(resource),
                    _moment(self._clock.now()),
                )
            except asyncpg.UniqueViolationError as error:
                raise UniquenessException(detail="This userName is taken.") from error
            if kind == GROUP:
                change = await self._with_members(
                    connection, change, resource, before=row["resource"].get("displayName", "")
                )
            self._changes.append(change)
            return await self._stored(connection, kind, row["id"])

    async def delete(
        self, resource_type: ResourceType, resource_id: str, *, expected_version: str | None = None
    ) -> None:
        kind = str(resource_type.name)
        async with self._work() as connection:
            row = await self._row(connection, kind, resource_id, " FOR UPDATE")
            _check(row, expected_version)
            change = Change(action="delete", kind=kind, id=row["id"], principal=row["principal_id"])
            if kind == USER:
                ended = await persons.remove(connection, row["principal_id"])
                await connection.execute(_TOUCH, row["id"])
                change = msgspec.structs.replace(change, ended=ended)
            else:
                was = row["resource"].get("displayName", "")
                gone = [one["id"] for one in (await self._related(connection, [row])).get(row["id"], ())]
                await self._lost(connection, gone, was)
                change = msgspec.structs.replace(change, facts={"group": was, "removed": len(gone)})
            await connection.execute("DELETE FROM scim_resources WHERE id = $1", row["id"])
            self._changes.append(change)

    async def search(
        self, resource_types: list[ResourceType], search_request: Any, *, position: Any = None
    ) -> SearchPage:
        del position  # no cursors are announced
        kinds = list(dict.fromkeys(str(one.name) for one in resource_types))
        start = search_request.start_index_0 or 0
        async with self._work() as connection:
            if search_request.filter is None and search_request.sort_by is None:
                return await self._page(connection, kinds, start, search_request)
            found = await self._found(connection, kinds, search_request)
        found.sort(key=lambda one: _sort_key(search_request, one), reverse=_descends(search_request))
        stop = None if search_request.count is None else start + search_request.count
        return SearchPage(len(found), found[start:stop])

    async def _page(self, connection: Any, kinds: list[str], start: int, request: Any) -> SearchPage:
        total = await connection.fetchval("SELECT count(*) FROM scim_resources WHERE kind = ANY($1::text[])", kinds)
        rows = await connection.fetch(
            f"SELECT {_COLUMNS} FROM scim_resources WHERE kind = ANY($1::text[])"  # noqa: S608 - names of this module
            " ORDER BY created_at, id OFFSET $2 LIMIT $3",
            kinds,
            min(start, 2**31),
            request.count,
        )
        related = await self._related(connection, [row for row in rows if not _leaves_out_members(row, request)])
        return SearchPage(total, [self._resource(row, related) for row in rows])

    async def _found(self, connection: Any, kinds: list[str], request: Any) -> list[Any]:
        """Everything that fits the filter. Raises TooManyException: too much would have to be looked at."""
        tree = request.filter.ast if request.filter is not None else None
        conditions = narrowed(tree, kinds)
        most = self._settings.scanned
        where = "".join(f" AND {column} = ${number}" for number, (column, _) in enumerate(conditions, 3))
        rows = await connection.fetch(
            f"SELECT {_COLUMNS} FROM scim_resources WHERE kind = ANY($1::text[]){where} LIMIT $2",  # noqa: S608 - names of narrow.py
            kinds,
            most + 1,
            *(value.replace("\0", "\ufffd") for _, value in conditions),
        )
        if len(rows) > most:
            raise TooManyException(
                detail=f"More than {most} resources would have to be looked at. Filter by userName or externalId."
            )
        whole = mentions(tree, "members") or mentions(tree, "groups")
        related = await self._related(
            connection, [row for row in rows if whole or not _leaves_out_members(row, request)]
        )
        found: list[Any] = []
        for begin in range(0, len(rows), SLICE):
            candidates = [self._resource(row, related) for row in rows[begin : begin + SLICE]]
            found += [one for one in candidates if request.filter is None or request.filter.match(one)]
            await asyncio.sleep(0)
        return found

    async def _row(self, connection: Any, kind: str, scim_id: str, lock: str = "") -> Any:
        row = await connection.fetchrow(
            f"SELECT {_COLUMNS} FROM scim_resources WHERE id = $1 AND kind = $2{lock}",  # noqa: S608 - names of this module
            scim_id.replace("\0", ""),
            kind,
        )
        if row is None:
            raise NotFoundException(detail=f"There is no {kind} {scim_id[:60]!r}.")
        return row

    async def _stored(self, connection: Any, kind: str, scim_id: str) -> Any:
        row = await self._row(connection, kind, scim_id)
        return self._resource(row, await self._related(connection, [row]))

    async def _related(self, connection: Any, rows: Sequence[Any]) -> dict[str, list[Any]]:
        """Members of the groups and groups of the users among these rows, by id."""
        groups = [row["id"] for row in rows if row["kind"] == GROUP]
        users = [row["id"] for row in rows if row["kind"] == USER]
        found: dict[str, list[Any]] = {}
        for one in await connection.fetch(_RELATED, groups, users) if rows else ():
            found.setdefault(one["of"], []).append(one)
        return found

    def _resource(self, row: Any, related: dict[str, list[Any]]) -> Any:
        model = self._provider.model_for(row["kind"])
        return resource_of(model, row, related.get(row["id"], ()), self._provider.policy)

    async def _joined(self, connection: Any, change: Change, user: Any, now: float) -> Change:
        facts = facts_of(user)
        principal = await persons.join(connection, facts, now)
        ended = await persons.set_active(connection, principal, active=facts.active)
        return msgspec.structs.replace(
            change,
            principal=principal,
            name=facts.name,
            email=facts.email,
            ended=ended,
            facts={"active": facts.active},
        )

    async def _changed(self, connection: Any, change: Change, user: Any) -> Change:
        facts, principal = facts_of(user), str(change.principal)
        await persons.rename(connection, principal, facts)
        ended = await persons.set_active(connection, principal, active=facts.active)
        return msgspec.structs.replace(
            change, name=facts.name, email=facts.email, ended=ended, facts={"active": facts.active}
        )

    async def _with_members(self, connection: Any, change: Change, group: Any, *, before: str) -> Change:
        """Members as the group says, no others. before: the name it had."""
        shown = {str(member.value): _display(member) for member in group.members or () if member.value}
        wanted = set(shown)
        rows = await connection.fetch("SELECT member_id FROM scim_members WHERE group_id = $1", change.id)
        had = {row["member_id"] for row in rows}
        added, removed = wanted - had, had - wanted
        known = await connection.fetch("SELECT id FROM scim_resources WHERE id = ANY($1::text[])", list(added))
        if missing := added - {row["id"] for row in known}:
            raise InvalidValueException(detail=f"There is no member {min(missing)[:60]!r}.")
        await connection.execute(
            "INSERT INTO scim_members AS known (group_id, member_id, display)"
            " SELECT $1, * FROM unnest($2::text[], $3::text[]) ON CONFLICT (tenant, group_id, member_id)"
            " DO UPDATE SET display = excluded.display WHERE known.display IS DISTINCT FROM excluded.display",
            change.id,
            list(shown),
            list(shown.values()),
        )
        await connection.execute(
            "DELETE FROM scim_members WHERE group_id = $1 AND member_id = ANY($2::text[])", change.id, list(removed)
        )
        await self._lost(connection, list(had if before and before != group.display_name else removed), before)
        facts = {"group": group.display_name, "added": len(added), "removed": len(removed)}
        return msgspec.structs.replace(change, facts=facts)

    async def _lost(self, connection: Any, members: list[str], group: str) -> None:
        """Who is in this group no more signs in again, where the group gave something."""
        if members and group and await self._listener.mapped(group):
            rows = await connection.fetch(
                "SELECT principal_id FROM scim_resources WHERE id = ANY($1::text[]) AND principal_id IS NOT NULL",
                members,
            )
            await persons.end_sign_ins(connection, [row["principal_id"] for row in rows], "a group was taken away")


def _display(member: Any) -> str | None:
    text = member.display
    return text if isinstance(text, str) and 0 < len(text) <= LONGEST and text.isprintable() else None


def _check(row: Any, expected: str | None) -> None:
    if expected is not None and expected != version_of(row["version"]):
        raise PreconditionFailedException(detail="It was changed since this version.")


def _moment(now: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(now, dt.UTC)


def _leaves_out_members(row: Any, parameters: Any) -> bool:
    """Whether the response will not hold the members of a group, of which there may be thousands."""
    if parameters is None or row["kind"] != GROUP:
        return False
    left_out = {str(path).lower() for path in parameters.excluded_attributes or ()}
    named = {str(path).lower().partition(".")[0] for path in parameters.attributes or ()}
    return "members" in left_out or bool(named and "members" not in named and not any(":" in path for path in named))


def _sort_key(request: Any, resource: Any) -> tuple[bool, Any, Any]:
    value = request.sort_value(resource) if request.sort_by is not None else None
    return value is None, "" if value is None else value, (resource.meta.created, resource.id)


def _descends(request: Any) -> bool:
    return request.sort_by is not None and request.sort_order == type(request).SortOrder.descending
