"""Requests to a stateless server without the SDK's transport between: what servers may answer, and how it ends."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED

from ai_platform.mcp.post import Moved, Posts
from ai_platform.mcp.wire import ServerClient

pytestmark = pytest.mark.anyio


class Wire(httpx2.AsyncBaseTransport):
    """Answers with what it is given, {id} replaced by the request's own."""

    def __init__(self, status: int, kind: str, text: str) -> None:
        self.status, self.kind, self.text = status, kind, text
        self.asked: list[httpx2.Request] = []
        self.waiting = asyncio.Event()
        self.closed = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        sent = msgspec.json.decode(b"".join([chunk async for chunk in request.stream]))  # pyright: ignore[reportGeneralTypeIssues] - an async stream
        return httpx2.Response(
            self.status,
            headers={"content-type": self.kind},
            stream=_Body(self, self.text.replace("{id}", str(sent["id"])).encode()),
            request=request,
        )


class _Body(httpx2.AsyncByteStream):
    def __init__(self, wire: Wire, body: bytes) -> None:
        self.wire, self.body = wire, body

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        if self.body == b"never":
            self.wire.waiting.set()
            await asyncio.Event().wait()
        yield self.body

    async def aclose(self) -> None:
        self.wire.closed += 1


@asynccontextmanager
async def posts(status: int, kind: str, text: str) -> AsyncGenerator[tuple[Posts, Wire]]:
    wire = Wire(status, kind, text)
    async with ServerClient(wire, httpx2.Timeout(5)) as client:
        yield Posts(client, "http://server.test/mcp", longest=1000), wire


async def unheard(method: str, params: Mapping[str, Any]) -> None:
    del method, params


async def test_a_result_comes_back_as_it_was_written_and_the_answer_is_closed() -> None:
    text = '{"jsonrpc":"2.0","id":{id},"result":{"big":123456789012345678901234567890,"own":[null]}}'
    async with posts(200, "application/json; charset=utf-8", text) as (asked, wire):
        result = await asked.ask("tools/call", {"name": "x"}, {"headers": {"mcp-method": "tools/call"}}, unheard)
    assert result == {"big": 123456789012345678901234567890, "own": [None]}
    assert wire.closed == 1
    assert wire.asked[0].headers["mcp-method"] == "tools/call"
    assert wire.asked[0].headers["accept"] == "application/json, text/event-stream"


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (200, "application/json", '{"jsonrpc":"2.0","id":"another","result":{}}'),
        (200, "application/json", '{"jsonrpc":"2.0","id":{id},"result":[]}'),
        (200, "application/json", '{"jsonrpc":"2.0","id":{id},"error":{"code":true,"message":"x"}}'),
        (200, "application/json", '{"id":{id},"result":{}}'),
        (200, "application/json", "[" * 5000),
        (200, "text/html", "<html>"),
        (202, "application/json", ""),
        (302, "application/json", '{"jsonrpc":"2.0","id":{id},"result":{}}'),
        (500, "application/json", '{"jsonrpc":"2.0","id":{id},"result":{}}'),
        (200, "text/event-stream", "data: nothing of the protocol\n\n"),
        (200, "text/event-stream", ": nothing\n\n"),
        (200, "text/event-stream", "data: " + "x" * 2000),
    ],
)
async def test_what_is_no_answer_of_the_protocol_is_an_error_and_is_closed(status: int, kind: str, text: str) -> None:
    async with posts(status, kind, text) as (asked, wire):
        with pytest.raises(MCPError):
            await asked.ask("tools/call", {}, {}, unheard)
    assert wire.closed == 1


async def test_the_error_of_a_server_keeps_its_code_under_any_status() -> None:
    text = '{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"no such tool","data":{"a":1}}}'
    for status in (200, 400):
        async with posts(status, "application/json", text) as (asked, _):
            with pytest.raises(MCPError) as caught:
                await asked.ask("tools/call", {}, {}, unheard)
        assert (caught.value.code, caught.value.message, caught.value.data) == (-32602, "no such tool", {"a": 1})


async def test_a_stream_tells_its_own_progress_in_order_before_the_result() -> None:
    told: list[Any] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async def heard(method: str, params: Mapping[str, Any]) -> None:
        told.append((method, params.get("progressToken")))

    said = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1,"total":2}}'
    events = (said % "{id}", said % '"foreign"', '{"jsonrpc":"2.0","id":9,"method":"roots/list"}')
    text = "".join(f"data: {event}\n\n" for event in (*events, '{"jsonrpc":"2.0","id":{id},"result":{"ok":true}}'))
    async with posts(200, "text/event-stream", text) as (asked, _):
        result = await asked.ask("tools/call", {"_meta": {"a": 1}}, {"on_progress": progress}, heard)
    assert result == {"ok": True}
    assert told == [("notifications/progress", 1), (1.0, 2.0, None), ("notifications/progress", "foreign")]


async def test_a_server_that_moved_was_not_asked() -> None:
    async with posts(307, "text/plain", "") as (asked, wire):
        with pytest.raises(Moved):
            await asked.ask("tools/call", {}, {}, unheard)
    assert wire.closed == 1


async def test_the_end_of_the_connection_ends_what_is_under_way_and_what_comes_later() -> None:
    async with posts(200, "application/json", "never") as (asked, wire):
        under_way = asyncio.create_task(asked.ask("tools/call", {}, {}, unheard))
        async with asyncio.timeout(10):
            await wire.waiting.wait()
            asked.end()
            with pytest.raises(MCPError) as caught:
                await under_way
        assert caught.value.code == CONNECTION_CLOSED
        assert wire.closed == 1
        with pytest.raises(MCPError):
            await asked.ask("tools/call", {}, {}, unheard)
        assert len(wire.asked) == 1


async def test_who_asks_no_more_closes_the_answer() -> None:
    async with posts(200, "application/json", "never") as (asked, wire):
        under_way = asyncio.create_task(asked.ask("tools/call", {}, {}, unheard))
        async with asyncio.timeout(10):
            await wire.waiting.wait()
            under_way.cancel()
            with pytest.raises(asyncio.CancelledError):
                await under_way
    assert wire.closed == 1
