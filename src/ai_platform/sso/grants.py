"""What a program holds after its code was approved: a family of refresh tokens, each good once (RFC 9700, 4.14.2).

A token that was already exchanged and comes again was stolen, or its thief was faster: the whole family ends. The
one before the newest is excused for a few seconds and gets the same answer, for clients that lost it.

    aipr_ID.GENERATION.MAC      the MAC is keyed, with a salt of the family; no token is stored
"""

import hmac
import os
import re
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.identifiers import new_id
from ai_platform.sso.devices import Request
from ai_platform.sso.people import Account, access_ended
from ai_platform.sso.rows import moment
from ai_platform.sso.sessions import sid_hash
from ai_platform.sso.settings import TokenSettings
from ai_platform.stores.postgres import Database, Gone, SystemDatabase
from ai_platform.stores.tenancy import Scoped

PREFIX = "aipr_"
CLAIM_SECONDS = 30.0

_SHAPE = re.compile(r"aipr_(grt_[0-9A-Z]{26})\.(\d{1,9})\.([0-9a-f]{64})")


class Ended(StrEnum):
    """Why a refresh token is not taken. REUSED: it was exchanged before, and its family has been ended by this.
    OTHERS: it belongs to another client, or is for another resource.
    """

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"
    REUSED = "reused"
    OTHERS = "others"


class ForClient(NamedTuple):
    """An OAuth client that was given access. resource: the path its tokens are for. scopes: what it asked for."""

    id: str
    name: str
    resource: str
    scopes: tuple[str, ...]


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """provider_token: sealed. checked_at: when the provider was last asked, epoch seconds. client: None for a program
    that signed in by a code on a screen.
    """

    id: str
    account: Account
    provider_token: str | None
    checked_at: float
    client: ForClient | None = None


class Refreshed(NamedTuple):
    grant: Grant
    refresh_token: str


