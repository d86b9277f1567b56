"""Whether somebody who signed in still is, and as what: for a decision of theirs that takes effect later.

Above: wiring. Below: stores.
"""

from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.principal import Principal
from ai_platform.identity.scopes import RoleBook
from ai_platform.sso.people import Account
from ai_platform.sso.rows import moment
from ai_platform.stores.postgres import Database

_LATEST = """
SELECT account FROM (
    SELECT account, checked_at AS at FROM sso_grants
    WHERE principal_id = $1 AND revoked_at IS NULL AND expires_at > $2
    UNION ALL
    SELECT account, seen_at AS at FROM sso_sessions
    WHERE principal_id = $1 AND ended_at IS NULL AND created_at > $3
) AS known ORDER BY at DESC LIMIT 1
"""


async def standing_of(
    database: Database, tenant: str, principal_id: str, *, roles: RoleBook, clock: Clock, session_seconds: float
) -> Principal | None:
    """Who they are by their latest sign-in that has not ended; None when all have. Raises StoreUnavailable."""
    now = clock.now()
    row: Any = await database.within(tenant).fetchrow(_LATEST, principal_id, moment(now), moment(now - session_seconds))
    if row is None:
        return None
    return msgspec.convert(row["account"], Account).principal(roles)
