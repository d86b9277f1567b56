"""Who may not call any more, whatever they hold: organisations that are disabled, people who are suspended or removed.

Keys and sign-ins end by themselves in the database; this set also stops tokens that nobody looks up, and answers that
are being streamed. Looked for twice a second; a process that hears of an end first hand adds it at once. PostgreSQL
gone: what was known stays known, and no call passes without its audit record anyway. Above: authenticator.
Below: stores.
"""

import datetime as dt

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Unauthenticated
from ai_platform.domain.principal import Principal
from ai_platform.stores.postgres import SystemDatabase

REMEMBERED = dt.timedelta(days=2)
"""How long an end is remembered here: longer than any token lives that is not looked up."""
RECENT = dt.timedelta(minutes=15)
"""The same of a revoked key, which only matters to answers under way."""

_ENDS = """
SELECT 'tenant' AS kind, name AS id FROM tenants WHERE disabled_at IS NOT NULL
UNION ALL
SELECT 'principal', id FROM principals WHERE ended_at > now() - $1::interval
UNION ALL
SELECT 'key', id FROM keys WHERE changed_at > now() - $2::interval AND revoked_at > now() - $2::interval
"""


class Ended:
    """refused: callers that were turned away for it."""

    def __init__(self) -> None:
        self._tenants: frozenset[str] = frozenset()
        self._principals: frozenset[str] = frozenset()
        self._keys: frozenset[str] = frozenset()
        self._changes = 0
        self.refused = 0

    def holds(self, principal: Principal) -> bool:
        """Whether this caller has ended, also in the middle of an answer."""
        return principal.tenant in self._tenants or principal.id in self._principals or principal.key_id in self._keys

    def check(self, principal: Principal) -> Principal:
        """The same principal. Raises Unauthenticated."""
        if principal.tenant in self._tenants:
            self.refused += 1
            message = f"The organisation '{principal.tenant}' is disabled on this platform. Ask whoever runs it."
            raise Unauthenticated(Refusal.KEY_REVOKED, message)
        if principal.id in self._principals:
            self.refused += 1
            message = "Your access to this platform was ended. Ask an administrator of your organisation."
            raise Unauthenticated(Refusal.KEY_REVOKED, message)
        return principal

    def add(self, *, tenant: str = "", principal: str = "", key: str = "") -> None:
        """At once in this process."""
        self._changes += 1
        self._tenants |= {tenant} - {""}
        self._principals |= {principal} - {""}
        self._keys |= {key} - {""}

    async def watch(self, system: SystemDatabase) -> None:
        """Raises StoreUnavailable."""
        changes = self._changes
        found: dict[str, set[str]] = {"tenant": set(), "principal": set(), "key": set()}
        for row in await system.fetch(_ENDS, REMEMBERED, RECENT):
            found[row["kind"]].add(row["id"])
        if self._changes != changes:
            return  # an end overtook this look, which may not have seen it
        self._tenants = frozenset(found["tenant"])
        self._principals = frozenset(found["principal"])
        self._keys = frozenset(found["key"])
