"""Authorisation codes: kept as keyed hashes, good once and for a minute, for one client, address and PKCE verifier.

A code that comes a second time was stolen or replayed: what was given for it ends (RFC 6749 section 4.1.2).
Above: server. Below: stores.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.sso.oauth.asked import Asked
from ai_platform.sso.people import Account, access_ended
from ai_platform.sso.rows import moment
from ai_platform.stores.postgres import Database, Gone, SystemDatabase
from ai_platform.stores.tenancy import enter

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class Spoilt(StrEnum):
    """Why a code is not taken. WRONG: by another client, address or verifier; it is used up by that."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    USED = "used"
    WRONG = "wrong"


class Redeemed(NamedTuple):
    """provider_token: the sealed refresh token of the provider, None without one."""

    account: Account
    client_id: str
    client_name: str
    resource: str
    scopes: tuple[str, ...]
    provider_token: str | None


class Used(NamedTuple):
    """A code that was redeemed before. grant: what was given for it, None when nothing was."""

    grant: str | None


Become = Callable[[Redeemed, Any], Awaitable[str]]
"""Makes, with this connection, what a code is exchanged for; the id of the grant."""


class Codes:
    def __init__(self, database: Database, *, pepper: bytes, clock: Clock, seconds: float) -> None:
        self._database = database
        self._pepper = pepper
        self._clock = clock
        self._seconds = seconds

    async def make(self, asked: Asked, account: Account, provider_token: str | None) -> str:
        """Raises Denied: their access was ended at this moment."""
        code = secrets.token_urlsafe(32)
        try:
            await self._database.within(account.tenant).execute(
                "INSERT INTO sso_codes (code_hash, principal_id, client_id, client_name, redirect_uri, challenge,"
                " resource, scopes, account, provider_token, expires_at)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                self._hash(code),
                account.id,
                asked.client_id,
                asked.client_name,
                asked.redirect_uri,
                asked.challenge,
                asked.resource,
                list(asked.scopes),
                msgspec.to_builtins(account),
                provider_token,
                moment(self._clock.now() + self._seconds),
            )
        except Gone as error:
            raise access_ended() from error
        return code

    async def redeem(
        self, code: str, *, client_id: str, redirect_uri: str, verifier: str, resource: str | None, become: Become
    ) -> Redeemed | Used | Spoilt:
        """Once. resource: the path that the token request names, None = it names none. become: makes what it is for.

        One transaction: whoever comes with the code again finds what it became; if nothing came of it, it is still
        good. Raises Denied: their access was ended at this moment.
        """
        code_hash = self._hash(code)
        now = self._clock.now()
        try:
            async with self._database.presenting(code_hash).transaction() as connection:
                row: Any = await connection.fetchrow(
                    "SELECT * FROM sso_codes WHERE code_hash = $1 FOR UPDATE", code_hash
                )
                if row is None:
                    return Spoilt.UNKNOWN
                if row["used_at"] is not None:
                    return Used(row["grant_id"])
                fitting = (
                    _same(client_id, row["client_id"])
                    & _same(redirect_uri, row["redirect_uri"])
                    & _same(challenge_of(verifier), row["challenge"])
                    & (resource is None or resource == row["resource"])
                )
                found: Redeemed | Spoilt = _redeemed(row) if fitting else Spoilt.WRONG
                if row["expires_at"].timestamp() <= now:
                    found = Spoilt.EXPIRED
                grant = None
                if isinstance(found, Redeemed):
                    await enter(connection, found.account.tenant)
                    grant = await become(found, connection)
                await connection.execute(
                    "UPDATE sso_codes SET used_at = $2, provider_token = NULL, grant_id = $3 WHERE code_hash = $1",
                    code_hash,
                    moment(now),
                    grant,
                )
                return found
        except Gone as error:
            raise access_ended() from error

    async def sweep(self, system: SystemDatabase) -> None:
        """Forget those that expired an hour ago: who replays one later learns no more than that it is not known."""
        await system.execute("DELETE FROM sso_codes WHERE expires_at < $1", moment(self._clock.now() - 3600))

    def _hash(self, code: str) -> bytes:
        return hmac.digest(self._pepper, b"code:" + code.encode("utf-8", "replace"), "sha256")


def _redeemed(row: Any) -> Redeemed:
    return Redeemed(
        account=msgspec.convert(row["account"], Account),
        client_id=row["client_id"],
        client_name=row["client_name"],
        resource=row["resource"],
        scopes=tuple(row["scopes"]),
        provider_token=row["provider_token"],
    )


def challenge_of(verifier: str) -> str:
    """S256 of RFC 7636; "" for what is no verifier, which no challenge is."""
    if not _VERIFIER.fullmatch(verifier):
        return ""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))
