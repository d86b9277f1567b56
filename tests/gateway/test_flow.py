"""Every way through the flow ends in one record and a settled hold."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest
from assembled import CLOSE, END, OPEN, START, STOP, Assembled, event, text, whole
from msgspec import structs

from ai_platform.budget.settings import BudgetRule, Period, Scope
from ai_platform.domain.call import Client, Operation
from ai_platform.domain.errors import (
    AuditUnavailable,
    Blocked,
    Denied,
    OverBudget,
    UpstreamBroken,
    UpstreamUnreachable,
)

pytestmark = pytest.mark.anyio

INTENT, OUTCOME = "claude_chat_request", "claude_chat_response"
PRICE = 1000 * 2 + 500 * 10
"""Micro-dollars: 1,000 tokens in at $2 and 500 out at $10 the million."""


@pytest.fixture
def platform(tmp_path: Path) -> Assembled:
    return Assembled(tmp_path)


@pytest.mark.requirement("AU-2", "CC-5", "SP-2")
async def test_the_intent_is_durable_before_the_call_and_the_outcome_before_the_end(platform: Assembled) -> None:
    seen: list[list[str]] = []

    def look() -> None:
        seen.append(platform.event_types())

    platform.upstream.chunks = [look, START, OPEN, text("one "), CLOSE, END, STOP]
    async with platform.gateway.handle(platform.call()) as answer:
        async for chunk in answer.body:
            if STOP in chunk:
                look()
    assert seen[0] == ["authentication", INTENT]
    assert seen[1] == ["authentication", INTENT, OUTCOME]
    assert platform.trail.events[-1].facts["cost_usd"] == f"0.{PRICE:06d}"
    assert platform.held() == 0


@pytest.mark.requirement("CC-4")
async def test_an_answer_no_control_changed_is_byte_for_byte_the_upstreams(platform: Assembled) -> None:
    platform.upstream.chunks = [
        b": comment\n\n",
        START[:20],
        START[20:] + OPEN,
        text("a b c "),
        event("ping"),
        event("odd"),
        CLOSE + END,
        STOP,
    ]
    sent = b"".join(chunk for chunk in platform.upstream.chunks if isinstance(chunk, bytes))
    assert b"".join(await platform.ask(platform.call())) == sent


@pytest.mark.requirement("AU-2")
async def test_without_a_durable_intent_nothing_is_sent_upstream(platform: Assembled) -> None:
    platform.trail.failing = True
    with pytest.raises(AuditUnavailable):
        await platform.ask(platform.call())
    assert platform.upstream.asked == []
    assert platform.held() == 0


@pytest.mark.requirement("AU-2")
async def test_without_a_durable_outcome_the_caller_never_has_the_end(platform: Assembled) -> None:
    platform.upstream.chunks = [START, OPEN, text("one "), platform.lose_the_trail, CLOSE, END, STOP]
    received: list[bytes] = []
    with pytest.raises(AuditUnavailable):
        await platform.ask(platform.call(), received)
    assert STOP not in b"".join(received)
    assert platform.held() == 0
    assert len(platform.book.late_outcomes) == 1


@pytest.mark.requirement("AU-2", "SP-2")
async def test_an_outcome_that_came_too_late_is_written_when_the_trail_is_back(platform: Assembled) -> None:
    platform.upstream.chunks = [START, platform.lose_the_trail, END, STOP]
    with pytest.raises(AuditUnavailable):
        await platform.ask(platform.call())
    platform.trail.failing = False
    platform.upstream.chunks = [*whole("fine")]
    await platform.ask(platform.call())
    assert platform.event_types().count(OUTCOME) == 2
    assert not platform.book.late_outcomes


@pytest.mark.requirement("DP-2", "SP-3")
async def test_a_refused_call_leaves_a_refusal_an_incident_and_no_hold(platform: Assembled) -> None:
    with pytest.raises(Blocked):
        await platform.ask(platform.call("my ssn is 536-22-8491"))
    assert platform.event_types() == ["call_refused", "security_incident"]
    assert platform.upstream.asked == []
    assert platform.held() == 0
    stored = repr(platform.trail.events) + repr(platform.trail.rows)
    assert "536-22-8491" not in stored


@pytest.mark.requirement("DP-2", "DP-5")
@pytest.mark.parametrize("place", ["model", "user-agent", "x-claude-code-session-id", "x-claude-code-agent-id"])
async def test_a_value_as_the_name_of_something_is_refused_and_not_recorded(platform: Assembled, place: str) -> None:
    value = "536-22-8491"
    call = platform.call()
    if place == "model":
        head = structs.replace(call.head, model=value)
        call = structs.replace(call, head=head, body=call.body.replace(b"claude-sonnet-5-5", value.encode()))
    else:
        client = Client(user_agent=value, session_id=value, agent_id=value)
        names = ["user-agent", "x-claude-code-session-id", "x-claude-code-agent-id"]
        call = structs.replace(call, client=client, headers=[(name.encode(), value.encode()) for name in names])
    with pytest.raises(Blocked):
        await platform.ask(call)
    stored = repr(platform.trail.events) + repr(platform.trail.rows)
    assert value not in stored
    assert "[US_SSN]" in stored
    assert platform.upstream.asked == []


@pytest.mark.requirement("UP-3", "SP-2")
async def test_an_upstream_that_cannot_be_reached_costs_nothing_and_is_recorded(platform: Assembled) -> None:
    platform.upstream.refuse = UpstreamUnreachable("nobody there")
    with pytest.raises(UpstreamUnreachable):
        await platform.ask(platform.call())
    assert platform.event_types()[-1] == OUTCOME
    assert platform.trail.events[-1].facts["result"] == "failed"
    assert platform.trail.events[-1].facts["cost_usd"] == "0.000000"
    assert platform.held() == 0


@pytest.mark.requirement("SP-2", "SP-3")
async def test_a_stream_that_breaks_is_settled_by_estimate(platform: Assembled) -> None:
    platform.upstream.chunks = [START, OPEN, text("word " * 50), UpstreamBroken("cut")]
    with pytest.raises(UpstreamBroken):
        await platform.ask(platform.call())
    facts = platform.trail.events[-1].facts
    assert facts["estimated"] is True
    assert facts["input_tokens"] == 1000
    assert facts["output_tokens"] > 1
    assert platform.held() == 0


@pytest.mark.requirement("CC-5", "SP-3")
async def test_a_client_that_hangs_up_stops_the_upstream_and_is_charged_what_was_used(platform: Assembled) -> None:
    started = asyncio.Event()
    never = asyncio.Event()

    async def endless() -> None:
        async with platform.gateway.handle(platform.call()) as answer:
            async for _ in answer.body:
                started.set()
                await never.wait()

    platform.upstream.chunks = whole(*["word "] * 50)
    task = asyncio.create_task(endless())
    await asyncio.wait_for(started.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert platform.upstream.closed == 1
    assert platform.event_types().count(OUTCOME) == 1
    assert platform.trail.events[-1].facts["result"] == "client_gone"
    assert platform.held() == 0


@pytest.mark.requirement("PO-1", "CC-6")
async def test_a_tool_call_the_policy_forbids_ends_the_answer_before_the_client_can_run_it(tmp_path: Path) -> None:
    platform = Assembled(
        tmp_path,
        'version: "1"\ncontent_filters:\n  block_patterns:\n'
        '    - {pattern: "DROP TABLE|DELETE FROM", scope: sql, message: "Destructive SQL not allowed"}\n',
    )
    use = event("content_block_start", index=0, content_block={"type": "tool_use", "id": "toolu_1", "name": "Bash"})
    parts = ['{"command":"psql -c \\"DROP ', 'TABLE users\\""}']
    deltas = [
        event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": p}) for p in parts
    ]
    platform.upstream.chunks = [START, use, *deltas, CLOSE, END, STOP]
    received: list[bytes] = []
    with pytest.raises(Denied, match="Destructive SQL not allowed"):
        await platform.ask(platform.call(), received)
    assert START in b"".join(received)
    assert CLOSE not in b"".join(received)
    assert platform.trail.events[-1].facts["tool_uses"] == [{"id": "toolu_1", "name": "Bash"}]
    assert platform.trail.events[-1].facts["result"] == "stopped"


@pytest.mark.requirement("AU-7")
async def test_the_outcome_names_each_tool_use_so_that_a_tool_call_can_be_joined_to_it(platform: Assembled) -> None:
    use = event("content_block_start", index=0, content_block={"type": "tool_use", "id": "toolu_9", "name": "Read"})
    platform.upstream.chunks = [START, use, CLOSE, END, STOP]
    await platform.ask(platform.call())
    request, outcome = platform.trail.events[-2:]
    assert request.call_id == outcome.call_id == "call_test"
    assert outcome.facts["tool_uses"] == [{"id": "toolu_9", "name": "Read"}]
    assert outcome.facts["policy_version"] == request.facts["policy_version"]
    assert outcome.facts["cost_usd"] != "0.000000"


@pytest.mark.requirement("DP-3")
@pytest.mark.parametrize("cut", range(1, 11))
async def test_a_value_split_over_two_deltas_does_not_get_out(platform: Assembled, cut: int) -> None:
    value = "536-22-8491"
    platform.upstream.chunks = whole("Her SSN is ", value[:cut], value[cut:], " as told.")
    try:
        answer = b"".join(await platform.ask(platform.call()))
    except Blocked:
        answer = b""
    assert value.encode() not in answer.replace(b'"}}\n\nevent: content_block_delta', b"")
    assert b"22-8491" not in answer


@pytest.mark.requirement("DP-4", "CC-4")
async def test_a_body_no_control_changed_goes_upstream_byte_for_byte(platform: Assembled) -> None:
    platform.upstream.chunks = list(whole("ok"))
    call = platform.call("nothing special \u00e9 \\ / 1.0")
    await platform.ask(call)
    assert platform.upstream.asked[0].body is call.body


@pytest.mark.requirement("SP-2")
async def test_count_tokens_is_inspected_recorded_and_free(platform: Assembled) -> None:
    platform.upstream.headers = [(b"content-type", b"application/json")]
    platform.upstream.chunks = [b'{"input_tokens": 12}']
    with pytest.raises(Blocked):
        await platform.ask(platform.call("ssn 536-22-8491", stream=False, operation=Operation.COUNT_TOKENS))
    await platform.ask(platform.call("fine", stream=False, operation=Operation.COUNT_TOKENS))
    assert platform.trail.events[-1].facts["cost_usd"] == "0.000000"
    assert platform.spent() == 0


@pytest.mark.requirement("SP-3")
async def test_an_answer_that_outgrows_a_hard_budget_is_stopped_in_mid_stream(tmp_path: Path) -> None:
    rule = BudgetRule(scope=Scope.USER, period=Period.DAY, usd=Decimal("0.10"))
    platform = Assembled(tmp_path, budgets=(rule,))
    endless = [text("many words of a long answer " * 20) for _ in range(2000)]
    platform.upstream.chunks = [START, OPEN, *endless, CLOSE, END, STOP]
    received: list[bytes] = []
    with pytest.raises(OverBudget, match="stopped here"):
        await platform.ask(platform.call(max_tokens=100_000), received)
    assert STOP not in b"".join(received)
    facts = platform.trail.events[-1].facts
    assert facts["result"] == "stopped"
    assert 0.10 <= float(facts["cost_usd"]) <= 0.3
    assert platform.held() == 0
