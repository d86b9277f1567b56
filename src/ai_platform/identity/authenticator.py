"""Who is calling: platform keys -> Principal. The path of every call, so a known key costs no look-up and no wait.

PostgreSQL gone: keys checked within `outage_seconds` keep working (fail static, counted in `stale_hits`); keys not
seen before are answered with StoreUnavailable (fail closed). Above: gateway, entrypoints. Below: stores.
"""

import asyncio
import contextlib
import datetime as dt
import hmac
from typing import Any, NoReturn, Protocol

from ai_platform.domain.call import Client
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import StoreUnavailable, Unauthenticated
from ai_platform.domain.principal import Credentials, Principal
from ai_platform.identity.attempts import Attempts
from ai_platform.identity.ended import Ended
from ai_platform.identity.key import PRESENTED, Key, key_of, principal_of
from ai_platform.identity.keys import hash_of
from ai_platform.identity.scopes import RoleBook, reach_of
from ai_platform.identity.settings import IdentitySettings
from ai_platform.identity.token import PREFIX, has_shape, is_intact, key_id_of
from ai_platform.stores.postgres import Database, SystemDatabase

DEFAULT_HELP = "Ask an administrator of this platform for a key (`ai-platform keys create NAME`)."
RECENT = dt.timedelta(seconds=10)
"""How far back the watcher looks: changes that committed late are still seen."""


TOKEN = "eyJ"
"""How a JWT begins: the access token of somebody who signed in."""


class SignedTokens(Protocol):
    """What this room needs of sign-in."""

    def principal(self, text: str, resource: str) -> Principal:
        """resource: as in Credentials. Raises Unauthenticated, StoreUnavailable."""
        ...


class _Entry:
    """A key as last read. principal: built for the roles of `roles_version`; None for a key that no longer works."""

    __slots__ = ("changed_at", "checked_at", "expires_at", "key", "principal", "roles_version", "secret_hash")

    def __init__(self, row: Any, checked_at: float) -> None:
        self.key = key = key_of(row)
        self.secret_hash: bytes = row["secret_hash"]
        self.changed_at: dt.datetime = row["changed_at"]
        self.checked_at = checked_at
        self.expires_at = key.expires_at.timestamp() if key.expires_at else float("inf")
        self.principal: Principal | None = None
        self.roles_version: str | None = None


_NOBODY = b"\0" * 32
"""Compared with when no key has the id, so that an unknown id takes the same steps as a wrong secret."""


