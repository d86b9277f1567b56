"""Does it speak the protocol: both eras, whole and unchanging lists, sound schemas, errors where errors belong."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import mcp_types as types
import msgspec
from jsonschema import SchemaError
from jsonschema.validators import validator_for
from mcp import Client, MCPError

from ai_platform.mcp_check.reach import FAILURES, Mode, Target, connected, said
from ai_platform.mcp_check.report import Report

GROUP = "protocol"
MOST_PAGES = 200
NEWEST, SESSIONS = "2026-07-28", "2025-11-25"


class Offer(msgspec.Struct, kw_only=True):
    """What the server lists, as on the wire."""

    tools: list[dict[str, Any]] = []
    prompts: list[dict[str, Any]] = []
    resources: list[dict[str, Any]] = []
    templates: list[dict[str, Any]] = []
    instructions: str = ""


async def check_protocol(target: Target, report: Report) -> Offer | None:
    """What it offers; None when it cannot be talked to at all."""
    spoken = [version for mode in ("auto", "legacy") if (version := await _era(target, mode, report))]
    if not spoken:
        return None
    if NEWEST in spoken and SESSIONS in spoken:
        report.passed(GROUP, "speaks both eras", ", ".join(spoken))
    else:
        report.warning(GROUP, "speaks both eras", f"only {spoken[0]}; clients of the other era need a gateway between")
    try:
        async with connected(target) as client:
            offer = await _offer(client, report)
            await _errors(client, report)
    except FAILURES as error:
        report.failed(GROUP, "lists what it offers", said(error))
        return None
    _schemas(offer, report)
    return offer


async def _era(target: Target, mode: Mode, report: Report) -> str:
    """The version spoken, "" when that failed."""
    name = "answers a client of today" if mode == "auto" else f"answers a client of {SESSIONS}"
    try:
        async with connected(target, mode) as client:
            version = client.protocol_version
            info = client.server_info
            if info is not None:
                report.about |= {"name": info.name, "version": info.version}
            report.about[f"protocol ({mode})"] = version
            await client.list_tools() if client.server_capabilities.tools else None
    except FAILURES as error:
        (report.failed if mode == "auto" else report.warning)(GROUP, name, said(error))
        return ""
    report.passed(GROUP, name, version)
    return version


async def _offer(client: Client, report: Report) -> Offer:
    can = client.server_capabilities
    offer = Offer(instructions=client.instructions or "")
    asked: list[tuple[str, Any, Callable[..., Awaitable[Any]], str]] = [
        ("tools", can.tools, client.list_tools, "tools"),
        ("prompts", can.prompts, client.list_prompts, "prompts"),
        ("resources", can.resources, client.list_resources, "resources"),
        ("templates", can.resources, client.list_resource_templates, "resource_templates"),
    ]
    for name, capability, ask, field in asked:
        if capability is None:
            continue
        try:
            first = await _all(ask, field)
        except MCPError as error:
            if name == "templates" and error.code == types.METHOD_NOT_FOUND:
                continue  # resources without templates are allowed to have no such method
            raise
        setattr(offer, name, [item.model_dump(mode="json", by_alias=True, exclude_none=True) for item in first])
        again = [_key(item) for item in await _all(ask, field)]
        keys = [_key(item) for item in first]
        if len(set(keys)) != len(keys):
            report.failed(GROUP, f"names of {name} are unique", f"{len(keys) - len(set(keys))} are there twice")
        elif keys != again:
            report.warning(GROUP, f"{name} have a fixed order", "two lists differ: no prompt cache survives that")
        else:
            report.passed(GROUP, f"lists its {name}", f"{len(keys)}, in a fixed order")
    return offer


async def _all(ask: Callable[..., Awaitable[Any]], field: str) -> Sequence[Any]:
    items: list[Any] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await ask(cursor=cursor)
        items += getattr(page, field)
        cursor = page.next_cursor
        if not cursor:
            return items
    raise ValueError(f"the list of {field} does not end after {MOST_PAGES} pages")


async def _errors(client: Client, report: Report) -> None:
    name = "refuses a tool that does not exist"
    if client.server_capabilities.tools is None:
        return
    try:
        result = await client.call_tool("no-such-tool-aip", {})
    except TimeoutError:
        report.failed(GROUP, name, "no answer")
    except FAILURES as error:
        report.passed(GROUP, name, said(error))
    else:
        if result.is_error:
            report.passed(GROUP, name, "as a tool error")
        else:
            report.failed(GROUP, name, "it answered as if there were one")


def _schemas(offer: Offer, report: Report) -> None:
    wrong: list[str] = []
    for tool in offer.tools:
        for field in ("inputSchema", "outputSchema"):
            schema = tool.get(field)
            if schema is None:
                continue
            if schema.get("type") != "object" and field == "inputSchema":
                wrong.append(f"{tool['name']}: {field} is no object")
            try:
                validator_for(schema).check_schema(schema)
            except SchemaError as error:
                wrong.append(f"{tool['name']}: {field}: {error.message[:100]}")
    if wrong:
        report.failed(GROUP, "schemas are valid", "; ".join(wrong[:5]))
    elif offer.tools:
        report.passed(GROUP, "schemas are valid", f"{len(offer.tools)} tools")
    silent = [tool["name"] for tool in offer.tools if not str(tool.get("description", "")).strip()]
    if silent:
        report.warning(GROUP, "tools are described", f"no description: {', '.join(silent[:10])}")


def _key(item: types.Tool | types.Prompt | types.Resource | types.ResourceTemplate) -> str:
    if isinstance(item, types.Resource):
        return str(item.uri)
    return item.uri_template if isinstance(item, types.ResourceTemplate) else item.name
