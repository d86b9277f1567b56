"""A person or service account as lists show it."""

import datetime as dt
from enum import StrEnum
from typing import Any

import msgspec

from ai_platform.domain.principal import PrincipalKind


class State(StrEnum):
    """SUSPENDED may come back; REMOVED is not shown any more, unless asked for."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REMOVED = "removed"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """keys: those that work. roles: of these keys and of the last sign-in. provisioned: by SCIM.

    last_seen_at: a key used, a sign-in renewed, a page opened.
    """

    id: str
    kind: PrincipalKind
    name: str
    email: str | None
    team: str | None
    state: State
    roles: tuple[str, ...]
    keys: int
    sign_ins: int
    created_at: dt.datetime
    last_seen_at: dt.datetime | None
    ended_at: dt.datetime | None
    ended_by: str | None


SELECT = """
SELECT p.id, p.kind, p.name, p.email, p.team, p.state, p.created_at, p.ended_at, p.ended_by, k.keys,
    coalesce(g.sign_ins, 0) AS sign_ins, greatest(k.used_at, g.renewed_at, s.seen_at) AS last_seen_at,
    coalesce(k.roles, '{}') AS key_roles, coalesce(g.account, s.account) AS account
FROM principals p
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE works) AS keys, max(last_used_at) AS used_at,
        (SELECT array_agg(DISTINCT role) FROM keys r, unnest(r.roles) AS role
         WHERE r.principal_id = p.id AND r.revoked_at IS NULL) AS roles
    FROM (SELECT last_used_at, revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1) AS works
          FROM keys WHERE principal_id = p.id) AS own) AS k
LEFT JOIN LATERAL (
    SELECT account, max(rotated_at) OVER () AS renewed_at,
        count(*) FILTER (WHERE revoked_at IS NULL AND expires_at > $1) OVER () AS sign_ins
    FROM sso_grants WHERE principal_id = p.id ORDER BY checked_at DESC LIMIT 1) AS g ON true
LEFT JOIN LATERAL (
    SELECT account, seen_at FROM sso_sessions WHERE principal_id = p.id ORDER BY created_at DESC LIMIT 1) AS s ON true
"""
"""$1: now."""


def entry_of(row: Any) -> Entry:
    """A row of SELECT."""
    account: dict[str, Any] = row["account"] or {}
    return Entry(
        id=row["id"],
        kind=PrincipalKind(row["kind"]),
        name=row["name"],
        email=row["email"],
        team=row["team"],
        state=State(row["state"]),
        roles=tuple(dict.fromkeys((*sorted(row["key_roles"]), *account.get("roles", ())))),
        keys=row["keys"],
        sign_ins=row["sign_ins"],
        created_at=row["created_at"],
        last_seen_at=row["last_seen_at"],
        ended_at=row["ended_at"],
        ended_by=row["ended_by"],
    )
