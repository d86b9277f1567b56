"""One OpenID provider: its metadata and keys, and the two ways to ask it about a person (code, refresh token).

Its metadata is kept for an hour. Above: signon. Below: fetch, idtoken, keyring.
"""

import base64
import hashlib
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import ConfigError, UpstreamBroken, UpstreamError
from ai_platform.sso.fetch import Answered, Fetcher
from ai_platform.sso.idtoken import Expected, head_of, refused, verified
from ai_platform.sso.keyring import KeyRing
from ai_platform.sso.logout_token import logout_claims
from ai_platform.sso.settings import ProviderSettings

METADATA_SECONDS = 3600.0


class Told(NamedTuple):
    """claims: verified. refresh_token, id_token: as the provider gave them, None when it gave none."""

    claims: dict[str, Any]
    refresh_token: str | None
    id_token: str | None = None


class _Metadata(msgspec.Struct):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Provider:
    """Raises of every method: UpstreamUnreachable, UpstreamBroken; Unauthenticated for what does not check out."""

    def __init__(
        self, settings: ProviderSettings, *, secret: str | None, clock: Clock, skew: float, seconds: float
    ) -> None:
        if not settings.issuer.startswith(("https://", "http://")):
            message = f"The issuer {settings.issuer!r} of sso.providers '{settings.name}' must begin with https://."
            raise ConfigError(message)
        self.settings = settings
        self._secret = secret
        self._clock = clock
        self._skew = skew
        self._fetcher = Fetcher(
            settings.issuer, settings.hosts, seconds=seconds, name=settings.name, ca_file=settings.ca_file
        )
        self._metadata: _Metadata | None = None
        self._metadata_at = 0.0
        self._keys = KeyRing(self._read_keys, name=settings.name, clock=clock)

    async def close(self) -> None:
        await self._fetcher.close()

    async def authorization_url(
        self, *, redirect_uri: str, state: str, nonce: str, verifier: str, hint: str = ""
    ) -> str:
        """Where the browser goes to sign in (code flow, PKCE S256). hint: who is likely to, "" = nobody knows."""
        metadata = await self._described()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self.settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if hint:
            query["login_hint"] = hint
        if "offline_access" in self.settings.scopes:
            query["prompt"] = "consent"  # OpenID Connect Core 1.0 section 11: without it the scope is ignored
        joint = "&" if "?" in metadata.authorization_endpoint else "?"
        return metadata.authorization_endpoint + joint + urlencode(query)

    async def look(self) -> str:
        """Why it cannot be used now, "" when it answers."""
        try:
            await self._described(anew=True)
        except UpstreamError as error:
            return str(error)
        return ""

    async def exchange(self, code: str, *, redirect_uri: str, nonce: str, verifier: str, issuer: str | None) -> Told:
        """issuer: the `iss` parameter of the answer (RFC 9207), None when there was none."""
        metadata = await self._described()
        if issuer != metadata.issuer and (
            issuer is not None or metadata.authorization_response_iss_parameter_supported
        ):
            raise refused("another issuer sent it")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        answer = await self._token(metadata, form)
        return await self._told(metadata, answer, nonce)

    async def renew(self, refresh_token: str) -> Told:
        """What the provider says about the person now. Raises Unauthenticated when it knows them no more."""
        metadata = await self._described()
        answer = await self._token(metadata, {"grant_type": "refresh_token", "refresh_token": refresh_token})
        return await self._told(metadata, answer, None)

    async def _token(self, metadata: _Metadata, form: dict[str, str]) -> Answered:
        client = self.settings.client_id
        basic: tuple[str, str] | None = None
        if self._secret is None:
            form = {**form, "client_id": client}
        elif "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            basic = (urlencode({"": client})[1:], urlencode({"": self._secret})[1:])  # RFC 6749 section 2.3.1
        else:
            form = {**form, "client_id": client, "client_secret": self._secret}
        answer = await self._fetcher.post(metadata.token_endpoint, form, basic=basic)
        if answer.status == 200:
            return answer
        error = str(answer.body.get("error", ""))[:40]
        if answer.status < 500 and error == "invalid_grant":
            raise refused("the code was used, has expired or is not known")
        message = (
            f"The identity provider '{self.settings.name}' refused to say who signed in ({answer.status} {error})."
            " Whoever runs this platform should check client_id, secret and redirect address."
        )
        raise UpstreamBroken(message, target=self.settings.name)

    async def _told(self, metadata: _Metadata, answer: Answered, nonce: str | None) -> Told:
        token, access, refresh = (answer.body.get(key) for key in ("id_token", "access_token", "refresh_token"))
        new_refresh = refresh if isinstance(refresh, str) else None
        claims: dict[str, Any] = {}
        if isinstance(token, str):
            claims = await self.checked(token, nonce)
        elif nonce is not None:
            raise refused("it holds no ID token")
        names = self.settings.claims
        wanted = {name.partition(".")[0] for name in (names.email, names.groups, names.name) if name}
        if metadata.userinfo_endpoint and isinstance(access, str) and not wanted <= set(claims):
            told = await self._fetcher.get(metadata.userinfo_endpoint, bearer=access)
            if told.status == 200 and told.body.get("sub") == claims.get("sub", told.body.get("sub")):
                claims = {**told.body, **claims}
        if not isinstance(claims.get("sub"), str):
            raise refused("it names nobody")
        return Told(claims, new_refresh, token if isinstance(token, str) else None)

    async def sign_out_url(self, id_token: str | None, *, back: str) -> str | None:
        """Where the browser signs out there too (OpenID Connect RP-Initiated Logout 1.0). None: it offers no such page.

        back: the address it may lead back to, registered there.
        """
        metadata = await self._described()
        if metadata.end_session_endpoint is None:
            return None
        self._fetcher.check(metadata.end_session_endpoint)
        query = {"client_id": self.settings.client_id, "post_logout_redirect_uri": back}
        if id_token is not None:
            query["id_token_hint"] = id_token
        joint = "&" if "?" in metadata.end_session_endpoint else "?"
        return metadata.end_session_endpoint + joint + urlencode(query)

    async def checked_logout(self, token: str) -> dict[str, Any]:
        """The claims of a logout token of this provider for this platform. Raises Unauthenticated."""
        expected = Expected(self.settings.issuer, self.settings.client_id, None, self.settings.algorithms)
        head = head_of(token, expected)
        key = await self._keys.key(head)
        return logout_claims(token, head, key, expected, now=self._clock.now(), skew=self._skew)

    async def checked(self, token: str, nonce: str | None) -> dict[str, Any]:
        """The claims of an ID token of this provider for this platform. Raises Unauthenticated."""
        expected = Expected(self.settings.issuer, self.settings.client_id, nonce, self.settings.algorithms)
        head = head_of(token, expected)
        key = await self._keys.key(head)
        return verified(token, head, key, expected, now=self._clock.now(), skew=self._skew)

    async def _read_keys(self) -> dict[str, Any]:
        metadata = await self._described()
        answer = await self._fetcher.get(metadata.jwks_uri)
        return answer.body if answer.status == 200 else {}

    async def _described(self, *, anew: bool = False) -> _Metadata:
        """OpenID Connect Discovery 1.0. anew: whether or not what is known is old."""
        now = self._clock.monotonic()
        if not anew and self._metadata is not None and now - self._metadata_at < METADATA_SECONDS:
            return self._metadata
        url = self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        answer = await self._fetcher.get(url)
        try:
            metadata = msgspec.convert(answer.body, _Metadata)
        except msgspec.ValidationError as error:
            message = f"{url} describes no OpenID provider (status {answer.status})."
            raise UpstreamBroken(message, target=self.settings.name) from error
        if metadata.issuer != self.settings.issuer:
            message = f"{url} is of the issuer {metadata.issuer[:200]!r}; write exactly that in sso.providers."
            raise UpstreamBroken(message, target=self.settings.name)
        self._fetcher.check(metadata.authorization_endpoint)
        self._metadata, self._metadata_at = metadata, now
        return metadata
