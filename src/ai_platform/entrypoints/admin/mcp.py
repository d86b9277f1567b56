"""Admin endpoints of MCP servers: what there is and how it stands, adding and removing, approval, quarantine, logs.

Servers are the operator's: callers of other tenants are refused. A command runs on this machine, so who adds one also
needs `platform:process:operate`; so does who points a server at this machine or its network, or hands it variables.
"""

import ipaddress
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import urlsplit

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import ConfigError, Denied, InvalidCall
from ai_platform.domain.permission import Permission
from ai_platform.domain.principal import HOME, Principal
from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint
from ai_platform.mcp.bundled import bundled
from ai_platform.mcp.registry import Registry, read_server, to_stored
from ai_platform.mcp.settings import McpServerSettings, Resources
from ai_platform.mcp.trust.definition import changes
from ai_platform.mcp.trust.ledger import Review, Standing, Wanted
from ai_platform.mcp.trust.pins import Pins

T = TypeVar("T")
MOST_LINES = 5_000
LONGEST_REASON = 500


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """How a server stands here and now. problem: "" when it can be used."""

    name: str
    breaker: str
    problem: str
    version: str
    calls: int
    tools: int
    prompts: int
    resources: int


class Added(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /admin/mcp/servers.

    server: as in the configuration file. replace: another of this name. bundled: one that comes along, with its own
    `arguments`; `folder` is what relative paths in them are relative to.
    """

    server: dict[str, Any]
    replace: bool = False
    bundled: str = ""
    arguments: tuple[str, ...] = ()
    folder: str = "/"


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was read: each definition with the digest of the text that was shown."""

    definitions: tuple[Wanted, ...]
    despite_flags: bool = False


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: str


class Servers(Protocol):
    """What these endpoints need of the servers themselves."""

    def conditions(self) -> Sequence[Condition]: ...

    def log(self, name: str, last: int) -> Sequence[str]:
        """Lines of standard error of a command, the newest last."""
        ...

    async def check(self, server: McpServerSettings) -> None:
        """Raises ConfigError: it cannot run here, or its address is never asked."""
        ...

    async def forget(self, name: str, connection: Any) -> None:
        """Accounts at it, in the transaction in which it is removed or becomes another one."""
        ...


def endpoints(registry: Registry, pins: Pins, servers: Servers) -> list[Endpoint]:
    """Routes under /admin/mcp/servers."""
    routes = ServerRoutes(registry, pins, servers)
    read, write = Permission.SERVERS_READ, Permission.SERVERS_WRITE
    approve, quarantine = Permission.SERVERS_APPROVE, Permission.SERVERS_QUARANTINE
    below = "/admin/mcp/servers/{id}"
    return [
        Endpoint("GET", "/admin/mcp/servers", read, routes.all),
        Endpoint("POST", "/admin/mcp/servers", write, routes.add, changes=True),
        Endpoint("GET", below, read, routes.show),
        Endpoint("DELETE", below, write, routes.remove, changes=True),
        Endpoint("GET", f"{below}/review", read, routes.review),
        Endpoint("POST", f"{below}/approve", approve, routes.approve, changes=True),
        Endpoint("POST", f"{below}/quarantine", quarantine, routes.quarantine, changes=True),
        Endpoint("POST", f"{below}/release", quarantine, routes.release, changes=True),
        Endpoint("GET", f"{below}/logs", read, routes.logs),
    ]


class ServerRoutes:
    def __init__(self, registry: Registry, pins: Pins, servers: Servers) -> None:
        self._registry = registry
        self._pins = pins
        self._servers = servers

    async def all(self, request: AdminRequest) -> list[dict[str, Any]]:
        """Every server: where it is, how it stands, what is approved and held."""
        _operator(request.principal)
        return await self._rows()

    async def show(self, request: AdminRequest) -> dict[str, Any]:
        """{id}: one server, with its settings and the definitions that are approved."""
        name = self._known(request)
        (row,) = [row for row in await self._rows() if row["name"] == name]
        pinned = await self._pins.ledger.pinned(name)
        return {
            **row,
            "settings": to_stored(self._registry.servers[name]),
            "definitions": [
                {
                    "kind": pin["kind"],
                    "name": pin["name"],
                    "digest": pin["approved_digest"],
                    "approved_at": pin["approved_at"],
                    "approved_by": pin["approved_by"],
                }
                for pin in pinned
            ],
        }

    async def add(self, request: AdminRequest) -> dict[str, Any]:
        """The server's row. Nothing it offers is shown before it is approved, unless it says `first_use`."""
        caller = _operator(request.principal)
        body = _read(request.body, Added)
        settings = _settings(body)
        if not caller.may(Permission.PLATFORM_OPERATE):
            settings = settings | {"public_only": True}  # its name may lead somewhere else tomorrow
        server = read_server(settings)
        _check_power(caller, server)
        try:
            await self._servers.check(server)
        except ConfigError as error:
            raise InvalidCall(Refusal.INVALID_REQUEST, str(error)) from error
        forgotten: list[str] = []

        async def forget(name: str, connection: Any) -> None:
            await self._forget(name, connection)
            forgotten.append(name)

        await self._registry.add(settings, by=caller, replace=body.replace, forget=forget)
        for name in forgotten:
            await self._pins.forgotten(name)
        (row,) = [row for row in await self._rows() if row["name"] == server.name]
        return row

    async def remove(self, request: AdminRequest) -> dict[str, Any]:
        """{id}: a server that was added here."""
        caller, name = _operator(request.principal), self._known(request)
        await self._registry.remove(name, by=caller, forget=self._forget)
        await self._pins.forgotten(name)
        return {"name": name, "removed": True}

    async def _forget(self, name: str, connection: Any) -> None:
        """What was approved and who was connected there was another server's."""
        await self._pins.ledger.forget(name, connection)
        await self._servers.forget(name, connection)

    async def review(self, request: AdminRequest) -> dict[str, Any]:
        """{id}: what is held, with every difference to what is approved, and what speaks against it."""
        name = self._known(request)
        return {"name": name, "held": [_shown(one) for one in await self._pins.ledger.reviews(name)]}

    async def approve(self, request: AdminRequest) -> dict[str, Any]:
        """{id}. Body: definitions [{kind, name, digest}] as they were read, despite_flags for suspicious ones."""
        caller, name = _operator(request.principal), self._known(request)
        body = _read(request.body, Approval)
        if not body.definitions:
            raise InvalidCall(Refusal.INVALID_REQUEST, "Name at least one definition, with the digest that you read.")
        await self._pins.approve(name, body.definitions, by=caller, despite_flags=body.despite_flags)
        return {"name": name, "approved": len(body.definitions)}

    async def quarantine(self, request: AdminRequest) -> dict[str, Any]:
        """{id}. Body: reason. Its tools vanish at once, and calls of them are refused with the reason."""
        caller, name = _operator(request.principal), self._known(request)
        reason = " ".join(_read(request.body, Reason).reason.split())[:LONGEST_REASON]
        if not reason:
            raise InvalidCall(Refusal.INVALID_REQUEST, "Give a reason: callers and your colleagues will read it.")
        await self._pins.quarantine(name, reason, by=caller)
        return {"name": name, "quarantine": reason}

    async def release(self, request: AdminRequest) -> dict[str, Any]:
        caller, name = _operator(request.principal), self._known(request)
        await self._pins.release(name, by=caller)
        return {"name": name, "quarantine": ""}

    async def logs(self, request: AdminRequest) -> dict[str, Any]:
        """{id}. Query: last (lines, 100 when not given). Of the replica that answers."""
        name = self._known(request)
        text = request.params.get("last", "100")
        if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= MOST_LINES):
            raise InvalidCall(Refusal.INVALID_REQUEST, f"last={text[:20]!r} is not a number from 1 to {MOST_LINES}.")
        return {"name": name, "lines": list(self._servers.log(name, int(text)))}

    def _known(self, request: AdminRequest) -> str:
        _operator(request.principal)
        name = request.params["id"]
        if self._registry.get(name) is None:
            raise InvalidCall(
                Refusal.INVALID_REQUEST,
                f"There is no MCP server '{name[:60]}'. `ai-platform mcp list` shows what there is.",
            )
        return name

    async def _rows(self) -> list[dict[str, Any]]:
        conditions = {one.name: one for one in self._servers.conditions()}
        standings = await self._pins.ledger.standings()
        return [
            self._row(server, conditions.get(name), standings.get(name) or Standing(server=name))
            for name, server in sorted(self._registry.servers.items())
        ]

    def _row(self, server: McpServerSettings, now: Condition | None, standing: Standing) -> dict[str, Any]:
        return {
            "name": server.name,
            "title": server.title or server.name,
            "where": server.url or " ".join(server.command),
            "source": "file" if self._registry.is_configured(server.name) else "added",
            "state": _state(server, now, standing),
            "problem": now.problem if now else "",
            "breaker": now.breaker if now else "",
            "protocol": now.version if now else "",
            "calls": now.calls if now else 0,
            "tools": now.tools if now else 0,
            "prompts": now.prompts if now else 0,
            "resources": now.resources if now else 0,
            "approved": standing.approved,
            "held": standing.held,
            "flagged": standing.grave,
            "quarantine": standing.quarantine,
            "sandbox": "" if server.url else "off" if server.trusted else "on",
        }


