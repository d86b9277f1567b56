"""Attacks on the door: headers that lie, names that could be two, bodies that could be anything, web pages."""

from pathlib import Path
from typing import Any

import mcp_types as types
import msgspec
import pytest
from door_kit import (
    ACCEPT,
    LEGACY,
    MODERN,
    Arguments,
    Context,
    Result,
    Scripted,
    by_hand,
    one,
    over,
    rig,
    rpc,
    said,
    scripted,
    session_of,
    words,
)
from mcp import MCPError

pytestmark = pytest.mark.anyio

CALL: dict[str, Any] = {"name": "one__echo", "arguments": {"text": "x"}}
ENVELOPE: dict[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}


# --- headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lie",
    [
        {"mcp_method": "tools/list"},
        {"mcp_name": "one__other"},
        {"mcp_name": "=?base64?b25lX19vdGhlcg==?="},
        {"mcp_protocol_version": "2025-11-25"},
        {"mcp_protocol_version": "2099-01-01"},
        {"mcp_method": "subscriptions/listen"},
    ],
    ids=repr,
)
async def test_a_header_that_says_something_else_than_the_body_is_refused(tmp_path: Path, lie: dict[str, str]):
    script = Scripted()
    async with over(tmp_path, script) as platform, platform.http() as http:
        answer = await by_hand(http, "tools/call", CALL, **lie)
        assert answer.status_code == 400
        assert "error" in answer.json()
        assert script.calls == []
        assert (await by_hand(http, "tools/call", CALL)).json()["result"]["content"][0]["text"] == "echo x"


async def test_arguments_that_travel_in_headers_too_are_held_against_the_body(tmp_path: Path):
    """`x-mcp-header` (2026-07-28): an intermediary may have decided by the header, so it must be the truth."""
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    script = Scripted()

    async def list_tools(context: Context, params: Any) -> dict[str, Any]:
        del context, params
        tools = [{"name": "echo", "inputSchema": schema}]
        return {"resultType": "complete", "tools": tools, "ttlMs": 0, "cacheScope": "public"}

    script.app.add_request_handler("tools/list", types.PaginatedRequestParams, list_tools)
    async with over(tmp_path, script) as platform, platform.http() as http:
        params = {"name": "one__echo", "arguments": {"region": "eu"}}
        lie = await by_hand(http, "tools/call", params, mcp_param_region="us")
        assert lie.status_code == 400
        assert script.calls == []
        true = await by_hand(http, "tools/call", params, mcp_param_region="eu")
        assert true.status_code == 200
        assert script.headers[-1]["mcp-param-region"] == "eu"


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
    ],
    ids=repr,
)
async def test_a_web_page_that_is_none_of_ours_is_kept_out(tmp_path: Path, fields: dict[str, str]):
    async with over(tmp_path, Scripted()) as platform, platform.http() as http:
        assert (await by_hand(http, "tools/list", {}, **fields)).status_code == 403


async def test_a_web_page_that_is_named_may_call(tmp_path: Path):
    page = "https://inspector.example"
    async with over(tmp_path, Scripted(), allowed_origins=(page,)) as platform, platform.http() as http:
        assert (await by_hand(http, "tools/list", {}, origin=page)).status_code == 200


@pytest.mark.parametrize("path", ["/mcpone", "/mcp/", "/mcp/nobody", "/mcp/one/two", "/mcp/..%2fone", "/mcp//one"])
async def test_a_path_that_is_none_is_none(tmp_path: Path, path: str):
    async with over(tmp_path, Scripted()) as platform, platform.http() as http:
        answer = await http.post(path, headers=ACCEPT, json=rpc("tools/list", {}))
        assert answer.status_code == 404


async def test_a_server_one_may_not_see_has_an_endpoint_like_one_that_never_was(tmp_path: Path):
    async with scripted(Scripted()) as url, rig(tmp_path, one(url, teams=("green",))) as platform:
        async with platform.http("alice") as http:
            hidden = await http.post("/mcp/one", headers=ACCEPT, json=rpc("tools/list", {}))
            absent = await http.post("/mcp/two", headers=ACCEPT, json=rpc("tools/list", {}))
            assert hidden.status_code == absent.status_code == 404
            assert hidden.json()["error"]["message"] == absent.json()["error"]["message"].replace("/two", "/one")
        async with platform.http("bob") as http:
            assert (await by_hand(http, "tools/list", {}, path="/mcp/one")).status_code == 200


@pytest.mark.parametrize("where", ["x-custom", "user-agent", "traceparent"])
async def test_a_key_in_a_place_from_which_it_would_travel_on_is_refused(tmp_path: Path, where: str):
    key = "aip_key_" + "A" * 60
    async with over(tmp_path, Scripted()) as platform, platform.http() as http:
        answer = await http.post("/mcp", headers=ACCEPT | {where: key}, json=rpc("tools/list", {}))
        assert answer.status_code in {200, 400}  # what has the form of no key is any text
        assert key not in repr(platform.trail.events)


