"""Browser sessions: a random id in a cookie, its keyed hash in PostgreSQL, an idle and an absolute limit.

The id is another one after every sign-in and, as long as the session goes on, every `rotate_seconds`.

Above: signon. Below: stores.
"""

import hmac
import secrets
from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied
from ai_platform.sso.people import Account, access_ended
from ai_platform.sso.rows import moment
from ai_platform.sso.settings import SessionSettings
from ai_platform.stores.postgres import Database, Gone, SystemDatabase
from ai_platform.stores.tenancy import Scoped

SEEN_EVERY = 60.0
"""Seconds between two writes of "last seen": a page load costs no write."""

PRIOR_SECONDS = 30.0
"""How long the id before the newest is taken, for requests that were on their way; it gets no new one."""

SPENT = "spent"


class Session(msgspec.Struct, frozen=True):
    """csrf: what every form of this session must carry; tells nothing about the cookie.

    renewed: the cookie's new value, "" = it stays. left: seconds until the session ends in any case.
    spent: the provider's refresh token of this sign-in has gone to a program already; the next program needs another.
    """

    account: Account
    csrf: str
    spent: bool = False
    renewed: str = ""
    left: float = 0.0


class Sessions:
    def __init__(self, database: Database, *, pepper: bytes, clock: Clock, settings: SessionSettings) -> None:
        self._database = database
        self._pepper = pepper
        self._clock = clock
        self._settings = settings

    async def begin(
        self,
        account: Account,
        *,
        replaces: str | None = None,
        provider_token: str | None = None,
        id_token: str | None = None,
    ) -> str:
        """The cookie's value, new with every sign-in. replaces: the one the browser had, which ends.

        provider_token, id_token: of the provider, sealed. Raises Denied: their access was ended at this moment.
        """
        if replaces:
            await self.end(replaces)
        cookie = secrets.token_urlsafe(32)
        now = self._clock.now()
        try:
            await self._database.within(account.tenant).execute(
                "INSERT INTO sso_sessions (id_hash, principal_id, account, created_at, seen_at, provider_token,"
                " id_token, sid_hash) VALUES ($1, $2, $3, $4, $4, $5, $6, $7)",
                self._hash(cookie),
                account.id,
                msgspec.to_builtins(account),
                moment(now),
                provider_token,
                id_token,
                sid_hash(self._pepper, account.provider, account.sid),
            )
        except Gone as error:
            raise access_ended() from error
        return cookie

    async def get(self, cookie: str, *, renew: bool = False) -> Session | None:
        """None: not known, ended, or past a limit. renew: the browser can be given a new id, if it is time for one."""
        now = self._clock.now()
        row: Any = await self._of(cookie).fetchrow(
            "SELECT account, seen_at, created_at, provider_token, coalesce(origin_hash, id_hash) AS origin,"
            " coalesce(issued_at, created_at) AS issued_at FROM sso_sessions WHERE ended_at IS NULL"
            " AND (id_hash = $1 OR prior_hash = $1 AND issued_at > $4) AND created_at > $2 AND seen_at > $3",
            self._hash(cookie),
            moment(now - self._settings.absolute_seconds),
            moment(now - self._settings.idle_seconds),
            moment(now - PRIOR_SECONDS),
        )
        account = msgspec.convert(row["account"], Account) if row else None
        if account is None or (account.until is not None and account.until <= now):
            return None
        if now - row["seen_at"].timestamp() > min(SEEN_EVERY, self._settings.idle_seconds / 4):
            await self._of(cookie).execute(
                "UPDATE sso_sessions SET seen_at = $2 WHERE (id_hash = $1 OR prior_hash = $1)",
                self._hash(cookie),
                moment(now),
            )
        due = renew and now - row["issued_at"].timestamp() >= self._settings.rotate_seconds
        return Session(
            account,
            hmac.digest(self._pepper, b"csrf:" + row["origin"], "sha256").hex(),
            spent=row["provider_token"] == SPENT,
            renewed=await self._renewed(cookie) if due else "",
            left=row["created_at"].timestamp() + self._settings.absolute_seconds - now,
        )

    async def _renewed(self, cookie: str) -> str:
        """The session's new id; "" when another request of this browser was faster."""
        new = secrets.token_urlsafe(32)
        tag = await self._of(cookie).execute(
            "UPDATE sso_sessions SET id_hash = $2, prior_hash = id_hash, issued_at = $3,"
            " origin_hash = coalesce(origin_hash, id_hash) WHERE id_hash = $1 AND ended_at IS NULL",
            self._hash(cookie),
            self._hash(new),
            moment(self._clock.now()),
        )
        return new if _count(tag) else ""

    async def take_provider_token(self, cookie: str) -> str | None:
        """Once: two programs must not use the same token, since providers take that for theft. None: there is none.

        Raises Denied: another program has it. Without one, nobody would hear that the provider let this person go.
        """
        row: Any = await self._of(cookie).fetchrow(
            "UPDATE sso_sessions s SET provider_token = $2 FROM (SELECT id_hash, provider_token FROM sso_sessions"
            " WHERE (id_hash = $1 OR prior_hash = $1) FOR UPDATE) AS was"
            " WHERE s.id_hash = was.id_hash AND was.provider_token IS NOT NULL RETURNING was.provider_token",
            self._hash(cookie),
            SPENT,
        )
        if row and row["provider_token"] == SPENT:
            raise Denied(
                Refusal.PERMISSION_MISSING,
                "This sign-in has been used for a program already. Sign in again for the next one.",
                rule="one program a sign-in",
            )
        return row["provider_token"] if row else None

    async def end(self, cookie: str) -> None:
        """Whichever of its two newest ids this is: a sign-out must not miss it."""
        await self._of(cookie).execute(
            "UPDATE sso_sessions SET ended_at = $2 WHERE (id_hash = $1 OR prior_hash = $1) AND ended_at IS NULL",
            self._hash(cookie),
            moment(self._clock.now()),
        )

    async def id_token(self, cookie: str) -> str | None:
        """The provider's, sealed, of a session that goes on. None: it gave none."""
        return await self._of(cookie).fetchval(
            "SELECT id_token FROM sso_sessions WHERE (id_hash = $1 OR prior_hash = $1) AND ended_at IS NULL",
            self._hash(cookie),
        )

    async def end_all(self, principal: str, *, tenant: str, provider: str = "") -> int:
        """How many. provider: only those that began there, "" = all."""
        return _count(
            await self._database.within(tenant).execute(
                "UPDATE sso_sessions SET ended_at = $2"
                " WHERE principal_id = $1 AND ended_at IS NULL AND ($3 = '' OR account->>'provider' = $3)",
                principal,
                moment(self._clock.now()),
                provider,
            )
        )

    async def end_sign_in(self, provider: str, sid: str, subject: str | None) -> int:
        """Those of one sign-in at the provider. subject: whose it must be, None = whoever's it is."""
        sign_in = sid_hash(self._pepper, provider, sid) or b""
        return _count(
            await self._database.presenting(sign_in).execute(
                "UPDATE sso_sessions SET ended_at = $2 WHERE sid_hash = $1 AND ended_at IS NULL"
                " AND ($3::text IS NULL OR account->>'subject' = $3)",
                sign_in,
                moment(self._clock.now()),
                subject,
            )
        )

    async def open_of(self, principal: str, *, tenant: str) -> list[Any]:
        """Rows {account, created_at, seen_at} of a person's sessions that go on, newest first."""
        now = self._clock.now()
        return await self._database.within(tenant).fetch(
            "SELECT account, created_at, seen_at FROM sso_sessions WHERE principal_id = $1 AND ended_at IS NULL"
            " AND created_at > $2 AND seen_at > $3 ORDER BY created_at DESC LIMIT 100",
            principal,
            moment(now - self._settings.absolute_seconds),
            moment(now - self._settings.idle_seconds),
        )

    async def sweep(self, system: SystemDatabase) -> None:
        """Forget those long past their limits."""
        await system.execute(
            "DELETE FROM sso_sessions WHERE created_at < $1",
            moment(self._clock.now() - 2 * self._settings.absolute_seconds),
        )

    def _of(self, cookie: str) -> Scoped:
        return self._database.presenting(self._hash(cookie))

    def _hash(self, cookie: str) -> bytes:
        return hmac.digest(self._pepper, b"session:" + cookie.encode("latin-1", "replace"), "sha256")


def sid_hash(pepper: bytes, provider: str, sid: str | None) -> bytes | None:
    """What is kept of the provider's name of a sign-in, and found again by it."""
    if sid is None:
        return None
    return hmac.digest(pepper, f"sid:{provider}\n{sid}".encode("utf-8", "replace"), "sha256")


def _count(tag: str) -> int:
    """Of the command tag `UPDATE 3`."""
    return int(tag.rpartition(" ")[2])
