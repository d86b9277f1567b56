"""Servers that are down, slow, hostile or broken: their calls fail with a clear answer, everything else works."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from door_kit import MODERN, Scripted, listening, one, rig, said, scripted, words

from ai_platform.domain.event import EventType
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.testing.eventually import eventually

pytestmark = pytest.mark.anyio

Send = Callable[[Any], Awaitable[None]]
Play = Callable[[dict[str, Any], Send], Awaitable[None]]
JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream")


class Hostile:
    """A server of 2026-07-28 in raw HTTP: it lists one tool, `do`, and answers calls of it as a function does."""

    def __init__(self, play: Play, tools: tuple[str, ...] = ("do",)) -> None:
        self.play = play
        self.tools = tools
        self.calls = 0
        self.requests: list[dict[bytes, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.requests.append(dict(scope["headers"]))
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        request = msgspec.json.decode(body or b"{}")
        match request.get("method"):
            case "server/discover":
                result = {"supportedVersions": [MODERN], "capabilities": {"tools": {}}}
            case "tools/list":
                result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in self.tools]}
            case _:
                self.calls += 1
                await self.play(request, send)
                return
        await answer(send, {"jsonrpc": "2.0", "id": request.get("id"), "result": result | {"resultType": "complete"}})


async def answer(send: Send, message: Any, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    await begin(send, status, JSON, *headers)
    body = message if isinstance(message, bytes) else msgspec.json.encode(message)
    await send({"type": "http.response.body", "body": body})


async def begin(send: Send, status: int, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def more(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


def result_to(request: dict[str, Any], text: str = "fine") -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request["id"], "result": said(text)}


async def another_id(request: dict[str, Any], send: Send) -> None:
    await answer(send, result_to(request) | {"id": 999_999})


async def drips(request: dict[str, Any], send: Send) -> None:
    del request
    await begin(send, 200, JSON)
    await more(send, b" ")
    await asyncio.Event().wait()


async def never_begins(request: dict[str, Any], send: Send) -> None:
    del request, send
    await asyncio.Event().wait()


async def too_much(request: dict[str, Any], send: Send) -> None:
    await answer(send, result_to(request, "x" * 2_000_000))


async def too_much_in_an_event(request: dict[str, Any], send: Send) -> None:
    await begin(send, 200, EVENTS)
    await send({"type": "http.response.body", "body": b"data: " + msgspec.json.encode(result_to(request, "x" * 2**21))})


async def endless_event(request: dict[str, Any], send: Send) -> None:
    del request
    await begin(send, 200, EVENTS)
    for _ in range(100):
        await more(send, b"data: " + b"x" * 100_000)
    await asyncio.Event().wait()


async def floods(request: dict[str, Any], send: Send) -> None:
    del request
    await begin(send, 200, EVENTS)
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}
    for _ in range(50):
        await more(send, (b"data: " + msgspec.json.encode(note) + b"\n\n") * 100)
    await asyncio.Event().wait()


async def elsewhere(request: dict[str, Any], send: Send) -> None:
    del request
    await answer(send, b"", 307, (b"location", b"http://127.0.0.1:1/mcp"))


async def html(request: dict[str, Any], send: Send) -> None:
    del request
    await begin(send, 200, (b"content-type", b"text/html"))
    await send({"type": "http.response.body", "body": b"<h1>Welcome</h1>"})


async def nonsense(request: dict[str, Any], send: Send) -> None:
    del request
    await answer(send, b'{"jsonrpc": "2.0", "id"')


async def no_object(request: dict[str, Any], send: Send) -> None:
    await answer(send, {"jsonrpc": "2.0", "id": request["id"], "result": ["a", "list"]})


async def deep(request: dict[str, Any], send: Send) -> None:
    nested = b'{"a":' * 50_000 + b"1" + b"}" * 50_000
    body = b'{"jsonrpc":"2.0","id":' + msgspec.json.encode(request["id"]) + b',"result":' + nested + b"}"
    await answer(send, body)


async def leaves(request: dict[str, Any], send: Send) -> None:
    del request
    await begin(send, 200, JSON, (b"content-length", b"500"))
    await more(send, b'{"jsonrpc"')
    raise ConnectionError


async def shouts(request: dict[str, Any], send: Send) -> None:
    await begin(send, 200, (b"content-type", b"Application/JSON"))
    await send({"type": "http.response.body", "body": msgspec.json.encode(result_to(request, "x" * 2_000_000))})


async def asks(request: dict[str, Any], send: Send) -> None:
    await begin(send, 200, EVENTS)
    question = {"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": request["params"]}
    await more(send, b"data: " + msgspec.json.encode(question) + b"\n\n")
    await asyncio.Event().wait()


WAYS = [
    (another_id, "no answer of the protocol"),
    (drips, "did not answer within"),
    (never_begins, "did not answer within"),
    (too_much, "more than"),
    (too_much_in_an_event, ""),
    (endless_event, ""),
    (floods, ""),
    (elsewhere, ""),
    (html, ""),
    (nonsense, ""),
    (no_object, ""),
    (deep, ""),
    (leaves, "broke off"),
    (shouts, "more than"),
    (asks, "no answer of the protocol"),
]


@pytest.mark.requirement("MC-3")
@pytest.mark.parametrize(("play", "why"), WAYS, ids=[play.__name__ for play, _ in WAYS])
async def test_whatever_a_server_answers_its_caller_is_told_and_others_are_served(tmp_path: Path, play: Play, why: str):
    async with listening(Hostile(play)) as bad, scripted(Scripted()) as good:
        patience = 1.0 if "did not answer" in why else 40.0
        servers = (one(f"{bad}/mcp", "bad", timeout=patience, max_message_bytes=1_000_000), one(good, "good"))
        async with rig(tmp_path, *servers) as platform, platform.client() as client:
            failing = asyncio.create_task(client.call_tool("bad__do", {}))
            assert words(await client.call_tool("good__echo", {"text": "x"})) == "echo x"
            async with asyncio.timeout(60):
                result = await failing
            assert result.is_error
            assert "'bad'" in words(result)
            assert why in words(result)
            assert words(await client.call_tool("good__echo", {"text": "y"})) == "echo y"
            outcomes = [event.facts["result"] for event in platform.trail.of_type(EventType.TOOL_RESULT)]
            assert sorted(outcomes) == ["failed", "ok", "ok"]


async def test_a_server_that_is_down_takes_its_tools_with_it_and_they_come_back(tmp_path: Path):
    first = Scripted()
    async with scripted(Scripted()) as good:
        async with scripted(first) as url:
            port = int(url.split(":")[2].split("/")[0])
        async with rig(tmp_path, one(url, "late"), one(good, "good")) as platform, platform.client() as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["good__echo"]
            gone = await client.call_tool("late__echo", {})
            assert gone.is_error
            assert "'late' could not be reached" in words(gone)
            async with scripted(first, port=port):
                platform.clock.advance(120)
                platform.federation.refresh("late")
                await eventually(lambda: platform.federation.states()[0].problem == "")
                async with platform.client() as other:
                    names = [tool.name for tool in (await other.list_tools()).tools]
                    assert names == ["good__echo", "late__echo"]
                    assert words(await other.call_tool("late__echo", {"text": "x"})) == "echo x"


async def breaks(request: dict[str, Any], send: Send) -> None:
    del request
    await answer(send, b"", 500)


async def test_a_server_that_fails_three_times_is_left_alone_for_a_minute_and_then_tried_once(tmp_path: Path):
    hostile = Hostile(breaks)
    async with (
        listening(hostile) as url,
        rig(tmp_path, one(f"{url}/mcp", "bad")) as platform,
        platform.client() as client,
    ):
        for _ in range(5):
            result = await client.call_tool("bad__do", {})
        assert hostile.calls == 3
        assert "left alone for now" in words(result)
        assert 55 <= result.meta["ai-platform/refusal"]["retryAfter"] <= 60
        platform.clock.advance(61)
        await client.call_tool("bad__do", {})
        await client.call_tool("bad__do", {})
        assert hostile.calls == 4
        platform.clock.advance(61)

        async def works(request: dict[str, Any], send: Send) -> None:
            await answer(send, result_to(request))

        hostile.play = works
        assert words(await client.call_tool("bad__do", {})) == "fine"
        assert words(await client.call_tool("bad__do", {})) == "fine"


@pytest.mark.parametrize(("tool", "tries"), [("read_it", 3), ("write_it", 1)])
async def test_only_what_may_be_done_twice_is_tried_again(tmp_path: Path, tool: str, tries: int):
    hostile = Hostile(leaves, ("read_it", "write_it"))
    settings = {"idempotent": ("read_*",), "retries": 2}
    async with listening(hostile) as url, rig(tmp_path, one(f"{url}/mcp", "bad", **settings)) as platform:
        async with platform.client() as client:
            assert (await client.call_tool(f"bad__{tool}", {})).is_error
        assert hostile.calls == tries


async def test_a_repeated_call_that_works_is_one_call(tmp_path: Path):
    async def once_bad(request: dict[str, Any], send: Send) -> None:
        if hostile.calls == 1:
            await leaves(request, send)
        await answer(send, result_to(request))

    hostile = Hostile(once_bad)
    async with (
        listening(hostile) as url,
        rig(tmp_path, one(f"{url}/mcp", "bad", idempotent=("*",))) as platform,
        platform.client() as client,
    ):
        assert words(await client.call_tool("bad__do", {})) == "fine"
        assert len(platform.trail.of_type(EventType.TOOL_CALL)) == 1
        assert platform.trail.of_type(EventType.TOOL_RESULT)[0].facts["attempts"] == 2


async def test_more_calls_than_a_server_takes_wait_and_more_than_may_wait_are_refused(tmp_path: Path):
    begun, go = [], asyncio.Event()

    async def holds(request: dict[str, Any], send: Send) -> None:
        begun.append(1)
        await go.wait()
        await answer(send, result_to(request))

    settings = {"max_concurrency": 1, "max_waiting": 1}
    async with (
        listening(Hostile(holds)) as url,
        rig(tmp_path, one(f"{url}/mcp", "bad", **settings)) as platform,
        platform.client() as client,
    ):
        calls = [asyncio.create_task(client.call_tool("bad__do", {}))]
        await eventually(lambda: len(begun) == 1)
        calls.append(asyncio.create_task(client.call_tool("bad__do", {})))
        await eventually(lambda: platform.federation.server("bad").waiting == 1)
        refused = await client.call_tool("bad__do", {})
        assert refused.is_error
        assert "1 wait" in words(refused)
        go.set()
        assert [words(await call) for call in calls] == ["fine", "fine"]


async def test_a_server_does_not_keep_the_platform_waiting_that_is_slow_to_list(tmp_path: Path):
    async def slow(context: Any, params: Any) -> Any:
        del context, params
        await asyncio.Event().wait()

    stuck = Scripted()
    stuck.app.add_request_handler("tools/list", dict, slow)
    async with scripted(stuck) as bad, scripted(Scripted()) as good:
        servers = (one(bad, "bad", connect_timeout=0.3), one(good, "good"))
        async with rig(tmp_path, *servers, list_timeout=0.5) as platform, platform.client() as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["good__echo"]


async def test_a_credential_is_not_carried_to_where_a_server_points(tmp_path: Path):
    caught = Hostile(breaks)
    async with listening(caught) as trap:

        async def away(request: dict[str, Any], send: Send) -> None:
            del request
            await answer(send, b"", 307, (b"location", f"{trap}/mcp".encode()))

        async with (
            listening(Hostile(away)) as url,
            rig(tmp_path, one(f"{url}/mcp", "bad", headers_env={"authorization": "TOKEN"})) as platform,
            platform.client() as client,
        ):
            assert (await client.call_tool("bad__do", {})).is_error
    assert caught.requests == []


async def test_a_server_that_moved_within_its_origin_is_followed_with_its_credential(tmp_path: Path):
    async def there(request: dict[str, Any], send: Send) -> None:
        if hostile.calls == 1:
            await answer(send, b"", 307, (b"location", b"/there"))
        else:
            await answer(send, result_to(request))

    hostile = Hostile(there)
    async with (
        listening(hostile) as url,
        rig(tmp_path, one(f"{url}/mcp", "bad", headers_env={"authorization": "TOKEN"})) as platform,
        platform.client() as client,
    ):
        assert words(await client.call_tool("bad__do", {})) == "fine"
        assert hostile.calls == 2
        assert {fields[b"authorization"] for fields in hostile.requests} == {b"the platform's own"}


# --- programs ---------------------------------------------------------------------------------------------------------

PROGRAM = """
import json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    method, said = asked.get("method"), None
    if method == "initialize":
        said = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": "program", "version": "1"}}
    elif method == "tools/list":
        names = ("pid", "hang", "much", "noise")
        said = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names]}
    elif method == "tools/call":
        name = asked["params"]["name"]
        if name == "hang":
            continue
        if name == "noise":
            print("Warning: \\x1b[31mnot JSON at all\\x1b[0m", flush=True)
        text = "x" * 3_000_000 if name == "much" else str(os.getpid())
        said = {"content": [{"type": "text", "text": text}]}
    elif "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": "no"}}), flush=True)
        continue
    if said is not None and "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": said}), flush=True)
