"""Programs that come with a token of another issuer (GitHub Actions, GitLab, Kubernetes) -> a service account.

The token is checked as if it came from an enemy: its issuer must be listed, its keys come from that issuer alone, and
what it may become stands in the settings, never in the token. It is exchanged once, for an access token of minutes and
nothing that renews it. Above: signon, entrypoints. Below: idtoken, keyring, claims, services, grants, tokens.
"""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import ConfigError, InvalidCall, Unauthenticated, UpstreamBroken
from ai_platform.domain.principal import HOME, PrincipalKind
from ai_platform.identity.scopes import RoleBook, check_names
from ai_platform.sso.claims import claim_at, fits
from ai_platform.sso.devices import Request
from ai_platform.sso.fetch import Fetcher
from ai_platform.sso.grants import Grants
from ai_platform.sso.idtoken import (
    BadTokenError,
    Expected,
    check_times,
    head_of,
    moment_in,
    refused,
    signed_claims,
    subject_of,
)
from ai_platform.sso.issuers import FederatedAccount, FederationSettings
from ai_platform.sso.keyring import KeyRing
from ai_platform.sso.people import Account
from ai_platform.sso.rows import moment
from ai_platform.sso.services import Services
from ai_platform.sso.settings import SsoSettings
from ai_platform.sso.tokens import AccessTokens
from ai_platform.stores.postgres import Database, SystemDatabase

LONGEST = 12 * 1024
LONGEST_LIFE = 86_400.0
"""Seconds between `iat` and `exp`: a token that is good for longer is a password, and is not what this is for."""

SHOWN = 200


class Exchanged(NamedTuple):
    """claims: those of the token that the service account's conditions look at, for the audit log."""

    account: Account
    grant: str
    access_token: str
    expires_in: int
    claims: dict[str, str]


class Explained(msgspec.Struct, frozen=True):
    """What claims would become. failed: the claims that do not fit this account; none = it is this one."""

    issuer: str
    account: str
    failed: tuple[str, ...]


class _Issuer:
    """One issuer of the settings with its keys."""

    def __init__(self, settings: FederationSettings, clock: Clock, *, url: str, seconds: float) -> None:
        self.settings = settings
        self.audiences = frozenset(settings.audience or (url,))
        self.expected = Expected(settings.issuer, "", None, settings.algorithms)
        self.ring = KeyRing(self._read, name=settings.name, clock=clock)
        self.fetcher = Fetcher(
            settings.issuer, settings.hosts, seconds=seconds, name=settings.name, ca_file=settings.ca_file
        )

    async def _read(self) -> dict[str, Any]:
        if self.settings.jwks_file is not None:
            return await asyncio.to_thread(self._from_file)
        url = self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        metadata = (await self.fetcher.get(url)).body
        if metadata.get("issuer") != self.settings.issuer or not isinstance(metadata.get("jwks_uri"), str):
            message = f"{url} does not describe the issuer {self.settings.issuer} of sso.federation."
            raise UpstreamBroken(message, target=self.settings.name)
        answer = await self.fetcher.get(metadata["jwks_uri"])
        return answer.body if answer.status == 200 else {}

    def _from_file(self) -> dict[str, Any]:
        path = self.settings.jwks_file
        assert path is not None
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.DecodeError) as error:
            message = f"jwks_file {path} of sso.federation '{self.settings.name}' cannot be used: {error}."
            raise UpstreamBroken(message, target=self.settings.name) from error


