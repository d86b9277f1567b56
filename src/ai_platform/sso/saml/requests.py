"""Requests under way and assertions seen: each request is answered once, each assertion is taken once.

Above: flow. Below: stores.
"""

import hashlib
import hmac
import secrets
from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.sso.mapping import Person
from ai_platform.sso.rows import moment
from ai_platform.sso.saml.outgoing import LogoutName
from ai_platform.stores.postgres import Database, SystemDatabase

REQUEST_SECONDS = 600.0
TICKET_SECONDS = 120.0


class Requests:
    def __init__(self, database: Database, *, pepper: bytes, clock: Clock) -> None:
        self._database = database
        self._pepper = pepper
        self._clock = clock

    async def begin(self, provider: str, *, answered: bool = False) -> str:
        """A new request's identifier. answered: nobody asked, and the answer has come already."""
        identifier = "_" + secrets.token_urlsafe(32)
        now = self._clock.now()
        id_hash = self._hash("request", identifier)
        await self._database.presenting(id_hash).execute(
            "INSERT INTO saml_requests (id_hash, provider, expires_at, used_at) VALUES ($1, $2, $3, $4)",
            id_hash,
            provider,
            moment(now + REQUEST_SECONDS),
            moment(now) if answered else None,
        )
        return identifier

    async def use(self, identifier: str, provider: str) -> bool:
        """Whether this request is waiting for its answer; from now on it is not."""
        id_hash = self._hash("request", identifier)
        tag = await self._database.presenting(id_hash).execute(
            "UPDATE saml_requests SET used_at = $3"
            " WHERE id_hash = $1 AND provider = $2 AND used_at IS NULL AND expires_at > $3",
            id_hash,
            provider,
            moment(self._clock.now()),
        )
        return tag == "UPDATE 1"

    async def first_time(self, provider: str, assertion: str, *, tenant: str, until: float) -> bool:
        """Whether this assertion was not taken before. until: epoch seconds up to which it must be remembered."""
        return bool(
            await self._database.within(tenant).fetchval(
                "INSERT INTO sso_assertions (assertion_hash, expires_at) VALUES ($1, $2)"
                " ON CONFLICT DO NOTHING RETURNING true",
                hashlib.sha256(f"saml\n{provider}\n{assertion}".encode("utf-8", "replace")).digest(),
                moment(until),
            )
        )

    async def arrived(self, identifier: str, person: Person, name: LogoutName) -> str:
        """The ticket that the browser which brought the answer carries on. name: theirs at the provider."""
        ticket = secrets.token_urlsafe(32)
        id_hash = self._hash("request", identifier)
        await self._database.presenting(id_hash).execute(
            "UPDATE saml_requests SET ticket_hash = $2, person = $3, expires_at = $4 WHERE id_hash = $1",
            id_hash,
            self._hash("ticket", ticket),
            msgspec.to_builtins(person) | {"logout": msgspec.to_builtins(name)},
            moment(self._clock.now() + TICKET_SECONDS),
        )
        return ticket

    async def finish(self, identifier: str, ticket: str) -> tuple[Person, LogoutName | None] | None:
        """Who the answer is about, once, for whoever has both; and their name at the provider."""
        id_hash = self._hash("request", identifier)
        row: Any = await self._database.presenting(id_hash).fetchrow(
            "UPDATE saml_requests SET finished_at = $3 WHERE id_hash = $1 AND ticket_hash = $2 AND expires_at > $3"
            " AND finished_at IS NULL RETURNING person",
            id_hash,
            self._hash("ticket", ticket),
            moment(self._clock.now()),
        )
        if row is None:
            return None
        return msgspec.convert(row["person"], Person), msgspec.convert(row["person"].get("logout"), LogoutName | None)

    async def sweep(self, system: SystemDatabase) -> None:
        """Forget those that can be answered no more; assertions are forgotten with the exchanged tokens."""
        await system.execute("DELETE FROM saml_requests WHERE expires_at < $1", moment(self._clock.now()))

    def _hash(self, kind: str, text: str) -> bytes:
        return hmac.digest(self._pepper, f"{kind}:{text}".encode("utf-8", "replace"), "sha256")
