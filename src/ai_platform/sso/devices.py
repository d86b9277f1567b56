"""Device authorisation (RFC 8628): a program shows a code, a signed-in person approves it in a browser.

Both codes are kept as keyed hashes; a device code is good for one token. Above: signon. Below: stores.
"""

import hmac
import secrets
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.sso.people import Account
from ai_platform.sso.rows import moment
from ai_platform.sso.settings import TokenSettings
from ai_platform.stores.postgres import Database, Duplicate, SystemDatabase

ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
"""RFC 8628 section 6.1: twenty letters that make no words and are not mistaken for one another."""
CODE_LENGTH = 8
SLOWER = 5
TOLERANCE = 1.0


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: what it said of itself, and where it is. All of it is unverified."""

    surface: str = ""
    user_agent: str = ""
    ip: str = ""


class Codes(NamedTuple):
    device_code: str
    user_code: str


class Poll(StrEnum):
    """The `error` of RFC 8628 section 3.5. A code that is used up or not known is one that has expired: of the words
    of the protocol this is what has a client stop and say so.
    """

    PENDING = "authorization_pending"
    SLOW_DOWN = "slow_down"
    DENIED = "access_denied"
    EXPIRED = "expired_token"


class Approved(NamedTuple):
    """provider_token: the sealed refresh token of the provider, None without one."""

    account: Account
    request: Request
    provider_token: str | None


class Devices:
    def __init__(self, database: Database, *, pepper: bytes, clock: Clock, settings: TokenSettings) -> None:
        self._database = database
        self._pepper = pepper
        self._clock = clock
        self._settings = settings

    async def begin(self, request: Request) -> Codes:
        while True:
            codes = Codes(secrets.token_urlsafe(32), "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH)))
            now = self._clock.now()
            device_hash = self._hash("device", codes.device_code)
            try:
                await self._database.presenting(device_hash).execute(
                    "INSERT INTO sso_devices (device_hash, user_hash, request, created_at, expires_at, interval)"
                    " VALUES ($1, $2, $3, $4, $5, $6)",
                    device_hash,
                    self._hash("user", codes.user_code),
                    msgspec.to_builtins(request),
                    moment(now),
                    moment(now + self._settings.device_seconds),
                    self._settings.device_interval,
                )
            except Duplicate:
                continue
            return Codes(codes.device_code, f"{codes.user_code[:4]}-{codes.user_code[4:]}")

    async def look(self, user_code: str) -> Request | None:
        """What waits for approval under this code."""
        user_hash = self._hash("user", plain(user_code))
        row: Any = await self._database.presenting(user_hash).fetchrow(
            "SELECT request FROM sso_devices WHERE user_hash = $1 AND decided_at IS NULL AND expires_at > $2",
            user_hash,
            moment(self._clock.now()),
        )
        return msgspec.convert(row["request"], Request) if row else None

    async def decide(
        self, user_code: str, account: Account, *, approve: bool, provider_token: str | None = None
    ) -> Request | None:
        """Once. None: nothing waits under this code (any more)."""
        user_hash = self._hash("user", plain(user_code))
        row: Any = await self._database.presenting(user_hash).fetchrow(
            "UPDATE sso_devices SET decided_at = $2, approved = $3, account = $4, provider_token = $5"
            " WHERE user_hash = $1 AND decided_at IS NULL AND expires_at > $2 RETURNING request",
            user_hash,
            moment(self._clock.now()),
            approve,
            msgspec.to_builtins(account),
            provider_token if approve else None,
        )
        return msgspec.convert(row["request"], Request) if row else None

    async def poll(self, device_code: str) -> Poll | Approved:
        """Approved: this once; the code is used up by it."""
        now = self._clock.now()
        device_hash = self._hash("device", device_code)
        async with self._database.presenting(device_hash).transaction() as connection:
            row = await connection.fetchrow("SELECT * FROM sso_devices WHERE device_hash = $1 FOR UPDATE", device_hash)
            if row is None or row["used_at"] is not None or row["expires_at"].timestamp() <= now:
                return Poll.EXPIRED
            if row["decided_at"] is not None and not row["approved"]:
                return Poll.DENIED
            if row["decided_at"] is not None:
                await connection.execute(
                    "UPDATE sso_devices SET used_at = $2, provider_token = NULL WHERE device_hash = $1",
                    row["device_hash"],
                    moment(now),
                )
                account = msgspec.convert(row["account"], Account)
                return Approved(account, msgspec.convert(row["request"], Request), row["provider_token"])
            polled = row["polled_at"]
            hasty = polled is not None and now - polled.timestamp() < row["interval"] - TOLERANCE
            await connection.execute(
                "UPDATE sso_devices SET polled_at = $2, interval = $3 WHERE device_hash = $1",
                row["device_hash"],
                moment(now),
                row["interval"] + (SLOWER if hasty else 0),
            )
            return Poll.SLOW_DOWN if hasty else Poll.PENDING

    async def sweep(self, system: SystemDatabase) -> None:
        """Forget those that expired a day ago."""
        await system.execute("DELETE FROM sso_devices WHERE expires_at < $1", moment(self._clock.now() - 86400))

    def _hash(self, kind: str, code: str) -> bytes:
        return hmac.digest(self._pepper, f"{kind}:{code}".encode("utf-8", "replace"), "sha256")


def plain(user_code: str) -> str:
    """As people type it: any case, with or without the dash or spaces."""
    return "".join(letter for letter in user_code.upper() if letter in ALPHABET)[: CODE_LENGTH + 1]
