"""Access tokens: short-lived, signed, checked without asking anybody, and cut off within seconds of a revocation.

They are JWTs because Claude Code reads `exp` and `sub` of them. Only this platform checks them, so the signature is
keyed (HS256) and the header is one constant: there is no algorithm to choose and nothing to confuse.

PostgreSQL gone: tokens are taken for BLIND_SECONDS after the last look for revocations, then none (fail closed,
counted in `blind`). Above: signon. Below: grants, identity's scopes.
"""

import base64
import binascii
import hmac
from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import StoreUnavailable, Unauthenticated
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.principal import Principal, PrincipalKind
from ai_platform.identity.scopes import RoleBook
from ai_platform.sso.grants import Grants
from ai_platform.sso.people import Account
from ai_platform.stores.postgres import SystemDatabase

BLIND_SECONDS = 45.0
MOST_SEEN = 20_000


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload. gid: the grant it was made from. aud: the resource that it is for."""

    iss: str
    aud: str
    sub: str
    exp: int
    iat: int
    jti: str
    gid: str
    name: str
    email: str | None = None
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    team: str | None = None
    region: str | None = None
    tenant: str = "default"
    kind: PrincipalKind = PrincipalKind.PERSON
    project: str | None = None
    scopes: tuple[str, ...] = ()

    @property
    def account(self) -> Account:
        """Without what is not needed to call: how the provider calls them."""
        return Account(
            id=self.sub,
            name=self.name,
            provider="",
            subject="",
            email=self.email,
            roles=self.roles,
            groups=self.groups,
            team=self.team,
            region=self.region,
            tenant=self.tenant,
            kind=self.kind,
            project=self.project,
            scopes=self.scopes,
        )


class _Seen:
    __slots__ = ("claims", "principal", "roles_version")

    def __init__(self, claims: Claims) -> None:
        self.claims = claims
        self.principal: Principal | None = None
        self.roles_version = ""


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


HEAD = _part(b'{"alg":"HS256","typ":"JWT"}')
START = "eyJ"


class AccessTokens:
    """hits: tokens known from before. checked: signatures computed."""

    def __init__(
        self,
        *,
        key: bytes,
        issuer: str,
        clock: Clock,
        roles: RoleBook,
        seconds: float,
        grants: Grants,
        longest: float = 0.0,
    ) -> None:
        """seconds: how long a token is good where `mint` is told nothing else. longest: the most that it is told."""
        self._key = key
        self._issuer = issuer
        self._clock = clock
        self._roles = roles
        self._grants = grants
        self._seen: dict[str, _Seen] = {}
        self._revoked: dict[str, float] = {}
        self._watched_at = float("-inf")
        self.seconds = int(seconds)
        self._remembered = max(seconds, longest) + 2 * BLIND_SECONDS
        self.hits = 0
        self.checked = 0
        self.blind = 0

    def mint(self, grant: str, account: Account, *, resource: str = "", seconds: float | None = None) -> str:
        """resource: the path of what it is for, "" = the API. seconds: how long it is good, None = as configured; never
        beyond the end of the account's sign-in.
        """
        now = self._clock.now()
        ends = now + (self.seconds if seconds is None else seconds)
        claims = Claims(
            iss=self._issuer,
            aud=self._issuer + resource,
            sub=account.id,
            exp=int(min(ends, account.until or ends)),
            iat=int(now),
            jti=new_id("tok", now),
            gid=grant,
            name=account.name,
            email=account.email,
            roles=account.roles,
            groups=account.groups,
            team=account.team,
            region=account.region,
            tenant=account.tenant,
            kind=account.kind,
            project=account.project,
            scopes=account.scopes,
        )
        body = f"{HEAD}.{_part(msgspec.json.encode(claims))}"
        return f"{body}.{self._signature(body)}"

    def principal(self, text: str, resource: str = "") -> Principal:
        """Who holds this token. resource: the path of what it was presented to, "" = the API.

        Raises:
            Unauthenticated: forged, expired, revoked or issued for another resource; what to do stands in the message.
            StoreUnavailable: revocations could not be looked for lately.

        """
        seen = self._seen.get(text)
        if seen is None:
            claims = self.verify(text)
            if len(self._seen) >= MOST_SEEN:
                self._seen.clear()
            seen = self._seen[text] = _Seen(claims)
        else:
            self.hits += 1
        claims = seen.claims
        if not _covers(claims.aud[len(self._issuer) :], resource):
            message = f"This token is for {claims.aud} and good nowhere else (RFC 8707). Ask for one for this address."
            raise Unauthenticated(Refusal.UNAUTHENTICATED, message)
        if claims.exp <= self._clock.now():
            del self._seen[text]
            raise Unauthenticated(Refusal.KEY_EXPIRED, "This sign-in has expired. Sign in again (/login).")
        if claims.gid in self._revoked:
            raise Unauthenticated(Refusal.KEY_REVOKED, "This sign-in was ended. Sign in again (/login).")
        if self._clock.monotonic() - self._watched_at > BLIND_SECONDS:
            self.blind += 1
            raise StoreUnavailable("PostgreSQL does not answer, so ended sign-ins cannot be told from good ones.")
        if seen.principal is None or seen.roles_version != self._roles.version:
            seen.roles_version = self._roles.version
            seen.principal = claims.account.principal(self._roles)
        return seen.principal

    def verify(self, text: str) -> Claims:
        """The claims of a token that this platform made, also of an expired one. Raises Unauthenticated."""
        self.checked += 1
        body, _, signature = text.rpartition(".")
        head, _, payload = body.partition(".")
        wrong = Unauthenticated(Refusal.UNAUTHENTICATED, "This token is not of this platform. Sign in again (/login).")
        expected = self._signature(body).encode()
        if head != HEAD or not hmac.compare_digest(expected, signature.encode("utf-8", "replace")):
            raise wrong
        try:
            claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=Claims)
        except (binascii.Error, ValueError, msgspec.DecodeError) as error:
            raise wrong from error
        if claims.iss != self._issuer or not claims.aud.startswith(self._issuer):
            raise wrong
        return claims

    def revoke(self, grant: str) -> None:
        """At once in this process."""
        self._revoked[grant] = self._clock.monotonic()

    async def watch(self, system: SystemDatabase) -> None:
        """Look for grants that ended, here or elsewhere. Raises StoreUnavailable."""
        began = self._clock.monotonic()
        rows: list[Any] = await self._grants.revoked_since(system, self._remembered)
        for row in rows:
            self._revoked.setdefault(row["id"], began)
        kept = began - self._remembered
        self._revoked = {grant: at for grant, at in self._revoked.items() if at > kept}
        self._watched_at = began

    def _signature(self, body: str) -> str:
        return _part(hmac.digest(self._key, body.encode("utf-8", "replace"), "sha256"))


def _covers(audience: str, resource: str) -> bool:
    """Both are paths below the platform's address: a token for `/mcp` is good at `/mcp/NAME` too, not at the API."""
    return audience == resource or (audience != "" and resource.startswith(f"{audience}/"))
