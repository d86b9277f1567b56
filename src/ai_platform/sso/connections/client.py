"""The platform as an OAuth client of MCP servers' authorisation servers: who it is there, codes, renewal.

Above: flow, credentials. Below: discovery, outside, store.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, TypeGuard
from urllib.parse import urlencode

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import ConfigError, UpstreamBroken, UpstreamError
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.sso.connections.discovery import Issuer, discover
from ai_platform.sso.connections.outside import Outside
from ai_platform.sso.connections.store import Connections, Token
from ai_platform.sso.fetch import Answered

CALLBACK = "/auth/connections/callback"
DOCUMENT = "/.well-known/ai-platform-mcp-client"
"""Of all servers; each has its own below, `/NAME`, so that an answer tells whose it is (RFC 9700 section 4.4.2)."""

LONGEST_TOKEN = 16 * 1024


class EndedError(Exception):
    """The authorisation server does not renew this any more; somebody has to agree again."""


class Identity(msgspec.Struct, frozen=True):
    """Who this platform is at an issuer. secret: "" = a public client."""

    id: str
    secret: str = ""


class OAuthClient:
    """url: of the platform. unrevoked: tokens whose issuer did not take the news of their end.

    Raises of every method: UpstreamError, with what is wrong.
    """

    def __init__(
        self, connections: Connections, *, url: str, environ: Mapping[str, str], clock: Clock, seconds: float
    ) -> None:
        self.url = url
        self._connections = connections
        self._environ = environ
        self._clock = clock
        self._seconds = seconds
        self.unrevoked = 0

    def redirect_uri(self, server: str) -> str:
        return f"{self.url}{CALLBACK}/{server}"

    def document(self, server: str) -> dict[str, Any]:
        """What this platform says of itself at the address that is its client_id where documents are taken."""
        return {"client_id": f"{self.url}{DOCUMENT}/{server}", **self._said(server)}

    async def issuer(self, server: McpServerSettings) -> Issuer:
        return await discover(server, self._outside(server))

    async def identity(self, server: McpServerSettings, issuer: Issuer) -> Identity:
        """By hand (settings), by its document, or by a registration that is kept."""
        oauth = server.oauth
        if oauth is not None and oauth.client_id:
            return Identity(oauth.client_id, self._secret(server))
        if issuer.takes_documents and self.url.startswith("https://"):
            return Identity(f"{self.url}{DOCUMENT}/{server.name}")
        redirect_uri = self.redirect_uri(server.name)
        if known := await self._connections.client(server, issuer.issuer, redirect_uri):
            return Identity(*known)
        if not issuer.registration_endpoint:
            raise _broken(server, f"{issuer.issuer} lets nobody register; set oauth.client_id of the server")
        answer = await self._outside(server).post_json(issuer.registration_endpoint, self._said(server.name))
        client_id, secret = answer.body.get("client_id"), answer.body.get("client_secret", "")
        if answer.status not in {200, 201} or not isinstance(client_id, str) or not isinstance(secret, str):
            raise _broken(server, f"{issuer.issuer} does not register this platform ({_error(answer)})")
        await self._connections.keep_client(server, issuer.issuer, (client_id, secret), redirect_uri)
        return Identity(client_id, secret)

    def authorization_url(
        self, server: McpServerSettings, issuer: Issuer, identity: Identity, *, state: str, verifier: str
    ) -> str:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": identity.id,
            "redirect_uri": self.redirect_uri(server.name),
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "resource": issuer.resource,
        }
        if issuer.scopes:
            query["scope"] = " ".join(issuer.scopes)
        joint = "&" if "?" in issuer.authorization_endpoint else "?"
        return issuer.authorization_endpoint + joint + urlencode(query)

    async def exchange(
        self, server: McpServerSettings, issuer: Issuer, identity: Identity, *, code: str, verifier: str
    ) -> Token:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri(server.name),
            "code_verifier": verifier,
            "resource": issuer.resource,
        }
        answer = await self._token(server, issuer.token_endpoint, identity, form, issuer.methods)
        if answer.status != 200:
            if answer.body.get("error") == "invalid_client":
                await self._connections.forget_client(server, issuer.issuer)
            raise _broken(server, f"{issuer.issuer} gives no token for the code ({_error(answer)})")
        return self._read(server, answer, _base(issuer, identity))

    async def renew(self, server: McpServerSettings, token: Token) -> Token:
        """Raises EndedError too."""
        if not token.refresh:
            raise EndedError
        identity = Identity(token.client_id, token.client_secret)
        form = {"grant_type": "refresh_token", "refresh_token": token.refresh, "resource": token.resource}
        answer = await self._token(server, token.token_endpoint, identity, form, token.methods)
        if answer.status != 200:
            if answer.status < 500 and answer.body.get("error") in {"invalid_grant", "invalid_client"}:
                raise EndedError
            raise _broken(server, f"{token.issuer} does not renew the token ({_error(answer)})")
        return self._read(server, answer, token)

    async def revoke(self, server: McpServerSettings, token: Token) -> bool:
        """RFC 7009; whether its issuer did. Fails open: what matters is that it is forgotten here."""
        if not token.revocation_endpoint:
            return False
        form = {"token": token.refresh or token.access}
        form["token_type_hint"] = "refresh_token" if token.refresh else "access_token"
        identity = Identity(token.client_id, token.client_secret)
        try:
            answer = await self._token(server, token.revocation_endpoint, identity, form, token.methods)
        except UpstreamError:
            self.unrevoked += 1
            return False
        self.unrevoked += answer.status != 200
        return answer.status == 200

    async def for_itself(self, server: McpServerSettings) -> Token:
        """A token of the platform's own, by client id and secret (RFC 6749 section 4.4)."""
        issuer = await self.issuer(server)
        identity = await self.identity(server, issuer)
        form = {"grant_type": "client_credentials", "resource": issuer.resource}
        if issuer.scopes:
            form["scope"] = " ".join(issuer.scopes)
        answer = await self._token(server, issuer.token_endpoint, identity, form, issuer.methods)
        if answer.status != 200:
            raise _broken(server, f"{issuer.issuer} gives this platform no token ({_error(answer)})")
        return self._read(server, answer, _base(issuer, identity))

    async def _token(
        self,
        server: McpServerSettings,
        endpoint: str,
        identity: Identity,
        form: dict[str, str],
        methods: tuple[str, ...],
    ) -> Answered:
        basic: tuple[str, str] | None = None
        if not identity.secret:
            form = {**form, "client_id": identity.id}
        elif "client_secret_basic" in methods:
            basic = (urlencode({"": identity.id})[1:], urlencode({"": identity.secret})[1:])  # RFC 6749 section 2.3.1
        else:
            form = {**form, "client_id": identity.id, "client_secret": identity.secret}
        return await self._outside(server).post(endpoint, form, basic=basic)

    def _read(self, server: McpServerSettings, answer: Answered, base: Token) -> Token:
        """base: with everything but what the answer says."""
        body = answer.body
        access, refresh, lasts = body.get("access_token"), body.get("refresh_token"), body.get("expires_in")
        kind = body.get("token_type", "Bearer")
        if not _usable(access) or not isinstance(kind, str) or kind.lower() != "bearer":
            raise _broken(server, f"{base.issuer} gives something that is no bearer token")
        seconds = lasts if isinstance(lasts, int | float) and not isinstance(lasts, bool) else None
        return msgspec.structs.replace(
            base,
            access=access,
            refresh=refresh if _usable(refresh) else base.refresh,
            expires_at=None if seconds is None else self._clock.now() + max(0.0, min(float(seconds), 10**8)),
        )

    def _said(self, server: str) -> dict[str, Any]:
        return {
            "client_name": "ai-platform",
            "client_uri": self.url,
            "redirect_uris": [self.redirect_uri(server)],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }

    def _secret(self, server: McpServerSettings) -> str:
        variable = server.oauth.client_secret_env if server.oauth else ""
        if not variable:
            return ""
        if value := self._environ.get(variable):
            return value
        raise ConfigError(
            f"The MCP server '{server.name}' needs the environment variable {variable}, which is not set."
        )

    def _outside(self, server: McpServerSettings) -> Outside:
        return Outside(server, seconds=self._seconds)


def _base(issuer: Issuer, identity: Identity) -> Token:
    return Token(
        access="",
        issuer=issuer.issuer,
        token_endpoint=issuer.token_endpoint,
        methods=issuer.methods,
        client_id=identity.id,
        client_secret=identity.secret,
        resource=issuer.resource,
        revocation_endpoint=issuer.revocation_endpoint,
    )


def _usable(token: Any) -> TypeGuard[str]:
    """It can stand in a header field."""
    return isinstance(token, str) and 0 < len(token) <= LONGEST_TOKEN and token.isascii() and token.isprintable()


def _error(answer: Answered) -> str:
    """Its status and code, never its words: those may hold what was sent."""
    code = answer.body.get("error")
    plain = code if isinstance(code, str) and code.replace("_", "").isalnum() else ""
    return f"{answer.status} {plain[:40]}".strip()


def _broken(server: McpServerSettings, why: str) -> UpstreamBroken:
    return UpstreamBroken(f"No token can be had for the MCP server '{server.name}': {why}.", target=server.name)
