"""What only servers at an address have: who gets in, from which pages, and how."""

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from ai_platform.mcp_check.reach import Target
from ai_platform.mcp_check.report import Report

GROUP = "security"
_HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "ai-platform mcp test", "version": "1"},
    },
}
_ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


async def check_doors(target: Target, report: Report) -> None:
    async with httpx2.AsyncClient(timeout=target.seconds) as http:
        try:
            await _credentials(http, target, report)
            await _pages(http, target, report)
            await _sessions(http, target, report)
        except httpx2.HTTPError as error:
            report.failed(GROUP, "answers plain HTTP requests", type(error).__name__)
    parts = urlsplit(target.url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        report.warning(GROUP, "is reached over https", "it is not: who is between reads and changes everything")


async def _credentials(http: httpx2.AsyncClient, target: Target, report: Report) -> None:
    name = "wants a credential"
    status = (await _hello(http, target, {})).status_code
    if status in {401, 403}:
        report.passed(GROUP, name, f"{status} without one")
    elif target.headers:
        report.failed(GROUP, name, f"one was given, but it answers {status} without it too")
    elif is_loopback(urlsplit(target.url).hostname or ""):
        report.passed(GROUP, name, "none, on this machine's own address")
    else:
        report.warning(GROUP, name, "none: whoever reaches the address may call every tool")


async def _pages(http: httpx2.AsyncClient, target: Target, report: Report) -> None:
    """DNS rebinding: a web page in a browser must not reach a server on its machine."""
    if not is_loopback(urlsplit(target.url).hostname or "") or target.headers:
        return
    for header, value in (("host", "rebound.example"), ("origin", "https://page.example")):
        status = (await _hello(http, target, {header: value})).status_code
        name = f"refuses a foreign {header.capitalize()}"
        if status < 400:
            report.failed(GROUP, name, "a web page could call it (specification, transports, 'Security warning')")
        else:
            report.passed(GROUP, name, str(status))


async def _sessions(http: httpx2.AsyncClient, target: Target, report: Report) -> None:
    found = [
        session
        for _ in range(2)
        if (session := (await _hello(http, target, target.headers)).headers.get("mcp-session-id", ""))
    ]
    if not found:
        return
    if len(set(found)) < len(found) or min(len(session) for session in found) < 16:
        report.failed(GROUP, "sessions cannot be guessed", "their names are short, or the same twice")
    else:
        report.passed(GROUP, "sessions cannot be guessed", f"{len(found[0])} characters")


async def _hello(http: httpx2.AsyncClient, target: Target, headers: Mapping[str, str]) -> Any:
    async with http.stream("POST", target.url, json=_HELLO, headers=_ACCEPT | dict(headers)) as response:
        return response


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