class Grants:
    """reused: refresh tokens that came again; each ended its family."""

    def __init__(self, database: Database, *, pepper: bytes, clock: Clock, settings: TokenSettings) -> None:
        self._database = database
        self._pepper = pepper
        self._clock = clock
        self._settings = settings
        self.reused = 0

    async def begin(
        self,
        account: Account,
        request: Request,
        *,
        provider_token: str | None = None,
        seconds: float | None = None,
        refreshable: bool = True,
    ) -> Refreshed:
        """seconds: how long it lasts, None = as configured. refreshable: False = the refresh token is never taken.

        Raises Denied: their access was ended at this moment.
        """
        try:
            async with self._database.within(account.tenant).transaction() as connection:
                return await self.begin_in(
                    connection,
                    account,
                    request,
                    provider_token=provider_token,
                    seconds=seconds,
                    refreshable=refreshable,
                )
        except Gone as error:
            raise access_ended() from error

    async def begin_in(
        self,
        connection: Any,
        account: Account,
        request: Request,
        *,
        provider_token: str | None = None,
        seconds: float | None = None,
        refreshable: bool = True,
        client: ForClient | None = None,
    ) -> Refreshed:
        """The same in a transaction within the account's tenant; who began that one hears Gone."""
        now = self._clock.now()
        ends = now + (self._settings.sign_in_seconds if seconds is None else seconds)
        salt = os.urandom(32)
        grant = Grant(
            id=new_id("grt", now), account=account, provider_token=provider_token, checked_at=now, client=client
        )
        await connection.execute(
            "INSERT INTO sso_grants (id, principal_id, account, request, salt, provider_token, created_at,"
            " rotated_at, checked_at, expires_at, refreshable, sid_hash, client_id, client_name, resource, scopes)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7, $8, $9, $10, $11, $12, $13, $14)",
            grant.id,
            grant.account.id,
            msgspec.to_builtins(grant.account),
            msgspec.to_builtins(request),
            salt,
            provider_token,
            moment(now),
            moment(min(ends, account.until or ends)),
            refreshable,
            sid_hash(self._pepper, account.provider, account.sid),
            client.id if client else None,
            client.name if client else None,
            client.resource if client else "",
            list(client.scopes) if client else [],
        )
        return Refreshed(grant, self._text(grant.id, 1, salt))

    async def look(self, text: str) -> Grant | Ended:
        """The grant that this refresh token may be exchanged for. One that comes again ends its family."""
        async with self._presented(text).transaction() as connection:
            found = await self._locked(connection, text)
            return found if isinstance(found, Ended) else _grant(found[0])

    async def rotate(self, text: str) -> Refreshed | Ended:
        """Exchange it: the next refresh token, or for the one just before, in its grace, the newest again."""
        async with self._presented(text).transaction() as connection:
            found = await self._locked(connection, text)
            if isinstance(found, Ended):
                return found
            row, generation = found
            if generation == row["generation"]:
                await connection.execute(
                    "UPDATE sso_grants SET generation = generation + 1, rotated_at = $2 WHERE id = $1",
                    row["id"],
                    moment(self._clock.now()),
                )
            return Refreshed(_grant(row), self._text(row["id"], generation + 1, row["salt"]))

    async def claim_check(self, grant: Grant) -> bool:
        """Whether this caller is the one to ask the provider now: its refresh token must not be used twice."""
        now = self._clock.now()
        tag = await self._database.presenting(grant.id).execute(
            "UPDATE sso_grants SET checking_until = $2 WHERE id = $1 AND coalesce(checking_until <= $3, true)",
            grant.id,
            moment(now + CLAIM_SECONDS),
            moment(now),
        )
        return tag == "UPDATE 1"

    async def checked(self, grant: Grant, account: Account | None, provider_token: str | None) -> None:
        """The provider was asked. account: as it is now; None = it did not answer, and the claim is given back."""
        now = moment(self._clock.now())
        if account is None:
            await self._database.presenting(grant.id).execute(
                "UPDATE sso_grants SET checking_until = NULL WHERE id = $1", grant.id
            )
            return
        await self._database.presenting(grant.id).execute(
            "UPDATE sso_grants SET checking_until = NULL, checked_at = $2, account = $3, provider_token = $4"
            " WHERE id = $1",
            grant.id,
            now,
            msgspec.to_builtins(account),
            provider_token,
        )

    async def revoke(self, grant: str, why: str) -> bool:
        """False: it had ended already."""
        tag = await self._database.presenting(grant).execute(
            "UPDATE sso_grants SET revoked_at = $2, revoked_why = $3, provider_token = NULL"
            " WHERE id = $1 AND revoked_at IS NULL",
            grant,
            moment(self._clock.now()),
            why,
        )
        return tag == "UPDATE 1"

    async def revoke_all(self, principal: str, why: str, *, tenant: str, provider: str = "") -> list[str]:
        """The ids of a person's grants that this ended. provider: only those of a sign-in there, "" = all."""
        rows: list[Any] = await self._database.within(tenant).fetch(
            "UPDATE sso_grants SET revoked_at = $2, revoked_why = $3, provider_token = NULL"
            " WHERE principal_id = $1 AND revoked_at IS NULL AND ($4 = '' OR account->>'provider' = $4) RETURNING id",
            principal,
            moment(self._clock.now()),
            why,
            provider,
        )
        return [row["id"] for row in rows]

    async def revoke_sign_in(self, provider: str, sid: str, subject: str | None, why: str) -> list[str]:
        """The ids of the grants that came of one sign-in at the provider. subject: as for sessions."""
        sign_in = sid_hash(self._pepper, provider, sid) or b""
        rows: list[Any] = await self._database.presenting(sign_in).fetch(
            "UPDATE sso_grants SET revoked_at = $2, revoked_why = $3, provider_token = NULL"
            " WHERE sid_hash = $1 AND revoked_at IS NULL AND ($4::text IS NULL OR account->>'subject' = $4)"
            " RETURNING id",
            sign_in,
            moment(self._clock.now()),
            why,
            subject,
        )
        return [row["id"] for row in rows]

    async def open_of(self, principal: str, *, tenant: str) -> list[Any]:
        """Rows {id, account, request, created_at, rotated_at} of a person's grants that go on, newest first."""
        return await self._database.within(tenant).fetch(
            "SELECT id, account, request, created_at, rotated_at FROM sso_grants"
            " WHERE principal_id = $1 AND revoked_at IS NULL AND expires_at > $2 ORDER BY created_at DESC LIMIT 100",
            principal,
            moment(self._clock.now()),
        )

    async def revoked_since(self, system: SystemDatabase, seconds: float) -> list[Any]:
        """Rows {id, revoked_at} of the grants that ended in so many last seconds."""
        return await system.fetch(
            "SELECT id, revoked_at FROM sso_grants WHERE revoked_at > $1", moment(self._clock.now() - seconds)
        )

    async def sweep(self, system: SystemDatabase) -> None:
        """Forget those that ended a month ago."""
        await system.execute("DELETE FROM sso_grants WHERE expires_at < $1", moment(self._clock.now() - 30 * 86400))

    def _presented(self, text: str) -> Scoped:
        return self._database.presenting(id_in(text) or "nothing")

    async def _locked(self, connection: Any, text: str) -> tuple[Any, int] | Ended:
        """The row, locked, and the token's generation."""
        shape = _SHAPE.fullmatch(text)
        if shape is None:
            return Ended.UNKNOWN
        row = await connection.fetchrow("SELECT * FROM sso_grants WHERE id = $1 FOR UPDATE", shape[1])
        generation = int(shape[2])
        if row is None or not hmac.compare_digest(self._text(shape[1], generation, row["salt"]), text):
            return Ended.UNKNOWN
        now = self._clock.now()
        if not row["refreshable"]:
            return Ended.UNKNOWN
        if row["revoked_at"] is not None:
            return Ended.REVOKED
        if row["expires_at"].timestamp() <= now:
            return Ended.EXPIRED
        in_grace = now - row["rotated_at"].timestamp() <= self._settings.refresh_grace_seconds
        if generation == row["generation"] or (generation + 1 == row["generation"] and in_grace):
            return row, generation
        self.reused += 1
        await connection.execute(
            "UPDATE sso_grants SET revoked_at = $2, revoked_why = 'refresh token reused', provider_token = NULL"
            " WHERE id = $1",
            row["id"],
            moment(now),
        )
        return Ended.REUSED

    def _text(self, grant: str, generation: int, salt: bytes) -> str:
        head = f"{PREFIX}{grant}.{generation}"
        return f"{head}.{hmac.digest(self._pepper, salt + head.encode(), 'sha256').hex()}"


def id_in(text: str) -> str | None:
    """The grant that a refresh token claims to be of; says nothing about whether it is."""
    shape = _SHAPE.fullmatch(text)
    return shape[1] if shape else None


def _grant(row: Any) -> Grant:
    return Grant(
        id=row["id"],
        account=msgspec.convert(row["account"], Account),
        provider_token=row["provider_token"],
        checked_at=row["checked_at"].timestamp(),
        client=_client(row),
    )


def _client(row: Any) -> ForClient | None:
    if row["client_id"] is None:
        return None
    return ForClient(row["client_id"], row["client_name"], row["resource"], tuple(row["scopes"]))
