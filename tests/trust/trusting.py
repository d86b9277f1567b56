"""A room of trust over a real database, and the facts it tells."""

from collections.abc import Sequence
from typing import Any

from ai_platform.domain.principal import Principal
from ai_platform.mcp.needs import Kind
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.mcp.trust.ledger import Sighting, Wanted
from ai_platform.mcp.trust.pins import Pins
from ai_platform.stores.postgres import SystemDatabase

ADMIN = Principal(id="usr_admin", name="admin", permissions=frozenset({"*"}))


def tool(name: str = "weather", description: str = "The weather in a city.", **fields: Any) -> dict[str, Any]:
    return {"name": name, "description": description, "inputSchema": {"type": "object"}} | fields


class Told:
    """What was told of: (server, names, changed) and (server, what, by)."""

    def __init__(self) -> None:
        self.held: list[tuple[str, list[str], list[str]]] = []
        self.decided: list[tuple[str, str, str]] = []
        self.servers: list[tuple[str, dict[str, Any], dict[str, Any]]] = []

    def definitions_held(self, server: str, held: Sequence[Sighting], *, changed: Sequence[str]) -> None:
        self.held.append((server, sorted(one.name for one in held), list(changed)))

    def trust_decided(self, server: str, what: str, *, by: str, before: str, after: str) -> None:
        del before, after
        self.decided.append((server, what, by))

    def server_changed(self, name: str, *, by: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        del by
        self.servers.append((name, before, after))


class Replica:
    """One process of several over one database."""

    def __init__(self, system: SystemDatabase, **settings: Any) -> None:
        self.told = Told()
        self.changed: list[str] = []
        self.settings = McpServerSettings(name="kb", url="https://kb.example/mcp", **settings)
        servers = {"kb": self.settings, "mail": McpServerSettings(name="mail", url="https://mail.example/mcp")}
        self.pins = Pins(system, settings_of=servers.get, notices=self.told, changed=self.changed.append)

    async def shown(self, *items: dict[str, Any], kind: Kind = Kind.TOOLS, server: str = "kb") -> list[dict[str, Any]]:
        return list(await self.pins.review(server, kind, items))

    async def approve_all(self, server: str = "kb", *, despite_flags: bool = False) -> int:
        wanted = [Wanted(one.kind, one.name, one.digest) for one in await self.pins.ledger.reviews(server)]
        await self.pins.approve(server, wanted, by=ADMIN, despite_flags=despite_flags)
        return len(wanted)