class Authenticator:
    """authenticate: one caller. run: the background work, for the life of the process. forget: a key was revoked.

    hits, lookups, stale_hits, watch_failures: counters. attempts: wrong keys by address. ended: who may not call any
    more, whatever they hold.
    """

    def __init__(
        self,
        database: Database,
        *,
        pepper: bytes,
        roles: RoleBook,
        clock: Clock,
        settings: IdentitySettings | None = None,
        tokens: SignedTokens | None = None,
    ) -> None:
        """tokens: those of people who signed in; None = there is no sign-in."""
        self._tokens = tokens
        self._database = database
        self._pepper = pepper
        self._roles = roles
        self._clock = clock
        self._settings = settings or IdentitySettings()
        self._help = self._settings.key_help or DEFAULT_HELP
        self._entries: dict[str, _Entry] = {}
        self._lookups: dict[str, asyncio.Task[_Entry | None]] = {}
        self._used: dict[str, float] = {}
        self._changes = 0
        self._watched_at = clock.monotonic()
        self.ended = Ended()
        self.attempts = Attempts(clock, limit=self._settings.failures_per_minute)
        self.hits = 0
        self.lookups = 0
        self.stale_hits = 0
        self.watch_failures = 0

    async def authenticate(self, credentials: Credentials, client: Client) -> Principal:
        """The caller that these credentials belong to.

        Raises:
            Unauthenticated: UNAUTHENTICATED, KEY_EXPIRED or KEY_REVOKED, with a sentence that says how to get a key.
            RateLimited: far too many wrong keys from this address.
            StoreUnavailable: the key is not known here and PostgreSQL does not answer.

        """
        text = credentials.secret
        if text is None or not has_shape(text):
            if text is not None and self._tokens is not None and text.startswith(TOKEN):
                return self.ended.check(self._signed_in(self._tokens, text, credentials.resource, client.ip))
            self._malformed(text, client.ip)
        key_id = key_id_of(text)
        entry = self._entries.get(key_id)
        if entry is None or self._clock.monotonic() - entry.checked_at > self._settings.cache_seconds:
            entry = await self._look_up(text, key_id, client.ip)
        else:
            self.hits += 1
        stored = _NOBODY if entry is None else entry.secret_hash
        if not hmac.compare_digest(stored, hash_of(self._pepper, text)) or entry is None:
            self.attempts.failed(client.ip)
            what = "is not known here" if is_intact(text) else "is damaged: copy it whole"
            raise Unauthenticated(Refusal.UNAUTHENTICATED, f"This key {what}. {self._help}")
        now = self._clock.now()
        if entry.key.revoked_at is not None or entry.expires_at <= now:
            self._ended(entry.key)
        self._used[key_id] = now
        if entry.principal is None or entry.roles_version != self._roles.version:
            return self.ended.check(self._principal(entry))
        return self.ended.check(entry.principal)

    def forget(self, key_id: str) -> None:
        """The key was revoked: the next call reads it again, and answers under way are cut."""
        self.ended.add(key=key_id)
        self._drop(key_id)

    def _drop(self, key_id: str) -> None:
        """The next call reads it again, also when a look-up is under way now."""
        self._changes += 1
        self._entries.pop(key_id, None)

    async def run(self, system: SystemDatabase) -> NoReturn:
        """Look for keys that other processes revoked, and write when keys were used, until cancelled."""
        flushed_at = self._clock.monotonic()
        try:
            while True:
                await asyncio.sleep(self._settings.watch_seconds)
                try:
                    await self.watch(system)
                    if self._clock.monotonic() - flushed_at >= self._settings.flush_seconds:
                        flushed_at = self._clock.monotonic()
                        await self.flush(system)
                except StoreUnavailable:
                    self.watch_failures += 1
        finally:
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(2):
                    await self.flush(system)

    async def watch(self, system: SystemDatabase) -> None:
        """Know who has ended, and forget the keys that changed lately. After a gap in watching, everything is read anew
        when it is used.
        """
        await self.ended.watch(system)
        rows = await system.fetch("SELECT id, changed_at FROM keys WHERE changed_at > now() - $1::interval", RECENT)
        now = self._clock.monotonic()
        if now - self._watched_at > RECENT.total_seconds() / 2:
            self._changes += 1
            for entry in self._entries.values():
                entry.checked_at = min(entry.checked_at, now - self._settings.cache_seconds - 1)
        self._watched_at = now
        for row in rows:
            entry = self._entries.get(row["id"])
            if row["id"] in self._lookups or (entry is not None and entry.changed_at != row["changed_at"]):
                self._drop(row["id"])

    async def flush(self, system: SystemDatabase) -> None:
        """Write `last_used_at` of the keys used since the last time."""
        used, self._used = self._used, {}
        if not used:
            return
        moments = [dt.datetime.fromtimestamp(moment, dt.UTC) for moment in used.values()]
        try:
            await system.execute(
                # Rows that another replica is writing at this moment are left to it: no waiting, no deadlock.
                "UPDATE keys SET last_used_at = greatest(keys.last_used_at, used.moment) FROM ("
                "  SELECT k.id, u.moment FROM unnest($1::text[], $2::timestamptz[]) AS u (id, moment)"
                "  JOIN keys k ON k.id = u.id FOR UPDATE OF k SKIP LOCKED"
                ") AS used WHERE keys.id = used.id",
                list(used),
                moments,
            )
        except StoreUnavailable:
            self._used = used | self._used  # nothing is lost but the write; the next flush has both
            raise

    async def _look_up(self, text: str, key_id: str, ip: str) -> _Entry | None:
        """Read the key; concurrent calls with one id share the read. None = there is no such key."""
        if not is_intact(text):
            return None
        entry = self._entries.get(key_id)
        usable = entry is not None and self._clock.monotonic() - entry.checked_at <= self._settings.outage_seconds
        if usable and not self._database.healthy:  # known to be gone: nobody waits for its time-out
            self.stale_hits += 1
            return entry
        try:
            async with self.attempts.admitted(ip):
                return await asyncio.shield(self._reading(key_id))
        except StoreUnavailable:
            if not usable:
                raise
            self.stale_hits += 1
            return entry

    def _reading(self, key_id: str) -> "asyncio.Task[_Entry | None]":
        task = self._lookups.get(key_id)
        if task is None:
            task = self._lookups[key_id] = asyncio.create_task(self._read(key_id))
            task.add_done_callback(lambda done: self._finished(key_id, done))
        return task

    def _finished(self, key_id: str, task: "asyncio.Task[_Entry | None]") -> None:
        self._lookups.pop(key_id, None)
        if not task.cancelled():
            task.exception()  # seen, also when every caller that waited has gone

    async def _read(self, key_id: str) -> _Entry | None:
        changes = self._changes
        self.lookups += 1
        row: Any = await self._database.fetchrow(PRESENTED, key_id)
        if row is None:
            self._entries.pop(key_id, None)
            return None
        entry = _Entry(row, self._clock.monotonic())
        if self._changes == changes:  # else a revocation overtook this read, and it must not be remembered
            self._entries[key_id] = entry
            if len(self._entries) > self._settings.cached_keys:
                del self._entries[next(iter(self._entries))]
        return entry

    def _principal(self, entry: _Entry) -> Principal:
        entry.roles_version = self._roles.version
        reach = reach_of(entry.key.roles, entry.key.scopes, self._roles)
        entry.principal = principal_of(entry.key, reach)
        return entry.principal

    def _signed_in(self, tokens: SignedTokens, text: str, resource: str, ip: str) -> Principal:
        try:
            return tokens.principal(text, resource)
        except Unauthenticated as error:
            if error.reason is Refusal.UNAUTHENTICATED:
                self.attempts.failed(ip)
            raise

    def _malformed(self, text: str | None, ip: str) -> NoReturn:
        if text is None:
            message = f"No key came with this request (Authorization: Bearer {PREFIX}..., or x-api-key). {self._help}"
            raise Unauthenticated(Refusal.UNAUTHENTICATED, message)
        self.attempts.failed(ip)
        if text.startswith("sk-ant-"):
            message = f"This is a key of Anthropic; the platform takes its own keys ({PREFIX}...). {self._help}"
        elif text.startswith(PREFIX):
            message = f"The key is damaged: copy it whole. {self._help}"
        else:
            message = f"This is not a key of the platform; those begin with {PREFIX}. {self._help}"
        raise Unauthenticated(Refusal.UNAUTHENTICATED, message)

    def _ended(self, key: Key) -> NoReturn:
        """Told only to a caller who knows the secret."""
        if key.revoked_at is not None:
            message = f"The key '{key.name}' was revoked on {key.revoked_at:%Y-%m-%d}. {self._help}"
            raise Unauthenticated(Refusal.KEY_REVOKED, message)
        message = f"The key '{key.name}' expired on {key.expires_at:%Y-%m-%d %H:%M} UTC. {self._help}"
        raise Unauthenticated(Refusal.KEY_EXPIRED, message)
