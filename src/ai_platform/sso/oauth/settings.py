"""Settings of the authorisation server for MCP clients."""

from enum import StrEnum
from typing import Annotated

import msgspec

from ai_platform.sso.oauth.redirects import check_redirect

Count = Annotated[int, msgspec.Meta(ge=1)]
Days = Annotated[float, msgspec.Meta(gt=0, le=3650)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=600)]


class Documents(StrEnum):
    """any: every public https host may be asked for a client's document. listed: trusted clients only. off: none."""

    ANY = "any"
    LISTED = "listed"
    OFF = "off"


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A client that is known beforehand, so that nothing has to be fetched or registered.

    id: its client_id, a short name or the https address of its metadata document. name: what people read when they are
    asked. redirect_uris: where codes may be sent; http on this computer's loopback with any port, or https.
    """

    id: str
    name: str
    redirect_uris: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.id) <= 300 or not self.id.isprintable() or " " in self.id:
            raise ValueError("id: 1 to 300 characters without spaces")
        if not self.redirect_uris:
            raise ValueError(f"the client '{self.id}' has no redirect_uris")
        for uri in self.redirect_uris:
            check_redirect(uri, None)


class OAuthSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How MCP clients get tokens for `/mcp`. It needs a provider that signs people in.

    enabled: off = only platform keys are taken at the MCP door. clients: known beforehand; Claude Code's is built in.
    documents: whose metadata documents are fetched when a client names one as its client_id: `any` public host's, of
    `listed` clients only, or `off`. registration: programs may register themselves (RFC 7591). registration_days: how
    long a registration is good. redirect_hosts: hosts besides this computer that codes may be sent to, over https.
    code_seconds: how long a code is good. registrations_per_minute: registrations that one network address may make.
    authorizations_per_minute: requests for access that one network address may make.
    """

    enabled: bool = True
    clients: tuple[ClientSettings, ...] = ()
    documents: Documents = Documents.ANY
    registration: bool = True
    registration_days: Days = 90.0
    redirect_hosts: tuple[str, ...] = ()
    code_seconds: Seconds = 60.0
    registrations_per_minute: Count = 20
    authorizations_per_minute: Count = 60
