"""What an MCP server is shown of who calls: the platform's own credential, or the caller's own for that server.

Never the one that the caller showed to this platform. Tokens are renewed a minute before their end, by one process at
a time. What was read is believed for a few seconds, so that a call costs no look-up; an account that is disconnected
ends within that time on other replicas. Fails closed: without a credential nothing is sent. Above: the MCP room.
Below: client, store.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from weakref import WeakValueDictionary

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import UpstreamError, UpstreamUnreachable
from ai_platform.domain.principal import Principal
from ai_platform.mcp.needs import NotConnected, variable_of
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.sso.connections.client import EndedError, OAuthClient
from ai_platform.sso.connections.store import PLATFORM, Connection, Connections, Owner, Token, owner_for

BELIEVED_SECONDS = 5.0
FRESH_SECONDS = 60.0
FORCED_PAUSE = 30.0
"""How soon a token that a server refused is renewed again."""

MOST_KEPT = 20_000
_Key = tuple[str, str, Owner]


class Credentials:
    """renewed, ended: tokens that were renewed, and those that could not be any more."""

    def __init__(
        self, connections: Connections, client: OAuthClient, *, url: str, environ: Mapping[str, str], clock: Clock
    ) -> None:
        self._connections = connections
        self._client = client
        self._url = url
        self._environ = environ
        self._clock = clock
        self._kept: OrderedDict[_Key, tuple[float, Token]] = OrderedDict()
        self._forced: OrderedDict[_Key, float] = OrderedDict()
        self._locks: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()
        self.renewed = 0
        self.ended = 0

    async def headers(self, server: McpServerSettings, principal: Principal | None) -> Mapping[str, str]:
        """Raises NotConnected, UpstreamError, ConfigError."""
        fixed = server.headers | {
            header: variable_of(server, variable, self._environ) for header, variable in server.headers_env.items()
        }
        owner = owner_for(server, principal)
        if owner == PLATFORM and server.oauth is None:
            return fixed
        if owner is None:
            raise NotConnected(server.name, f"Only a person's own account can be used with '{server.name}'.")
        return fixed | (await self._token(server, owner)).headers()

    async def rejected(self, server: McpServerSettings, principal: Principal | None) -> bool:
        """The server answered 401. True: another token is there, try once more."""
        owner = owner_for(server, principal)
        if owner is None or (owner == PLATFORM and server.oauth is None):
            return False
        key = (server.name, server.url, owner)
        now = self._clock.monotonic()
        if now - self._forced.get(key, float("-inf")) < FORCED_PAUSE:
            return False
        self._forced[key] = now
        if len(self._forced) > MOST_KEPT:
            self._forced.popitem(last=False)
        if server.oauth is None:  # nobody here can get another one: the page says so to its owner
            await self._connections.give_back(server, owner, "the server refused it")
            return False
        before = self._kept.pop(key, (0.0, None))[1]
        try:
            after = await self._token(server, owner, refused=before)
        except (UpstreamError, NotConnected):
            return False
        return before is None or after.access != before.access

    def forget(self, server: str, owner: Owner) -> None:
        """The account was connected or disconnected: the next call reads it anew."""
        for key in [key for key in self._kept if (key[0], key[2]) == (server, owner)]:
            del self._kept[key]

    async def _token(self, server: McpServerSettings, owner: Owner, *, refused: Token | None = None) -> Token:
        key = (server.name, server.url, owner)
        until, token = self._kept.get(key, (0.0, None))
        if token is not None and until > self._clock.monotonic() and self._is_fresh(token):
            return token
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            until, token = self._kept.get(key, (0.0, None))
            if token is not None and until > self._clock.monotonic() and self._is_fresh(token):
                return token
            token = await self._current(server, owner, refused)
            self._kept[key] = (self._clock.monotonic() + BELIEVED_SECONDS, token)
            self._kept.move_to_end(key)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
            return token

    async def _current(self, server: McpServerSettings, owner: Owner, refused: Token | None) -> Token:
        if server.oauth is not None and server.oauth.machine:
            _, kept = self._kept.get((server.name, server.url, owner), (0.0, None))
            return kept if kept is not None and self._is_fresh(kept) else await self._client.for_itself(server)
        known = await self._connections.get(server, owner)
        if known is None or known.token is None:
            raise self._missing(server, owner, "is not connected yet" if known is None else "must be connected again")
        if self._is_fresh(known.token) and (refused is None or known.token.access != refused.access):
            return known.token
        return await self._renewed(server, owner, known, known.token)

    async def _renewed(self, server: McpServerSettings, owner: Owner, known: Connection, token: Token) -> Token:
        if known.kind != "oauth":
            raise self._missing(server, owner, "was refused by the server: its token must be entered again")
        if not await self._connections.claim(server, owner, known.changed_at):
            return await self._by_another(server, owner, token)
        try:
            fresh = await self._client.renew(server, token)
        except EndedError as error:
            self.ended += 1
            await self._connections.give_back(server, owner, "it has ended there")
            raise self._missing(server, owner, "has ended there and must be connected again") from error
        except BaseException:
            await self._connections.give_back(server, owner, None)
            raise
        await self._connections.renewed(server, owner, fresh)
        self.renewed += 1
        return fresh

    async def _by_another(self, server: McpServerSettings, owner: Owner, token: Token) -> Token:
        """Another process renews it at this moment; its result is what counts."""
        known = await self._connections.get(server, owner)
        if known is not None and known.token is not None and known.token.access != token.access:
            return known.token
        if token.expires_at is not None and token.expires_at > self._clock.now():
            return token
        raise UpstreamUnreachable(
            f"The token for the MCP server '{server.name}' is being renewed. Try again in a moment.",
            target=server.name,
            retry_after=1,
        )

    def _is_fresh(self, token: Token) -> bool:
        return token.expires_at is None or token.expires_at - self._clock.now() > FRESH_SECONDS

    def _missing(self, server: McpServerSettings, owner: Owner, what: str) -> NotConnected:
        title = server.title or server.name
        if owner == PLATFORM:
            message = f"The platform's own account at the MCP server '{title}' {what}. Tell whoever runs this platform."
        else:
            page = f"{self._url}/auth/connections"
            message = f"Your account at the MCP server '{title}' {what}. Open {page} in a browser."
        return NotConnected(server.name, message)
