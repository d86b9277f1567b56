"""From an MCP server's address to the authorisation server that gives tokens for it (RFC 9728, RFC 8414).

What the server says of itself must be about itself, and what the issuer says of itself too; else a hostile server
could have tokens of another sent to it. Above: client. Below: outside.
"""

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ai_platform.domain.errors import UpstreamBroken, UpstreamError
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.sso.connections.outside import Outside

_RESOURCE_METADATA = re.compile(r'resource_metadata\s*=\s*"([^"\\]{1,500})"')
_INSUFFICIENT = re.compile(r'(?:^|[\s,])error\s*=\s*"?insufficient_scope"?(?=[\s,]|$)')
_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")
MOST_SCOPES = 20
WELL_KNOWN = "/.well-known/oauth-protected-resource"
_SCOPE = re.compile(r'(?:^|[\s,])scope\s*=\s*"([^"\\]{1,500})"')


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """An authorisation server. resource: what its tokens are asked for. scopes: what the server says it needs."""

    issuer: str
    resource: str
    authorization_endpoint: str = ""
    token_endpoint: str
    registration_endpoint: str = ""
    revocation_endpoint: str = ""
    says_iss: bool = False
    takes_documents: bool = False
    methods: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()


async def discover(server: McpServerSettings, outside: Outside) -> Issuer:
    """Raises UpstreamError: it cannot be asked, or what it says does not hold together."""
    challenge = await outside.challenge(server.url)
    resource, issuer, listed = await _resource(server, outside, challenge)
    metadata = await _metadata(server, outside, issuer)
    challenged = _SCOPE.search(challenge)
    scopes = server.oauth.scopes if server.oauth and server.oauth.scopes else ()
    found = Issuer(
        issuer=issuer,
        resource=resource,
        authorization_endpoint=_text(metadata, "authorization_endpoint"),
        token_endpoint=_text(metadata, "token_endpoint"),
        registration_endpoint=_text(metadata, "registration_endpoint"),
        revocation_endpoint=_text(metadata, "revocation_endpoint"),
        says_iss=metadata.get("authorization_response_iss_parameter_supported") is True,
        takes_documents=metadata.get("client_id_metadata_document_supported") is True,
        methods=_texts(metadata, "token_endpoint_auth_methods_supported") or ("client_secret_basic",),
        scopes=scopes or (tuple(challenged[1].split())[:MOST_SCOPES] if challenged else listed[:MOST_SCOPES]),
    )
    if not found.token_endpoint:
        raise _broken(server, f"{issuer} names no token endpoint")
    machine = server.oauth is not None and server.oauth.machine
    if not machine and "S256" not in _texts(metadata, "code_challenge_methods_supported"):
        raise _broken(server, f"{issuer} does not say that it takes PKCE with S256, so codes could be stolen")
    return found


def lacking(challenge: str) -> tuple[str, ...]:
    """The scopes that a 403 says are missing (RFC 6750 section 3.1); empty when it is about something else."""
    named = _SCOPE.search(challenge) if _INSUFFICIENT.search(challenge) else None
    return (
        tuple(dict.fromkeys(scope for scope in named[1].split() if _TOKEN.fullmatch(scope)))[:MOST_SCOPES]
        if named
        else ()
    )


async def _resource(server: McpServerSettings, outside: Outside, challenge: str) -> tuple[str, str, tuple[str, ...]]:
    """(resource, issuer, scopes). Without metadata the server's own origin is the issuer, as in MCP 2025-03-26."""
    parts = urlsplit(server.url)
    origin = f"{parts.scheme}://{parts.netloc}"
    named = _RESOURCE_METADATA.search(challenge)
    well_known = origin + WELL_KNOWN
    places = [named[1]] if named else []
    places += [well_known + parts.path.rstrip("/"), well_known]
    for address in dict.fromkeys(places):
        document = await _document(outside, address)
        issuers = _texts(document, "authorization_servers")
        if not issuers:
            continue
        resource = _text(document, "resource")
        if not _is_about(resource, server.url, address):
            raise _broken(server, f"{address} is about {resource[:200]!r} and not about {server.url}")
        return resource, issuers[0], _texts(document, "scopes_supported")
    return server.url, origin, ()


async def _metadata(server: McpServerSettings, outside: Outside, issuer: str) -> dict[str, Any]:
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    for address in dict.fromkeys(
        (
            f"{origin}/.well-known/oauth-authorization-server{path}",
            f"{origin}/.well-known/openid-configuration{path}",
            f"{origin}{path}/.well-known/openid-configuration",
        )
    ):
        document = await _document(outside, address)
        said = _text(document, "issuer")
        if not said:
            continue
        if said.rstrip("/") != issuer.rstrip("/"):
            raise _broken(server, f"{address} is of the issuer {said[:200]!r} and not of {issuer}")
        return document
    raise _broken(server, f"{issuer} does not describe itself (RFC 8414)")


async def _document(outside: Outside, address: str) -> dict[str, Any]:
    """Empty when there is none; an address that must not be asked is an error."""
    try:
        answer = await outside.get(address)
    except UpstreamBroken:
        raise
    except UpstreamError:
        return {}
    return answer.body if answer.status == 200 else {}


def _is_about(resource: str, url: str, address: str) -> bool:
    """Whether the document at `address` may speak for the server (RFC 9728 section 3.3).

    A resource above the server's address is believed only where its own metadata lies: one of several servers of a host
    could else have tokens for all of them sent to it.
    """
    base = resource.rstrip("/")
    if not base or url.rstrip("/") == base:
        return bool(base)
    parts = urlsplit(base)
    own = f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{parts.path}"
    return url.startswith(f"{base}/") and address == own


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) and len(value) <= 1000 and value.isprintable() else ""


def _texts(document: dict[str, Any], name: str) -> tuple[str, ...]:
    value = document.get(name)
    listed = value if isinstance(value, list) else []
    return tuple(one for one in listed[:50] if isinstance(one, str) and one.isprintable() and len(one) <= 500)


def _broken(server: McpServerSettings, why: str) -> UpstreamBroken:
    return UpstreamBroken(f"No token can be had for the MCP server '{server.name}': {why}.", target=server.name)
