"""Servers added to and removed from a running platform, on all replicas, beside those of the file."""

import asyncio
from typing import Any

import pytest
from trusting import ADMIN, Told

from ai_platform.domain.errors import InvalidCall, StoreUnavailable
from ai_platform.mcp.registry import Registry, read_server, to_stored
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.stores.postgres import SystemDatabase
from ai_platform.testing.eventually import eventually

pytestmark = pytest.mark.anyio
CONFIGURED = McpServerSettings(name="wiki", url="https://wiki.example/mcp")


class Replica:
    def __init__(self, system: SystemDatabase) -> None:
        self.news: list[set[str]] = []
        self.told = Told()
        self.registry = Registry(
            [CONFIGURED], system, changed=lambda names: self.news.append(set(names)), notices=self.told
        )


async def test_a_server_is_added_and_removed_on_every_replica(system: SystemDatabase):
    one, other = Replica(system), Replica(system)
    watching = asyncio.create_task(other.registry.run())
    try:
        await one.registry.add({"name": "kb", "command": ["kb-server"], "timeout": 5}, by=ADMIN)
        assert one.news == [{"kb"}]
        await eventually(lambda: other.news == [{"kb"}], within=2)
        assert other.registry.servers["kb"] == McpServerSettings(name="kb", command=("kb-server",), timeout=5)
        await one.registry.remove("kb", by=ADMIN)
        await eventually(lambda: other.registry.get("kb") is None, within=2)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_names_are_given_once(system: SystemDatabase):
    registry = Replica(system).registry
    settings = {"name": "kb", "url": "https://kb.example/mcp"}
    await registry.add(settings, by=ADMIN)
    with pytest.raises(InvalidCall, match="already"):
        await registry.add(settings, by=ADMIN)
    await registry.add(settings | {"timeout": 7}, by=ADMIN, replace=True)
    assert registry.servers["kb"].timeout == 7
    with pytest.raises(InvalidCall, match="configuration file"):
        await registry.add({"name": "wiki", "url": "https://evil.example/mcp"}, by=ADMIN, replace=True)
    with pytest.raises(InvalidCall, match="configuration file"):
        await registry.remove("wiki", by=ADMIN)
    with pytest.raises(InvalidCall, match="no server 'other'"):
        await registry.remove("other", by=ADMIN)


async def test_a_server_is_replaced_and_what_was_the_others_forgotten_in_one_transaction(system: SystemDatabase):
    replica = Replica(system)
    registry = replica.registry
    forgotten: list[str] = []

    async def forget(name: str, connection: Any) -> None:
        await connection.execute("DELETE FROM mcp_trust WHERE server = $1", name)
        forgotten.append(name)

    async def failing(name: str, connection: Any) -> None:
        await forget(name, connection)
        raise StoreUnavailable("PostgreSQL went away.")

    settings = {"name": "kb", "url": "https://kb.example/mcp"}
    other = settings | {"url": "https://elsewhere.example/mcp"}
    await registry.add(settings, by=ADMIN, forget=forget)
    await registry.add(settings | {"timeout": 7}, by=ADMIN, replace=True, forget=forget)
    assert forgotten == ["kb"], "the same place is the same server"
    await system.execute("INSERT INTO mcp_trust (server, quarantine) VALUES ('kb', 'it lies')")
    for attempt in (
        registry.add(other, by=ADMIN, replace=True, forget=failing),
        registry.remove("kb", by=ADMIN, forget=failing),
    ):
        with pytest.raises(StoreUnavailable):
            await attempt
    await registry.watch()
    assert registry.servers["kb"].url == settings["url"]
    assert await system.fetchval("SELECT count(*) FROM mcp_trust WHERE server = 'kb'") == 1
    stranger = Replica(system).registry  # has not heard of it yet: what is stored decides
    await stranger.add(settings, by=ADMIN, replace=True, forget=forget)
    assert forgotten == ["kb"] * 3
    await stranger.add(other, by=ADMIN, replace=True, forget=forget)
    await stranger.remove("kb", by=ADMIN, forget=forget)
    assert forgotten == ["kb"] * 5


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "kb"},
        {"name": "KB", "url": "https://kb.example/mcp"},
        {"name": "kb", "url": "https://kb.example/mcp", "secret": "x"},
        {"name": "kb", "url": "ftp://kb.example"},
        {"name": "kb", "url": "https://user:password@kb.example/mcp"},
        {"name": "kb", "command": ["x"], "url": "https://kb.example/mcp"},
        {"name": "kb", "command": ["x"], "limits": {"memory": 5}},
    ],
)
async def test_settings_that_cannot_work_are_refused_with_the_reason(
    system: SystemDatabase, settings: dict[str, object]
):
    with pytest.raises(InvalidCall, match="not usable"):
        await Replica(system).registry.add(settings, by=ADMIN)


async def test_a_row_of_a_newer_release_is_left_out_and_named(system: SystemDatabase):
    replica = Replica(system)
    await replica.registry.add({"name": "kb", "url": "https://kb.example/mcp"}, by=ADMIN)
    await system.execute("UPDATE mcp_servers SET settings = settings || '{\"from_the_future\": 1}'")
    await replica.registry.watch()
    assert replica.registry.get("kb") is None
    assert replica.registry.unreadable == {"kb"}


def test_only_what_differs_from_the_defaults_is_stored():
    server = McpServerSettings(name="kb", command=("x",), timeout=5)
    assert to_stored(server) == {"name": "kb", "command": ["x"], "timeout": 5}
    assert to_stored(CONFIGURED) == {"name": "wiki", "url": "https://wiki.example/mcp"}
    off = McpServerSettings(name="kb", url="https://localhost", enabled=False, retries=0)
    assert read_server(to_stored(off)) == off
    assert read_server(to_stored(server)) == server


async def test_every_change_is_told_without_the_values_of_variables(system: SystemDatabase):
    replica = Replica(system)
    server = {"name": "kb", "command": ["kb"], "env": {"COLOUR": "blue"}}
    await replica.registry.add(server, by=ADMIN)
    await replica.registry.add(server | {"command": ["kb2"]}, by=ADMIN, replace=True)
    await replica.registry.remove("kb", by=ADMIN)
    first, second = (
        {"name": "kb", "command": ["kb"], "env": ["COLOUR"]},
        {"name": "kb", "command": ["kb2"], "env": ["COLOUR"]},
    )
    assert replica.told.servers == [("kb", {}, first), ("kb", first, second), ("kb", second, {})]


@pytest.mark.parametrize(
    "field",
    [
        {"command": ["kb"], "env": {"API_KEY": "x"}},
        {"command": ["kb"], "env": {"GITHUB_TOKEN": "x"}},
        {"command": ["kb"], "env": {"db-password": "x"}},
        {"url": "https://kb.example/mcp", "headers": {"authorization": "Bearer x"}},
        {"url": "https://kb.example/mcp", "headers": {"x-api-key": "x"}},
    ],
)
async def test_what_looks_like_a_secret_is_not_stored(system: SystemDatabase, field: dict[str, object]):
    with pytest.raises(InvalidCall, match=r"not usable|looks like a secret"):
        await Replica(system).registry.add({"name": "kb"} | field, by=ADMIN)
    assert await system.fetch("SELECT 1 FROM mcp_servers") == []


async def test_a_word_that_only_sounds_like_one_is_stored(system: SystemDatabase):
    settings = {"name": "kb", "command": ["kb"], "env": {"KEYBOARD": "x", "MONKEY": "y"}}
    await Replica(system).registry.add(settings, by=ADMIN)
