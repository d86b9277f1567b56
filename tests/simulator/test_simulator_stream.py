"""The stream on the wire: order of events, pings, cut at max_tokens, pieces, pace, and clients that hang up."""

import asyncio
import json
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator_asking import ask, body, events, stream, text_of

from ai_platform.simulator import SimulatorSettings, serve
from ai_platform.simulator.pacer import SLOT_SECONDS, Pacer
from ai_platform.simulator.reply import pieces_of
from ai_platform.simulator.server import Running
from ai_platform.testing.eventually import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UP-4")]

HEADERS = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01"}
WEATHER = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}


async def test_the_events_come_in_the_real_order(http: httpx2.AsyncClient) -> None:
    found = await stream(
        http, 'tool:weather {"city": "Zürich"}', tools=[WEATHER], thinking={"type": "adaptive"}, max_tokens=5000
    )
    names = [name for name, _ in found]
    assert names[:3] == ["message_start", "content_block_start", "ping"]
    assert names[-2:] == ["message_delta", "message_stop"]
    assert names.count("content_block_start") == names.count("content_block_stop") == 3
    blocks: dict[int, list[dict[str, Any]]] = {}
    for name, data in found:
        assert data["type"] == name
        if "index" in data:
            blocks.setdefault(data["index"], []).append(data)
    assert list(blocks) == [0, 1, 2], "blocks do not interleave"
    starts = [block[0]["content_block"] for block in blocks.values()]
    assert starts[0] == {"type": "thinking", "thinking": "", "signature": ""}
    assert starts[1] == {"type": "text", "text": ""}
    assert (starts[2]["name"], starts[2]["input"]) == ("weather", {})
    assert blocks[0][-2]["delta"]["type"] == "signature_delta"
    arguments = [data["delta"]["partial_json"] for data in blocks[2][1:-1]]
    assert arguments[0] == ""
    assert json.loads("".join(arguments)) == {"city": "Zürich"}
    assert found[-2][1]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}


async def test_message_start_has_the_whole_usage_and_message_delta_the_final_counts(http: httpx2.AsyncClient) -> None:
    found = await stream(http, "long:100", max_tokens=1000)
    start = found[0][1]["message"]
    assert start["content"] == []
    assert start["stop_reason"] is None
    assert start["usage"]["output_tokens"] == 1
    assert set(start["usage"]) >= {"cache_creation", "service_tier", "inference_geo", "input_tokens"}
    # 100 pieces of ten bytes at 3.6 bytes a token.
    assert found[-2][1]["usage"]["output_tokens"] == 278
    assert sum(data.get("delta", {}).get("type") == "text_delta" for _, data in found) == 100


async def test_safeguard_verdicts_come_with_the_tool_calls_they_judge(http: httpx2.AsyncClient) -> None:
    asked = {"tools": [WEATHER], "safeguards": [{"type": "dangerous_tool_use", "classifier_context": {"v": 1}}]}
    found = await stream(http, "tool:weather {}", **asked)
    identifier = next(data["content_block"]["id"] for _, data in found if "content_block" in data and data["index"])
    assert found[-2][1]["delta"]["safeguard_results"] == [
        {
            "type": "dangerous_tool_use",
            "status": {
                "type": "available",
                "tool_uses": {identifier: {"type": "evaluated", "outcome": "not_flagged"}},
            },
        }
    ]


async def test_an_answer_is_cut_at_max_tokens(http: httpx2.AsyncClient) -> None:
    message = await ask(http, "long:100", max_tokens=10)
    assert message["stop_reason"] == "max_tokens"
    # Ten tokens are 36 bytes: three pieces of ten fit, the fourth does not.
    assert message["content"][0]["text"] == "simulated " * 3
    assert message["usage"]["output_tokens"] == 9


async def test_an_answer_ends_before_a_stop_sequence(http: httpx2.AsyncClient) -> None:
    message = await ask(http, "echo:one STOP two END", stop_sequences=["END", "STOP"])
    assert text_of(message) == "one "
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "STOP")


