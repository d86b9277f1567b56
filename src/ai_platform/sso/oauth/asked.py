"""What a client asks for at the authorisation endpoint: checked, and small enough to travel in a cookie.

Two kinds of failure: those that may be told to the client by a redirect, and those that only the person may see,
because where to redirect is what is in doubt (RFC 6749 section 4.1.2.1). Above: server. Below: clients, redirects.
"""

import re
from collections.abc import Collection, Mapping

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall
from ai_platform.sso.oauth.clients import Client, Source
from ai_platform.sso.oauth.redirects import fits

LONGEST_STATE = 600
ENDPOINT = re.compile(r"/mcp(?:/[a-z][a-z0-9]*(?:-[a-z0-9]+)*)?")
SCOPES = {"mcp:tools": "tools:*:call", "mcp:resources": "resources:*:read", "mcp:prompts": "prompts:*:get"}
"""What a client can ask for, and the permission that a token which has not all of them is narrowed to."""

KNOWN = frozenset(
    {
        "response_type",
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "code_challenge",
        "code_challenge_method",
        "resource",
        "response_mode",
        "prompt",
        "request",
        "request_uri",
    }
)
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """resource: path of the endpoint. scopes: of SCOPES, in that order. state: as it came, None = there was none."""

    client_id: str
    client_name: str
    source: Source
    redirect_uri: str
    state: str | None
    challenge: str
    resource: str
    scopes: tuple[str, ...]


class AskedWrongly(InvalidCall):
    """May be told to the client: error and description of RFC 6749 section 4.1.2.1."""

    def __init__(self, error: str, description: str, *, redirect_uri: str, state: str | None) -> None:
        super().__init__(Refusal.INVALID_REQUEST, description)
        self.error = error
        self.redirect_uri = redirect_uri
        self.state = state


def asked_of(client: Client, query: Mapping[str, str], repeated: Collection[str], *, url: str) -> Asked:
    """url: of the platform. repeated: parameters that came more than once.

    Raises:
        InvalidCall: nothing may be sent anywhere.
        AskedWrongly: the client is told.

    """
    redirect_uri = query.get("redirect_uri", "")
    if KNOWN & set(repeated):
        raise _invalid("A parameter came more than once")
    if not fits(redirect_uri, client.redirect_uris):
        raise _invalid("The program asks to be answered at an address that it did not register")
    state = query.get("state")

    def wrong(error: str, description: str) -> AskedWrongly:
        short = state if state is not None and len(state) <= LONGEST_STATE else None
        return AskedWrongly(error, description, redirect_uri=redirect_uri, state=short)

    if query.get("request") or query.get("request_uri"):
        raise wrong("request_not_supported", "request objects are not taken")
    if query.get("response_type") != "code" or query.get("response_mode", "query") != "query":
        raise wrong("unsupported_response_type", "response_type must be code, and response_mode query")
    if state is not None and (len(state) > LONGEST_STATE or not state.isprintable()):
        raise wrong("invalid_request", f"state must be at most {LONGEST_STATE} printable characters")
    challenge = query.get("code_challenge", "")
    if query.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
        raise wrong("invalid_request", "code_challenge with the method S256 is needed (RFC 7636)")
    if "none" in query.get("prompt", "").split():
        raise wrong("interaction_required", "the person is always asked")
    resource = resource_in(query.get("resource", f"{url}/mcp"), url)
    if resource is None:
        raise wrong("invalid_target", f"resource must be {url}/mcp or {url}/mcp/NAME")
    return Asked(
        client_id=client.id,
        client_name=client.name,
        source=client.source,
        redirect_uri=redirect_uri,
        state=state,
        challenge=challenge,
        resource=resource,
        scopes=scopes_in(query.get("scope", "")),
    )


def resource_in(text: str, url: str) -> str | None:
    """The path of an endpoint of this platform; None when it names none."""
    path = text.removesuffix("/").removeprefix(url)
    return path if text.startswith(url) and ENDPOINT.fullmatch(path) else None


def scopes_in(text: str) -> tuple[str, ...]:
    """Those that are known; without one of them, all (RFC 6749 section 3.3 leaves the default to the server)."""
    asked = set(text.split())
    return tuple(scope for scope in SCOPES if scope in asked) or tuple(SCOPES)


def narrowing(scopes: Collection[str]) -> tuple[str, ...]:
    """As the scopes of a key; nothing when all are there, so that the person's own rights decide."""
    return () if set(scopes) >= set(SCOPES) else tuple(SCOPES[scope] for scope in scopes)


def _invalid(message: str) -> InvalidCall:
    return InvalidCall(Refusal.INVALID_REQUEST, f"{message}.")
