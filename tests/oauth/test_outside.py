"""Whom the platform asks on an MCP server's word, and what of OAuth can be set for a server."""

import socket
from typing import Any

import pytest

from ai_platform.domain.errors import InvalidCall, UpstreamError
from ai_platform.mcp.registry import read_server
from ai_platform.sso.connections.outside import Outside

WIKI = {"name": "wiki", "url": "https://wiki.example/mcp", "oauth": {}}


def resolving(monkeypatch: pytest.MonkeyPatch, address: str) -> list[str]:
    """Every name leads to this address; the hosts that were looked up."""
    asked: list[str] = []

    async def looked_up(_loop: Any, host: str, port: int, **_options: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", looked_up)
    return asked


async def why_not(server: dict[str, Any], url: str) -> str:
    with pytest.raises(UpstreamError) as refused:
        await Outside(read_server(server), seconds=1).get(url)
    return str(refused.value)


@pytest.mark.parametrize("url", ["https://login.example/token", "https://wiki.example.evil.example/token"])
@pytest.mark.parametrize(
    "address", ["10.0.0.5", "127.0.0.1", "169.254.169.254", "100.64.0.1", "::ffff:10.0.0.5", "::1"]
)
async def test_another_host_must_be_public(monkeypatch: pytest.MonkeyPatch, url: str, address: str):
    resolving(monkeypatch, address)
    assert "where nobody is asked" in await why_not(WIKI, url)


@pytest.mark.parametrize("host", ["wiki.example", "login.corp.example"])
async def test_the_servers_own_host_and_listed_ones_may_be_private(monkeypatch: pytest.MonkeyPatch, host: str):
    asked = resolving(monkeypatch, "10.255.255.1")
    server = WIKI | {"oauth": {"hosts": ["login.corp.example"]}}
    with pytest.raises(BaseExceptionGroup) as tried:  # by the guard that keeps every test on this machine
        await Outside(read_server(server), seconds=1).get(f"https://{host}/token")
    assert tried.group_contains(RuntimeError, match=r"tried to reach 10\.255\.255\.1")
    assert asked == [host]


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254"])
async def test_no_host_may_be_this_machine_or_where_clouds_keep_secrets(monkeypatch: pytest.MonkeyPatch, address: str):
    resolving(monkeypatch, address)
    assert "where nobody is asked" in await why_not(WIKI, "https://wiki.example/token")


async def test_a_server_that_must_be_public_has_a_public_issuer(monkeypatch: pytest.MonkeyPatch):
    resolving(monkeypatch, "10.0.0.5")
    assert "where nobody is asked" in await why_not(WIKI | {"public_only": True}, "https://wiki.example/token")


@pytest.mark.parametrize(
    "url", ["http://wiki.example/token", "file:///etc/passwd", "https://", "gopher://wiki.example/"]
)
async def test_only_https_is_asked(url: str):
    assert "is not an https address" in await why_not(WIKI, url)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"url": "http://wiki.example/mcp"}, "https"),
        ({"oauth": {"machine": True}}, "client_id"),
        ({"oauth": {"client_secret_env": "a b"}}, "no name of an environment variable"),
        ({"oauth": {"scopes": ["a b"]}}, "one word each"),
        ({"oauth": {"secret": "x"}}, "unknown field"),
        (
            {"credentials": "person", "oauth": {"machine": True, "client_id": "a", "client_secret_env": "B"}},
            "the server's",
        ),
        ({"headers_env": {"authorization": "TOKEN"}}, "is its credential's"),
        ({"headers": {"authorization": "Bearer x"}}, "is its credential's"),
        ({"oauth": None, "credentials": "person", "token_header": "x-key", "headers": {"x-key": "1"}}, "credential's"),
        ({"oauth": None, "credentials": "person", "token_header": "X Key"}, "lower-case"),
        ({"url": "", "command": ["x"]}, "are for a `url`"),
        ({"url": "", "oauth": None, "command": ["x"], "credentials": "person"}, "are for a `url`"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], why: str):
    with pytest.raises(InvalidCall, match=why):
        read_server(WIKI | changes)
