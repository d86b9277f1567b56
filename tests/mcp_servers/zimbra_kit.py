"""The bundled Zimbra server before the simulated Zimbra, over the SDK's client."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client
from mcp_kit import over_stdio

from ai_platform.simulator.zimbra import example, furnish, serve_zimbra
from ai_platform.simulator.zimbra.server import RunningZimbra
from ai_platform.simulator.zimbra.site import SimulatedSite, load

PASSWORD = {"ZIMBRA_PASSWORD": "simulated-password"}
ACCOUNT = ("--user", "admin@simulated.example", "--password-env", "ZIMBRA_PASSWORD")


def home(folder: Path, site: SimulatedSite | None = None) -> Path:
    furnish(folder, site or example())
    return folder


def has_every_mailbox_as_before(site: SimulatedSite) -> bool:
    """Nothing made or changed: what was asked is all that differs."""
    return (site.accounts, site.domains) == (example().accounts, example().domains)


@asynccontextmanager
async def by_api(
    folder: Path, site: SimulatedSite | None = None, *, mode: str = "auto"
) -> AsyncGenerator[tuple[Client, RunningZimbra]]:
    logs = home(folder) / "log"
    async with (
        serve_zimbra(site) as twin,
        over_stdio("zimbra", "--url", twin.url, *ACCOUNT, "--logs", logs, mode=mode, env=PASSWORD) as client,
    ):
        yield client, twin


@asynccontextmanager
async def by_commands(folder: Path, site: SimulatedSite | None = None) -> AsyncGenerator[Client]:
    place = home(folder, site)
    environment = {"PATH": os.environ["PATH"]}
    async with over_stdio("zimbra", "--commands", place / "bin", "--logs", place / "log", env=environment) as client:
        yield client


def after(folder: Path) -> SimulatedSite:
    return load(folder / "site.json")


async def ask(client: Client, tool: str, **arguments: Any) -> Any:
    """The structured result of a call that must not fail."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.content
    return result.content[0].text  # type: ignore[union-attr]