"""


def program(**more: Any) -> McpServerSettings:
    return McpServerSettings(name="local", command=(sys.executable, "-c", PROGRAM), **more)


async def test_a_program_that_is_killed_in_a_call_fails_that_call_and_is_started_again(tmp_path: Path):
    async with rig(tmp_path, program()) as platform, platform.client() as client:
        pid = int(words(await client.call_tool("local__pid", {})))
        hanging = asyncio.create_task(client.call_tool("local__hang", {}))
        await eventually(lambda: platform.federation.server("local").calls == 1)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            result = await hanging
        assert result.is_error
        assert "'local' ended in the middle of the call" in words(result)
        assert [event.facts["result"] for event in platform.trail.of_type(EventType.TOOL_RESULT)] == ["ok", "failed"]
        assert int(words(await client.call_tool("local__pid", {}))) != pid


async def test_a_program_that_says_other_things_between_its_answers_is_understood(tmp_path: Path):
    async with rig(tmp_path, program()) as platform, platform.client() as client:
        assert words(await client.call_tool("local__noise", {})).isdigit()


async def test_a_line_that_is_too_long_is_not_kept(tmp_path: Path):
    async with (
        rig(tmp_path, program(max_message_bytes=1_000_000)) as platform,
        platform.client() as client,
    ):
        result = await client.call_tool("local__much", {})
        assert result.is_error
        assert words(await client.call_tool("local__pid", {})).isdigit()


async def test_a_program_that_is_not_there_says_so(tmp_path: Path):
    settings = McpServerSettings(name="local", command=("/nowhere/at-all",))
    async with rig(tmp_path, settings) as platform, platform.client() as client:
        result = await client.call_tool("local__pid", {})
        assert "'local' could not be reached" in words(result) or "could not be started" in words(result)
        assert (await client.list_tools()).tools == []
