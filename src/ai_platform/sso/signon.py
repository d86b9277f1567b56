"""Signing in, from the redirect to the provider to the last refresh: the room's one front door.

It speaks no HTTP to callers (entrypoints/signin does) and decides no permission (policy does).
Above: entrypoints, bootstrap. Below: the other modules of this room, identity, stores.
"""

import asyncio
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import ConfigError, Denied, StoreUnavailable, Unauthenticated, UpstreamError
from ai_platform.identity.scopes import RoleBook
from ai_platform.sso.devices import Approved, Devices, Poll
from ai_platform.sso.federation import Federation
from ai_platform.sso.grants import Ended, Grant, Grants, Refreshed, id_in
from ai_platform.sso.idtoken import refused
from ai_platform.sso.mapping import Person, Said, person_of, said_by_claims
from ai_platform.sso.people import Account, People
from ai_platform.sso.provider import Provider, Told
from ai_platform.sso.rules import Rules
from ai_platform.sso.seal import Seal
from ai_platform.sso.sessions import Sessions
from ai_platform.sso.settings import IdentityProvider, ProviderSettings, SsoSettings
from ai_platform.sso.tokens import AccessTokens
from ai_platform.stores.postgres import Database, SystemDatabase

LOGIN_SECONDS = 600.0
WATCH_SECONDS = 1.0
SWEEP_SECONDS = 300.0
PROVIDER_TOKEN = "provider refresh token"


class Keys(NamedTuple):
    """Independent 32-byte secrets. pepper: of stored hashes. seal: of encrypted texts. sign: of access tokens."""

    pepper: bytes
    seal: bytes
    sign: bytes


class Leaving(NamedTuple):
    """Where the browser is sent, and the cookie that must come back with it."""

    url: str
    cookie_name: str
    cookie: str


class SignedIn(NamedTuple):
    account: Account
    cookie: str
    return_to: str


class Tokens(NamedTuple):
    """expires_in: seconds."""

    account: Account
    grant: str
    access_token: str
    refresh_token: str
    expires_in: int


class _Login(msgspec.Struct, frozen=True):
    provider: str
    state: str
    nonce: str
    verifier: str
    return_to: str
    until: float


