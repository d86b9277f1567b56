"""What MCP clients read and send before a person is asked: who may give tokens for an endpoint, and registration.

GET  /.well-known/oauth-protected-resource[/mcp[/NAME]]   RFC 9728
POST /oauth/register                                      RFC 7591, without memory: see sso/oauth/clients
"""

from collections.abc import Collection
from functools import partial
from typing import Any

import msgspec

from ai_platform.domain.call import Headers
from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import InvalidCall
from ai_platform.entrypoints.http import Handler, Scope
from ai_platform.entrypoints.signin.record import Recorder
from ai_platform.entrypoints.signin.web import Answer, Data, Visit, oauth_error, oauth_handler
from ai_platform.gateway.failures import FailureLimit
from ai_platform.identity.attempts import network
from ai_platform.sso import SignOn
from ai_platform.sso.limits import Limiter
from ai_platform.sso.oauth.asked import ENDPOINT, SCOPES

RESOURCE_METADATA = "/.well-known/oauth-protected-resource"
REGISTER = "/oauth/register"
MCP = "/mcp"


class ClientRoutes:
    """registered: counter."""

    def __init__(self, signon: SignOn, record: Recorder, clock: Clock) -> None:
        self._signon = signon
        self._record = record
        self._clock = clock
        self._often = Limiter(clock, limit=signon.settings.oauth.registrations_per_minute, seconds=60.0)
        self._told = FailureLimit()
        self.registered = 0

    def handlers(self) -> dict[tuple[str, str], Handler]:
        handlers = {("GET", RESOURCE_METADATA): oauth_handler(partial(_protected_resource, self._signon.url))}
        if self._signon.settings.oauth.registration:
            handlers["POST", REGISTER] = oauth_handler(self.register)
        return handlers

    async def register(self, visit: Visit) -> Answer:
        if wait := self._often.wait(network(visit.ip)):
            headers: Headers = [(b"retry-after", str(int(wait) + 1).encode())]
            message = "Too many registrations from your network address. Try again in a minute."
            return oauth_error("slow_down", message, status=429, headers=headers)
        self._often.count(network(visit.ip))
        try:
            said = msgspec.json.decode(visit.body, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            return oauth_error("invalid_client_metadata", "The body must be a JSON object (RFC 7591).")
        try:
            client, at = self._signon.oauth.clients.register(said)
        except InvalidCall as error:
            code = "invalid_redirect_uri" if "redirect" in str(error) else "invalid_client_metadata"
            return oauth_error(code, str(error))
        skipped = self._told.admit(network(visit.ip), self._clock.monotonic())
        if skipped is not None:
            await self._record("client_registered", visit, client=client.name, unrecorded=skipped)
        self.registered += 1
        answer = {
            "client_id": client.id,
            "client_id_issued_at": at,
            "client_name": client.name,
            "redirect_uris": list(client.redirect_uris),
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "scope": " ".join(SCOPES),
        }
        return Data(answer, 201)


def resource_mount(url: str) -> dict[str, Handler]:
    """Every path below the metadata's, for the application's table of prefixes."""
    return {f"{RESOURCE_METADATA}/": oauth_handler(partial(_protected_resource, url))}


async def _protected_resource(url: str, visit: Visit) -> Answer:
    """The same for every name of the right form: who has no credential does not learn which servers there are."""
    path = str(visit.scope["path"]).removeprefix(RESOURCE_METADATA) or MCP
    if not ENDPOINT.fullmatch(path) or visit.scope["method"] != "GET":
        return oauth_error("invalid_request", f"Protected resources here are {MCP} and {MCP}/NAME.", status=404)
    document = {
        "resource": url + path,
        "authorization_servers": [url],
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
        "resource_name": "ai-platform",
    }
    return Data(document)


def challenge(url: str, scope: Scope, kinds: Collection[str]) -> bytes:
    """`www-authenticate` at the MCP door: where to learn who gives tokens for this endpoint (RFC 9728 section 5.1).

    kinds: of permissions, `tools`; what a token that lacks some must be asked for with (RFC 6750 section 3.1).
    """
    path = scope["raw_path"].decode("latin-1")
    endpoint = path if ENDPOINT.fullmatch(path) else MCP
    fields = {"realm": "ai-platform", "resource_metadata": f"{url}{RESOURCE_METADATA}{endpoint}"}
    if kinds:
        fields["error"] = "insufficient_scope"
    elif any(name in {b"authorization", b"x-api-key"} for name, _ in scope["headers"]):
        fields["error"] = "invalid_token"
    fields["scope"] = " ".join(name for name, means in SCOPES.items() if not kinds or means.split(":")[0] in kinds)
    return ("Bearer " + ", ".join(f'{name}="{value}"' for name, value in fields.items())).encode()
