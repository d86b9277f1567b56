"""What an attacker would try: words that speak to models, paths, commands in arguments, floods, open doors."""

import secrets
from pathlib import Path
from typing import Any

import msgspec
from mcp import Client, MCPError

from ai_platform.domain.finding import Severity
from ai_platform.mcp.trust.characters import visible
from ai_platform.mcp.trust.poison import inspect
from ai_platform.mcp_check.protocol import Offer
from ai_platform.mcp_check.reach import FAILURES, Target, connected, said
from ai_platform.mcp_check.report import Report
from ai_platform.mcp_check.samples import sample, string_arguments
from ai_platform.mcp_check.tools import is_read_only

GROUP = "security"
FLOOD = 1 << 20
_TRACES = ("Traceback (most recent call last)", "\n    at ", "panicked at", "goroutine ", 'File "/')
_PASSWD = "root:"
_PATHS = (
    "../../../../../../../../etc/passwd",
    "..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "file:///etc/passwd",
)
_INJECTIONS = ("$(touch {0})", "; touch {0} ;", "| touch {0}", "`touch {0}`", "' ; touch {0} ; '", "\n touch {0} \n")


async def check_security(target: Target, offer: Offer, canary: Path | None, report: Report) -> None:
    """canary: a folder that the program can write and nobody else does; None = it runs elsewhere."""
    _definitions(offer, report)
    if target.program is not None and target.sandbox is not None:
        if target.sandbox.is_walled(target.program):
            report.passed(GROUP, "works inside the sandbox")
        else:
            why = "it is trusted" if target.program.trusted else target.sandbox.unavailable
            report.skipped(GROUP, "works inside the sandbox", why)
    try:
        async with connected(target) as client:
            await _paths(client, offer, report)
            await _attacks(client, offer, canary, report)
    except FAILURES as error:
        report.failed(GROUP, "survives hostile arguments", said(error))


def _definitions(offer: Offer, report: Report) -> None:
    """As on approval, when the server is added."""
    own = frozenset(str(tool["name"]) for tool in offer.tools)
    found = 0
    offered: list[tuple[str, list[dict[str, Any]]]] = [
        ("tools", offer.tools),
        ("prompts", offer.prompts),
        ("resources", offer.resources[:1000]),
        ("templates", offer.templates),
        ("instructions", [{"instructions": offer.instructions}] if offer.instructions else []),
    ]
    for kind, items in offered:
        for item in items:
            name = str(item.get("name") or item.get("uri") or kind)
            for flag in inspect(kind, item, own=own):
                found += 1
                grave = flag.severity in {Severity.CRITICAL, Severity.HIGH}
                detail = f"{flag.why} ({flag.path}): {visible(flag.excerpt)[:120]}"
                (report.failed if grave else report.warning)(GROUP, f"{visible(name)[:60]}: {flag.rule}", detail)
    if not found:
        report.passed(GROUP, "its words only describe", "no definition is flagged")


async def _paths(client: Client, offer: Offer, report: Report) -> None:
    """Resources by path must not lead out of where they belong."""
    name = "resources lead nowhere else"
    uris = list(_PATHS[3:])
    for template in offer.templates:
        shape = str(template.get("uriTemplate", ""))
        prefix = shape.partition("{")[0]
        uris += [prefix + path for path in _PATHS[:3]]
    if client.server_capabilities.resources is None:
        return
    for uri in uris:
        try:
            result = await client.read_resource(uri)
        except (MCPError, ValueError):
            continue
        if any(_PASSWD in getattr(content, "text", "") for content in result.contents):
            report.failed(GROUP, name, f"{uri} was answered with the accounts of its machine")
            return
    report.passed(GROUP, name, f"{len(uris)} addresses were refused")


async def _attacks(client: Client, offer: Offer, canary: Path | None, report: Report) -> None:
    """Only on tools that say they read: their texts as commands, as paths, and a megabyte long."""
    readers = [tool for tool in offer.tools if is_read_only(tool) and string_arguments(tool["inputSchema"])]
    if not readers:
        report.skipped(GROUP, "survives hostile arguments", "no tool that says it only reads takes a text")
        return
    leaks: set[str] = set()
    for tool in readers[:20]:
        for field in string_arguments(tool["inputSchema"])[:5]:
            leaks |= await _attack(client, tool, field, canary or Path("/nonexistent"), report)
    if leaks:
        report.warning(
            GROUP, "errors tell nothing of the inside", f"a stack trace came from {', '.join(sorted(leaks))}"
        )
    else:
        report.passed(GROUP, "errors tell nothing of the inside")
    await client.list_tools()
    report.passed(GROUP, "survives hostile arguments", f"{len(readers)} tools")


async def _attack(client: Client, tool: dict[str, Any], field: str, canary: Path, report: Report) -> set[str]:
    """The tool's name, when an answer held a stack trace."""
    name = str(tool["name"])
    file = canary / secrets.token_hex(4)
    leaks: set[str] = set()
    for text in (*(one.format(file) for one in _INJECTIONS), *_PATHS, "x" * FLOOD, "\x00", "{{7*7}}${7*7}"):
        arguments = {**_object(sample(tool["inputSchema"])), field: text}
        try:
            result = await client.call_tool(name, arguments)
        except MCPError as error:
            answer = str(error)
        else:
            answer = msgspec.json.encode(result.model_dump(mode="json")).decode()
        if any(trace in answer for trace in _TRACES):
            leaks.add(name)
        if text in _PATHS and _PASSWD in answer and "/bin" in answer:
            report.failed(GROUP, f"{name} reads no path it is told", f"{field}={text} gave the accounts of its machine")
    if file.exists():
        report.failed(GROUP, f"{name} runs nothing it is told", f"a command in {field} was carried out")
    return leaks


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