async def test_what_only_the_platform_may_say_is_not_taken_from_a_client(tmp_path: Path):
    script = Scripted()
    async with over(tmp_path, script) as platform, platform.http() as http:
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "someone else", "version": "9"},
            "ai-platform/caller": {"id": "root", "permissions": ["*"]},
        }
        await by_hand(http, "tools/call", CALL | {"_meta": meta})
        assert "ai-platform/caller" not in script.metas[0]
        assert script.metas[0]["io.modelcontextprotocol/clientInfo"]["name"] == "ai-platform"
        assert script.headers[-1].get("authorization") is None


@pytest.mark.requirement("DP-2")
async def test_a_value_in_what_a_client_writes_beside_its_arguments_does_not_travel(tmp_path: Path):
    script = Scripted()
    async with over(tmp_path, script) as platform, platform.http() as http:
        for note in ("ssn 536-22-8491", {"ssn 536-22-8491": 1}, ["x", {"y": "ssn 536-22-8491"}]):
            refused = await by_hand(http, "tools/call", CALL | {"_meta": ENVELOPE | {"example.org/note": note}})
            assert "Blocked by the data-protection policy" in refused.text
            assert "536-22-8491" not in refused.text
        assert script.calls == []
        await by_hand(http, "tools/call", CALL | {"_meta": ENVELOPE | {"example.org/note": "jane"}})
        assert script.metas[0]["example.org/note"] == "jane"


@pytest.mark.requirement("DP-5")
@pytest.mark.parametrize("name", ["ssn 536-22-8491", "one__536-22-8491", "jane@acme.io", "4111111111111111"])
async def test_a_value_as_the_name_of_a_tool_that_is_none_is_not_recorded(tmp_path: Path, name: str):
    async with over(tmp_path, Scripted()) as platform, platform.http() as http:
        answer = await by_hand(http, "tools/call", {"name": name, "arguments": {}})
        assert "Unknown tool: *" in answer.text
        assert name not in answer.text + repr(platform.trail.events)
        answer = await by_hand(http, "tools/call", {"name": "one__nothing", "arguments": {}})
        assert "Unknown tool: one__nothing" in answer.text


# --- names ------------------------------------------------------------------------------------------------------------


async def test_names_that_could_be_two_are_one(tmp_path: Path):
    """`a__b` of server `x` and `b` of a server that would be called `x__a`: there cannot be such a server."""

    async def own(_context: Context, _arguments: Arguments) -> Result:
        return said("own")

    first, second = Scripted(b__c=own), Scripted(c=own)
    async with (
        scripted(first) as one_url,
        scripted(second) as two_url,
        rig(tmp_path, one(one_url, "a"), one(two_url, "a-b")) as platform,
        platform.client() as client,
    ):
        assert words(await client.call_tool("a__b__c", {})) == "own"
        assert first.calls == [("b__c", {})]
        assert second.calls == []
        await client.call_tool("a-b__c", {})
        assert second.calls == [("c", {})]
    with pytest.raises(ValueError, match="single `-`"):
        one("http://127.0.0.1:1/mcp", "a__b")


NO_TOOLS = ["", "__echo", "one__", "one", "ONE__echo", "one__echo ", "one__Echo", "one__../echo", "x" * 9000]
HIDDEN = ["one__echo\x00", "one__echo\u200b", "\u202eohce__eno"]


@pytest.mark.parametrize("name", NO_TOOLS + HIDDEN, ids=lambda name: ascii(name)[:30])
async def test_a_name_that_is_nearly_a_tool_is_none(tmp_path: Path, name: str):
    script = Scripted()
    async with over(tmp_path, script) as platform, platform.client(mode=LEGACY) as client:
        with pytest.raises(MCPError):
            await client.call_tool(name, {})
        assert script.calls == []


@pytest.mark.parametrize(
    "uri",
    ["doc://1", "one+", "one+doc://2", "two+doc://1", "one+one+doc://1", "+doc://1", "one+doc://1\x00"],
    ids=ascii,
)
async def test_a_uri_that_is_nearly_a_resource_is_none(tmp_path: Path, uri: str):
    async with over(tmp_path, Scripted()) as platform, platform.client(mode=LEGACY) as client:
        with pytest.raises(MCPError):
            await client.read_resource(uri)


async def test_a_definition_that_claims_another_servers_name_stays_under_its_own(tmp_path: Path):
    async def own(_context: Context, _arguments: Arguments) -> Result:
        return said("stolen")

    thief, owner = Scripted(bank__pay=own), Scripted(pay=own)
    async with scripted(thief) as thief_url, scripted(owner) as owner_url:
        servers = (one(thief_url, "a-thief"), one(owner_url, "bank"))
        async with rig(tmp_path, *servers) as platform, platform.client() as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert names == ["a-thief__bank__pay", "a-thief__echo", "bank__echo", "bank__pay"]
            await client.call_tool("bank__pay", {})
            assert thief.calls == []


