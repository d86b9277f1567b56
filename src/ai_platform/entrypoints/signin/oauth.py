"""The endpoints that Claude Code signs in by (the gateway protocol of version 2.1.330, `GET /protocol` there).

GET  /.well-known/oauth-authorization-server   RFC 8414
POST /oauth/device_authorization               RFC 8628 section 3.1
POST /oauth/token                              RFC 8628 section 3.4, RFC 6749 section 6; exchange of other tokens
POST /oauth/revoke                             RFC 7009

Parameters that are not known are ignored, and none that Claude Code does not send is required.
"""

from ai_platform.domain.clock import Clock
from ai_platform.domain.event import EventType
from ai_platform.entrypoints.http import Handler
from ai_platform.entrypoints.signin.exchange import Exchange
from ai_platform.entrypoints.signin.record import Recorder
from ai_platform.entrypoints.signin.web import Answer, Data, Visit, oauth_error, oauth_handler
from ai_platform.sso import SignOn
from ai_platform.sso.devices import Poll, Request
from ai_platform.sso.grants import Ended, id_in
from ai_platform.sso.limits import Limiter
from ai_platform.sso.signon import Tokens

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
METADATA = "/.well-known/oauth-authorization-server"


class OAuth:
    """issued, refreshed, reused: counters."""

    def __init__(self, signon: SignOn, record: Recorder, exchange: Exchange, clock: Clock) -> None:
        self._signon = signon
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
        return Data(
            {
                "issuer": url,
                **device,
                "token_endpoint": f"{url}/oauth/token",
                "revocation_endpoint": f"{url}/oauth/revoke",
                "grant_types_supported": [*([DEVICE_CODE, "refresh_token"] if people else []), *self._exchange.grants],
                "response_types_supported": [],
                "token_endpoint_auth_methods_supported": ["none"],
                "revocation_endpoint_auth_methods_supported": ["none"],
            }
        )

    async def device_authorization(self, visit: Visit) -> Answer:
        if wait := self._begun.wait(visit.ip):
            message = "Too many sign-ins were begun from your network address. Try again in a minute."
            return oauth_error(
                "slow_down", message, status=429, headers=[(b"retry-after", str(int(wait) + 1).encode())]
            )
        self._begun.count(visit.ip)
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
        account = outcome.account
        await self._record(
            "token_issued",
            visit,
            subject=account.id,
            email=account.email,
            provider=account.provider,
            grant=outcome.grant,
            result="signed in",
            tenant=account.tenant,
        )
        self.issued += 1
        return _tokens(outcome)

    async def _by_refresh_token(self, visit: Visit, text: str) -> Answer:
        outcome = await self._signon.refresh(text)
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
        # 401 and not RFC 6749's 400: it is what has Claude Code ask the person to sign in again.
        return oauth_error("invalid_grant", "This sign-in has ended. Sign in again.", status=401)

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
    return Data(answer | ({"email": tokens.account.email} if tokens.account.email else {}))
