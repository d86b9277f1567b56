"""Sign-out started by the provider: its word that a person, or one sign-in of theirs, is over.

OpenID Connect Back-Channel Logout 1.0 (a signed token, server to server) and Front-Channel Logout 1.0 (an address in a
frame, which carries no secret but the sign-in's name); what SAML single logout names. Above: signon. Below: provider,
sessions, grants.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from ai_platform.domain.clock import Clock
from ai_platform.domain.principal import HOME
from ai_platform.sso.grants import Grants
from ai_platform.sso.idtoken import OLDEST, refused
from ai_platform.sso.logout_token import named_in
from ai_platform.sso.people import People
from ai_platform.sso.provider import Provider
from ai_platform.sso.rows import moment
from ai_platform.sso.sessions import Sessions
from ai_platform.sso.tokens import AccessTokens
from ai_platform.stores.postgres import Database

WHY = "signed out at the identity provider"


class Logouts:
    """back_channel, front_channel: how many sessions and programs ended."""

    def __init__(
        self,
        providers: dict[str, Provider],
        database: Database,
        *,
        people: People,
        sessions: Sessions,
        grants: Grants,
        tokens: AccessTokens,
        clock: Clock,
    ) -> None:
        self._providers = providers
        self._database = database
        self._people = people
        self._sessions = sessions
        self._grants = grants
        self._tokens = tokens
        self._clock = clock

    async def back_channel(self, provider: str, token: str) -> int:
        """Raises Unauthenticated: not a logout token of this provider for us, or it came before; UpstreamError."""
        one = self._providers[provider]
        claims = await one.checked_logout(token)
        subject, sid = named_in(claims)
        await self._use_up(one.settings.tenant or HOME, provider, claims)
        if sid is not None:
            return await self._end_sign_in(provider, sid, subject)
        return await self._end_person(provider, subject or "")

    async def front_channel(self, provider: str, issuer: str, sid: str) -> int:
        """Raises Unauthenticated: it names another issuer, or no sign-in."""
        if issuer != self._providers[provider].settings.issuer:
            raise refused("another issuer sent it")
        if not 0 < len(sid) <= 255:
            raise refused("it names no sign-in")
        return await self._end_sign_in(provider, sid, None)

    async def by_name(self, provider: str, sessions: Sequence[str], subject: str | None) -> int:
        """Those sign-ins of the provider, or without one everything of the person there; its word was checked."""
        if not sessions:
            return await self._end_person(provider, subject or "")
        return sum([await self._end_sign_in(provider, session, subject) for session in sessions])

    async def _end_sign_in(self, provider: str, sid: str, subject: str | None) -> int:
        sessions = await self._sessions.end_sign_in(provider, sid, subject)
        ended = await self._grants.revoke_sign_in(provider, sid, subject, WHY)
        return sessions + self._revoke(ended)

    async def _end_person(self, provider: str, subject: str) -> int:
        found = await self._people.find(provider, subject)
        if found is None:
            return 0
        principal, tenant = found
        sessions = await self._sessions.end_all(principal, tenant=tenant, provider=provider)
        return sessions + self._revoke(await self._grants.revoke_all(principal, WHY, tenant=tenant, provider=provider))

    def _revoke(self, grants: list[str]) -> int:
        for grant in grants:
            self._tokens.revoke(grant)
        return len(grants)

    async def _use_up(self, tenant: str, provider: str, claims: dict[str, Any]) -> None:
        """The same token twice is a replay: it would end a sign-in that began after it."""
        used = await self._database.within(tenant).fetchval(
            "INSERT INTO sso_assertions (assertion_hash, expires_at) VALUES ($1, $2)"
            " ON CONFLICT DO NOTHING RETURNING true",
            hashlib.sha256(f"logout\n{provider}\n{claims['jti']}".encode("utf-8", "replace")).digest(),
            moment(self._clock.now() + 3 * OLDEST),
        )
        if not used:
            raise refused("it was used already")