async def test_chunked_and_grouped_streams_carry_the_same_bytes() -> None:
    texts = set()
    for settings in (
        SimulatorSettings(),
        SimulatorSettings(chunk_bytes=7),
        SimulatorSettings(events_per_write=5),
        SimulatorSettings(events_per_second=2000, events_per_write=3, chunk_bytes=11),
    ):
        async with serve(settings) as upstream, httpx2.AsyncClient(headers=HEADERS) as client:
            response = await client.post(
                f"{upstream.url}/v1/messages", json=body("text [[scenario:text]]", stream=True)
            )
        found = events(response.content)
        texts.add("".join(data["delta"].get("text", "") for name, data in found if name == "content_block_delta"))
    assert len(texts) == 1


async def test_a_slow_stream_pings_in_its_silences() -> None:
    settings = SimulatorSettings(events_per_second=4, ping_seconds=0.05)
    async with serve(settings) as upstream, httpx2.AsyncClient(headers=HEADERS) as client:
        response = await client.post(f"{upstream.url}/v1/messages", json=body("echo:a", stream=True))
    names = [name for name, _ in events(response.content)]
    assert names.count("ping") > 5
    assert [name for name in names if name != "ping"] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_a_pace_tag_slows_one_answer_and_a_client_that_leaves_is_billed_up_to_then(
    http: httpx2.AsyncClient, running: Running
) -> None:
    request = body("[[long:50000]] [[pace:200]]", stream=True, max_tokens=100_000)
    async with asyncio.timeout(10), http.stream("POST", "/v1/messages", json=request) as response:
        async for chunk in response.aiter_bytes():
            if b"text_delta" in chunk:
                break
    await eventually(running.simulator.ledger.bills)
    (bill,) = running.simulator.ledger.bills()
    assert bill["outcome"] == "cut_by_client"
    assert bill["input_tokens"] == 8
    assert 0 < bill["output_tokens"] < 5000
    (total,) = running.simulator.ledger.totals()
    assert total["cut_by_client"] == total["requests"] == 1


async def test_leaving_before_the_first_byte_costs_nothing() -> None:
    async with serve(SimulatorSettings(first_token_ms=60_000)) as upstream:
        async with httpx2.AsyncClient(headers=HEADERS, timeout=0.2) as client:
            with pytest.raises(httpx2.ReadTimeout):
                await client.post(f"{upstream.url}/v1/messages", json=body(stream=True))
        assert upstream.simulator.ledger.totals() == []


async def test_stopping_the_server_ends_its_open_streams() -> None:
    async with asyncio.timeout(10), httpx2.AsyncClient(headers=HEADERS) as client:
        async with serve(SimulatorSettings(events_per_second=0.01)) as upstream:
            request = client.build_request("POST", f"{upstream.url}/v1/messages", json=body(stream=True))
            response = await client.send(request, stream=True)
        with pytest.raises(httpx2.HTTPError):
            await response.aread()
        await response.aclose()


async def test_hundreds_of_paced_streams_run_side_by_side() -> None:
    async def one(client: httpx2.AsyncClient, url: str) -> int:
        response = await client.post(url, json=body("long:10", stream=True))
        return len(events(response.content))

    limits = httpx2.Limits(max_connections=200)
    async with (
        serve(SimulatorSettings(events_per_second=50)) as upstream,
        httpx2.AsyncClient(headers=HEADERS, limits=limits, timeout=30) as client,
    ):
        counts = await asyncio.gather(*(one(client, f"{upstream.url}/v1/messages") for _ in range(200)))
    assert set(counts) == {16}


async def test_the_pacer_wakes_in_the_slot_after_the_moment_and_survives_cancelled_waiters() -> None:
    loop = asyncio.get_running_loop()
    pacer = Pacer()
    moment = loop.time() + 5 * SLOT_SECONDS
    cancelled, waiter = pacer.until(moment), pacer.until(moment)
    cancelled.cancel()
    async with asyncio.timeout(5):
        await waiter
    assert loop.time() >= moment


@given(st.text())
def test_pieces_join_to_the_text(text: str) -> None:
    assert "".join(pieces_of(text)) == text
