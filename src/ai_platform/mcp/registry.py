"""Which MCP servers there are: those of the configuration file, and those added to the running platform.

A name of the file cannot be added; what was added is kept in PostgreSQL and reaches every replica within half a
second. Needs no MCP SDK. Above: federation, the admin API. Below: stores.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn, Protocol

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import ConfigError, InvalidCall, StoreUnavailable
from ai_platform.domain.principal import Principal
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.stores.postgres import SystemDatabase

WATCH_SECONDS = 0.5
MOST_SERVERS = 500
_SECRET = re.compile(r"(?i)(?:^|[_-])(?:key|token|secret|password|passwd|credentials?|authorization|cookie)(?:$|[_-])")


class Notices(Protocol):
    """Who is told; it neither waits nor raises."""

    def server_changed(self, name: str, *, by: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Somebody added, replaced or removed a server. before, after: settings without values of variables and
        headers, {} when there was or is none.
        """
        ...


Forget = Callable[[str, Any], Awaitable[None]]
"""Takes the name of a server that was removed or replaced, and the connection of that transaction."""


class Registry:
    """servers: all, by name. changed: called with the names that are new, different or gone.

    watch_failures: counter. unreadable: names of rows that this release cannot read; they are left out.
    """

    def __init__(
        self,
        configured: Sequence[McpServerSettings],
        database: SystemDatabase,
        *,
        changed: Callable[[frozenset[str]], None],
        notices: Notices,
    ) -> None:
        self._configured = {server.name: server for server in configured}
        self._database = database
        self._changed = changed
        self._notices = notices
        self.servers: dict[str, McpServerSettings] = dict(self._configured)
        self.unreadable: frozenset[str] = frozenset()
        self.watch_failures = 0

    def get(self, name: str) -> McpServerSettings | None:
        return self.servers.get(name)

    def is_configured(self, name: str) -> bool:
        """It stands in the configuration file."""
        return name in self._configured

    async def run(self) -> NoReturn:
        """Follow what other replicas add and remove, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await self.watch()
            except StoreUnavailable:
                self.watch_failures += 1

    async def watch(self) -> None:
        rows = await self._database.fetch(
            "SELECT name, settings FROM mcp_servers WHERE removed_at IS NULL ORDER BY name"
        )
        found: dict[str, McpServerSettings] = {}
        unreadable: set[str] = set()
        for row in rows:
            try:
                found[row["name"]] = read_server(row["settings"])
            except InvalidCall:
                unreadable.add(row["name"])
        before, self.servers = self.servers, found | self._configured
        self.unreadable = frozenset(unreadable)
        names = {name for name in {*before, *self.servers} if before.get(name) != self.servers.get(name)}
        if names:
            self._changed(frozenset(names))

    async def add(
        self, settings: dict[str, Any], *, by: Principal, replace: bool = False, forget: Forget | None = None
    ) -> McpServerSettings:
        """settings: as in the configuration file. forget: what belonged to another server of this name.

        Raises:
            InvalidCall: they are wrong, the name is taken, or there are too many servers.

        """
        server = read_server(settings)
        _check_secrets(server)
        if self.is_configured(server.name):
            raise _invalid(f"'{server.name}' stands in the configuration file; change it there.")
        if len(self.servers) >= MOST_SERVERS:
            raise _invalid(f"There are {MOST_SERVERS} servers already; remove one first.")
        async with self._database.transaction() as connection:
            known = await connection.fetchval(
                "SELECT settings FROM mcp_servers WHERE name = $1 AND removed_at IS NULL FOR UPDATE", server.name
            )
            added = await connection.fetchval(
                "INSERT INTO mcp_servers AS server (name, settings, added_by) VALUES ($1, $2, $3)"
                " ON CONFLICT (name) DO UPDATE SET settings = excluded.settings, added_by = excluded.added_by,"
                " added_at = now(), changed_at = clock_timestamp(), removed_at = NULL, removed_by = NULL"
                " WHERE server.removed_at IS NOT NULL OR $4 RETURNING name",
                *(server.name, to_stored(server), by.id, replace),
            )
            if added is None:
                raise _invalid(f"There is a server '{server.name}' already. Remove it first, or add it with --replace.")
            if forget is not None and (known is None or _is_another(known, server)):
                await forget(server.name, connection)
        before = self.servers.get(server.name)
        self._notices.server_changed(server.name, by=by.id, before=_told(before), after=_told(server))
        await self.watch()
        return server

    async def remove(self, name: str, *, by: Principal, forget: Forget | None = None) -> None:
        """forget: what belonged to it. Raises InvalidCall when it was not added here."""
        if self.is_configured(name):
            raise _invalid(f"'{name[:60]}' stands in the configuration file; remove it there.")
        async with self._database.transaction() as connection:
            done = await connection.fetchval(
                "UPDATE mcp_servers SET removed_at = now(), removed_by = $2, changed_at = clock_timestamp()"
                " WHERE name = $1 AND removed_at IS NULL RETURNING name",
                *(name, by.id),
            )
            if done is None:
                raise _invalid(f"There is no server '{name[:60]}'. `ai-platform mcp list` shows what there is.")
            if forget is not None:
                await forget(name, connection)
        self._notices.server_changed(name, by=by.id, before=_told(self.servers.get(name)), after={})
        await self.watch()


def _is_another(known: dict[str, Any], server: McpServerSettings) -> bool:
    """Is it somewhere else than what has this name now? Then nothing that was approved or connected there is its."""
    try:
        before = read_server(known)
    except InvalidCall:
        return True
    return (before.command, before.url) != (server.command, server.url)


def read_server(settings: dict[str, Any]) -> McpServerSettings:
    """Raises InvalidCall: a setting is unknown or wrong."""
    try:
        return msgspec.convert(settings, McpServerSettings)
    except (msgspec.ValidationError, ConfigError) as error:
        raise _invalid(f"These settings are not usable: {error}.") from error


def to_stored(server: McpServerSettings) -> dict[str, Any]:
    """Only what differs from the defaults, so that a later release's defaults hold."""
    plain = McpServerSettings(name=server.name, url="https://localhost")
    default, said = (msgspec.json.decode(msgspec.json.encode(one)) for one in (plain, server))
    if not server.url:
        said.pop("url")
    return {name: value for name, value in said.items() if name in {"name", "url"} or value != default[name]}


def _told(server: McpServerSettings | None) -> dict[str, Any]:
    """For the audit log: names of variables and headers, not what they hold."""
    if server is None:
        return {}
    return {name: sorted(value) if name in {"env", "headers"} else value for name, value in to_stored(server).items()}


def _check_secrets(server: McpServerSettings) -> None:
    """Raises InvalidCall for a value that looks like a secret: what is stored here can be read by administrators."""
    for field, values, instead in (("env", server.env, "env_from"), ("headers", server.headers, "headers_env")):
        for name, value in values.items():
            if _SECRET.search(name) and value:
                raise _invalid(
                    f"{field} {name} looks like a secret. Set it in the platform's environment and name the variable"
                    f" in {instead} (--{'env-from' if field == 'env' else 'header-from'})."
                )


def _invalid(message: str) -> InvalidCall:
    return InvalidCall(Refusal.INVALID_REQUEST, message)
