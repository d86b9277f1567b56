"""The endpoints that programs ask: Claude Code (the gateway protocol of version 2.1.330, `GET /protocol` there), MCP
clients with an authorisation code, CI jobs with a token of their own.

GET  /.well-known/oauth-authorization-server   RFC 8414
POST /oauth/device_authorization               RFC 8628 section 3.1
POST /oauth/token                              RFC 8628 section 3.4, RFC 6749 sections 4.1.3 and 6, see exchange
POST /oauth/revoke                             RFC 7009

Parameters that are not known are ignored, and none that Claude Code does not send is required.
"""

from typing import Any

from ai_platform.domain.call import Headers
from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import Denied
from ai_platform.domain.event import EventType
from ai_platform.entrypoints.http import Handler
from ai_platform.entrypoints.signin.clients import REGISTER
from ai_platform.entrypoints.signin.exchange import Exchange
from ai_platform.entrypoints.signin.record import Recorder
from ai_platform.entrypoints.signin.web import Answer, Data, Visit, oauth_error, oauth_handler
from ai_platform.identity.attempts import network
from ai_platform.sso import SignOn
from ai_platform.sso.devices import Poll, Request
from ai_platform.sso.grants import Ended, id_in
from ai_platform.sso.limits import Limiter
from ai_platform.sso.oauth.asked import SCOPES, resource_in
from ai_platform.sso.oauth.codes import Used
from ai_platform.sso.oauth.server import CodeExchange
from ai_platform.sso.oauth.settings import Documents
from ai_platform.sso.signon import Tokens

CODE = "authorization_code"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
METADATA = "/.well-known/oauth-authorization-server"
WRONG_TARGET = "resource must be {url}/mcp or {url}/mcp/NAME."


