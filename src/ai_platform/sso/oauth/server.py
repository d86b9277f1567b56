"""The authorisation server's front door: who asks, what a person's yes becomes, and what a code is exchanged for.

Above: signon, entrypoints. Below: the other modules of this package, grants.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.sso.devices import Request
from ai_platform.sso.grants import ForClient, Grants, Refreshed
from ai_platform.sso.oauth.asked import Asked, asked_of, resource_in
from ai_platform.sso.oauth.clients import Clients
from ai_platform.sso.oauth.codes import Codes, Redeemed, Spoilt, Used
from ai_platform.sso.oauth.documents import ClientDocuments
from ai_platform.sso.oauth.settings import OAuthSettings
from ai_platform.sso.people import Account
from ai_platform.sso.seal import Seal
from ai_platform.stores.postgres import Database

ASKED_SECONDS = 600.0
"""How long a person may take to sign in and decide."""

PURPOSE = "authorisation request"


class CodeExchange(NamedTuple):
    """What comes to the token endpoint with a code. resource: as it was sent, None = not at all."""

    code: str
    client_id: str
    redirect_uri: str
    verifier: str
    resource: str | None


class _Carried(msgspec.Struct, frozen=True):
    asked: Asked
    until: float


class AuthorizationServer:
    """url: of the platform, the issuer."""

    def __init__(
        self,
        settings: OAuthSettings,
        database: Database,
        *,
        grants: Grants,
        pepper: bytes,
        seal: Seal,
        url: str,
        clock: Clock,
        seconds: float,
    ) -> None:
        documents = ClientDocuments(clock, seconds=seconds, development=url.startswith("http://"))
        self.settings = settings
        self.url = url
        self.clients = Clients(settings, documents, key=pepper, clock=clock)
        self.codes = Codes(database, pepper=pepper, clock=clock, seconds=settings.code_seconds)
        self._grants = grants
        self._seal = seal
        self._clock = clock

    async def asked(self, query: Mapping[str, str], repeated: Collection[str]) -> Asked:
        """Raises InvalidCall, AskedWrongly (which may be told to the client)."""
        client = await self.clients.find(query.get("client_id", ""))
        return asked_of(client, query, repeated, url=self.url)

    def carried(self, asked: Asked) -> str:
        """For a cookie, while the person signs in and decides."""
        until = self._clock.now() + ASKED_SECONDS
        return self._seal.close(msgspec.json.encode(_Carried(asked, until)), PURPOSE)

    def opened(self, cookie: str | None) -> Asked | None:
        """None: it is not of this platform, or too old."""
        content = self._seal.open(cookie, PURPOSE) if cookie else None
        carried = msgspec.json.decode(content, type=_Carried) if content else None
        return carried.asked if carried and carried.until > self._clock.now() else None

    async def approve(self, asked: Asked, account: Account, provider_token: str | None) -> str:
        """The code for the client."""
        return await self.codes.make(asked, account, provider_token)

    async def exchange(self, wanted: CodeExchange, request: Request) -> Refreshed | Used | Spoilt:
        """A code for a family of refresh tokens. What a used code had become is not ended here."""
        resource = None
        if wanted.resource is not None:
            resource = resource_in(wanted.resource, self.url)
            if resource is None:
                return Spoilt.WRONG
        begun: list[Refreshed] = []

        async def become(found: Redeemed, connection: Any) -> str:
            client = ForClient(found.client_id, found.client_name, found.resource, found.scopes)
            made = await self._grants.begin_in(
                connection, found.account, request, provider_token=found.provider_token, client=client
            )
            begun.append(made)
            return made.grant.id

        found = await self.codes.redeem(
            wanted.code,
            client_id=wanted.client_id,
            redirect_uri=wanted.redirect_uri,
            verifier=wanted.verifier,
            resource=resource,
            become=become,
        )
        return begun[0] if isinstance(found, Redeemed) else found
