"""Accounts at MCP servers as they are kept: one a tenant, server and person, encrypted and bound to all three.

Above: flow, credentials. Below: seal, stores.
"""

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.principal import HOME, Principal
from ai_platform.identity.key import service_handle
from ai_platform.mcp.settings import CredentialMode, McpServerSettings
from ai_platform.sso.rows import moment
from ai_platform.sso.seal import Seal
from ai_platform.stores.postgres import Database, SystemDatabase

CLAIM_SECONDS = 30.0
_RESEAL = MappingProxyType(
    {
        "mcp_connections": "UPDATE mcp_connections SET sealed = $5"
        " WHERE tenant = $1 AND server = $2 AND principal_id = $3 AND sealed = $4",
        "mcp_clients": "UPDATE mcp_clients SET sealed = $5"
        " WHERE tenant = $1 AND server = $2 AND issuer = $3 AND sealed = $4",
    }
)


class Owner(NamedTuple):
    """Whose account it is. principal: "" = the platform's own."""

    tenant: str
    principal: str


PLATFORM = Owner(HOME, "")


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What a server is shown, and how it is renewed. header: that carries `access`. expires_at: epoch seconds, None =
    it says nothing of that. client_secret: "" of a public client. methods: how the token endpoint takes it.
    """

    access: str
    header: str = "authorization"
    refresh: str = ""
    expires_at: float | None = None
    issuer: str = ""
    token_endpoint: str = ""
    client_id: str = ""
    client_secret: str = ""
    resource: str = ""
    methods: tuple[str, ...] = ()
    revocation_endpoint: str = ""

    def headers(self) -> dict[str, str]:
        value = f"Bearer {self.access}" if self.header == "authorization" else self.access
        return {self.header: value}


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """token: None when it cannot be opened (any more). problem: why the server or its issuer did not take it."""

    server: str
    owner: Owner
    kind: str
    token: Token | None
    connected_at: dt.datetime
    changed_at: dt.datetime
    expires_at: dt.datetime | None
    problem: str | None


class Connections:
    """clients: registrations of this platform at authorisation servers."""

    def __init__(self, database: Database, seal: Seal, clock: Clock) -> None:
        self._database = database
        self._seal = seal
        self._clock = clock

    async def get(self, server: McpServerSettings, owner: Owner) -> Connection | None:
        row: Any = await self._database.within(owner.tenant).fetchrow(
            "SELECT * FROM mcp_connections WHERE server = $1 AND principal_id = $2", server.name, owner.principal
        )
        return self._connection(row, server) if row else None

    async def of(self, tenant: str, *, principal: str | None = None) -> list[Any]:
        """Rows without what is secret: of a tenant, or of one principal in it."""
        return await self._database.within(tenant).fetch(
            "SELECT c.server, c.principal_id, coalesce(p.email, p.name) AS person, c.kind, c.issuer, c.expires_at,"
            " c.connected_at, c.problem, c.wanted FROM mcp_connections c"
            " LEFT JOIN principals p ON p.id = c.principal_id"
            " WHERE $1::text IS NULL OR c.principal_id = $1 ORDER BY c.server, person LIMIT 10000",
            principal,
        )

    async def principal(self, tenant: str, who: str) -> str | None:
        """The id of a person by address, or of a service account by name; None when there is none that is active."""
        return await self._database.within(tenant).fetchval(
            "SELECT id FROM principals WHERE state = 'active' AND (id = $1 OR handle = $2 OR handle = $3)",
            who,
            who.lower(),
            service_handle(who),
        )

    async def put(self, server: McpServerSettings, owner: Owner, token: Token, *, kind: str, by: str) -> None:
        now = moment(self._clock.now())  # and never the moment of what it replaces: see `renewed`
        await self._database.within(owner.tenant).execute(
            "INSERT INTO mcp_connections (server, principal_id, kind, issuer, sealed, expires_at, connected_at,"
            " connected_by, changed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7)"
            " ON CONFLICT (tenant, server, principal_id) DO UPDATE SET kind = excluded.kind, issuer = excluded.issuer,"
            " changed_at = greatest(excluded.changed_at, mcp_connections.changed_at + interval '1 microsecond'),"
            " sealed = excluded.sealed, expires_at = excluded.expires_at, connected_at = excluded.connected_at,"
            " connected_by = excluded.connected_by, renewing_until = NULL,"
            " problem = NULL, wanted = '{}'",
            server.name,
            owner.principal,
            kind,
            token.issuer or None,
            self._close(server, owner, token),
            moment(token.expires_at) if token.expires_at is not None else None,
            now,
            by,
        )

    async def claim(self, server: McpServerSettings, owner: Owner, seen: dt.datetime) -> bool:
        """Whether this caller is the one to renew what it saw: a refresh token must not be used twice."""
        now = self._clock.now()
        tag = await self._database.within(owner.tenant).execute(
            "UPDATE mcp_connections SET renewing_until = $3 WHERE server = $1 AND principal_id = $2 AND changed_at = $4"
            " AND coalesce(renewing_until <= $5, true)",
            server.name,
            owner.principal,
            moment(now + CLAIM_SECONDS),
            seen,
            moment(now),
        )
        return tag == "UPDATE 1"

    async def renewed(self, server: McpServerSettings, owner: Owner, token: Token, *, seen: dt.datetime) -> bool:
        """False: the account was disconnected or connected anew since it was seen; it stays as it is."""
        tag = await self._database.within(owner.tenant).execute(
            "UPDATE mcp_connections SET sealed = $3, expires_at = $4, changed_at = $5, renewing_until = NULL,"
            " problem = NULL WHERE server = $1 AND principal_id = $2 AND changed_at = $6",
            server.name,
            owner.principal,
            self._close(server, owner, token),
            moment(token.expires_at) if token.expires_at is not None else None,
            self._later(seen),
            seen,
        )
        return tag == "UPDATE 1"

    async def give_back(
        self, server: McpServerSettings, owner: Owner, problem: str | None, *, seen: dt.datetime
    ) -> None:
        """It could not be renewed now. problem: None when it may be tried again."""
        await self._database.within(owner.tenant).execute(
            "UPDATE mcp_connections SET renewing_until = NULL, problem = $3, changed_at = $4"
            " WHERE server = $1 AND principal_id = $2 AND changed_at = $5",
            server.name,
            owner.principal,
            problem,
            self._later(seen),
            seen,
        )

    async def wants(self, server: McpServerSettings, owner: Owner, scopes: tuple[str, ...]) -> None:
        """The server asked for these; they are asked for when the account is connected again."""
        await self._database.within(owner.tenant).execute(
            "UPDATE mcp_connections SET wanted = $3 WHERE server = $1 AND principal_id = $2 AND wanted <> $3",
            server.name,
            owner.principal,
            list(scopes),
        )

    async def wanted(self, server: McpServerSettings, owner: Owner) -> tuple[str, ...]:
        found: list[str] | None = await self._database.within(owner.tenant).fetchval(
            "SELECT wanted FROM mcp_connections WHERE server = $1 AND principal_id = $2", server.name, owner.principal
        )
        return tuple(found or ())

    async def remove(self, server: str, owner: Owner) -> bool:
        """False: there was none."""
        tag = await self._database.within(owner.tenant).execute(
            "DELETE FROM mcp_connections WHERE server = $1 AND principal_id = $2", server, owner.principal
        )
        return tag == "DELETE 1"

    async def client(self, server: McpServerSettings, issuer: str, redirect_uri: str) -> tuple[str, str] | None:
        """(client id, secret) of a registration of this platform there, with this address; None without one."""
        sealed: str | None = await self._database.within(HOME).fetchval(
            "SELECT sealed FROM mcp_clients WHERE server = $1 AND issuer = $2", server.name, issuer
        )
        content = self._seal.open(sealed, self._purpose(server, PLATFORM, issuer)) if sealed else None
        client_id, secret, *address = msgspec.json.decode(content, type=list[str]) if content else ("", "")
        return (client_id, secret) if address == [redirect_uri] else None

    async def keep_client(
        self, server: McpServerSettings, issuer: str, client: tuple[str, str], redirect_uri: str
    ) -> None:
        await self._database.within(HOME).execute(
            "INSERT INTO mcp_clients (server, issuer, sealed, registered_at) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (tenant, server, issuer) DO UPDATE SET sealed = excluded.sealed,"
            " registered_at = excluded.registered_at",
            server.name,
            issuer,
            self._seal.close(msgspec.json.encode((*client, redirect_uri)), self._purpose(server, PLATFORM, issuer)),
            moment(self._clock.now()),
        )

    async def forget_client(self, server: McpServerSettings, issuer: str) -> None:
        """The authorisation server does not know it any more."""
        await self._database.within(HOME).execute(
            "DELETE FROM mcp_clients WHERE server = $1 AND issuer = $2", server.name, issuer
        )

    def _later(self, seen: dt.datetime) -> dt.datetime:
        """Now, and never what it was before: each change has a moment of its own, whatever the clock does."""
        now = moment(self._clock.now())
        return now if now > seen else seen + dt.timedelta(microseconds=1)

    async def forget_server(self, name: str, connection: Any) -> None:
        """It is removed, or becomes another one: in every tenant. connection: of that transaction, of the system's."""
        await connection.execute("DELETE FROM mcp_connections WHERE server = $1", name)
        await connection.execute("DELETE FROM mcp_clients WHERE server = $1", name)

    async def reseal(self, system: SystemDatabase, servers: Mapping[str, McpServerSettings]) -> int:
        """Close with the present key what an older one closed, in every tenant. Returns how many there were."""
        done = 0
        if not self._seal.has_older:
            return done
        rows: list[Any] = await system.fetch(
            "SELECT tenant, server, principal_id, sealed, '' AS issuer, 'mcp_connections'"
            " AS held FROM mcp_connections UNION ALL"
            " SELECT tenant, server, '', sealed, issuer, 'mcp_clients' FROM mcp_clients"
        )
        for row in rows:
            server = servers.get(row["server"])
            if server is None:
                continue
            owner = Owner(row["tenant"], row["principal_id"])
            sealed = self._seal.again(row["sealed"], self._purpose(server, owner, row["issuer"]))
            if sealed is not None:  # unless it was renewed meanwhile, and so closed with the present key
                statement = _RESEAL[row["held"]]
                own = row["issuer"] if row["held"] == "mcp_clients" else row["principal_id"]
                await system.execute(statement, row["tenant"], row["server"], own, row["sealed"], sealed)
                done += 1
        return done

    def _connection(self, row: Any, server: McpServerSettings) -> Connection:
        owner = Owner(row["tenant"], row["principal_id"])
        content = self._seal.open(row["sealed"], self._purpose(server, owner))
        return Connection(
            server=row["server"],
            owner=owner,
            kind=row["kind"],
            token=msgspec.json.decode(content, type=Token) if content else None,
            connected_at=row["connected_at"],
            changed_at=row["changed_at"],
            expires_at=row["expires_at"],
            problem=row["problem"],
        )

    def _close(self, server: McpServerSettings, owner: Owner, token: Token) -> str:
        return self._seal.close(msgspec.json.encode(token), self._purpose(server, owner))

    @staticmethod
    def _purpose(server: McpServerSettings, owner: Owner, issuer: str = "") -> str:
        return f"mcp\n{owner.tenant}\n{server.name}\n{server.url}\n{owner.principal}\n{issuer}"


def owner_for(server: McpServerSettings, principal: Principal | None) -> Owner | None:
    """Whose account a call with this server uses; None: a person's, and nobody calls."""
    if server.credentials is CredentialMode.SERVER:
        return PLATFORM
    return Owner(principal.tenant, principal.id) if principal is not None else None
