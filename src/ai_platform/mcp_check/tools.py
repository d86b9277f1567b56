"""Do its tools work: those that say they only read are called with made-up arguments, others only when named."""

from collections.abc import Mapping
from typing import Any

from mcp import Client, MCPError

from ai_platform.mcp_check.protocol import Offer
from ai_platform.mcp_check.reach import FAILURES, Target, connected, said
from ai_platform.mcp_check.report import Report
from ai_platform.mcp_check.samples import sample

GROUP = "tools"
MOST_CALLS = 40


async def check_tools(target: Target, offer: Offer, calls: Mapping[str, dict[str, Any]], report: Report) -> None:
    """calls: tools to call in any case, with their arguments."""
    unknown = sorted(set(calls) - {tool["name"] for tool in offer.tools})
    for name in unknown:
        report.failed(GROUP, f"calls {name}", "there is no such tool")
    try:
        async with connected(target) as client:
            left_out = 0
            for number, tool in enumerate(offer.tools):
                if tool["name"] in calls:
                    await _call(client, tool, calls[tool["name"]], report, chosen=True)
                elif is_read_only(tool) and number < MOST_CALLS:
                    await _call(client, tool, sample(tool["inputSchema"]), report, chosen=False)
                else:
                    left_out += 1
            if left_out:
                why = "they may change something, or are too many; name them with --call NAME=JSON"
                report.skipped(GROUP, f"{left_out} tools were not called", why)
            await _still_there(client, report)
    except FAILURES as error:
        report.failed(GROUP, "stays connected while tools are called", said(error))


def is_read_only(tool: Mapping[str, Any]) -> bool:
    return (tool.get("annotations") or {}).get("readOnlyHint") is True


async def _call(client: Client, tool: Mapping[str, Any], arguments: Any, report: Report, *, chosen: bool) -> None:
    name = f"calls {tool['name']}"
    required = (tool["inputSchema"].get("required") or []) if is_read_only(tool) else []
    try:
        result = await client.call_tool(tool["name"], arguments if isinstance(arguments, dict) else {})
    except (TimeoutError, MCPError) as error:
        report.failed(GROUP, name, said(error))
        return
    text = " ".join(getattr(block, "text", "") for block in result.content)[:200]
    if not result.is_error:
        report.passed(GROUP, name, f"{len(result.content)} blocks")
    elif chosen:
        report.failed(GROUP, name, text)
    else:
        report.warning(GROUP, name, f"an error for made-up arguments: {text}")
    if required:
        await _without_arguments(client, str(tool["name"]), report)


async def _without_arguments(client: Client, name: str, report: Report) -> None:
    try:
        result = await client.call_tool(name, {})
    except TimeoutError:
        report.failed(GROUP, f"{name} refuses a call without arguments", "no answer")
    except MCPError as error:
        report.passed(GROUP, f"{name} refuses a call without arguments", said(error))
    else:
        if result.is_error:
            report.passed(GROUP, f"{name} refuses a call without arguments", "as a tool error")
        else:
            report.failed(GROUP, f"{name} refuses a call without arguments", "it answered, though some are required")


async def _still_there(client: Client, report: Report) -> None:
    await client.list_tools() if client.server_capabilities.tools else None
    report.passed(GROUP, "stays connected while tools are called")
