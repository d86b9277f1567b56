"""Service accounts: which there are, and switching one off. Their keys are made and revoked by identity.

Above: federation, entrypoints. Below: stores, identity.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied, NotFound
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.principal import HOME, PrincipalKind
from ai_platform.identity.key import service_handle
from ai_platform.sso.issuers import FederationSettings
from ai_platform.sso.rows import moment
from ai_platform.stores.postgres import Database

_LIST = """
SELECT p.id, p.name, d.disabled_at, d.disabled_by, k.keys, k.used_at AS key_used_at, g.tokens, g.made_at AS token_at
FROM principals p
LEFT JOIN sso_disabled_services d ON d.principal_id = p.id
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE revoked_at IS NULL AND coalesce(expires_at > $1, true)) AS keys,
        max(last_used_at) AS used_at FROM keys WHERE principal_id = p.id
) k
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE revoked_at IS NULL AND expires_at > $1) AS tokens,
        max(created_at) AS made_at FROM sso_grants WHERE principal_id = p.id
) g
WHERE p.kind = 'service' ORDER BY lower(p.name) LIMIT 10000
"""


class ServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """keys, tokens: how many work now. used_at: a key was used or a token given. id: None = it never came yet."""

    name: str
    id: str | None = None
    issuers: tuple[str, ...] = ()
    keys: int = 0
    tokens: int = 0
    used_at: dt.datetime | None = None
    disabled_at: dt.datetime | None = None


class Services:
    """Keeps nothing but what the settings say of service accounts."""

    def __init__(self, database: Database, clock: Clock, issuers: Sequence[FederationSettings]) -> None:
        self._database = database
        self._clock = clock
        self._configured: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {}
        for issuer in issuers:
            for account in issuer.accounts:
                key = (account.tenant or HOME, account.name.lower())
                name, known = self._configured.get(key, (account.name, ()))
                self._configured[key] = (name, tuple(dict.fromkeys((*known, issuer.name))))

    async def admit(self, name: str, tenant: str = HOME) -> str:
        """The principal of this service account, made on first sight. Raises Denied: it is disabled."""
        await self._make(name, tenant)
        row: Any = await self._database.within(tenant).fetchrow(
            "SELECT p.id, d.disabled_at FROM principals p LEFT JOIN sso_disabled_services d ON d.principal_id = p.id"
            " WHERE p.handle = $1",
            service_handle(name),
        )
        if row["disabled_at"] is not None:
            message = f"The service account '{name}' is disabled. Ask whoever runs this platform."
            raise Denied(Refusal.PERMISSION_MISSING, message, rule="service account disabled")
        return row["id"]

    async def list(self, tenant: str = HOME) -> list[ServiceAccount]:
        """By name: those that came or have keys, then those that the settings name and that never came."""
        rows: list[Any] = await self._database.within(tenant).fetch(_LIST, moment(self._clock.now()))
        found = [self._shown(row, tenant) for row in rows]
        known = {one.name.lower() for one in found}
        return found + [
            ServiceAccount(name=name, issuers=issuers)
            for (of, key), (name, issuers) in sorted(self._configured.items())
            if of == tenant and key not in known
        ]

    async def disable(self, name: str, *, by: str, tenant: str = HOME) -> str:
        """The principal's id. Raises NotFound."""
        principal = await self._find(name, tenant)
        await self._database.within(tenant).execute(
            "INSERT INTO sso_disabled_services (principal_id, disabled_at, disabled_by) VALUES ($1, $2, $3)"
            " ON CONFLICT DO NOTHING",
            principal,
            moment(self._clock.now()),
            by,
        )
        return principal

    async def enable(self, name: str, *, tenant: str = HOME) -> None:
        principal = await self._find(name, tenant)
        await self._database.within(tenant).execute(
            "DELETE FROM sso_disabled_services WHERE principal_id = $1", principal
        )

    async def _make(self, name: str, tenant: str) -> None:
        await self._database.within(tenant).execute(
            "INSERT INTO principals (id, kind, handle, name) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (tenant, handle) DO NOTHING",
            new_id("svc", self._clock.now()),
            PrincipalKind.SERVICE.value,
            service_handle(name),
            name,
        )

    async def _find(self, name: str, tenant: str) -> str:
        if (tenant, name.lower()) in self._configured:
            await self._make(
                self._configured[tenant, name.lower()][0], tenant
            )  # it may be disabled before it ever came
        principal: str | None = await self._database.within(tenant).fetchval(
            "SELECT id FROM principals WHERE kind = 'service' AND (handle = $1 OR id = $2)",
            service_handle(name),
            name,
        )
        if principal is None:
            raise NotFound(f"There is no service account '{name[:60]}'. `ai-platform service-accounts list` shows all.")
        return principal

    def _shown(self, row: Any, tenant: str) -> ServiceAccount:
        return ServiceAccount(
            name=row["name"],
            id=row["id"],
            issuers=self._configured.get((tenant, row["name"].lower()), ("", ()))[1],
            keys=row["keys"],
            tokens=row["tokens"],
            used_at=max((at for at in (row["key_used_at"], row["token_at"]) if at), default=None),
            disabled_at=row["disabled_at"],
        )
