"""An exception that is none of the platform's own, in any room: told as a 500, recorded as a failure, nothing held."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from assembled import ALICE, END, OPEN, START, STOP, Assembled, text

from ai_platform.entrypoints.asgi import Application
from ai_platform.entrypoints.messages import MessagesDoor
from ai_platform.entrypoints.server import Server, bind
from ai_platform.entrypoints.settings import ServerSettings
from ai_platform.gateway.defects import InternalFailure

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("CC-6", "AU-2", "SP-3")]

SECRET = "what a person wrote"


class Broken:
    """Stands for a room and fails at whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError(SECRET)


class NoPages:
    def handlers(self) -> dict[tuple[str, str], Any]:
        return {}


@pytest.fixture
def platform(tmp_path: Path) -> Assembled:
    return Assembled(tmp_path)


@asynccontextmanager
async def served(platform: Assembled) -> AsyncIterator[httpx2.AsyncClient]:
    """The gateway behind its door on a real socket."""
    door = MessagesDoor(platform.gateway, platform.clock, ServerSettings())
    application = Application(door, NoPages(), handlers={}, mounts={"/admin/": Broken()})  # type: ignore[arg-type] - only the door is used
    server = Server(application, ServerSettings(shutdown_seconds=1))
    listener = bind("127.0.0.1", 0)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await server.ready.wait()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with httpx2.AsyncClient(base_url=url, headers={"x-api-key": "alice"}, trust_env=False) as http:
        yield http
    server.should_exit = True
    async with asyncio.timeout(20):
        await task


async def read_stream(http: httpx2.AsyncClient, content: bytes, into: bytearray) -> None:
    async with http.stream("POST", "/v1/messages", content=content) as answer:
        assert answer.status_code == 200
        async for chunk in answer.aiter_bytes():
            into += chunk


def body(platform: Assembled, *, stream: bool = False) -> bytes:
    return platform.call(stream=stream).body


@pytest.mark.parametrize("room", ["_identity", "_policies", "_protection", "_destinations", "_cashier", "_budget"])
async def test_a_defect_in_a_room_is_a_500_with_the_calls_id_and_says_nothing_of_the_content(
    platform: Assembled, room: str, capsys: pytest.CaptureFixture[str]
) -> None:
    setattr(platform.gateway, room, Broken())
    async with served(platform) as http:
        answer = await http.post("/v1/messages", content=body(platform))
    assert answer.status_code == 500
    told = answer.json()
    assert told["type"] == "error"
    assert told["error"]["type"] == "api_error"
    assert told["request_id"] == answer.headers["request-id"]
    assert told["request_id"].startswith("call_")
    assert told["request_id"] in told["error"]["message"]
    assert "whoever runs the gateway" in told["error"]["message"]
    shown = capsys.readouterr()
    assert SECRET not in answer.text + shown.err + shown.out
    assert platform.held() == 0
    assert platform.book.in_flight == 0
    last = platform.trail.events[-1]
    assert last.facts["reason"] == "InternalFailure"
    assert last.facts["result"] in {"failed", "refused"}
    assert SECRET not in repr(platform.trail.events)


async def test_a_defect_in_mid_stream_breaks_the_answer_off_and_is_recorded_once(platform: Assembled) -> None:
    platform.upstream.chunks = [START, OPEN, text("one "), ValueError(SECRET), END, STOP]
    async with served(platform) as http:
        got = bytearray()
        with pytest.raises(httpx2.RemoteProtocolError):
            await read_stream(http, body(platform, stream=True), got)
    assert STOP not in got
    outcomes = [event for event in platform.trail.events if event.type.value == "claude_chat_response"]
    assert [event.facts["result"] for event in outcomes] == ["failed"]
    assert outcomes[0].facts["estimated"] is True
    assert platform.held() == 0


async def test_the_flow_turns_a_defect_into_an_error_of_the_platform(platform: Assembled) -> None:
    platform.gateway._protection = Broken()
    with pytest.raises(InternalFailure) as raised:
        await platform.ask(platform.call())
    assert isinstance(raised.value.__cause__, ValueError)
    assert platform.event_types() == ["call_refused"]


async def test_a_client_that_left_is_not_taken_for_a_defect(platform: Assembled) -> None:
    def hang_up() -> None:
        raise asyncio.CancelledError

    platform.upstream.chunks = [START, OPEN, hang_up, END, STOP]
    with pytest.raises(asyncio.CancelledError):
        await platform.ask(platform.call())
    assert platform.trail.events[-1].facts["result"] == "client_gone"
    assert platform.held() == 0


async def test_who_left_before_admission_is_recorded_as_that_and_not_as_refused(platform: Assembled) -> None:
    class Leaving:
        async def inspect(self, *_: Any) -> None:
            raise asyncio.CancelledError

    platform.gateway._protection = Leaving()  # type: ignore[assignment]
    with pytest.raises(asyncio.CancelledError):
        await platform.ask(platform.call())
    assert [event.facts["result"] for event in platform.trail.events] == ["client_gone"]
    assert "error" not in platform.trail.events[0].facts
    assert platform.trail.events[0].subject == ALICE.id


async def test_a_defect_outside_the_flow_is_told_in_the_same_shape(platform: Assembled) -> None:
    async with served(platform) as http:
        answer = await http.get("/admin/anything")
        assert answer.status_code == 500
        assert answer.json()["error"]["type"] == "api_error"
        assert SECRET not in answer.text
        assert json.loads(answer.text)["request_id"] == answer.headers["request-id"]
        platform.upstream.headers = [(b"content-type", b"application/json")]
        platform.upstream.chunks = [b"{}"]
        assert (await http.post("/v1/messages", content=body(platform))).status_code == 200
