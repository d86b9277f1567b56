"""Connecting an account at an MCP server: away to its authorisation server, back with a code, and disconnecting.

The way back is bound to the browser (a cookie), to the person who left, and to the issuer they were sent to, so that
nobody can put an account of their own under another person, or a code of one issuer to another. Above: entrypoints.
Below: client, store, credentials.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall, PlatformError
from ai_platform.domain.principal import HOME
from ai_platform.mcp.settings import CredentialMode, McpServerSettings
from ai_platform.sso.connections.client import OAuthClient
from ai_platform.sso.connections.credentials import Credentials
from ai_platform.sso.connections.discovery import Issuer
from ai_platform.sso.connections.store import PLATFORM, Connections, Owner, Token
from ai_platform.sso.people import Account
from ai_platform.sso.seal import Seal
from ai_platform.stores.postgres import Gone

PENDING_SECONDS = 600.0
PURPOSE = "account at an MCP server"
LONGEST_TOKEN = 8 * 1024
LONGEST_COOKIE = 3800
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

Servers = Callable[[], Mapping[str, McpServerSettings]]
"""All MCP servers there are now, by name."""


Recorded = Callable[[str], Awaitable[None]]
"""Called with the server's name before an account there is kept; raises AuditUnavailable: then it is not kept."""


class Leaving(NamedTuple):
    """Where the browser is sent; name and value of the cookie that must come back with it."""

    url: str
    cookie_name: str
    cookie: str


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A server as the page shows it. owner: whose account it would be. row: of the account, None without one."""

    server: McpServerSettings
    owner: Owner
    row: Any


class _Pending(msgspec.Struct, frozen=True, kw_only=True):
    server: str
    url: str
    owner: Owner
    person: str
    state: str
    verifier: str
    issuer: Issuer
    client_id: str
    until: float


class Flow:
    """changed: called with a server's name and the owner whose account there was connected or disconnected."""

    def __init__(
        self,
        connections: Connections,
        client: OAuthClient,
        credentials: Credentials,
        *,
        servers: Servers,
        seal: Seal,
        clock: Clock,
        changed: Callable[[str, Owner], Awaitable[None]],
    ) -> None:
        self.client = client
        self.connections = connections
        self.credentials = credentials
        self._servers = servers
        self._seal = seal
        self._clock = clock
        self._changed = changed

    async def standing(self, account: Account, *, manages: bool) -> Sequence[Standing]:
        """The servers that this person can connect an account at. manages: the platform's own accounts too."""
        mine = {row["server"]: row for row in await self.connections.of(account.tenant, principal=account.id)}
        ours = {row["server"]: row for row in await self.connections.of(HOME, principal="")} if manages else {}
        found: list[Standing] = []
        for server in self._servers().values():
            owner = _owner(server, account, manages=manages)
            if owner is not None:
                row = (ours if owner == PLATFORM else mine).get(server.name)
                found.append(Standing(server=server, owner=owner, row=row))
        return found

    async def leave(self, name: str, account: Account, *, manages: bool) -> Leaving:
        """Raises InvalidCall: there is no such server for them. UpstreamError: it, or its issuer, does not answer."""
        server, owner = self._found(name, account, manages=manages)
        if server.oauth is None:
            raise _invalid(f"'{name}' takes a token that you enter, not a sign-in")
        issuer = await self.client.issuer(server)
        if not self._may_lead_to(issuer.authorization_endpoint):
            raise _invalid(f"The authorisation server of '{name}' has no https address for people")
        identity = await self.client.identity(server, issuer)
        more = await self.connections.wanted(server, owner)
        issuer = msgspec.structs.replace(issuer, scopes=tuple(dict.fromkeys((*issuer.scopes, *more))))
        pending = _Pending(
            server=server.name,
            url=server.url,
            owner=owner,
            person=account.id,
            state=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            issuer=msgspec.structs.replace(issuer, authorization_endpoint="", registration_endpoint="", scopes=()),
            client_id=identity.id,
            until=self._clock.now() + PENDING_SECONDS,
        )
        url = self.client.authorization_url(server, issuer, identity, state=pending.state, verifier=pending.verifier)
        cookie = self._seal.close(msgspec.json.encode(pending), PURPOSE)
        if len(cookie) > LONGEST_COOKIE:
            raise _invalid(f"The authorisation server of '{name}' has addresses that are too long")
        return Leaving(url, cookie_name(pending.state), cookie)

    async def arrive(
        self, at: str, query: Mapping[str, str], cookie: str | None, account: Account, recorded: Recorded
    ) -> str:
        """The server's name. at: the name in the address that the answer came to.

        Raises InvalidCall: the answer is not for this browser, person and server. UpstreamError; what `recorded` does.
        """
        opened = self._seal.open(cookie, PURPOSE) if cookie else None
        pending = msgspec.json.decode(opened, type=_Pending) if opened else None
        state = query.get("state", "").encode("utf-8", "replace")
        if pending is None or pending.until <= self._clock.now():
            raise _invalid("This browser did not ask for it, or asked too long ago")
        if not hmac.compare_digest(pending.state.encode(), state) or pending.person != account.id:
            raise _invalid("This answer belongs to somebody else's question")
        if pending.server != at:  # an issuer led on to another one, which answered where it does for its own server
            raise _invalid("This answer came to the address of another server")
        said = query.get("iss")
        if said != pending.issuer.issuer and (said is not None or pending.issuer.says_iss):
            raise _invalid("Another authorisation server sent this answer")
        if "error" in query or not query.get("code"):
            code = query.get("error", "")
            plain = code[:40] if code.replace("_", "").isalnum() else "nothing that can be used"
            raise _invalid(f"The authorisation server says {plain}")
        server = self._servers().get(pending.server)
        if server is None or server.url != pending.url:
            raise _invalid(f"The MCP server '{pending.server}' was changed meanwhile; begin again")
        identity = await self.client.identity(server, pending.issuer)
        if identity.id != pending.client_id:
            raise _invalid(f"This platform is another client of '{pending.server}' now; begin again")
        token = await self.client.exchange(
            server, pending.issuer, identity, code=query["code"], verifier=pending.verifier
        )
        try:
            await recorded(server.name)
            await self._keep(server, pending.owner, token, kind="oauth", by=account.id)
        except PlatformError:
            await self.client.revoke(server, token)  # nobody here could use it or end it any more
            raise
        return server.name

    async def enter(self, name: str, account: Account, text: str, recorded: Recorded) -> None:
        """A token that this person got there by themselves. Raises InvalidCall; what `recorded` does."""
        server, owner = self._found(name, account, manages=False)
        kept = _entered(server, text)
        await recorded(server.name)
        await self._keep(server, owner, kept, kind="token", by=account.id)

    async def enter_for(self, server: McpServerSettings, owner: Owner, text: str, *, by: str) -> None:
        """Raises InvalidCall: this server takes none, or it is no token."""
        await self._keep(server, owner, _entered(server, text), kind="token", by=by)

    async def disconnect(self, name: str, owner: Owner) -> bool:
        """Forget it here, then tell its issuer, which may not answer. False: there was none."""
        server = self._servers().get(name)
        known = await self.connections.get(server, owner) if server is not None else None
        done = await self.connections.remove(name, owner)
        await self._tell(name, owner)
        if server is not None and known is not None and known.token is not None:
            await self.client.revoke(server, known.token)
        return done

    def server(self, name: str) -> McpServerSettings | None:
        return self._servers().get(name)

    async def _keep(self, server: McpServerSettings, owner: Owner, token: Token, *, kind: str, by: str) -> None:
        try:
            await self.connections.put(server, owner, token, kind=kind, by=by)
        except Gone as error:
            raise _invalid(
                "Who this account is for was removed, suspended, or belongs to a disabled organisation"
            ) from error
        await self._tell(server.name, owner)

    async def _tell(self, name: str, owner: Owner) -> None:
        self.credentials.forget(name, owner)
        await self._changed(name, owner)

    def _may_lead_to(self, address: str) -> bool:
        """Plain http only where this platform is so itself, for development, and then on this machine."""
        parts = urlsplit(address)
        local = self.client.url.startswith("http://") and parts.hostname in LOOPBACK
        return bool(parts.hostname) and (parts.scheme == "https" or (local and parts.scheme == "http"))

    def _found(self, name: str, account: Account, *, manages: bool) -> tuple[McpServerSettings, Owner]:
        server = self._servers().get(name)
        owner = _owner(server, account, manages=manages) if server is not None else None
        if server is None or owner is None:
            raise _invalid(f"There is no MCP server '{name[:60]}' that you could connect an account at")
        return server, owner


