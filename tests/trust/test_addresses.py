"""Where servers may be: checked when they are connected to, whatever their name said before."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import uvicorn

from ai_platform.mcp.addresses import transport_for, why_not
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.mcp.wire import IDLE_SECONDS

pytestmark = pytest.mark.anyio

PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]
INSIDE = ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "::1", "fd12::1", "::ffff:10.0.0.1", "100.64.0.1"]
NOWHERE = ["169.254.169.254", "fe80::1%eth0", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200"]
NOWHERE += ["64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "168.63.129.16", "64:ff9b::a83f:8110"]
NOBODY = ["224.0.0.1", "ff02::1", "0.0.0.0", "::"]


@pytest.mark.parametrize("address", PUBLIC + INSIDE)
def test_an_operators_server_may_stand_anywhere_servers_stand(address: str):
    assert why_not(address, public_only=False) == ""


@pytest.mark.parametrize("address", NOWHERE + NOBODY)
def test_metadata_and_addresses_of_nobody_are_never_connected_to(address: str):
    assert why_not(address, public_only=False)


@pytest.mark.parametrize("address", INSIDE + NOWHERE + NOBODY)
def test_who_may_only_add_servers_reaches_nothing_inside(address: str):
    assert why_not(address, public_only=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_open_to_all(address: str):
    assert why_not(address, public_only=True) == ""


@pytest.fixture
async def listener() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A port, and what was sent to it."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], heard
    server.close()


async def ask(port: int, host: str, *, public_only: bool) -> httpx2.Response:
    settings = McpServerSettings(name="kb", url=f"http://{host}:{port}/mcp", public_only=public_only)
    async with httpx2.AsyncClient(transport=transport_for(settings, httpx2.Limits(), None)) as http:
        return await http.get(settings.url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_server_on_this_machine_is_reached_only_when_that_is_allowed(
    listener: tuple[int, list[bytes]], host: str
):
    port, heard = listener
    assert (await ask(port, host, public_only=False)).text == "ok"
    with pytest.raises(httpx2.ConnectError, match="no public address"):
        await ask(port, host, public_only=True)
    assert len(heard) == 1, "nothing may be sent"


@pytest.mark.parametrize(
    "answers", [["169.254.169.254"], ["127.0.0.1", "169.254.169.254"], ["169.254.169.254", "127.0.0.1"]]
)
async def test_a_name_that_was_rebound_is_not_followed(
    listener: tuple[int, list[bytes]], answers: list[str], monkeypatch: pytest.MonkeyPatch
):
    port, heard = listener

    async def resolve(*_arguments: Any, **_more: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, port)) for answer in answers]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    with pytest.raises(httpx2.ConnectError, match="secrets of their machines"):
        await ask(port, "kb.example", public_only=False)
    assert heard == []


async def test_a_name_that_means_nothing_is_an_ordinary_failure():
    with pytest.raises(httpx2.ConnectError):
        await ask(80, "no-such-name.invalid", public_only=False)


def test_an_unused_connection_is_given_up_before_its_server_closes_it():
    """Or a call that is sent at that moment would be lost."""
    assert uvicorn.Config(app="").timeout_keep_alive > IDLE_SECONDS
