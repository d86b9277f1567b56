"""Tools, prompts and resources of many servers through one endpoint, for clients of both eras."""

from pathlib import Path

import pytest
from door_kit import LEGACY, MODERN, Arguments, Context, Result, Scripted, one, over, rig, said, scripted, words
from mcp import MCPError

from ai_platform.domain.event import EventType

pytestmark = pytest.mark.anyio

BOTH = pytest.mark.parametrize("mode", [MODERN, LEGACY])


@BOTH
@pytest.mark.requirement("MC-1")
async def test_tools_of_several_servers_are_listed_and_called_under_names_kept_apart(tmp_path: Path, mode: str):
    async def add(_context: Context, arguments: Arguments) -> Result:
        return said(str(arguments["a"] + arguments["b"]))

    first, second = Scripted(add=add), Scripted()
    async with (
        scripted(first) as one_url,
        scripted(second) as two_url,
        rig(tmp_path, one(one_url), one(two_url, "two")) as platform,
        platform.client(mode=mode) as client,
    ):
        listed = await client.list_tools()
        assert [tool.name for tool in listed.tools] == ["one__add", "one__echo", "two__echo"]
        assert words(await client.call_tool("one__add", {"a": 2, "b": 3})) == "5"
        assert words(await client.call_tool("two__echo", {"text": "there"})) == "echo there"
        assert first.calls == [("add", {"a": 2, "b": 3})]
        assert second.calls == [("echo", {"text": "there"})]


@BOTH
async def test_an_endpoint_of_one_server_has_its_own_names(tmp_path: Path, mode: str):
    async with over(tmp_path, Scripted()) as platform, platform.client("/mcp/one", mode=mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["echo"]
        assert words(await client.call_tool("echo", {"text": "x"})) == "echo x"
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("one__echo", {})


@BOTH
async def test_resources_and_prompts_carry_their_server_in_every_uri(tmp_path: Path, mode: str):
    async with over(tmp_path, Scripted(), name="wiki") as platform, platform.client(mode=mode) as client:
        assert [each.uri for each in (await client.list_resources()).resources] == ["wiki+doc://1"]
        read = await client.read_resource("wiki+doc://1")
        assert (read.contents[0].uri, read.contents[0].text) == ("wiki+doc://1", "One.")
        prompt = await client.get_prompt("wiki__review", {"what": "it"})
        assert prompt.messages[0].content.text == "Review it."
        assert prompt.messages[1].content.resource.uri == "wiki+doc://1"
        found = await client.complete(
            ref={"type": "ref/prompt", "name": "wiki__review"}, argument={"name": "what", "value": "i"}
        )
        assert found.completion.values == ["ref/prompt i"]


@pytest.mark.requirement("MC-1")
async def test_each_caller_sees_what_they_may_use_and_may_use_nothing_else(tmp_path: Path):
    async with scripted(Scripted()) as url:
        servers = (one(url), one(url, "secret", teams=("green",)))
        async with rig(tmp_path, *servers) as platform:
            async with platform.client(who="alice") as client:
                assert [tool.name for tool in (await client.list_tools()).tools] == ["one__echo"]
                with pytest.raises(MCPError, match="Unknown tool: secret__echo"):
                    await client.call_tool("secret__echo", {})
            async with platform.client(who="bob") as client:
                assert [tool.name for tool in (await client.list_tools()).tools] == ["one__echo", "secret__echo"]
            async with platform.client(who="nobody") as client:
                assert (await client.list_tools()).tools == []
                denied = await client.call_tool("one__echo", {})
                assert denied.is_error
                assert "not allowed for you" in words(denied)


async def test_who_is_not_known_gets_a_challenge_and_the_attempt_is_recorded(tmp_path: Path):
    async with over(tmp_path, Scripted()) as platform, platform.http("mallory") as http:
        answer = await http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert [event.facts["success"] for event in platform.trail.of_type(EventType.AUTHENTICATION)] == [False]


async def test_a_list_may_not_be_kept_for_others_and_says_how_long_it_holds(tmp_path: Path):
    async with over(tmp_path, Scripted()) as platform, platform.client() as client:
        listed = await client.list_tools()
        assert listed.cache_scope == "private"
        assert 0 <= listed.ttl_ms <= 60_000
        assert (await client.read_resource("one+doc://1")).cache_scope == "private"


async def test_a_result_says_which_server_it_is_from_and_that_it_is_not_to_be_trusted(tmp_path: Path):
    async with over(tmp_path, Scripted()) as platform, platform.client() as client:
        result = await client.call_tool("one__echo", {"text": "x"})
        source = result.meta["ai-platform/source"]
        assert (source["server"], source["trust"]) == ("one", "untrusted")
        assert source["call"] == platform.trail.of_type(EventType.TOOL_RESULT)[0].call_id


async def test_long_and_strange_names_are_shown_as_clients_can_take_them_and_still_lead_to_their_tool(tmp_path: Path):
    async def tool(_context: Context, _arguments: Arguments) -> Result:
        return said("reached")

    names = ["files.read", "files/read", "x" * 120, "a__b", "b-0123abcd"]
    script = Scripted(**dict.fromkeys(names, tool))
    async with over(tmp_path, script) as platform, platform.client() as client:
        shown = [tool.name for tool in (await client.list_tools()).tools]
        assert len(set(shown)) == len(names) + 1
        assert all(len(name) <= 64 and name.replace("-", "").replace("_", "").isalnum() for name in shown)
        for name in shown:
            await client.call_tool(name, {})
        assert sorted(called for called, _ in script.calls) == sorted([*names, "echo"])


async def test_a_tool_that_came_just_now_is_found_and_one_that_never_was_is_not_asked_for_again(tmp_path: Path):
    script = Scripted()
    async with over(tmp_path, script) as platform, platform.client() as client:
        platform.clock.advance(10)

        async def late(_context: Context, _arguments: Arguments) -> Result:
            return said("late")

        script.tools["late"] = late
        assert words(await client.call_tool("one__late", {})) == "late"
        before = script.listed
        for _ in range(5):
            with pytest.raises(MCPError, match="Unknown tool"):
                await client.call_tool("one__never", {})
        assert script.listed - before <= 1


async def test_a_server_that_is_added_while_running_has_its_endpoint_and_its_tools_and_loses_both(tmp_path: Path):
    async with scripted(Scripted()) as url, rig(tmp_path) as platform:
        async with platform.client() as client:
            assert (await client.list_tools()).tools == []
        await platform.federation.put(one(url, "later"))
        async with platform.client() as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["later__echo"]
        async with platform.client("/mcp/later") as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["echo"]
        await platform.federation.remove("later")
        async with platform.http() as http:
            assert (await http.post("/mcp/later", json={})).status_code == 404
