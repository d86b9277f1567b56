"""A platform key as it is stored and shown; the secret is not part of it."""

import datetime as dt
from typing import Any

import msgspec

from ai_platform.domain.principal import Principal, PrincipalKind
from ai_platform.identity.scopes import Reach


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """principal_id: whose calls they are, the same for all keys of one person. owner: that principal's name."""

    id: str
    name: str
    kind: PrincipalKind
    principal_id: str
    owner: str
    email: str | None
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    team: str | None
    project: str | None
    tenant: str
    created_at: dt.datetime
    created_by: str
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None
    last_used_at: dt.datetime | None

    def status(self, now: float) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at.timestamp() <= now else "active"


SELECT = (
    "SELECT k.id, k.name, p.kind, k.principal_id, p.name AS owner, p.email, k.roles, k.scopes,"
    " coalesce(k.team, p.team) AS team, k.project, k.tenant, k.created_at, k.created_by, k.expires_at, k.revoked_at,"
    " k.last_used_at, k.changed_at, k.secret_hash FROM keys k JOIN principals p ON p.id = k.principal_id"
)

PRESENTED = "SELECT * FROM aip.key_presented($1)"
"""The row of exactly this id, before its tenant is known."""


def key_of(row: Any) -> Key:
    """A row of SELECT or PRESENTED."""
    return Key(
        id=row["id"],
        name=row["name"],
        kind=PrincipalKind(row["kind"]),
        principal_id=row["principal_id"],
        owner=row["owner"],
        email=row["email"],
        roles=tuple(row["roles"]),
        scopes=tuple(row["scopes"]),
        team=row["team"],
        project=row["project"],
        tenant=row["tenant"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )


def service_handle(name: str) -> str:
    """What makes a service account the same principal again, whether it comes with a key or with another token."""
    return f"service:{name.lower()}"


def principal_of(key: Key, reach: Reach) -> Principal:
    return Principal(
        id=key.principal_id,
        name=key.owner,
        kind=key.kind,
        email=key.email,
        roles=key.roles,
        permissions=reach.permissions,
        team=key.team,
        project=key.project,
        tenant=key.tenant,
        key_id=key.id,
        models=reach.models,
        tools=reach.tools,
        narrowed=reach.narrowed,
    )
