"""Requests to a stateless server without the SDK's transport between: what servers may answer, and how it ends."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest
from door_kit import MODERN, listening, one
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED

from ai_platform.domain.errors import UpstreamBroken
from ai_platform.mcp.link import Hello, Link
from ai_platform.mcp.manners import Manners
from ai_platform.mcp.post import Moved, Posts
from ai_platform.mcp.wire import ServerClient, client_for

pytestmark = pytest.mark.anyio


class Server:
    """Answers with what it is given, {id} replaced by the request's own; `never`: a head, and nothing after it."""

    def __init__(self, status: int, kind: str, text: str) -> None:
        self.status, self.kind, self.text = status, kind, text
        self.asked: list[dict[bytes, bytes]] = []
        self.waiting = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.asked.append(dict(scope["headers"]))
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        fields = [(b"content-type", self.kind.encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": fields})
        if self.text == "never":
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            self.waiting.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()
            return
        text = self.text.replace("{id}", str(msgspec.json.decode(body)["id"]))
        await send({"type": "http.response.body", "body": text.encode()})


class _Nothing:
    """No credentials."""

    async def headers(self, server: Any, principal: Any) -> dict[str, str]:
        del server, principal
        return {}

    async def rejected(self, server: Any, principal: Any, refusal: Any) -> bool:
        del server, principal, refusal
        return False


@asynccontextmanager
async def posts(status: int, kind: str, text: str) -> AsyncGenerator[tuple[Posts, Server]]:
    server = Server(status, kind, text)
    async with (
        listening(server) as url,
        client_for(one(f"{url}/mcp"), _Nothing(), None) as client,
    ):
        yield Posts(client, f"{url}/mcp", longest=1000), server


async def unheard(method: str, params: Mapping[str, Any]) -> None:
    del method, params


async def test_a_result_comes_back_as_it_was_written_and_the_answer_is_closed() -> None:
    text = '{"jsonrpc":"2.0","id":{id},"result":{"big":123456789012345678901234567890,"own":[null]}}'
    async with posts(200, "application/json; charset=utf-8", text) as (asked, server):
        result = await asked.ask("tools/call", {"name": "x"}, {"headers": {"mcp-method": "tools/call"}}, unheard)
    assert result == {"big": 123456789012345678901234567890, "own": [None]}
    assert server.asked[0][b"mcp-method"] == b"tools/call"
    assert server.asked[0][b"accept"] == b"application/json, text/event-stream"


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
        (204, "application/json", ""),
        (200, "application/json", '[{"jsonrpc":"2.0","id":{id},"result":{}}]'),
        (302, "application/json", '{"jsonrpc":"2.0","id":{id},"result":{}}'),
        (500, "application/json", '{"jsonrpc":"2.0","id":{id},"result":{}}'),
        (200, "text/event-stream", "data: nothing of the protocol\n\n"),
        (200, "text/event-stream", ": nothing\n\n"),
        (200, "text/event-stream", 'data: {"jsonrpc":"2.0","id":9,"method":"roots/list"}\n\n'),
        (200, "text/event-stream", "data: " + "x" * 2000),
    ],
)
async def test_what_is_no_answer_of_the_protocol_is_an_error(status: int, kind: str, text: str) -> None:
    async with posts(status, kind, text) as (asked, server):
        with pytest.raises(MCPError):
            await asked.ask("tools/call", {}, {}, unheard)
    assert len(server.asked) == 1


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
    huge = (said % "{id}").replace('"progress":1,', '"progress":1' + "0" * 400 + ",")
    events = (said % "{id}", said % '"foreign"', huge)
    text = "".join(f"data: {event}\n\n" for event in (*events, '{"jsonrpc":"2.0","id":{id},"result":{"ok":true}}'))
    async with posts(200, "text/event-stream", text) as (asked, _):
        result = await asked.ask("tools/call", {"_meta": {"a": 1}}, {"on_progress": progress}, heard)
    assert result == {"ok": True}
    note = "notifications/progress"
    assert told == [(note, 1), (1.0, 2.0, None), (note, "foreign"), (note, 1)]


async def test_a_server_that_moved_was_not_asked() -> None:
    async with posts(307, "text/plain", "") as (asked, server):
        with pytest.raises(Moved):
            await asked.ask("tools/call", {}, {}, unheard)
    assert len(server.asked) == 1


async def test_the_end_of_the_connection_ends_what_is_under_way_and_what_comes_later() -> None:
    async with posts(200, "application/json", "never") as (asked, server):
        under_way = asyncio.create_task(asked.ask("tools/call", {}, {}, unheard))
        async with asyncio.timeout(10):
            await server.waiting.wait()
            asked.end()
            with pytest.raises(MCPError) as caught:
                await under_way
            await server.left.wait()
        assert caught.value.code == CONNECTION_CLOSED
        with pytest.raises(MCPError):
            await asked.ask("tools/call", {}, {}, unheard)
        assert len(server.asked) == 1


async def test_who_asks_no_more_closes_the_answer() -> None:
    async with posts(200, "application/json", "never") as (asked, server):
        under_way = asyncio.create_task(asked.ask("tools/call", {}, {}, unheard))
        async with asyncio.timeout(10):
            await server.waiting.wait()
            under_way.cancel()
            with pytest.raises(asyncio.CancelledError):
                await under_way
            await server.left.wait()


class _Deaf:
    async def asked(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        raise AssertionError((method, params))

    def heard(self, method: str, params: Mapping[str, Any]) -> None:
        del method, params


async def test_what_was_under_way_before_a_server_moved_ends_with_the_connection_too() -> None:
    waits = Server(200, "application/json", "never")
    found = Server(200, "application/json", '{"jsonrpc":"2.0","id":{id},"result":{"ok":true}}')

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/there":
            await found(scope, receive, send)
        elif dict(scope["headers"])[b"mcp-method"] == b"tools/list":
            await moved(send)
        else:
            await waits(scope, receive, send)

    async def moved(send: Any) -> None:
        fields = [(b"location", b"/there")]
        await send({"type": "http.response.start", "status": 308, "headers": fields})
        await send({"type": "http.response.body", "body": b""})

    @asynccontextmanager
    async def streams(client: ServerClient, url: str) -> AsyncGenerator[tuple[Any, Any, Posts]]:
        async with streamable_http_client(url, http_client=client) as pair:
            yield *pair, Posts(client, url, longest=1000)

    async with (
        asyncio.timeout(20),
        listening(app) as url,
        client_for(one(f"{url}/mcp"), _Nothing(), None) as client,  # which others use on
    ):
        reach = partial(streams, client, f"{url}/mcp")
        link = Link("one", reach, Hello(like=Manners(version=MODERN)), _Deaf())
        await link.open()
        under_way = asyncio.create_task(link.request("tools/call", {"name": "x"}))
        await waits.waiting.wait()
        assert await link.request("tools/list", {}) == {"ok": True}
        await link.close()
        with pytest.raises(UpstreamBroken):
            await under_way