class SignOn:
    """url: the platform's own address. watch_failures: looks for revocations that PostgreSQL did not answer."""

    def __init__(
        self,
        settings: SsoSettings,
        database: Database,
        *,
        keys: Keys,
        url: str,
        roles: RoleBook,
        clock: Clock,
        environ: Mapping[str, str],
    ) -> None:
        """Raises ConfigError: a provider's secret is not there, or a group gives a role that does not exist."""
        self.settings = settings
        self.url = url.rstrip("/")
        self._clock = clock
        self._seal = Seal(keys.seal)
        self.rules = Rules(settings, roles)
        self.providers = {each.name: _provider(each, settings, environ, clock) for each in settings.providers}
        self.people = People(database, clock, contact=settings.contact)
        self.sessions = Sessions(database, pepper=keys.pepper, clock=clock, settings=settings.sessions)
        self.devices = Devices(database, pepper=keys.pepper, clock=clock, settings=settings.tokens)
        self.grants = Grants(database, pepper=keys.pepper, clock=clock, settings=settings.tokens)
        self.tokens = AccessTokens(
            key=keys.sign,
            issuer=self.url,
            clock=clock,
            roles=roles,
            seconds=settings.tokens.access_seconds,
            grants=self.grants,
            longest=max((one.access_seconds for each in settings.federation for one in each.accounts), default=0.0),
        )
        self.federation = Federation(
            settings, database, grants=self.grants, tokens=self.tokens, url=self.url, roles=roles, clock=clock
        )
        self._named = tuple({group for each in settings.managed for group in each.groups})
        self.watch_failures = 0

    async def close(self) -> None:
        for provider in self.providers.values():
            await provider.close()
        await self.federation.close()

    async def run(self, system: SystemDatabase) -> NoReturn:
        """Look for revocations, and forget what is long over, until cancelled."""
        swept_at = self._clock.monotonic()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await self.tokens.watch(system)
                if self._clock.monotonic() - swept_at >= SWEEP_SECONDS:
                    swept_at = self._clock.monotonic()
                    for store in (self.sessions, self.devices, self.grants, self.federation):
                        await store.sweep(system)
            except StoreUnavailable:
                self.watch_failures += 1

    def redirect_uri(self, provider: str) -> str:
        return f"{self.url}/auth/callback/{provider}"

    async def leave(self, provider: str, return_to: str) -> Leaving:
        """Begin a sign-in. Raises UpstreamError: the provider does not answer."""
        login = _Login(
            provider=provider,
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            return_to=return_to,
            until=self._clock.now() + LOGIN_SECONDS,
        )
        url = await self.providers[provider].authorization_url(
            redirect_uri=self.redirect_uri(provider), state=login.state, nonce=login.nonce, verifier=login.verifier
        )
        return Leaving(url, login_cookie(login.state), self._seal.close(msgspec.json.encode(login), "login"))

    async def arrive(
        self, provider: str, query: Mapping[str, str], cookie: str | None, *, before: str | None
    ) -> SignedIn:
        """Finish a sign-in. cookie: the one `leave` gave to this browser. before: its session's, which ends.

        Raises:
            Unauthenticated: the answer was not asked for by this browser, or does not check out.
            Denied: they may not be here.
            UpstreamError: the provider does not answer.

        """
        opened = self._seal.open(cookie, "login") if cookie else None
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
        account = await self._account(provider, told)
        session = await self.sessions.begin(account, replaces=before, provider_token=self._sealed(told.refresh_token))
        return SignedIn(account, session, login.return_to)

    async def poll(self, device_code: str) -> Tokens | Poll:
        outcome = await self.devices.poll(device_code)
        if not isinstance(outcome, Approved):
            return outcome
        begun = await self.grants.begin(outcome.account, outcome.request, provider_token=outcome.provider_token)
        return self._tokens(begun)

    async def refresh(self, text: str) -> Tokens | Ended:
        """Exchange a refresh token, after asking the provider about the person where it gave a token for that.

        Raises:
            UpstreamError: the provider has not answered for too long.

        """
        grant = await self.grants.look(text)
        if isinstance(grant, Grant) and not await self._still_there(grant):
            await self.end(grant.id, "the provider does not let them in any more")
            return Ended.REVOKED
        refreshed = await self.grants.rotate(text) if isinstance(grant, Grant) else grant
        if isinstance(refreshed, Refreshed):
            return self._tokens(refreshed)
        if refreshed is Ended.REUSED and (family := id_in(text)):
            self.tokens.revoke(family)
        return refreshed

    async def end(self, grant: str, why: str) -> bool:
        """One program's sign-in: at once here, within seconds on other replicas."""
        self.tokens.revoke(grant)
        return await self.grants.revoke(grant, why)

    async def end_all(self, principal: str, why: str, *, tenant: str) -> int:
        """Every session and every program of a person. How many programs."""
        await self.sessions.end_all(principal, tenant=tenant)
        ended = await self.grants.revoke_all(principal, why, tenant=tenant)
        for grant in ended:
            self.tokens.revoke(grant)
        return len(ended)

    async def hand_in(self, text: str) -> str | None:
        """A program signs out with its access or refresh token (RFC 7009). The principal, None = nothing ended."""
        grant = await self.grants.look(text)
        if isinstance(grant, Grant):
            return grant.account.id if await self.end(grant.id, "signed out") else None
        try:
            claims = self.tokens.verify(text)
        except Unauthenticated:
            return None
        return claims.sub if await self.end(claims.gid, "signed out") else None

    async def _still_there(self, grant: Grant) -> bool:
        """Fails open while the provider is away for less than `outage_seconds`, closed after that."""
        opened = self._seal.open(grant.provider_token, PROVIDER_TOKEN) if grant.provider_token else None
        provider = self.providers.get(grant.account.provider)
        if provider is None:
            return False  # it was taken out of the configuration
        if opened is None or not await self.grants.claim_check(grant):
            return True
        account = fresh = None
        try:
            told = await provider.renew(opened.decode())
            if told.claims.get("sub") != grant.account.subject:
                return False
            account = await self._account(grant.account.provider, told)
            fresh = self._sealed(told.refresh_token) or grant.provider_token
        except (Unauthenticated, Denied):
            return False
        except UpstreamError:
            if self._clock.now() - grant.checked_at > self.settings.tokens.outage_seconds:
                raise
        finally:
            await self.grants.checked(grant, account, fresh)
        return True

    async def _account(self, provider: str, told: Told) -> Account:
        settings = self.providers[provider].settings
        return await self.people.account_of(await self._person(settings, said_by_claims(told.claims, settings.claims)))

    async def _person(self, provider: IdentityProvider, said: Said) -> Person:
        rules = await self.rules.of(provider)
        return person_of(said, provider, rules, contact=self.settings.contact, named=self._named)

    def _sealed(self, token: str | None) -> str | None:
        return None if token is None else self._seal.close(token.encode(), PROVIDER_TOKEN)

    def _tokens(self, refreshed: Refreshed) -> Tokens:
        grant = refreshed.grant
        access = self.tokens.mint(grant.id, grant.account)
        return Tokens(grant.account, grant.id, access, refreshed.refresh_token, self.tokens.seconds)


def login_cookie(state: str) -> str:
    """The name of a sign-in's cookie: one each, so that two tabs do not disturb one another."""
    return f"aip-login-{''.join(letter for letter in state[:8] if letter.isalnum() or letter in '-_')}"


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
