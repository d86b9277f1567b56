"""Every tool call takes the flow: decided, inspected both ways, limited, priced, and recorded before and after."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from door_kit import (
    LEGACY,
    MODERN,
    Arguments,
    Context,
    Result,
    Rig,
    Scripted,
    by_hand,
    one,
    over,
    rig,
    said,
    scripted,
    talking,
    words,
)
from mcp import MCPError

from ai_platform.budget.settings import BudgetRule, Period, Scope
from ai_platform.domain.event import EventType
from ai_platform.testing.eventually import eventually

pytestmark = pytest.mark.anyio

BOTH = pytest.mark.parametrize("mode", [MODERN, LEGACY])
CARD = "4111 1111 1111 1111"


def happened(platform: Rig) -> list[str]:
    """The events of tool calls, as they were written."""
    return [event.type.value for event in platform.trail.events if event.type.value.startswith("mcp_tool_")]


@BOTH
@pytest.mark.requirement("MC-3", "AU-2")
async def test_the_intent_is_durable_before_the_server_is_asked_and_the_outcome_before_the_client_knows(
    tmp_path: Path, mode: str
):
    seen: list[list[str]] = []

    async def looks(_context: Context, _arguments: Arguments) -> Result:
        seen.append(happened(platform))
        return said("looked")

    async with talking(tmp_path, Scripted(looks=looks), mode) as (platform, client):
        await client.call_tool("one__looks", {"deep": {"er": 1}})
        assert seen == [["mcp_tool_call"]]
        assert happened(platform) == ["mcp_tool_call", "mcp_tool_result"]
        intent, outcome = (event for event in platform.trail.events if event.type.value.startswith("mcp_tool_"))
        assert intent.call_id == outcome.call_id
        assert (intent.facts["server"], intent.facts["tool"], intent.facts["operation"]) == (
            "one",
            "looks",
            "tools.call",
        )
        assert intent.subject == "usr_alice"
        assert intent.facts["policy_rule"]
        assert outcome.facts["result"] == "ok"


@pytest.mark.requirement("AU-2")
async def test_without_a_durable_intent_no_server_is_asked(tmp_path: Path):
    script = Scripted()
    async with over(tmp_path, script) as platform, platform.client() as client:
        await client.list_tools()
        platform.trail.failing = True
        result = await client.call_tool("one__echo", {})
        assert result.is_error
        assert script.calls == []
        platform.trail.failing = False
        assert not (await client.call_tool("one__echo", {})).is_error


@pytest.mark.requirement("AU-2")
async def test_without_a_durable_outcome_the_client_does_not_have_the_result(tmp_path: Path):
    async def loses(_context: Context, _arguments: Arguments) -> Result:
        platform.trail.failing = True
        return said("the secret of the house")

    async with talking(tmp_path, Scripted(loses=loses), MODERN) as (platform, client):
        result = await client.call_tool("one__loses", {})
        assert result.is_error
        assert "secret" not in words(result)
        platform.trail.failing = False
        await eventually(lambda: len(platform.book.late_outcomes) == 1)


@BOTH
@pytest.mark.requirement("MC-3")
async def test_a_call_that_its_client_gives_up_is_given_up_at_the_server_and_its_outcome_is_recorded(
    tmp_path: Path, mode: str
):
    begun, given_up = asyncio.Event(), asyncio.Event()

    async def waits(_context: Context, _arguments: Arguments) -> Result:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        return said("never")

    async with talking(tmp_path, Scripted(waits=waits), mode) as (platform, client):
        calling = asyncio.create_task(client.call_tool("one__waits", {}))
        await begun.wait()
        calling.cancel()
        async with asyncio.timeout(40):
            await given_up.wait()
        await eventually(lambda: happened(platform) == ["mcp_tool_call", "mcp_tool_result"])
        assert platform.trail.of_type(EventType.TOOL_RESULT)[0].facts["result"] == "client_gone"
        assert platform.book.in_flight == 0
        assert words(await client.call_tool("one__echo", {"text": "x"})) == "echo x"


async def test_a_client_that_hangs_up_in_a_call_leaves_a_recorded_outcome(tmp_path: Path):
    begun = asyncio.Event()

    async def waits(_context: Context, _arguments: Arguments) -> Result:
        begun.set()
        await asyncio.Event().wait()
        return said("never")

    async with over(tmp_path, Scripted(waits=waits)) as platform:
        async with platform.http() as http:
            calling = asyncio.create_task(by_hand(http, "tools/call", {"name": "one__waits", "arguments": {}}))
            await begun.wait()
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
        await eventually(lambda: happened(platform) == ["mcp_tool_call", "mcp_tool_result"])


@pytest.mark.requirement("MC-3")
async def test_a_result_of_the_tool_that_is_an_error_is_told_apart_from_a_failure(tmp_path: Path):
    async def wrong(_context: Context, _arguments: Arguments) -> Result:
        return said("no such file", isError=True)

    async with talking(tmp_path, Scripted(wrong=wrong), MODERN) as (platform, client):
        assert (await client.call_tool("one__wrong", {})).is_error
        assert platform.trail.of_type(EventType.TOOL_RESULT)[0].facts["result"] == "tool_error"


@BOTH
async def test_a_servers_own_error_reaches_the_caller_in_its_own_words(tmp_path: Path, mode: str):
    """Also where they begin as those of a transport that broke."""
    ours = ("Failed to parse the query", "SSE stream is the name of a table", "Connection closed")

    async def fails(_context: Context, arguments: Arguments) -> Result:
        raise MCPError(-32050, arguments["words"])

    async with talking(tmp_path, Scripted(fails=fails), mode) as (_, client):
        for text in ours * 2:
            with pytest.raises(MCPError, match=text):
                await client.call_tool("one__fails", {"words": text})


# --- who may ----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.requirement("MC-3")
async def test_what_the_policy_denies_reaches_no_server_and_says_why(tmp_path: Path, mode: str):
    policy = """
