"""Tokens of other issuers for those of service accounts, at POST /oauth/token (RFC 8693; RFC 7523 section 2.1).

No refresh token is given: a program whose access token ends comes with a new token of its issuer. Above: oauth.
"""

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import Denied, Unauthenticated
from ai_platform.entrypoints.signin.record import Recorder
from ai_platform.entrypoints.signin.web import Answer, Data, Visit, oauth_error
from ai_platform.gateway.failures import FailureLimit
from ai_platform.identity.attempts import network
from ai_platform.sso import SignOn
from ai_platform.sso.devices import Request
from ai_platform.sso.federation import Exchanged
from ai_platform.sso.limits import Limiter
from ai_platform.sso.oauth.asked import resource_in

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
JWT_TYPES = frozenset({"urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"})


class Exchange:
    """grants: the grant types it takes, none without an issuer. issued, refused: counters."""

    def __init__(self, signon: SignOn, record: Recorder, clock: Clock) -> None:
        settings = signon.settings
        self._federation = signon.federation
        self._url = signon.url
        self._record = record
        self._clock = clock
        self._wrong = Limiter(clock, limit=settings.exchange_failures, seconds=60.0)
        self._failures = FailureLimit()
        self.grants = (TOKEN_EXCHANGE, JWT_BEARER) if settings.federation else ()
        self.issued = 0
        self.refused = 0

    async def __call__(self, grant: str, visit: Visit) -> Answer:
        if wait := self._wrong.wait(network(visit.ip)):
            message = "Too many tokens from your network address were refused. Try again in a minute."
            return oauth_error(
                "slow_down", message, status=429, headers=[(b"retry-after", str(int(wait) + 1).encode())]
            )
        if grant == TOKEN_EXCHANGE and (problem := _problem(visit)):
            return oauth_error("invalid_request", problem)
        wanted = visit.form.get("resource")
        resource = resource_in(wanted, self._url) if wanted else None
        if wanted and resource is None and wanted.rstrip("/") != self._url:
            return oauth_error(
                "invalid_target", f"resource must be {self._url}, {self._url}/mcp or {self._url}/mcp/NAME."
            )
        text = visit.form.get("subject_token" if grant == TOKEN_EXCHANGE else "assertion", "")
        request = Request(surface="federation", user_agent=visit.header(b"user-agent")[:120], ip=visit.ip)
        try:
            done = await self._federation.exchange(text, request, resource=resource or "")
        except (Unauthenticated, Denied) as error:
            await self._refuse(visit, error)
            # RFC 8693 section 2.2.2 has its own name for a token that is not taken, RFC 7523 section 3.1 has another.
            return oauth_error("invalid_request" if grant == TOKEN_EXCHANGE else "invalid_grant", str(error))
        await self._issue(visit, done)
        answer = {"access_token": done.access_token, "token_type": "Bearer", "expires_in": done.expires_in}
        return Data(answer | ({"issued_token_type": ACCESS_TOKEN} if grant == TOKEN_EXCHANGE else {}))

    async def _issue(self, visit: Visit, done: Exchanged) -> None:
        account = done.account
        await self._record(
            "service_token_issued",
            visit,
            subject=account.id,
            personal={"token_subject": account.subject, "token_claims": done.claims},
            account=account.name,
            provider=account.provider,
            grant=done.grant,
            roles=list(account.roles),
            team=account.team,
            expires_in=done.expires_in,
            tenant=account.tenant,
        )
        self.issued += 1

    async def _refuse(self, visit: Visit, error: Unauthenticated | Denied) -> None:
        self.refused += 1
        self._wrong.count(network(visit.ip))
        skipped = self._failures.admit(network(visit.ip), self._clock.monotonic())
        if skipped is not None:
            await self._record(
                "service_token_refused", visit, result="refused", reason=str(error)[:200], unrecorded=skipped
            )


def _problem(visit: Visit) -> str:
    """What of RFC 8693 this platform does not do; "" when there is nothing of it. Unknown parameters are ignored."""
    form = visit.form
    if form.get("subject_token_type", "") not in JWT_TYPES:
        return f"subject_token_type must be {' or '.join(sorted(JWT_TYPES))}."
    if form.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN:
        return f"requested_token_type can only be {ACCESS_TOKEN}."
    if form.get("actor_token"):
        return "actor_token is not taken: nobody acts for another here."
    return ""
