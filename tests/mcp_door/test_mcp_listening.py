"""What changes at servers reaches the clients it concerns, in either era, and nobody else."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from door_kit import EVERY_PAIR, LEGACY, MODERN, Rig, Scripted, echo, one, over, rig, scripted, session_of
from mcp.shared.subscriptions import ResourceUpdated, ToolsListChanged

from ai_platform.domain.identifiers import new_id
from ai_platform.testing.eventually import eventually

pytestmark = pytest.mark.anyio


class Heard:
    """What a client of 2025-11-25 is told outside of requests."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.uris: list[str] = []

    async def __call__(self, message: Any) -> None:
        self.methods.append(getattr(message, "method", ""))
        if self.methods[-1] == "notifications/resources/updated":
            self.uris.append(message.params.uri)


async def listens(platform: Rig, script: Scripted) -> None:
    """The platform's own stream of changes is open at the server."""
    await eventually(lambda: script.sessions or script.bus._listeners)


@EVERY_PAIR
async def test_a_tool_that_comes_later_is_told_of_and_there(tmp_path: Path, client_era: str, server_era: str):
    script, heard = Scripted(), Heard()
    async with (
        over(tmp_path, script, server_era) as platform,
        platform.client(mode=client_era, message_handler=heard) as client,
    ):
        await listens(platform, script)
        assert [tool.name for tool in (await client.list_tools()).tools] == ["one__echo"]
        if client_era == MODERN:
            async with client.listen(tools_list_changed=True) as stream:
                script.tools["late"] = echo
                await script.changed(ToolsListChanged())
                async with asyncio.timeout(40):
                    assert isinstance(await anext(stream), ToolsListChanged)
        else:
            script.tools["late"] = echo
            await script.changed(ToolsListChanged())
            await eventually(lambda: "notifications/tools/list_changed" in heard.methods)
        listed = await client.list_tools()
        assert [tool.name for tool in listed.tools] == ["one__echo", "one__late"]


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@EVERY_PAIR
async def test_a_resource_that_changes_is_told_of_under_its_name_at_the_door(
    tmp_path: Path, client_era: str, server_era: str
):
    script, heard = Scripted(), Heard()
    async with (
        over(tmp_path, script, server_era) as platform,
        platform.client(mode=client_era, message_handler=heard) as client,
    ):
        if client_era == MODERN:
            async with client.listen(resource_subscriptions=["one+doc://1"]) as stream:
                await script.changed(ResourceUpdated(uri="doc://1"))
                async with asyncio.timeout(40):
                    assert await anext(stream) == ResourceUpdated(uri="one+doc://1")
        else:
            await client.subscribe_resource("one+doc://1")
            await script.changed(ResourceUpdated(uri="doc://1"))
            await eventually(lambda: heard.uris == ["one+doc://1"])
            await client.unsubscribe_resource("one+doc://1")
        await eventually(lambda: not script.watched)


async def test_who_may_not_read_a_resource_does_not_hear_of_it(tmp_path: Path):
    script = Scripted()
    async with over(tmp_path, script, LEGACY) as platform:
        platform.names.people["reader"] = platform.names.people["nobody"]
        async with (
            platform.client(who="reader") as client,
            client.listen(resource_subscriptions=["one+doc://1"]) as stream,
        ):
            assert not stream.honored.resource_subscriptions
            assert script.watched == []


async def test_changes_of_a_server_are_nobodys_who_may_not_see_it(tmp_path: Path):
    script = Scripted()
    async with (
        scripted(script, LEGACY) as url,
        rig(tmp_path, one(url, teams=("green",))) as platform,
        platform.client(who="alice") as alice,
        platform.client(who="bob") as bob,
        alice.listen(tools_list_changed=True) as hers,
        bob.listen(tools_list_changed=True) as his,
    ):
        script.tools["late"] = echo
        await listens(platform, script)
        await script.changed(ToolsListChanged())
        async with asyncio.timeout(40):
            await anext(his)
        nothing = asyncio.ensure_future(anext(hers))
        done, _ = await asyncio.wait({nothing}, timeout=0.2)
        nothing.cancel()
        assert not done


@pytest.mark.parametrize("era", [MODERN, LEGACY])
async def test_a_stream_ends_with_the_key_that_opened_it(tmp_path: Path, era: str):
    script = Scripted()
    async with over(tmp_path, script) as platform, platform.http("bob", **opened(era)) as http:
        fields = await session_of(http) if era == LEGACY else {}
        request = http.build_request("GET" if era == LEGACY else "POST", "/mcp", headers=fields, json=body(era))
        answer = await http.send(request, stream=True)
        assert answer.status_code == 200
        del platform.names.people["bob"]
        platform.clock.advance(60)
        await platform.federation.put(one("http://127.0.0.1:9/mcp", "other"))  # a change, so that something is said
        async with asyncio.timeout(40):
            said = b"".join([chunk async for chunk in answer.aiter_raw()])
        assert b"list_changed" not in said


def opened(era: str) -> dict[str, str]:
    accept = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    if era == LEGACY:
        return accept
    return accept | {"mcp-protocol-version": MODERN, "mcp-method": "subscriptions/listen"}


def body(era: str) -> Any:
    if era == LEGACY:
        return None
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    }
    params = {"notifications": {"toolsListChanged": True}, "_meta": meta}
    return {"jsonrpc": "2.0", "id": new_id("t", 1), "method": "subscriptions/listen", "params": params}
