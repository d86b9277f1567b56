"""Clients: known from the settings, described by a document at their own address, or registered by themselves.

A registration is not kept here: it is the client's id, under a keyed hash, so that registering costs no memory and
nobody can fill any (RFC 7591 leaves the form of an id to the server). None of them has a secret: whoever holds a
program holds its secret too, so PKCE does that work. Above: server. Below: documents, redirects.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall
from ai_platform.sso.oauth.documents import ClientDocuments
from ai_platform.sso.oauth.redirects import check_redirect
from ai_platform.sso.oauth.settings import ClientSettings, Documents, OAuthSettings

PREFIX = "aipc_"
MOST_REDIRECTS = 5
LONGEST_ID = 1400
LONGEST_NAME = 60

CLAUDE_CODE = ClientSettings(
    id="https://claude.ai/oauth/claude-code-client-metadata",
    name="Claude Code",
    redirect_uris=("http://localhost/callback", "http://127.0.0.1/callback"),
)
"""Claude Code names this document as its client_id; a site without a way out could not fetch it."""


class Source(StrEnum):
    """How a client is known."""

    LISTED = "listed"
    DOCUMENT = "document"
    REGISTERED = "registered"


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """name: what it calls itself, printable and short; nobody has checked it unless it is LISTED."""

    id: str
    name: str
    redirect_uris: tuple[str, ...]
    source: Source


class _Registration(msgspec.Struct, frozen=True):
    """What an id of our own says: name, redirect addresses, when it was made (epoch seconds), and a number that no
    other registration has, so that two programs are never the same client.
    """

    n: str
    r: tuple[str, ...]
    at: int
    u: str


class Clients:
    """documents: those that were fetched."""

    def __init__(self, settings: OAuthSettings, documents: ClientDocuments, *, key: bytes, clock: Clock) -> None:
        self._settings = settings
        self._key = key
        self._clock = clock
        self._listed = {one.id: one for one in (CLAUDE_CODE, *settings.clients)}
        self.documents = documents

    async def find(self, client_id: str) -> Client:
        """Raises InvalidCall: it is not known here, or its document cannot be used; why stands in the message."""
        if listed := self._listed.get(client_id):
            return _client(client_id, listed.name, listed.redirect_uris, Source.LISTED)
        if client_id.startswith(PREFIX):
            return self._registered(client_id)
        if "://" not in client_id or self._settings.documents is not Documents.ANY:
            raise _invalid("This program is not known here")
        document = await self.documents.of(client_id)
        name, redirects = _read(document)
        return self._checked(client_id, name, redirects, Source.DOCUMENT)

    def register(self, document: Mapping[str, Any]) -> tuple[Client, int]:
        """A new client, and when its registration was made (epoch seconds). Raises InvalidCall."""
        name, redirects = _read(document)
        at = int(self._clock.now())
        body = msgspec.json.encode(_Registration(name, redirects, at, secrets.token_urlsafe(9)))
        text = PREFIX + _text(body) + "." + _text(self._mac(body))
        if len(text) > LONGEST_ID:
            raise _invalid("These are too many or too long redirect addresses")
        return self._checked(text, name, redirects, Source.REGISTERED), at

    def _registered(self, client_id: str) -> Client:
        try:
            body, mac = (_bytes(part) for part in client_id.removeprefix(PREFIX).split("."))
            if len(client_id) > LONGEST_ID or not hmac.compare_digest(mac, self._mac(body)):
                raise ValueError
            said = msgspec.json.decode(body, type=_Registration)
        except (ValueError, binascii.Error) as error:
            raise _invalid("This registration was not made here") from error
        if said.at + self._settings.registration_days * 86400 <= self._clock.now():
            raise _invalid("This registration has expired; the program must register again")
        return self._checked(client_id, said.n, said.r, Source.REGISTERED)

    def _checked(self, client_id: str, name: str, redirects: tuple[str, ...], source: Source) -> Client:
        """Only the addresses that codes may be sent to now; one at least."""
        good: list[str] = []
        problem = "it names no redirect address"
        for uri in redirects:
            try:
                check_redirect(uri, self._settings.redirect_hosts)
                good.append(uri)
            except ValueError as error:
                problem = str(error)
        if not good:
            raise _invalid(f"This program cannot be used here: {problem}")
        return _client(client_id, name, tuple(good), source)

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, b"oauth client\n" + body, "sha256")[:16]


def _read(document: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Name and redirect addresses of a client's metadata (RFC 7591 section 2)."""
    redirects = document.get("redirect_uris")
    if not isinstance(redirects, list) or not 0 < len(redirects) <= MOST_REDIRECTS * 4:
        raise _invalid("redirect_uris must be a list of addresses")
    addresses = tuple(uri for uri in redirects if isinstance(uri, str))
    if len(addresses) != len(redirects):
        raise _invalid("redirect_uris must be a list of addresses")
    if document.get("token_endpoint_auth_method", "none") == "private_key_jwt":
        raise _invalid("token_endpoint_auth_method can only be none: programs are told apart by PKCE here")
    wanted = document.get("grant_types", ["authorization_code"])
    if not isinstance(wanted, list) or "authorization_code" not in wanted:
        raise _invalid("grant_types must hold authorization_code")
    name = document.get("client_name", "")
    text = " ".join(name.split()) if isinstance(name, str) else ""
    shown = "".join(letter for letter in text if letter.isprintable())[:LONGEST_NAME]
    return shown or "A program that did not say what it is", addresses


def _client(client_id: str, name: str, redirects: tuple[str, ...], source: Source) -> Client:
    return Client(id=client_id, name=name, redirect_uris=redirects, source=source)


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _invalid(message: str) -> InvalidCall:
    return InvalidCall(Refusal.INVALID_REQUEST, f"{message}.")