def _settings(body: Added) -> dict[str, Any]:
    """What was said wins over what comes along; of paths and variables both hold."""
    if not body.bundled:
        return body.server
    settings = bundled(body.bundled, body.arguments, folder=body.folder)
    both: dict[str, Any] = {}
    if isinstance(read := body.server.get("read"), list):
        both["read"] = [*settings.get("read", ()), *cast("list[Any]", read)]
    for field in ("env", "env_from"):
        if isinstance(said := body.server.get(field), dict):
            both[field] = settings.get(field, {}) | cast("dict[str, Any]", said)
    return settings | body.server | both


def _state(server: McpServerSettings, now: Condition | None, standing: Standing) -> str:
    """One word: the first that applies."""
    if standing.quarantine:
        return "quarantined"
    if not server.enabled:
        return "disabled"
    if now is None:
        return "starting"
    if now.problem:
        return "down"
    return "held" if standing.held and not standing.approved else "up"


def _shown(review: Review) -> dict[str, Any]:
    return {
        "kind": review.kind,
        "name": review.name,
        "digest": review.digest,
        "held_at": review.held_at,
        "is_new": review.approved is None,
        "approved_by": review.approved_by,
        "flags": [msgspec.to_builtins(flag) for flag in review.flags],
        "changes": [msgspec.to_builtins(change) for change in changes(review.approved, review.held)],
    }


