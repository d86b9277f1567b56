"""Signing in, from the redirect to the provider to the last refresh: the room's one front door.

It speaks no HTTP to callers (entrypoints/signin does) and decides no permission (policy does).
Above: entrypoints, bootstrap. Below: the other modules of this room, identity, stores.
"""

import asyncio
import hmac
from collections.abc import Mapping
from typing import NamedTuple, NoReturn
from urllib.parse import urlsplit

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import Denied, StoreUnavailable, Unauthenticated, UpstreamError
from ai_platform.identity.scopes import RoleBook
from ai_platform.sso.breakglass import BreakGlass
from ai_platform.sso.breakglass.emergency import PROVIDER
from ai_platform.sso.devices import Approved, Devices, Poll, Request
from ai_platform.sso.federation import Federation
from ai_platform.sso.grants import Ended, ForClient, Grant, Grants, Refreshed, id_in
from ai_platform.sso.logout import Logouts
from ai_platform.sso.mapping import Person, Said, person_of
from ai_platform.sso.oauth.asked import narrowing
from ai_platform.sso.oauth.codes import Spoilt, Used
from ai_platform.sso.oauth.server import AuthorizationServer, CodeExchange
from ai_platform.sso.oidc import OidcFlow, Started
from ai_platform.sso.people import Account, People
from ai_platform.sso.provisioned import Provisioned, with_provisioned
from ai_platform.sso.rules import Rules
from ai_platform.sso.saml import Reading, SamlFlow
from ai_platform.sso.saml.flow import providers_of
from ai_platform.sso.saml.keys import OwnKeys
from ai_platform.sso.saml.outgoing import LogoutName
from ai_platform.sso.saml.requests import Requests
from ai_platform.sso.seal import Seal
from ai_platform.sso.sessions import Sessions
from ai_platform.sso.settings import IdentityProvider, SsoSettings
from ai_platform.sso.swept import Swept
from ai_platform.sso.tokens import AccessTokens
from ai_platform.stores.postgres import Database, SystemDatabase

WATCH_SECONDS = 1.0
SWEEP_SECONDS = 300.0
PROVIDER_TOKEN = "provider refresh token"
ID_TOKEN = "provider id token"
NAME_THERE = "saml name"
SIGNED_OUT = "/auth/signed-out"
"""Where a provider may lead back to after signing out there."""