# --- bodies -----------------------------------------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize("depth", [100, 5_000, 200_000])
async def test_arguments_nested_without_end_do_no_harm(tmp_path: Path, depth: int):
    async with over(tmp_path, Scripted()) as platform, platform.http() as http:
        fields = await session_of(http)
        body = b'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"one__echo","arguments":'
        answer = await http.post("/mcp", headers=fields, content=body + nested(depth) + b"}}")
        assert answer.status_code in {200, 400}
        assert (await by_hand(http, "tools/call", CALL)).status_code == 200
        assert platform.book.in_flight == 0


async def test_a_body_that_is_too_large_is_not_read_to_its_end(tmp_path: Path):
    script = Scripted()
    async with (
        scripted(script) as url,
        rig(tmp_path, one(url), max_message_bytes=100_000) as platform,
        platform.http() as http,
    ):
        answer = await by_hand(http, "tools/call", CALL | {"arguments": {"text": "x" * 200_000}})
        assert answer.status_code == 413
        assert script.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"one__echo","arguments":[1]}}',
        b'{"jsonrpc":"2.0","id":1,"method":"no/such/method"}',
        b'{"jsonrpc":"1.0","id":1,"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"AAAA"}}',
        b'[{"jsonrpc":"2.0","id":1,"method":"tools/list"},{"jsonrpc":"2.0","id":2,"method":"tools/list"}]',
    ],
    ids=repr,
)
@pytest.mark.parametrize("era", [MODERN, LEGACY])
async def test_what_is_no_message_is_answered_as_such(tmp_path: Path, body: bytes, era: str):
    script = Scripted()
    async with over(tmp_path, script) as platform, platform.http() as http:
        if era == LEGACY:
            fields = await session_of(http)
        else:
            fields = ACCEPT | {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "one__echo"}
        answer = await http.post("/mcp", headers=fields | {"content-type": "application/json"}, content=body)
        assert answer.status_code < 500
        assert b"error" in answer.content
        assert script.calls == []
        assert platform.book.in_flight == 0


async def test_a_key_that_stands_twice_is_decided_on_as_it_is_passed_on(tmp_path: Path):
    """Whichever of two values counts, what was inspected is what the server gets."""
    card = "4111 1111 1111 1111"
    script = Scripted()
    async with over(tmp_path, script) as platform, platform.http() as http:
        fields = await session_of(http)
        for first, second in ((card, "x"), ("x", card)):
            body = (
                '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"one__echo","arguments":'
                f'{{"text":"{first}","text":"{second}"}}}}}}'
            )
            await http.post("/mcp", headers=fields | {"content-type": "application/json"}, content=body.encode())
        assert [arguments["text"] for _, arguments in script.calls] == ["x"]


@pytest.mark.parametrize("place", ["arguments", "_meta", "requestState", "name"])
async def test_half_a_character_ends_its_own_call_and_nobody_elses(tmp_path: Path, place: str):
    script = Scripted()
    params = msgspec.json.encode(CALL).decode()[:-1]
    halves = {
        "arguments": '{"name":"one__echo","arguments":{"text":"\\ud800"}}',
        "_meta": params + ',"_meta":{"x/y":"\\ud800"}}',
        "requestState": params + ',"requestState":"\\ud800"}',
        "name": '{"name":"one__echo\\ud800","arguments":{}}',
    }
    async with over(tmp_path, script) as platform, platform.http() as http, platform.client() as client:
        fields = await session_of(http) | {"content-type": "application/json"}
        body = f'{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{halves[place]}}}'
        answer = await http.post("/mcp", headers=fields, content=body.encode())
        assert answer.status_code < 500
        assert script.calls == []
        assert words(await client.call_tool("one__echo", {"text": "y"})) == "echo y"
        assert platform.federation.states()[0].problem == ""


STRANGE = ("NaN", '{"text":"\\u0000"}', '{"a":1e999}', '{"\\u0000":"\\u0000"}', '{"a":12345678901234567890123}')


async def test_what_cannot_be_written_is_no_defect(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Numbers that are none, and texts with zeros in them, in every place a record is made of."""
    async with over(tmp_path, Scripted()) as platform, platform.http() as http:
        fields = await session_of(http) | {"content-type": "application/json"}
        head = '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"one__echo","arguments":'
        for arguments in STRANGE:
            answer = await http.post("/mcp", headers=fields, content=f"{head}{arguments}}}}}".encode())
            assert answer.status_code < 500
        assert platform.book.in_flight == 0
    assert '"event":"defect"' not in capfd.readouterr().err


async def test_more_requests_than_the_door_takes_are_refused(tmp_path: Path):
    async with over(tmp_path, Scripted(), max_requests=1) as platform, platform.http() as http:
        fields = ACCEPT | {"mcp-protocol-version": MODERN, "mcp-method": "subscriptions/listen"}
        meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
        params = {"notifications": {"toolsListChanged": True}, "_meta": meta}
        async with http.stream("POST", "/mcp", headers=fields, json=rpc("subscriptions/listen", params)) as stream:
            assert stream.status_code == 200
            refused = await by_hand(http, "tools/call", CALL)
            assert refused.status_code == 503
            assert "retry-after" in refused.headers