contact: Ask security@example.com.
tools: {deny: ["one/delete_*"]}
content_filters:
  block_patterns:
    - {pattern: "DROP TABLE|DELETE FROM", scope: sql, message: "Destructive SQL not allowed"}
"""

    async def run(_context: Context, _arguments: Arguments) -> Result:
        return said("done")

    script = Scripted(delete_all=run, query=run)
    async with over(tmp_path, script, policy=policy) as platform, platform.client(mode=mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["one__echo", "one__query"]
        denied = await client.call_tool("one__delete_all", {})
        filtered = await client.call_tool("one__query", {"sql": "drop table users"})
        assert script.calls == []
        assert denied.is_error
        assert filtered.is_error
        assert "Ask security@example.com" in words(denied)
        assert "Destructive SQL not allowed" in words(filtered)
        assert filtered.meta["ai-platform/refusal"]["rule"] == "content_filters.block_patterns[0]"
        assert platform.trail.of_type(EventType.TOOL_CALL) == []
        refused = [event for event in platform.trail.events if event.facts.get("result") == "refused"]
        assert [event.facts["tool"] for event in refused] == ["delete_all", "query"]


# --- sensitive data ---------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.requirement("MC-3", "DP-2")
async def test_a_card_number_goes_neither_to_a_server_nor_comes_from_one(tmp_path: Path, mode: str):
    async def leaks(_context: Context, _arguments: Arguments) -> Result:
        return said("fine", structuredContent={"rows": [{"card": CARD}]})

    script = Scripted(leaks=leaks)
    async with talking(tmp_path, script, mode) as (platform, client):
        sent = await client.call_tool("one__echo", {"text": {"in": [f"pay with {CARD}"]}})
        assert sent.is_error
        assert script.calls == []
        got = await client.call_tool("one__leaks", {})
        assert words(got) == "fine"
        assert CARD not in got.model_dump_json()
        assert CARD not in repr(platform.trail.events)


@pytest.mark.requirement("DP-2")
async def test_what_is_only_replaced_arrives_replaced_in_both_directions(tmp_path: Path):
    policy = """
protection:
  actions:
    - {action: redact, type: EMAIL_ADDRESS}
