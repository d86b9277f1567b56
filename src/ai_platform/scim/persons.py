"""A provisioned user is a principal: joined to the one of the same address, renamed, ended and let back with it.

All of it inside the transaction of the change. Provisioning lifts only ends of its own: who was suspended or removed by
an administrator stays so. Above: storage. Below: directory.
"""

from typing import Any

import asyncpg
from scim2_models import UniquenessException

from ai_platform.directory.people import end, resume
from ai_platform.directory.person import State
from ai_platform.domain.identifiers import new_id
from ai_platform.scim.facts import Facts

BY = "scim"
"""`ended_by` of whom provisioning ended."""

_FIND = """
SELECT p.id, p.state, p.ended_by, EXISTS (
    SELECT FROM scim_resources r WHERE r.principal_id = p.id AND r.kind = 'User') AS taken
FROM principals p WHERE p.handle = $1 FOR UPDATE OF p
"""


async def join(connection: Any, facts: Facts, now: float) -> str:
    """The principal's id, made when nobody has this address. Raises UniquenessException: another user has it.

    Somebody whom provisioning removed is not taken up again: the address may be another person's by now.
    """
    found = await connection.fetchrow(_FIND, facts.handle)
    if found is not None and found["taken"]:
        raise UniquenessException(detail="Another user has this address.")
    if found is not None and found["state"] == "removed" and found["ended_by"] == BY:
        await connection.execute("UPDATE principals SET handle = 'removed:' || id WHERE id = $1", found["id"])
        await connection.execute("DELETE FROM sso_identities WHERE principal_id = $1", found["id"])
        found = None
    if found is not None:
        await rename(connection, found["id"], facts)
        return str(found["id"])
    fresh = new_id("usr", now)
    await connection.execute(
        "INSERT INTO principals (id, kind, handle, name, email) VALUES ($1, 'person', $2, $3, $4)",
        fresh,
        facts.handle,
        facts.name,
        facts.email,
    )
    return fresh


async def rename(connection: Any, principal: str, facts: Facts) -> None:
    """Raises UniquenessException: the new address is another principal's."""
    try:
        await connection.execute(
            "UPDATE principals SET handle = $2, name = $3, email = $4 WHERE id = $1"
            " AND (handle, name, email) IS DISTINCT FROM ($2::text, $3::text, $4::text)",
            principal,
            facts.handle,
            facts.name,
            facts.email,
        )
    except asyncpg.UniqueViolationError as error:
        raise UniquenessException(detail="Somebody else has this address.") from error


async def set_active(connection: Any, principal: str, *, active: bool) -> bool:
    """Whether they were ended by it: keys, sessions and sign-ins, in this transaction."""
    if not active:
        return await end(connection, principal, State.SUSPENDED, by=BY)
    if await connection.fetchval("SELECT ended_by = $2 FROM principals WHERE id = $1", principal, BY):
        await resume(connection, principal)
    return False


async def remove(connection: Any, principal: str) -> bool:
    """Whether they were ended by it."""
    return await end(connection, principal, State.REMOVED, by=BY)


async def end_sign_ins(connection: Any, principals: list[str], why: str) -> None:
    """They sign in again, with the rights that are left. Their keys have roles of their own and stay."""
    await connection.execute(
        "UPDATE sso_grants SET revoked_at = now(), revoked_why = $2, provider_token = NULL"
        " WHERE principal_id = ANY($1::text[]) AND revoked_at IS NULL",
        principals,
        why,
    )
    await connection.execute(
        "UPDATE sso_sessions SET ended_at = now(), provider_token = NULL"
        " WHERE principal_id = ANY($1::text[]) AND ended_at IS NULL",
        principals,
    )