class Federation:
    """exchange: a token of a listed issuer for one of the platform. replayed: tokens that came a second time."""

    def __init__(
        self,
        settings: SsoSettings,
        database: Database,
        *,
        grants: Grants,
        tokens: AccessTokens,
        url: str,
        roles: RoleBook,
        clock: Clock,
    ) -> None:
        """Raises ConfigError: a role or a file that does not exist, or this platform as an issuer."""
        for one in settings.federation:
            if one.issuer.rstrip("/") == url:
                raise ConfigError(f"sso.federation '{one.name}' names this platform itself as the issuer.")
            for account in one.accounts:
                _check_account(one, account, roles)
        self.services = Services(database, clock, settings.federation)
        self._database = database
        self._grants = grants
        self._tokens = tokens
        self._clock = clock
        self._skew = settings.clock_skew_seconds
        self._issuers = {
            one.issuer: _Issuer(one, clock, url=url, seconds=settings.fetch_seconds) for one in settings.federation
        }
        self.replayed = 0

    async def close(self) -> None:
        for issuer in self._issuers.values():
            await issuer.fetcher.close()

    async def exchange(self, text: str, request: Request, *, resource: str = "") -> Exchanged:
        """resource: the path of what the access token is for, "" = the API.

        Raises:
            Unauthenticated: the token does not check out, fits no service account, or was exchanged before.
            Denied: the service account is disabled.
            UpstreamError: its issuer's keys cannot be had.

        """
        try:
            issuer, claims = await self._checked(text)
            rule = self._account_for(issuer, claims)
            principal = await self.services.admit(rule.name, rule.tenant or HOME)
            if issuer.settings.single_use:
                await self._use_up(rule.tenant or HOME, issuer, claims, text)
        except BadTokenError as error:
            message = f"This token cannot be exchanged: {error.why}."
            raise Unauthenticated(Refusal.UNAUTHENTICATED, message, rule=error.rule) from error
        account = _account(principal, rule, issuer, claims)
        grant = await self._grants.begin(account, request, seconds=rule.access_seconds, refreshable=False)
        token = self._tokens.mint(grant.grant.id, account, resource=resource, seconds=rule.access_seconds)
        looked_at = {name: _shown(claim_at(claims, name)) for name in rule.claims}
        return Exchanged(account, grant.grant.id, token, int(rule.access_seconds), looked_at)

    def explain(self, claims: Mapping[str, Any], tenant: str = HOME) -> list[Explained]:
        """What a token with these claims would become; only the issuer they name is looked at, all without one.

        tenant: whose service accounts are told of.
        """
        return [
            Explained(one.settings.name, rule.name, _unfit(rule, claims))
            for one in self._issuers.values()
            if claims.get("iss") in (None, one.settings.issuer)
            for rule in one.settings.accounts
            if (rule.tenant or HOME) == tenant
        ]

    async def sweep(self, system: SystemDatabase) -> None:
        """Forget tokens that could not be exchanged any more."""
        await system.execute("DELETE FROM sso_assertions WHERE expires_at < $1", moment(self._clock.now()))

    async def _checked(self, text: str) -> tuple[_Issuer, dict[str, Any]]:
        if len(text) > LONGEST:
            raise refused("it is too long")
        issuer = self._issuers.get(_issuer_named_in(text))
        if issuer is None:
            raise refused("its issuer is not listed in sso.federation")
        head = head_of(text, issuer.expected)
        claims = signed_claims(text, head, await issuer.ring.key(head))
        if claims.get("iss") != issuer.settings.issuer:
            raise refused("another issuer made it")
        audience = claims.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        if not any(isinstance(one, str) and one in issuer.audiences for one in named):
            raise refused("it is meant for another audience; ask for one for this platform")
        check_times(claims, self._clock.now(), self._skew)
        if moment_in(claims, "exp") - moment_in(claims, "iat") > LONGEST_LIFE:
            raise refused("it is good for longer than a day")
        subject_of(claims)
        return issuer, claims

    def _account_for(self, issuer: _Issuer, claims: dict[str, Any]) -> FederatedAccount:
        for rule in issuer.settings.accounts:
            if not _unfit(rule, claims):
                return rule
        raise refused("it fits no service account; `ai-platform service-accounts explain` says which claims differ")

    async def _use_up(self, tenant: str, issuer: _Issuer, claims: dict[str, Any], text: str) -> None:
        # What was signed and not the whole text: the same token can be written with another valid signature.
        name = claims.get("jti")
        identity = name if isinstance(name, str) and name else text.rpartition(".")[0]
        used = await self._database.within(tenant).fetchval(
            "INSERT INTO sso_assertions (assertion_hash, expires_at) VALUES ($1, $2)"
            " ON CONFLICT DO NOTHING RETURNING true",
            hashlib.sha256(f"{issuer.settings.issuer}\n{identity}".encode("utf-8", "replace")).digest(),
            moment(moment_in(claims, "exp") + self._skew + 1),
        )
        if not used:
            self.replayed += 1
            raise refused("it was exchanged before. Ask its issuer for a new one, or keep the access token")


def _issuer_named_in(text: str) -> str:
    """Unverified: only says whose keys to ask for."""
    try:
        part = text.split(".")[1]
        claims: Any = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        named = claims["iss"]
    except (ValueError, IndexError, binascii.Error, msgspec.DecodeError, KeyError, TypeError, RecursionError) as error:
        raise refused("it is not a signed token") from error
    return named if isinstance(named, str) else ""


def _unfit(rule: FederatedAccount, claims: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name, wanted in rule.claims.items() if not fits(claim_at(claims, name), wanted))


def _account(principal: str, rule: FederatedAccount, issuer: _Issuer, claims: dict[str, Any]) -> Account:
    return Account(
        id=principal,
        name=rule.name,
        provider=issuer.settings.name,
        subject=subject_of(claims),
        roles=rule.roles,
        team=rule.team,
        region=rule.region,
        project=rule.project,
        tenant=rule.tenant or HOME,
        scopes=rule.scopes,
        kind=PrincipalKind.SERVICE,
    )


def _shown(value: Any) -> str:
    return (value if isinstance(value, str) else msgspec.json.encode(value).decode())[:SHOWN]


def _check_account(issuer: FederationSettings, account: FederatedAccount, roles: RoleBook) -> None:
    try:
        check_names(account.roles, account.scopes, roles)
    except InvalidCall as error:
        raise ConfigError(f"The service account '{account.name}' of sso.federation '{issuer.name}': {error}") from error
