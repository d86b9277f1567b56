"""Accounts at MCP servers: where they are kept, how they are renewed, and the page that connects them."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from ai_platform.bootstrap.base import Base
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.permission import Permission
from ai_platform.domain.principal import HOME
from ai_platform.entrypoints.http import Handler
from ai_platform.entrypoints.signin.connections import BELOW
from ai_platform.mcp.needs import variable_of
from ai_platform.secret import SIZE
from ai_platform.sso.connections.client import OAuthClient
from ai_platform.sso.connections.credentials import Credentials
from ai_platform.sso.connections.flow import Flow, Servers
from ai_platform.sso.connections.store import PLATFORM, Connections, Owner
from ai_platform.sso.people import Account
from ai_platform.sso.seal import Seal


class Accounts(msgspec.Struct, frozen=True):
    credentials: Credentials
    connections: Connections
    client: OAuthClient
    seal: Seal

    def flow(
        self, base: Base, servers: Servers, changed: Callable[[str, tuple[str, str] | None], Awaitable[None]]
    ) -> Flow:
        """changed: is told a server and whose account there is another now, None = the platform's."""

        async def tell(server: str, owner: Owner) -> None:
            await changed(server, None if owner == PLATFORM else (owner.tenant, owner.principal))

        return Flow(
            self.connections,
            self.client,
            self.credentials,
            servers=servers,
            seal=self.seal,
            clock=base.clock,
            changed=tell,
        )


async def accounts_of(base: Base) -> Accounts:
    """Raises ConfigError: a server of the configuration names a variable that is not set."""
    for server in base.settings.mcp.servers:
        secret = server.oauth.client_secret_env if server.oauth else ""
        for variable in (*server.headers_env.values(), *([secret] if secret else [])):
            variable_of(server, variable, base.environ)
    own = base.secret.derive("accounts at MCP servers")
    seal = Seal(*(_key(variable, base.environ) for variable in base.settings.mcp.credential_keys_env), own)
    connections = Connections(base.database, seal, base.clock)
    seconds = base.settings.sso.fetch_seconds
    client = OAuthClient(connections, url=base.url, environ=base.environ, clock=base.clock, seconds=seconds)
    credentials = Credentials(connections, client, url=base.url, environ=base.environ, clock=base.clock)
    return Accounts(credentials, connections, client, seal)


def accounts_mount(pages: Mapping[tuple[str, str], Handler]) -> dict[str, Handler]:
    """What answers below the routes that each server has one of."""
    return {f"{path}/": pages["GET", path] for path in BELOW if ("GET", path) in pages}


def manages_accounts(base: Base) -> Callable[[Account], bool]:
    """Who may connect the platform's own accounts: the operator's people, as only they change servers. What another
    organisation's administrator connected would be used for everybody's calls.
    """

    def manages(account: Account) -> bool:
        return account.tenant == HOME and account.principal(base.policies).may(Permission.SERVERS_WRITE)

    return manages


def _key(variable: str, environ: Mapping[str, str]) -> bytes:
    """Raises ConfigError: it is not set, or no key."""
    try:
        key = bytes.fromhex(environ.get(variable, "").strip())
    except ValueError:
        key = b""
    if len(key) != SIZE:
        raise ConfigError(
            f"{variable} of mcp.credential_keys_env must hold {SIZE} bytes in hexadecimal; `openssl rand -hex {SIZE}`"
            " makes them."
        )
    return key
