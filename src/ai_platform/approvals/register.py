"""The requests as rows: every step is one statement that at most one caller can win, on any replica.

Above: approvals. Below: stores.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from ai_platform.approvals.request import RETURNING, SELECT, Ask, Request, State, request_of
from ai_platform.domain.approval import Covers
from ai_platform.stores.postgres import Database, SystemDatabase

MOST_LISTED = 1000


class Register:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def latest(self, tenant: str, digest: bytes, now: float) -> Request | None:
        """The request for exactly this that still counts: open, or denied and not yet forgotten."""
        row = await self._database.within(tenant).fetchrow(
            f"{SELECT} FROM approvals WHERE tenant = $1 AND digest = $2 AND expires_at > $3"
            " AND state IN ('pending', 'approved', 'denied') ORDER BY requested_at DESC LIMIT 1",
            tenant,
            digest,
            _time(now),
        )
        return None if row is None else request_of(row)

    async def pending_of(self, tenant: str, principal_id: str, now: float) -> int:
        """How many requests of this person wait."""
        found = await self._database.within(tenant).fetchval(
            "SELECT count(*) FROM approvals WHERE tenant = $1 AND principal_id = $2 AND state = 'pending'"
            " AND expires_at > $3",
            tenant,
            principal_id,
            _time(now),
        )
        return int(found)

    async def add(
        self, ask: Ask, request_id: str, *, person: bytes | None, shown: bytes, at: float, until: float
    ) -> tuple[bool, list[Request]]:
        """False: there is an open request for exactly this already. With those that were over, which made room."""
        caller, call = ask.caller, ask.call
        values: dict[str, Any] = {
            "tenant": caller.tenant,
            "id": request_id,
            "digest": ask.digest,
            "rule": ask.demand.rule,
            "approvers": list(ask.demand.approvers),
            "covers": ask.demand.covers.value,
            "policy_version": ask.policy_version,
            "principal_id": caller.id,
            "key_id": caller.key_id,
            "person": person,
            "team": caller.team,
            "door": call.door.value,
            "operation": call.operation.value,
            "server": _stored(call.head.server),
            "tool": _stored(call.head.tool),
            "model": _stored(", ".join(call.head.models) or call.head.model),
            "call_id": call.id,
            "tool_use_id": _stored(call.head.tool_use_id),
            "session_id": _stored(call.client.session_id),
            "shown": shown,
            "requested_at": _time(at),
            "expires_at": _time(until),
        }
        names = ", ".join(values)
        places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
        async with self._database.within(caller.tenant).transaction() as connection:
            over = await connection.fetch(
                "UPDATE approvals SET state = 'expired' WHERE tenant = $1 AND digest = $2 AND expires_at <= $3"  # noqa: S608 - column names come from code
                f" AND state IN ('pending', 'approved') {RETURNING}",
                caller.tenant,
                ask.digest,
                _time(at),
            )
            made = await connection.fetchval(
                f"INSERT INTO approvals ({names}) VALUES ({places}) ON CONFLICT DO NOTHING RETURNING id",  # noqa: S608 - names come from code
                *values.values(),
            )
        return made is not None, [request_of(row) for row in over]

    async def get(self, tenant: str, request_id: str) -> Request | None:
        row = await self._database.within(tenant).fetchrow(
            f"{SELECT} FROM approvals WHERE tenant = $1 AND id = $2", tenant, _stored(request_id)
        )
        return None if row is None else request_of(row)

    async def shown(self, tenant: str, request_id: str) -> bytes | None:
        return await self._database.within(tenant).fetchval(
            "SELECT shown FROM approvals WHERE tenant = $1 AND id = $2", tenant, request_id
        )

    async def list(self, tenant: str, states: Sequence[State], limit: int = MOST_LISTED) -> list[Request]:
        """Newest first."""
        rows = await self._database.within(tenant).fetch(
            f"{SELECT} FROM approvals WHERE tenant = $1 AND state = ANY($2::text[])"
            " ORDER BY approvals.requested_at DESC LIMIT $3",
            tenant,
            [state.value for state in states],
            limit,
        )
        return [request_of(row) for row in rows]

    async def decide(
        self, request: Request, state: State, *, by: str, key: str | None, note: str, at: float, until: float
    ) -> Request | None:
        """None: it is not pending any more. until: how long the decision counts."""
        row = await self._database.within(request.tenant).fetchrow(
            "UPDATE approvals SET state = $3, decided_by = $4, decided_key = $5, note = $6, decided_at = $7,"  # noqa: S608 - column names come from code
            f" expires_at = $8 WHERE tenant = $1 AND id = $2 AND state = 'pending' AND expires_at > $7 {RETURNING}",
            request.tenant,
            request.id,
            state.value,
            by,
            key,
            _stored(note) or None,
            _time(at),
            _time(until),
        )
        return None if row is None else request_of(row)

    async def use(self, request: Request, digest: bytes, call_id: str, at: float) -> bool:
        """Whether this call may go on: the consent is for exactly this, counts still, and nobody was faster."""
        once = request.covers is Covers.CALL
        tag = await self._database.within(request.tenant).execute(
            "UPDATE approvals SET state = $6, uses = uses + 1, used_at = $5, used_by = $4 WHERE tenant = $1 AND id = $2"
            " AND digest = $3 AND state = 'approved' AND expires_at > $5",
            request.tenant,
            request.id,
            digest,
            call_id,
            _time(at),
            State.USED.value if once else State.APPROVED.value,
        )
        return tag == "UPDATE 1"

    async def end(self, request: Request) -> bool:
        """Consent, or the wait for it, holds no more. False: it had ended already."""
        tag = await self._database.within(request.tenant).execute(
            "UPDATE approvals SET state = 'void' WHERE tenant = $1 AND id = $2 AND state IN ('pending', 'approved')",
            request.tenant,
            request.id,
        )
        return tag == "UPDATE 1"


async def decided(system: SystemDatabase, ids: Sequence[str]) -> list[str]:
    """Those of the requests that are not pending any more."""
    rows = await system.fetch("SELECT id FROM approvals WHERE id = ANY($1::text[]) AND state <> 'pending'", list(ids))
    return [row["id"] for row in rows]


async def sweep(system: SystemDatabase, now: float) -> list[Request]:
    """End what is over; each is returned once, on one replica."""
    rows = await system.fetch(
        "UPDATE approvals SET state = 'expired' WHERE state IN ('pending', 'approved') AND expires_at <= $1"  # noqa: S608 - column names come from code
        f" {RETURNING}",
        _time(now),
    )
    return [request_of(row) for row in rows]


async def forget_shown(system: SystemDatabase, before: float) -> None:
    """Remove what was shown of requests made before this moment."""
    await system.execute(
        "UPDATE approvals SET shown = NULL WHERE shown IS NOT NULL AND requested_at < $1", _time(before)
    )


def _time(at: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(at, dt.UTC)


def _stored(text: str | None) -> str | None:
    """What PostgreSQL can keep of a text that a client sent, at a length that a screen can show."""
    if text is None:
        return None
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")[:2048]