class Keys(NamedTuple):
    """Independent 32-byte secrets. pepper: of stored hashes. seal: of encrypted texts. sign: of access tokens."""

    pepper: bytes
    seal: bytes
    sign: bytes


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
    client: ForClient | None = None


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
        reading: Reading | None = None,
        emergency: BreakGlass | None = None,
        provisioned: Provisioned | None = None,
    ) -> None:
        """reading: of SAML messages, None without the extra. emergency: local administrators, None = switched off.
        provisioned: groups beside those that providers tell.

        Raises ConfigError: a provider's secret or that extra is not there, or a group gives a role that does not exist.
        """
        self.settings = settings
        self.url = url.rstrip("/")
        self._clock = clock
        self._seal = Seal(keys.seal)
        self.rules = Rules(settings, roles)
        self.oidc = OidcFlow(settings, url=self.url, seal=self._seal, clock=clock, environ=environ, person=self._person)
        own_keys = OwnKeys(database, self._seal, clock, name=urlsplit(self.url).hostname or "ai-platform")
        self.saml = SamlFlow(
            providers_of(settings, reading, own_keys, clock=clock, url=self.url),
            requests=Requests(database, pepper=keys.pepper, clock=clock),
            keys=own_keys,
            seal=self._seal,
            clock=clock,
            person=self._person,
        )
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
        self.logouts = Logouts(
            self.oidc.providers,
            database,
            people=self.people,
            sessions=self.sessions,
            grants=self.grants,
            tokens=self.tokens,
            clock=clock,
        )
        self.oauth = AuthorizationServer(
            settings.oauth,
            database,
            grants=self.grants,
            pepper=keys.pepper,
            seal=self._seal,
            url=self.url,
            clock=clock,
            seconds=settings.fetch_seconds,
        )
        self._provisioned = provisioned
        self._named = tuple({group for each in settings.managed for group in each.groups})
        self.emergency = emergency
        self._swept: tuple[Swept, ...] = (
            *(self.sessions, self.devices, self.grants, self.saml, self.federation, self.oauth.codes),
            *((emergency,) if emergency else ()),
        )
        self.watch_failures = 0

    @property
    def takes_people(self) -> bool:
        """Whether there is somewhere to sign in with a browser; else it is for service accounts only."""
        return bool(self.settings.everyone) or self.emergency is not None

    async def close(self) -> None:
        await self.oidc.close()
        await self.saml.close()
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
                    for store in self._swept:
                        await store.sweep(system)
            except StoreUnavailable:
                self.watch_failures += 1

    async def begin(self, provider: str, return_to: str, *, hint: str = "") -> Started:
        """Where to go to sign in, with OpenID or SAML. hint: the address that the person gave, "" = none.

        Raises UpstreamError: the provider does not answer.
        """
        if provider in self.saml.providers:
            return await self.saml.begin(provider, return_to)
        return await self.oidc.begin(provider, return_to, hint)

    async def arrive(
        self, provider: str, query: Mapping[str, str], cookie: str | None, *, before: str | None
    ) -> SignedIn:
        """Back from an OpenID provider. cookie: of the sign-in. before: the browser's session, which ends.

        Raises:
            Unauthenticated: the answer was not asked for by this browser, or does not check out.
            Denied: they may not be here.
            UpstreamError: the provider does not answer.

        """
        done = await self.oidc.finish(provider, query, cookie)
        return await self._enter(
            done.person,
            done.return_to,
            before,
            provider_token=self._sealed(done.refresh_token),
            id_token=self._seal.close(done.id_token.encode(), ID_TOKEN) if done.id_token else None,
        )

    async def finish_saml(self, cookie: str | None, ticket: str, *, before: str | None) -> SignedIn:
        """The second half of a sign-in by SAML; `saml.arrive` is the first. Raises Unauthenticated, Denied."""
        person, return_to, name = await self.saml.finish(cookie, ticket)
        sealed = self._seal.close(msgspec.json.encode(name), NAME_THERE) if name else None
        return await self._enter(person, return_to, before, id_token=sealed)

    async def poll(self, device_code: str) -> Tokens | Poll:
        outcome = await self.devices.poll(device_code)
        if not isinstance(outcome, Approved):
            return outcome
        try:
            begun = await self.grants.begin(outcome.account, outcome.request, provider_token=outcome.provider_token)
        except Denied:
            return Poll.DENIED
        return self._tokens(begun)

    async def redeem(self, wanted: CodeExchange, request: Request) -> Tokens | Used | Spoilt:
        """Exchange an authorisation code. One that comes again ends what it was exchanged for."""
        outcome = await self.oauth.exchange(wanted, request)
        if isinstance(outcome, Used) and outcome.grant is not None:
            await self.end(outcome.grant, "its authorisation code came again")
        return self._tokens(outcome) if isinstance(outcome, Refreshed) else outcome

    async def refresh(self, text: str, *, client_id: str = "", resource: str | None = None) -> Tokens | Ended:
        """Exchange a refresh token, after asking the provider about the person where it gave a token for that.

        client_id: who says to hold it. resource: the path of what the access token is wanted for, None = nothing said;
        a client's tokens are for one, a person's own program may have one for each.

        Raises:
            UpstreamError: the provider has not answered for too long.

        """
        grant = await self.grants.look(text)
        if isinstance(grant, Grant) and not _is_theirs(grant, client_id, resource):
            return Ended.OTHERS
        if isinstance(grant, Grant) and not await self._still_there(grant):
            await self.end(grant.id, "the provider does not let them in any more")
            return Ended.REVOKED
        refreshed = await self.grants.rotate(text) if isinstance(grant, Grant) else grant
        if isinstance(refreshed, Refreshed):
            return self._tokens(refreshed, resource or "")
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

    async def sign_out_url(self, provider: str, cookie: str) -> str | None:
        """Where this session's person signs out at the provider too; asked before the session ends.

        None: the provider has no such page, is not set to be signed out of, or does not answer.
        """
        settings = next((each for each in self.settings.everyone if each.name == provider), None)
        if settings is None or not settings.sign_out:
            return None
        sealed = await self.sessions.id_token(cookie)
        try:
            if provider in self.saml.providers:
                name = self._seal.open(sealed, NAME_THERE) if sealed else None
                return (
                    await self.saml.logout.begin(provider, msgspec.json.decode(name, type=LogoutName)) if name else None
                )
            opened = self._seal.open(sealed, ID_TOKEN) if sealed else None
            one = self.oidc.providers[provider]
            return await one.sign_out_url(opened.decode() if opened else None, back=self.url + SIGNED_OUT)
        except UpstreamError:
            return None

    async def hand_in(self, text: str, *, everywhere: bool = False) -> Account | None:
        """A program signs out with its access or refresh token (RFC 7009). Whose it was, None = nothing ended.

        everywhere: with a refresh token that is still good, everything of this person ends.
        """
        grant = await self.grants.look(text)
        if isinstance(grant, Grant):
            if everywhere:
                await self.end_all(grant.account.id, "signed out everywhere", tenant=grant.account.tenant)
                return grant.account
            return grant.account if await self.end(grant.id, "signed out") else None
        try:
            claims = self.tokens.verify(text)
        except Unauthenticated:
            return None
        if not await self.end(claims.gid, "signed out"):
            return None
        return Account(id=claims.sub, name=claims.name, provider="", subject="", tenant=claims.tenant)

    async def _still_there(self, grant: Grant) -> bool:
        """Fails open while the provider is away for less than `outage_seconds`, closed after that."""
        opened = self._seal.open(grant.provider_token, PROVIDER_TOKEN) if grant.provider_token else None
        name = grant.account.provider
        if name == PROVIDER and self.emergency is not None:
            return await self.emergency.is_there(grant.account.subject)
        if name in self.saml.providers:
            return True  # SAML has no way to ask; the sign-in ends at its time
        provider = self.oidc.providers.get(name)
        if provider is None:
            return False  # it was taken out of the configuration
        if opened is None or not await self.grants.claim_check(grant):
            return True
        account = fresh = None
        try:
            told = await provider.renew(opened.decode())
            if told.claims.get("sub") != grant.account.subject:
                return False
            person = await self.oidc.person(name, told)
            account = await self.people.account_of(
                msgspec.structs.replace(person, sid=grant.account.sid, until=grant.account.until)
            )
            fresh = self._sealed(told.refresh_token) or grant.provider_token
        except (Unauthenticated, Denied):
            return False
        except UpstreamError:
            if self._clock.now() - grant.checked_at > self.settings.tokens.outage_seconds:
                raise
        finally:
            await self.grants.checked(grant, account, fresh)
        return True

    async def enter_local(self, account: Account, return_to: str, *, before: str | None) -> SignedIn:
        """A local administrator, whom `emergency` has let in."""
        return SignedIn(account, await self.sessions.begin(account, replaces=before), return_to)

    async def _enter(self, person: Person, return_to: str, before: str | None, **kept: str | None) -> SignedIn:
        """kept: tokens of the provider, sealed, for the session."""
        account = await self.people.account_of(person)
        return SignedIn(account, await self.sessions.begin(account, replaces=before, **kept), return_to)

    async def _person(self, provider: IdentityProvider, said: Said) -> Person:
        rules = await self.rules.of(provider)
        said = await with_provisioned(said, provider, self._provisioned)
        return person_of(said, provider, rules, contact=self.settings.contact, named=self._named)

    def _sealed(self, token: str | None) -> str | None:
        return None if token is None else self._seal.close(token.encode(), PROVIDER_TOKEN)

    def _tokens(self, refreshed: Refreshed, resource: str = "") -> Tokens:
        grant, account, client = refreshed.grant, refreshed.grant.account, refreshed.grant.client
        if client is not None:
            account = msgspec.structs.replace(account, scopes=narrowing(client.scopes))
            resource = client.resource
        access = self.tokens.mint(grant.id, account, resource=resource)
        left = self.tokens.seconds if account.until is None else int(account.until - self._clock.now())
        seconds = max(1, min(self.tokens.seconds, left))
        return Tokens(account, grant.id, access, refreshed.refresh_token, seconds, client)


def _is_theirs(grant: Grant, client_id: str, resource: str | None) -> bool:
    """A refresh token is bound to its client (RFC 6749 section 6) and to the resource it was given for (RFC 8707)."""
    client = grant.client
    if client is None:
        return True
    return hmac.compare_digest(client.id.encode(), client_id.encode("utf-8", "replace")) and (
        resource is None or resource == client.resource
    )


def login_cookie(mark: str) -> str:
    """The name of a sign-in's cookie: one each, so that two tabs do not disturb one another."""
    return f"aip-login-{''.join(letter for letter in mark[:8] if letter.isalnum() or letter in '-_')}"