class OAuth:
    """issued, refreshed, reused, codes_reused: counters. mcp: whether MCP clients may get tokens here."""

    def __init__(self, signon: SignOn, record: Recorder, exchange: Exchange, clock: Clock, *, mcp: bool) -> None:
        self._signon = signon
        self._mcp = mcp
        self._wrong = Limiter(clock, limit=signon.settings.exchange_failures, seconds=60.0)
        self.codes_reused = 0
        self._exchange = exchange
        self._record = record
        self._begun = Limiter(clock, limit=signon.settings.device_requests_per_minute, seconds=60.0)
        self.issued = 0
        self.refreshed = 0
        self.reused = 0

    def handlers(self) -> dict[tuple[str, str], Handler]:
        handlers = {
            ("GET", METADATA): oauth_handler(self.metadata),
            ("POST", "/oauth/token"): oauth_handler(self.token),
            ("POST", "/oauth/revoke"): oauth_handler(self.revoke),
        }
        if self._signon.takes_people:
            handlers["POST", "/oauth/device_authorization"] = oauth_handler(self.device_authorization)
        return handlers

    async def metadata(self, visit: Visit) -> Answer:
        del visit
        url = self._signon.url
        people = bool(self._signon.takes_people)
        device = {"device_authorization_endpoint": f"{url}/oauth/device_authorization"} if people else {}
        clients = self._for_clients(url) if self._mcp else {"response_types_supported": []}
        codes = [CODE] if self._mcp else []
        return Data(
            {
                "issuer": url,
                **device,
                **clients,
                "token_endpoint": f"{url}/oauth/token",
                "revocation_endpoint": f"{url}/oauth/revoke",
                "grant_types_supported": [
                    *([DEVICE_CODE, "refresh_token"] if people else []),
                    *codes,
                    *self._exchange.grants,
                ],
                "token_endpoint_auth_methods_supported": ["none"],
                "revocation_endpoint_auth_methods_supported": ["none"],
            }
        )

    def _for_clients(self, url: str) -> dict[str, Any]:
        """Claude Code's gateway protocol leaves these out, and its client reads none of them."""
        settings = self._signon.settings.oauth
        return {
            "authorization_endpoint": f"{url}/oauth/authorize",
            **({"registration_endpoint": f"{url}{REGISTER}"} if settings.registration else {}),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": list(SCOPES),
            "client_id_metadata_document_supported": settings.documents is not Documents.OFF,
            "authorization_response_iss_parameter_supported": True,
        }

    async def device_authorization(self, visit: Visit) -> Answer:
        if wait := self._begun.wait(network(visit.ip)):
            message = "Too many sign-ins were begun from your network address. Try again in a minute."
            return oauth_error(
                "slow_down", message, status=429, headers=[(b"retry-after", str(int(wait) + 1).encode())]
            )
        self._begun.count(network(visit.ip))
        settings = self._signon.settings
        request = Request(
            surface=visit.form.get("surface", "")[:40], user_agent=visit.header(b"user-agent")[:120], ip=visit.ip
        )
        codes = await self._signon.devices.begin(request)
        page = f"{self._signon.url}/device"
        answer = {
            "device_code": codes.device_code,
            "user_code": codes.user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={codes.user_code}",
            "expires_in": int(settings.tokens.device_seconds),
            "interval": settings.tokens.device_interval,
        }
        return Data(answer | ({"login_notice": settings.login_notice} if settings.login_notice else {}))

    async def token(self, visit: Visit) -> Answer:
        kind = visit.form.get("grant_type", "")
        if kind == DEVICE_CODE:
            return await self._by_device_code(visit, visit.form.get("device_code", ""))
        if kind == "refresh_token":
            return await self._by_refresh_token(visit, visit.form.get("refresh_token", ""))
        if kind == CODE and self._mcp:
            return await self._by_code(visit)
        if kind in self._exchange.grants:
            return await self._exchange(kind, visit)
        if not kind:
            return oauth_error("invalid_request", "grant_type is missing.")
        known = ", ".join([DEVICE_CODE, "refresh_token", *self._exchange.grants])
        return oauth_error("unsupported_grant_type", f"grant_type must be one of {known}.")

    async def _by_device_code(self, visit: Visit, code: str) -> Answer:
        if not code:
            return oauth_error("invalid_request", "device_code is missing.")
        outcome = await self._signon.poll(code)
        if isinstance(outcome, Poll):
            return oauth_error(outcome.value)
        await self._issued(visit, outcome)
        return _tokens(outcome)

    async def _by_code(self, visit: Visit) -> Answer:
        if wait := self._wrong.wait(network(visit.ip)):
            headers: Headers = [(b"retry-after", str(int(wait) + 1).encode())]
            return oauth_error("slow_down", "Too many wrong codes. Try again in a minute.", status=429, headers=headers)
        sent = visit.form
        missing = [name for name in ("code", "client_id", "redirect_uri", "code_verifier") if not sent.get(name)]
        if missing:
            return oauth_error("invalid_request", f"{', '.join(missing)} is missing.")
        wanted = CodeExchange(
            sent["code"], sent["client_id"], sent["redirect_uri"], sent["code_verifier"], sent.get("resource")
        )
        request = Request(surface="mcp_client", user_agent=visit.header(b"user-agent")[:120], ip=visit.ip)
        try:
            outcome = await self._signon.redeem(wanted, request)
        except Denied as error:
            return oauth_error("invalid_grant", str(error))
        if not isinstance(outcome, Tokens):
            self._wrong.count(network(visit.ip))
            if isinstance(outcome, Used):
                self.codes_reused += 1
                await self._record(
                    "code_reused", visit, kind=EventType.SECURITY_INCIDENT, grant=outcome.grant, result="revoked"
                )
            return oauth_error("invalid_grant", "This code is not good (any more) for this program. Ask again.")
        await self._issued(visit, outcome)
        return _tokens(outcome)

    async def _issued(self, visit: Visit, tokens: Tokens) -> None:
        account, client = tokens.account, tokens.client
        await self._record(
            "token_issued",
            visit,
            subject=account.id,
            email=account.email,
            provider=account.provider,
            grant=tokens.grant,
            result="signed in",
            tenant=account.tenant,
            client=client.name if client else None,
            resource=client.resource if client else None,
        )
        self.issued += 1

    async def _by_refresh_token(self, visit: Visit, text: str) -> Answer:
        wanted = visit.form.get("resource")
        resource = resource_in(wanted, self._signon.url) if wanted else None
        if wanted and resource is None:
            return oauth_error("invalid_target", WRONG_TARGET.format(url=self._signon.url))
        client_id = visit.form.get("client_id", "")
        outcome = await self._signon.refresh(text, client_id=client_id, resource=resource)
        if isinstance(outcome, Tokens):
            self.refreshed += 1
            return _tokens(outcome)
        if outcome is Ended.REUSED:
            self.reused += 1
            await self._record(
                "refresh_token_reused", visit, kind=EventType.SECURITY_INCIDENT, grant=id_in(text), result="revoked"
            )
        elif outcome is Ended.REVOKED:
            await self._record("token_refused", visit, grant=id_in(text), result=outcome.value)
        # 401 and not RFC 6749's 400 has Claude Code ask the person to sign in again; it never names itself.
        status = 400 if client_id else 401
        return oauth_error("invalid_grant", "This sign-in has ended. Sign in again.", status=status)

    async def revoke(self, visit: Visit) -> Answer:
        """Always 200: who asks learns nothing about tokens that are not theirs (RFC 7009 section 2.2).

        everywhere=true, ours: with a good refresh token everything of this person ends.
        """
        everywhere = visit.form.get("everywhere", "") == "true"
        account = await self._signon.hand_in(visit.form.get("token", ""), everywhere=everywhere)
        if account is not None:
            await self._record(
                "sign_out",
                visit,
                subject=account.id,
                email=account.email,
                result="revoked",
                everywhere=everywhere,
                tenant=account.tenant,
            )
        return Data(None)


def _tokens(tokens: Tokens) -> Data:
    answer = {
        "access_token": tokens.access_token,
        "token_type": "Bearer",
        "expires_in": tokens.expires_in,
        "refresh_token": tokens.refresh_token,
    }
    if tokens.client is not None:
        return Data(answer | {"scope": " ".join(tokens.client.scopes)})
    return Data(answer | ({"email": tokens.account.email} if tokens.account.email else {}))
