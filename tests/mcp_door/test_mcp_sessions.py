"""A session of a client of 2025-11-25 is its owner's, and each caller has a bounded number of them."""

from pathlib import Path
from typing import Any

import pytest
from door_kit import ACCEPT, HELLO, LEGACY, Arguments, Context, Result, Scripted, over, rpc, said, session_of

from ai_platform.domain.principal import Principal

pytestmark = pytest.mark.anyio

PING = rpc("ping", {})
LIST = rpc("tools/list", {})


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_a_session_is_of_no_use_to_anybody_but_its_owner(tmp_path: Path, method: str):
    async with over(tmp_path, Scripted()) as platform, platform.http("alice") as alice, platform.http("bob") as bob:
        fields = await session_of(alice)
        body = LIST if method == "POST" else None
        stolen = await bob.request(method, "/mcp", headers=fields, json=body)
        never = await bob.request(method, "/mcp", headers=fields | {"mcp-session-id": "0" * 32}, json=body)
        assert (stolen.status_code, never.status_code) == (404, 404)
        assert stolen.json()["error"]["message"] == never.json()["error"]["message"]
        assert (await alice.post("/mcp", headers=fields, json=PING)).status_code == 200


async def test_a_person_of_the_same_id_in_another_organisation_is_somebody_else(tmp_path: Path):
    async with over(tmp_path, Scripted()) as platform, platform.http("alice") as alice, platform.http("twin") as twin:
        platform.names.people["twin"] = Principal(id="usr_alice", name="Alice", tenant="other")
        fields = await session_of(alice)
        assert (await twin.post("/mcp", headers=fields, json=PING)).status_code == 404


async def test_a_session_of_one_endpoint_is_none_of_another(tmp_path: Path):
    async with over(tmp_path, Scripted()) as platform, platform.http() as http:
        fields = await session_of(http, "/mcp/one")
        assert (await http.post("/mcp", headers=fields, json=LIST)).status_code == 404
        assert (await http.post("/mcp/one", headers=fields, json=PING)).status_code == 200


async def test_every_request_of_a_session_needs_a_key_that_is_still_good(tmp_path: Path):
    async with over(tmp_path, Scripted()) as platform, platform.http("bob") as http:
        fields = await session_of(http)
        nobody = await http.post("/mcp", headers=fields | {"authorization": ""}, json=PING)
        assert nobody.status_code == 401
        del platform.names.people["bob"]
        assert (await http.post("/mcp", headers=fields, json=PING)).status_code == 401


async def test_a_caller_has_so_many_sessions_and_others_are_not_the_worse_for_it(tmp_path: Path):
    async with (
        over(tmp_path, Scripted(), max_sessions_each=2) as platform,
        platform.http("alice") as alice,
        platform.http("bob") as bob,
    ):
        first = await session_of(alice)
        await session_of(alice)
        third = await alice.post("/mcp", headers=ACCEPT, json=rpc("initialize", HELLO))
        assert third.status_code == 503
        assert "2 sessions open" in third.json()["error"]["message"]
        await session_of(bob)
        assert (await alice.request("DELETE", "/mcp", headers=first)).status_code == 200
        await session_of(alice)


async def test_a_session_that_nobody_uses_is_forgotten(tmp_path: Path):
    async with over(tmp_path, Scripted(), session_timeout=100.0) as platform, platform.http() as http:
        await session_of(http)
        assert len(platform.door.sessions) == 1
        platform.clock.advance(99)
        await platform.door.sessions.sweep()
        assert len(platform.door.sessions) == 1
        platform.clock.advance(2)
        await platform.door.sessions.sweep()
        assert len(platform.door.sessions) == 0


async def test_a_session_ends_at_the_server_when_it_ends_at_the_door(tmp_path: Path):
    async with over(tmp_path, Scripted(), LEGACY) as platform, platform.http() as http:
        fields = await session_of(http)
        await http.post("/mcp", headers=fields, json=rpc("tools/call", {"name": "one__echo", "arguments": {}}))
        lines = platform.federation.server("one").lines
        assert len(lines.session_lines(fields["mcp-session-id"])) == 1
        await http.request("DELETE", "/mcp", headers=fields)
        assert lines.session_lines(fields["mcp-session-id"]) == []


async def test_what_two_sessions_keep_at_a_server_is_kept_apart(tmp_path: Path):
    async def whoami(context: Context, _arguments: Arguments) -> Result:
        assert context.request is not None
        return said(context.request.headers.get("mcp-session-id", ""))

    async with (
        over(tmp_path, Scripted(whoami=whoami), LEGACY) as platform,
        platform.client(mode=LEGACY) as one,
        platform.client(mode=LEGACY) as two,
    ):
        names = [(await client.call_tool("one__whoami", {})).content[0].text for client in (one, two, one)]
        assert names[0] == names[2] != names[1]
        assert all(names)


async def test_a_session_that_the_server_has_forgotten_is_begun_anew_and_the_call_made_once(tmp_path: Path):
    script = Scripted()
    async with over(tmp_path, script, LEGACY) as platform, platform.client(mode=LEGACY) as client:
        await client.call_tool("one__echo", {"text": "1"})
        await forget_sessions(script)
        assert (await client.call_tool("one__echo", {"text": "2"})).content[0].text == "echo 2"
        assert [arguments["text"] for _, arguments in script.calls] == ["1", "2"]


async def forget_sessions(script: Scripted) -> None:
    """As a server that was started anew."""
    manager: Any = script.app.session_manager
    for transport in list(manager._server_instances.values()):
        await transport.terminate()
    manager._server_instances.clear()


async def test_two_replies_to_one_question_and_replies_to_none_do_no_harm(tmp_path: Path):
    async with over(tmp_path, Scripted()) as platform, platform.http() as http:
        fields = await session_of(http)
        for _ in range(3):
            answer = {"jsonrpc": "2.0", "id": 7, "result": {"action": "accept"}}
            assert (await http.post("/mcp", headers=fields, json=answer)).status_code == 202
        assert (await http.post("/mcp", headers=fields, json=PING)).status_code == 200
