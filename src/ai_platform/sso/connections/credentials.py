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
from ai_platform.mcp.needs import NotConnected, Rejected, variable_of
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.sso.connections.client import EndedError, OAuthClient
from ai_platform.sso.connections.discovery import lacking
from ai_platform.sso.connections.store import PLATFORM, Connection, Connections, Owner, Token, owner_for

BELIEVED_SECONDS = 5.0
FRESH_SECONDS = 60.0
FORCED_PAUSE = 30.0
"""How soon a token that a server refused is renewed again."""

MOST_KEPT = 20_000
LOOKS, LOOK_SECONDS = 20, 0.25
"""How long the result of another process is waited for."""

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
        self._changes = 0
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

    async def rejected(self, server: McpServerSettings, principal: Principal | None, refusal: Rejected) -> bool:
        """True: another token is there, try once more. Raises NotConnected: they must agree to more."""
        owner = owner_for(server, principal)
        if owner is None or (owner == PLATFORM and server.oauth is None):
            return False
        if refusal.status == 403:
            if more := lacking(refusal.challenge):
                await self._ask_for(server, owner, more)
            return False
        shown = refusal.shown
        key = (server.name, server.url, owner)
        async with self._locks.setdefault(key, asyncio.Lock()):
            _, token = self._kept.get(key, (0.0, None))
            if token is not None and not _carries(shown, token):
                return True  # another call got it meanwhile
            now = self._clock.monotonic()
            if now - self._forced.get(key, float("-inf")) < FORCED_PAUSE:
                return False
            self._forced[key] = now
            if len(self._forced) > MOST_KEPT:
                self._forced.popitem(last=False)
            self._kept.pop(key, None)
            try:
                return await self._replaced(server, owner, shown)
            except (UpstreamError, NotConnected):
                return False

    def forget(self, server: str, owner: Owner) -> None:
        """The account was connected or disconnected: the next call reads it anew."""
        self._changes += 1  # what is being read at this moment is not kept
        for known in (self._kept, self._forced):
            for key in [key for key in known if (key[0], key[2]) == (server, owner)]:
                del known[key]

    async def _ask_for(self, server: McpServerSettings, owner: Owner, scopes: tuple[str, ...]) -> None:
        """Step-up: the account works on; the page asks for these scopes when its owner connects it again."""
        if server.oauth is None or server.oauth.machine:
            return
        await self._connections.wants(server, owner, scopes)
        words = ", ".join(scopes)
        raise self._missing(server, owner, f"may not do this yet: it needs {words}. Connect it again to agree to that")

    async def _replaced(self, server: McpServerSettings, owner: Owner, shown: Mapping[str, str]) -> bool:
        """Whether there is another token than the one that was shown. Raises as `headers`."""
        if server.oauth is None:  # nobody here can get another one: the page says so to its owner
            known = await self._connections.get(server, owner)
            if known is not None and known.token is not None and _carries(shown, known.token):
                await self._connections.give_back(server, owner, "the server refused it", seen=known.changed_at)
            return False
        changes = self._changes
        token = await self._current(server, owner, shown)
        self._keep((server.name, server.url, owner), token, changes)
        return not _carries(shown, token)

    async def _token(self, server: McpServerSettings, owner: Owner) -> Token:
        key = (server.name, server.url, owner)
        until, token = self._kept.get(key, (0.0, None))
        if token is not None and until > self._clock.monotonic() and self._is_fresh(token):
            return token
        async with self._locks.setdefault(key, asyncio.Lock()):
            until, token = self._kept.get(key, (0.0, None))
            if token is not None and until > self._clock.monotonic() and self._is_fresh(token):
                return token
            changes = self._changes
            token = await self._current(server, owner)
            self._keep(key, token, changes)
            return token

    def _keep(self, key: _Key, token: Token, changes: int) -> None:
        """changes: as it was before the token was read."""
        if changes != self._changes:
            return
        self._kept[key] = (self._clock.monotonic() + BELIEVED_SECONDS, token)
        self._kept.move_to_end(key)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    async def _current(
        self, server: McpServerSettings, owner: Owner, refused: Mapping[str, str] | None = None
    ) -> Token:
        """refused: what the server did not take."""
        if server.oauth is not None and server.oauth.machine:
            _, kept = self._kept.get((server.name, server.url, owner), (0.0, None))
            return kept if kept is not None and self._is_fresh(kept) else await self._client.for_itself(server)
        known = await self._connections.get(server, owner)
        if known is None or known.token is None:
            raise self._missing(server, owner, "is not connected yet" if known is None else "must be connected again")
        if known.kind == "oauth" and known.problem:
            raise self._missing(server, owner, "has ended there and must be connected again")
        if self._is_fresh(known.token) and (refused is None or not _carries(refused, known.token)):
            return known.token
        return await self._renewed(server, owner, known, known.token, is_good=refused is None)

    async def _renewed(
        self, server: McpServerSettings, owner: Owner, known: Connection, token: Token, *, is_good: bool
    ) -> Token:
        """is_good: the token may be used until its end."""
        seen = known.changed_at
        if not await self._connections.claim(server, owner, seen):
            return await self._by_another(server, owner, token, is_good=is_good)
        try:
            fresh = await self._client.renew(server, token)
        except EndedError as error:
            self.ended += 1
            await self._connections.give_back(server, owner, "it has ended there", seen=seen)
            raise self._missing(server, owner, "has ended there and must be connected again") from error
        except BaseException:
            await self._connections.give_back(server, owner, None, seen=seen)
            raise
        self.renewed += 1
        if not await self._connections.renewed(server, owner, fresh, seen=seen):
            return await self._by_another(
                server, owner, token, is_good=False
            )  # connected anew, or disconnected, meanwhile
        return fresh

    async def _by_another(self, server: McpServerSettings, owner: Owner, token: Token, *, is_good: bool) -> Token:
        """Another process renews it at this moment; its result is what counts."""
        for _ in range(LOOKS):
            known = await self._connections.get(server, owner)
            if known is None or known.token is None or known.problem:
                raise self._missing(server, owner, "must be connected again")
            if known.token.access != token.access:
                return known.token
            if is_good and token.expires_at is not None and token.expires_at > self._clock.now():
                return token
            await asyncio.sleep(LOOK_SECONDS)
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


def _carries(shown: Mapping[str, str], token: Token) -> bool:
    """Whether these fields hold this token."""
    return all(shown.get(name) == value for name, value in token.headers().items())