"""

    async def mails(_context: Context, _arguments: Arguments) -> Result:
        link = {"type": "resource", "resource": {"uri": "doc://1", "text": "From bob@acme-corp.io"}}
        return {"resultType": "complete", "content": [{"type": "text", "text": "to eve@acme-corp.io"}, link]}

    script = Scripted(mails=mails)
    async with over(tmp_path, script, policy=policy) as platform, platform.client() as client:
        await client.call_tool("one__echo", {"text": "write to ann@acme-corp.io"})
        assert "ann@acme-corp.io" not in script.calls[0][1]["text"]
        result = (await client.call_tool("one__mails", {})).model_dump_json()
        assert "eve@acme-corp.io" not in result
        assert "bob@acme-corp.io" not in result
        assert "doc://1" in result


async def test_errors_and_progress_and_log_messages_are_inspected_too(tmp_path: Path):
    async def fails(_context: Context, _arguments: Arguments) -> Result:
        raise MCPError(-32050, f"cannot pay with {CARD}", {"card": CARD})

    async def tells(context: Context, _arguments: Arguments) -> Result:
        await context.session.report_progress(1, 2, f"paying with {CARD}")
        return said("done")

    heard: list[str | None] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        del done, total
        heard.append(message)

    async with talking(tmp_path, Scripted(fails=fails, tells=tells), MODERN) as (_, client):
        with pytest.raises(MCPError) as failure:
            await client.call_tool("one__fails", {})
        assert CARD not in repr(failure.value)
        assert not (await client.call_tool("one__tells", {}, progress_callback=progress)).is_error
        assert CARD not in repr(heard)


# --- money and numbers ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("MC-3")
async def test_a_tool_with_a_price_is_held_charged_and_refused_when_the_budget_is_spent(tmp_path: Path):
    budget = BudgetRule(scope=Scope.USER, period=Period.DAY, usd=Decimal("0.05"))
    async with (
        scripted(Scripted()) as url,
        rig(tmp_path, one(url, price_usd={"echo": "0.02"}), budgets=(budget,)) as platform,
        platform.client() as client,
    ):
        results = [await client.call_tool("one__echo", {}) for _ in range(3)]
        assert [result.is_error for result in results] == [False, False, True]
        assert "budget" in words(results[2])
        costs = [event.facts["cost_usd"] for event in platform.trail.of_type(EventType.TOOL_RESULT)]
        assert costs == ["0.020000", "0.020000"]
        rows = [row for row in platform.trail.rows if row.table == "aip.ledger"]
        assert [dict(zip(row.columns, row.values, strict=True))["tool"] for row in rows] == ["echo", "echo"]


@pytest.mark.requirement("MC-3", "PO-3")
async def test_tool_calls_count_against_the_limits_of_their_caller(tmp_path: Path):
    policy = "usage_limits: {per_user: {requests_per_hour: 2}}"
    async with over(tmp_path, Scripted(), policy=policy) as platform:
        async with platform.client() as client:
            results = [await client.call_tool("one__echo", {}) for _ in range(3)]
            assert [result.is_error for result in results] == [False, False, True]
            assert results[2].meta["ai-platform/refusal"]["retryAfter"] > 3000
            assert (await client.list_tools()).tools, "what there is may be seen for nothing"
        async with platform.client(who="bob") as client:
            assert not (await client.call_tool("one__echo", {})).is_error


# --- one story --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("AU-7")
async def test_a_call_names_the_tool_use_and_the_trace_that_asked_for_it(tmp_path: Path):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    script = Scripted()
    async with over(tmp_path, script) as platform, platform.client() as client:
        meta: Any = {"claudecode/toolUseId": "toolu_01ABC", "traceparent": trace, "vendor/own": [1]}
        await client.call_tool("one__echo", {}, meta=meta)
        for event in (*platform.trail.of_type(EventType.TOOL_CALL), *platform.trail.of_type(EventType.TOOL_RESULT)):
            assert event.facts["tool_use_id"] == "toolu_01ABC"
            assert event.facts["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        joined = [row.values for row in platform.trail.rows if row.table == "aip.tool_uses"]
        assert joined == [
            ("default", "usr_alice", "toolu_01ABC", platform.trail.of_type(EventType.TOOL_CALL)[0].call_id)
        ]
        assert script.metas[0]["traceparent"] == trace
        assert script.metas[0]["vendor/own"] == [1]


async def test_a_trace_that_a_header_names_reaches_the_server(tmp_path: Path):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    script = Scripted()
    async with over(tmp_path, script) as platform, platform.http() as http:
        await by_hand(http, "tools/call", {"name": "one__echo", "arguments": {}}, traceparent=trace)
        assert script.metas[0]["traceparent"] == trace


@pytest.mark.parametrize("written", ["\x00", "x" * 5000, "a\nb", 7, ["toolu"], {"a": 1}, ""])
async def test_a_tool_use_that_is_no_identifier_joins_nothing(tmp_path: Path, written: Any):
    async with over(tmp_path, Scripted()) as platform, platform.http() as http:
        envelope = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            "claudecode/toolUseId": written,
        }
        answer = await by_hand(http, "tools/call", {"name": "one__echo", "arguments": {}, "_meta": envelope})
        assert answer.status_code in {200, 400}
        assert [row for row in platform.trail.rows if row.table == "aip.tool_uses" and row.values[2] == written] == []


@pytest.mark.requirement("TE-1")
async def test_calls_are_counted_by_server_and_by_what_became_of_them(tmp_path: Path):
    async with over(tmp_path, Scripted()) as platform, platform.client() as client:
        await client.call_tool("one__echo", {})
        await client.call_tool("one__echo", {"text": CARD})
        page = platform.meter.exposition()[0].decode()
        counted = [line for line in page.splitlines() if line.startswith("aip_tool_calls_total{")]
        assert len(counted) == 2
        assert all('server="one"' in line and line.endswith(" 1.0") for line in counted)
