"""Signing in at OpenID providers, from the redirect to the person: code flow with PKCE, bound to this browser.

Above: signon. Below: provider, seal.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import ConfigError
from ai_platform.sso.idtoken import refused
from ai_platform.sso.mapping import Person, Said, said_by_claims
from ai_platform.sso.provider import Provider, Told
from ai_platform.sso.seal import Seal
from ai_platform.sso.settings import IdentityProvider, ProviderSettings, SsoSettings

LOGIN_SECONDS = 600.0
PURPOSE = "login"


class Started(NamedTuple):
    """Where the browser is sent; mark: names the cookie that must come back."""

    url: str
    mark: str
    cookie: str


class Returned(NamedTuple):
    """refresh_token, id_token: of the provider, None without one."""

    person: Person
    return_to: str
    refresh_token: str | None
    id_token: str | None


class _Login(msgspec.Struct, frozen=True):
    provider: str
    state: str
    nonce: str
    verifier: str
    return_to: str
    until: float


class OidcFlow:
    """person: maps what a provider says to somebody who may be here; raises Denied."""

    def __init__(
        self,
        settings: SsoSettings,
        *,
        url: str,
        seal: Seal,
        clock: Clock,
        environ: Mapping[str, str],
        person: Callable[[IdentityProvider, Said], Awaitable[Person]],
    ) -> None:
        """Raises ConfigError: a provider's secret is not there."""
        self.providers = {each.name: _provider(each, settings, environ, clock) for each in settings.providers}
        self._url = url
        self._seal = seal
        self._clock = clock
        self._person = person

    async def close(self) -> None:
        for provider in self.providers.values():
            await provider.close()

    def redirect_uri(self, provider: str) -> str:
        return f"{self._url}/auth/callback/{provider}"

    async def begin(self, provider: str, return_to: str, hint: str = "") -> Started:
        """hint: the person's address, for the provider's page. Raises UpstreamError: the provider does not answer."""
        login = _Login(
            provider=provider,
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            return_to=return_to,
            until=self._clock.now() + LOGIN_SECONDS,
        )
        url = await self.providers[provider].authorization_url(
            redirect_uri=self.redirect_uri(provider),
            state=login.state,
            nonce=login.nonce,
            verifier=login.verifier,
            hint=hint,
        )
        return Started(url, login.state[:8], self._seal.close(msgspec.json.encode(login), PURPOSE))

    async def finish(self, provider: str, query: Mapping[str, str], cookie: str | None) -> Returned:
        """cookie: the one `begin` gave to this browser.

        Raises:
            Unauthenticated: the answer was not asked for by this browser, or does not check out.
            Denied: they may not be here.
            UpstreamError: the provider does not answer.

        """
        opened = self._seal.open(cookie, PURPOSE) if cookie else None
        login = msgspec.json.decode(opened, type=_Login) if opened else None
        state = query.get("state", "")
        if (
            login is None
            or login.provider != provider
            or login.until <= self._clock.now()
            or not hmac.compare_digest(login.state.encode(), state.encode("utf-8", "replace"))
        ):
            raise refused("this browser did not ask for it, or asked too long ago")
        if "error" in query:
            raise refused(f"it says {query['error'][:60]!r}")
        told = await self.providers[provider].exchange(
            query.get("code", ""),
            redirect_uri=self.redirect_uri(provider),
            nonce=login.nonce,
            verifier=login.verifier,
            issuer=query.get("iss"),
        )
        person = await self.person(provider, told)
        sid = told.claims.get("sid")
        if isinstance(sid, str) and 0 < len(sid) <= 255:
            person = msgspec.structs.replace(person, sid=sid)
        return Returned(person, login.return_to, told.refresh_token, told.id_token)

    async def person(self, provider: str, told: Told) -> Person:
        """Raises Denied."""
        settings = self.providers[provider].settings
        return await self._person(settings, said_by_claims(told.claims, settings.claims))


def _provider(settings: ProviderSettings, room: SsoSettings, environ: Mapping[str, str], clock: Clock) -> Provider:
    secret: str | None = None
    if settings.client_secret_env:
        secret = environ.get(settings.client_secret_env)
        if not secret:
            message = (
                f"sso.providers '{settings.name}' reads its secret from {settings.client_secret_env}, which is empty."
            )
            raise ConfigError(message)
    elif settings.client_secret_file:
        secret = _read(settings.client_secret_file, settings.name)
    return Provider(settings, secret=secret, clock=clock, skew=room.clock_skew_seconds, seconds=room.fetch_seconds)


def _read(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        message = f"The secret of sso.providers '{name}' cannot be read from {path}: {error.strerror}."
        raise ConfigError(message) from error
