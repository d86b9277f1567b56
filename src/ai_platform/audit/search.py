"""Finds events by who, what and when, and follows new ones. Order is that of event ids, which is the order of time.

Above: reader. Below: stores, subjects.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from ai_platform.audit.leaf import Leaf, read_leaf
from ai_platform.audit.lines import line_of_leaf
from ai_platform.audit.subjects import SubjectKeys
from ai_platform.domain.errors import AuditUnavailable, NotFound
from ai_platform.domain.event import EventType
from ai_platform.domain.principal import HOME
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.stores.tenancy import Scoped

_PAGE = 1000
_ALL = 2**31

_HEADS = """
SELECT slot, coalesce((SELECT max(index) FROM audit_leaf WHERE log = slot), -1) AS index FROM audit_log
"""
_NEWER = """
SELECT l.log, l.index, l.leaf FROM unnest($1::integer[], $2::bigint[], $3::bigint[]) AS c(slot, seen, head)
CROSS JOIN LATERAL (
    SELECT log, index, event_id, leaf FROM audit_leaf
    WHERE log = c.slot AND audit_leaf.index > c.seen AND audit_leaf.index <= c.head
    ORDER BY audit_leaf.index LIMIT 500) AS l
ORDER BY l.event_id
"""
_MOST_NEW = 500

_STORY = """call_id IN (
    SELECT other.call_id FROM tool_uses one JOIN tool_uses other USING (tenant, principal, tool_use_id)
    WHERE one.call_id = {0} OR one.tool_use_id = {0} UNION SELECT {0})"""
"""Only calls of the same person: anybody can name an id that somebody else's model gave out."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Unset fields do not restrict.

    tenant: whose events; None = everybody's, for who runs the platform. who: a subject's id or an e-mail address.
    what: event types. since (inclusive), until (exclusive): seconds since the epoch. after: continue behind this event
    id, in the chosen order. story: the id of a call, a tool_use or an approval: everything of the calls that belong
    together by it.
    """

    tenant: str | None
    who: str = ""
    what: tuple[EventType, ...] = ()
    since: float | None = None
    until: float | None = None
    call_id: str = ""
    story: str = ""
    after: str = ""
    limit: int = 100
    oldest_first: bool = False


class Search:
    """over: set to end everybody's following."""

    def __init__(self, database: Database, system: SystemDatabase, subjects: SubjectKeys) -> None:
        self.over = asyncio.Event()
        self._database = database
        self._system = system
        self._subjects = subjects

    async def page(self, query: Query) -> list[dict[str, Any]]:
        return await self._opened(await self._rows(query))

    async def check(self, event_id: str, tenant: str) -> None:
        """Raises NotFound: the tenant has no such event."""
        found = await self._database.within(tenant).fetchval(
            "SELECT EXISTS (SELECT FROM audit_leaf WHERE event_id = $1)", event_id
        )
        if not found:
            raise NotFound(f"There is no audit event {event_id[:60]}. Find its id with audit search.")

    async def lines(self, query: Query) -> AsyncIterator[bytes]:
        left = query.limit or _ALL
        query = msgspec.structs.replace(query, oldest_first=True, limit=min(left, _PAGE))
        while left > 0:
            rows = await self._rows(query)
            for line in await self._opened(rows):
                yield msgspec.json.encode(line) + b"\n"
            if len(rows) < query.limit:
                return
            left -= len(rows)
            query = msgspec.structs.replace(query, after=rows[-1]["event_id"], limit=min(left, _PAGE))

    async def tail(self, last: int, poll: float | None, *, tenant: str | None) -> AsyncIterator[bytes]:
        """poll: seconds between looks for new events; None stops after the last ones."""
        seen = await self._heads()
        rows = await self._rows(Query(tenant=tenant, limit=last)) if last > 0 else []
        rows = [row for row in reversed(rows) if row["index"] <= seen.get(row["log"], -1)]
        while True:
            for line in await self._opened(rows):
                yield msgspec.json.encode(line) + b"\n"
            if poll is None or (not rows and await self._is_over(poll)):
                return
            rows = await self._newer(seen, tenant)

    async def _heads(self) -> dict[int, int]:
        """The last index of each log, whoever's event it is."""
        return {row["slot"]: row["index"] for row in await self._system.fetch(_HEADS)}

    async def _newer(self, seen: dict[int, int], tenant: str | None) -> list[Any]:
        """What this tenant has behind `seen`, which moves on, also over other tenants' events."""
        heads = await self._heads()
        rows = await self._reading(tenant).fetch(
            _NEWER, list(heads), [seen.get(slot, -1) for slot in heads], list(heads.values())
        )
        for slot, head in heads.items():
            found = [row["index"] for row in rows if row["log"] == slot]
            seen[slot] = found[-1] if len(found) == _MOST_NEW else head
        return rows

    def _reading(self, tenant: str | None) -> Scoped | SystemDatabase:
        return self._system if tenant is None else self._database.within(tenant)

    async def _is_over(self, seconds: float) -> bool:
        """Wait so long, or until following is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.over.wait()
        return self.over.is_set()

    async def _rows(self, query: Query) -> list[Any]:
        conditions = ["leaf IS NOT NULL"]
        values: list[Any] = []

        def where(condition: str, value: Any) -> None:
            values.append(value)
            conditions.append(condition.format(f"${len(values)}"))

        if query.tenant not in {None, HOME}:
            conditions.append("tenant <> 'default'")  # says so to the planner: the index is of the others only
        if query.who:
            where("subject_ref = ANY({})", await self._refs(query.who))
        if query.what:
            where("event_type = ANY({})", [kind.value for kind in query.what])
        if query.since is not None:
            where("at >= {}", datetime.fromtimestamp(query.since, UTC))
        if query.until is not None:
            where("at < {}", datetime.fromtimestamp(query.until, UTC))
        if query.call_id:
            where("call_id = {}", query.call_id)
        if query.story:
            where(_STORY, query.story)
        if query.after:
            where("event_id > {}" if query.oldest_first else "event_id < {}", query.after)
        values.append(query.limit)
        return await self._reading(query.tenant).fetch(
            f"SELECT log, index, event_id, leaf FROM audit_leaf WHERE {' AND '.join(conditions)}"  # noqa: S608 - conditions are the literals above
            f" ORDER BY event_id {'ASC' if query.oldest_first else 'DESC'} LIMIT ${len(values)}",
            *values,
        )

    async def _refs(self, who: str) -> list[str]:
        rows = await self._system.fetch(
            "SELECT subject_ref FROM audit_alias WHERE alias = $1", self._subjects.alias(who)
        )
        return [self._subjects.ref(who), *(row["subject_ref"] for row in rows)]

    async def _opened(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        try:
            leaves: list[Leaf] = [read_leaf(row["leaf"]) for row in rows if row["leaf"] is not None]
        except msgspec.MsgspecError as error:
            raise AuditUnavailable(f"A stored event is damaged ({error}). Run `ai-platform audit verify`.") from error
        sealed = {leaf.subject_ref for leaf in leaves if leaf.personal and leaf.subject_ref}
        keys = await self._subjects.existing(sealed) if sealed else {}
        return [line_of_leaf(leaf, keys.get(leaf.subject_ref or "")) for leaf in leaves]
