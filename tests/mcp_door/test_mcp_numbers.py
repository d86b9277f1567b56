"""Servers that answer with numbers and texts nobody expects: their own calls suffer, nothing else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from door_kit import MODERN, Rig, Scripted, listening, one, rig, scripted, words
from mcp import MCPError

from ai_platform.mcp.needs import Kind
from ai_platform.testing.eventually import eventually

pytestmark = pytest.mark.anyio

HUGE = "9" * 400
FINE = '{"resultType":"complete","content":[{"type":"text","text":"fine"}]}'
TOOLS = '{"resultType":"complete","tools":[{"name":"do","inputSchema":{"type":"object"}}]}'


class Strange:
    """A server of 2026-07-28 whose answers are JSON texts. status, fields: of the answer to a call."""

    def __init__(self, *, call: str = FINE, tools: str = TOOLS, status: int = 200, **fields: str) -> None:
        self.call = call
        self.tools = tools
        self.status = status
        self.fields = fields

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        request = msgspec.json.decode(body or b"{}")
        fields = {"content-type": "application/json"}
        status = 200
        match request.get("method"):
            case "server/discover":
                result = f'{{"supportedVersions":["{MODERN}"],"capabilities":{{"tools":{{}}}}}}'
            case "tools/list":
                result = self.tools
            case _:
                result, status = self.call, self.status
                fields |= {name.replace("_", "-"): value for name, value in self.fields.items()}
        number = msgspec.json.encode(request.get("id")).decode()
        answer = f'{{"jsonrpc":"2.0","id":{number},"result":{result}}}' if status == 200 else ""
        head = [(name.encode(), value.encode()) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": answer.encode()})


@asynccontextmanager
async def over_http(server: Strange, folder: Path) -> AsyncIterator[Rig]:
    async with listening(server) as url, rig(folder, one(f"{url}/mcp", "bad")) as platform:
        yield platform


def shows(platform: Rig, tool: str) -> bool:
    """The server has listed this tool, and its list still holds."""
    found = platform.federation.known("bad", Kind.TOOLS, None)
    return found is not None and list(found.items) == [tool] and found.until > platform.clock.monotonic()


LISTS = {
    "a number nobody can hold": TOOLS.replace('{"type":"object"}', f'{{"type":"object","maximum":{HUGE}}}'),
    "a number of more than 64 bits": TOOLS.replace(
        '{"type":"object"}', '{"type":"object","maximum":99999999999999999999}'
    ),
    "kept for ever": TOOLS[:-1] + f',"ttlMs":{HUGE}}}',
    "kept for no time": TOOLS[:-1] + ',"ttlMs":1e999}',
    "half a character": TOOLS.replace('"do"', '"do","description":"\\ud800"'),
    "half a character as a name": TOOLS.replace('"do"', '"\\udfff"'),
    "zeros": TOOLS.replace('"do"', '"do","description":"\\u0000"'),
    "no number": TOOLS.replace('{"type":"object"}', '{"type":"object","maximum":NaN}'),
    "deep": TOOLS.replace('{"type":"object"}', '{"type":"object","a":' + "[" * 3000 + "]" * 3000 + "}"),
    "a cursor of another kind": TOOLS[:-1] + ',"nextCursor":{"a":1}}',
    "no list": '{"resultType":"complete","tools":7}',
    "nothing": "null",
}


@pytest.mark.requirement("MC-3")
@pytest.mark.parametrize("tools", LISTS.values(), ids=LISTS)
async def test_a_list_that_cannot_be_passed_on_hides_no_other_servers_tools(
    tmp_path: Path, tools: str, capfd: pytest.CaptureFixture[str]
):
    strange = Strange(tools=tools)
    async with (
        listening(strange) as bad,
        scripted(Scripted()) as good,
        rig(tmp_path, one(f"{bad}/mcp", "bad"), one(good, "good")) as platform,
        platform.client() as client,
    ):
        assert "good__echo" in [tool.name for tool in (await client.list_tools()).tools]
        await asyncio.gather(client.call_tool("bad__do", {}), return_exceptions=True)
        assert words(await client.call_tool("good__echo", {"text": "x"})) == "echo x"
        strange.tools = TOOLS
        platform.clock.advance(1_000)
        platform.federation.refresh("bad")
        await eventually(lambda: shows(platform, "do"))
        async with platform.client() as other:  # which remembers no list
            names = [tool.name for tool in (await other.list_tools()).tools]
            assert names == ["bad__do", "good__echo"], "it recovers with its server"
    assert '"event":"defect"' not in capfd.readouterr().err


CALLS = {
    "a number nobody can hold": FINE[:-1] + f',"structuredContent":{{"n":{HUGE}}}}}',
    "a number of more than 64 bits": FINE[:-1] + ',"structuredContent":{"n":99999999999999999999}}',
    "no number": FINE[:-1] + ',"structuredContent":{"n":NaN}}',
    "too large a number": FINE[:-1] + ',"structuredContent":{"n":1e999}}',
    "half a character": FINE.replace("fine", "\\ud800"),
    "half a character as a key": FINE[:-1] + ',"structuredContent":{"\\udc00":1}}',
    "zeros": FINE.replace("fine", "\\u0000"),
    "deep": FINE[:-1] + ',"structuredContent":{"a":' + "[" * 3000 + "]" * 3000 + "}}",
    "a list": "[1]",
    "a text": '"text"',
    "nothing": "null",
    "blocks that are none": '{"resultType":"complete","content":[7,null,"x",[]]}',
    "content that is none": '{"resultType":"complete","content":{"a":1}}',
    "questions that are none": '{"resultType":"input_required","inputRequests":{"a":7,"b":null}}',
    "a kind that is none": '{"resultType":["x"],"content":[]}',
}


@pytest.mark.requirement("MC-3")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_result_that_cannot_be_passed_on_is_its_own_calls_failure(
    tmp_path: Path, call: str, capfd: pytest.CaptureFixture[str]
):
    strange = Strange(call=call)
    async with (
        listening(strange) as bad,
        rig(tmp_path, one(f"{bad}/mcp", "bad")) as platform,
        platform.client() as client,
    ):
        await asyncio.gather(client.call_tool("bad__do", {}), return_exceptions=True)
        assert platform.book.in_flight == 0
        strange.call = FINE
        assert words(await client.call_tool("bad__do", {})) == "fine"
    assert '"event":"defect"' not in capfd.readouterr().err


@pytest.mark.parametrize(
    "after", ["inf", "nan", "-5", "1e308", "9" * 400, "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "7"]
)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_says_when_to_come_again_cannot_say_nonsense(
    tmp_path: Path, after: str, status: int, capfd: pytest.CaptureFixture[str]
):
    strange = Strange(status=status, retry_after=after)
    async with (
        listening(strange) as bad,
        rig(tmp_path, one(f"{bad}/mcp", "bad")) as platform,
        platform.client() as client,
    ):
        result = await client.call_tool("bad__do", {})
        assert result.is_error
        assert 1 <= result.meta["ai-platform/refusal"].get("retryAfter", 1) <= 3_600
        strange.status = 200
        assert words(await client.call_tool("bad__do", {})) == "fine"
    assert '"event":"defect"' not in capfd.readouterr().err


@pytest.mark.parametrize("code", [HUGE, "1e999", '"x"', "null", "-32602.5"])
async def test_an_error_with_a_strange_code_is_an_error(tmp_path: Path, code: str, capfd: pytest.CaptureFixture[str]):
    async with over_http(Failing(code), tmp_path) as platform, platform.client() as client:
        (result,) = await asyncio.gather(client.call_tool("bad__do", {}), return_exceptions=True)
        assert isinstance(result, MCPError) or result.is_error
        assert platform.book.in_flight == 0
    assert '"event":"defect"' not in capfd.readouterr().err


class Failing(Strange):
    def __init__(self, code: str) -> None:
        super().__init__(call=f'null,"error":{{"code":{code},"message":"no"}}')

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        async def without_result(message: Any) -> None:
            body = message.get("body", b"").replace(b'"result":null,"error"', b'"error"')
            await send(message | ({"body": body} if "body" in message else {}))

        await super().__call__(scope, receive, without_result)