def _operator(caller: Principal) -> Principal:
    if caller.tenant != HOME:
        raise Denied(
            Refusal.PERMISSION_MISSING,
            "MCP servers are the operator's: only its own administrators see and change them.",
            rule="operator",
        )
    return caller


def _check_power(caller: Principal, server: McpServerSettings) -> None:
    """Raises Denied when adding this server gives more than the right to add servers."""
    trusting = "first_use" if server.first_use else "resources: open" if server.resources is Resources.OPEN else ""
    if trusting and not caller.may(Permission.SERVERS_APPROVE):
        raise Denied(
            Refusal.PERMISSION_MISSING,
            f"With `{trusting}` what the server '{server.name}' says is approved without anybody reading it; that needs"
            f" the permission '{Permission.SERVERS_APPROVE.value}' as well.",
            rule=Permission.SERVERS_APPROVE.value,
        )
    if caller.may(Permission.PLATFORM_OPERATE):
        return
    why = ""
    if server.command:
        why = "runs a command on this machine"
    elif server.headers_env or (server.oauth and server.oauth.client_secret_env):
        why = "gets values of this platform's environment"
    elif server.oauth and server.oauth.hosts:
        why = "lists hosts that may have private addresses"
    elif not _is_public(server.url):
        why = "is not a public address over https"
    if why:
        raise Denied(
            Refusal.PERMISSION_MISSING,
            f"The server '{server.name}' {why}; adding it needs the permission 'platform:process:operate' as well.",
            rule=Permission.PLATFORM_OPERATE.value,
        )


def _is_public(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        return parts.scheme == "https" and ipaddress.ip_address(host).is_global
    except ValueError:
        return parts.scheme == "https" and "." in host and not host.endswith((".local", ".internal", ".localhost"))


def _read(body: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise InvalidCall(Refusal.INVALID_REQUEST, f"The body is not usable: {error}.") from error