def _owner(server: McpServerSettings, account: Account, *, manages: bool) -> Owner | None:
    """Whose account this person may connect there; None: nobody's."""
    if not server.enabled:
        return None
    if server.credentials is CredentialMode.PERSON:
        seen = (
            (not server.teams or account.team in server.teams)
            and (not server.regions or account.region in server.regions)
            and (not server.tenants or account.tenant in server.tenants)
        )
        return Owner(account.tenant, account.id) if seen else None
    wants = server.oauth is not None and not server.oauth.machine
    return PLATFORM if wants and manages else None


def _entered(server: McpServerSettings, text: str) -> Token:
    """Raises InvalidCall: this server takes none, or it is no token."""
    if server.credentials is not CredentialMode.PERSON or server.oauth is not None:
        raise _invalid(f"'{server.name}' takes no token of a person")
    token = text.strip()
    if not token or len(token) > LONGEST_TOKEN or not token.isascii() or not token.isprintable():
        raise _invalid("A token is one line of plain characters")
    return Token(access=token, header=server.token_header)


def cookie_name(state: str) -> str:
    """One each, so that two tabs do not disturb one another."""
    return f"aip-connect-{''.join(letter for letter in state[:8] if letter.isalnum() or letter in '-_')}"


def _invalid(message: str) -> InvalidCall:
    return InvalidCall(Refusal.INVALID_REQUEST, f"{message}.")
