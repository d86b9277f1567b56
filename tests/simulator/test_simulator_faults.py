"""Faults on demand, by queue and by header, and what they leave in the books."""

import asyncio
import json
from typing import Any

import httpx2
import pytest
from simulator_asking import body, events

from ai_platform.simulator.server import Running
from ai_platform.testing.eventually import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UP-4")]


async def queue(http: httpx2.AsyncClient, *faults: dict[str, Any]) -> None:
    response = await http.post("/_sim/faults", json=list(faults))
    assert response.json() == {"queued": len(faults)}


async def raw(running: Running, request: dict[str, Any], fault: str) -> bytes:
    """Everything the server sends for one request before it closes or resets the connection."""
    port = int(running.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = json.dumps(request).encode()
    head = (
        f"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: k\r\nanthropic-version: 2023-06-01\r\n"
        f"x-simulate-fault: {fault}\r\ncontent-length: {len(sent)}\r\n\r\n"
    )
    writer.write(head.encode() + sent)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


async def test_a_queued_status_strikes_once_with_its_headers(http: httpx2.AsyncClient) -> None:
    await queue(http, {"status": 429, "retry_after": 7, "should_retry": False, "message": "slow down"})
    refused = await http.post("/v1/messages", json=body())
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "7"
    assert refused.headers["x-should-retry"] == "false"
    assert refused.json()["error"] == {"type": "rate_limit_error", "message": "slow down"}
    assert (await http.post("/v1/messages", json=body())).status_code == 200


async def test_a_fault_strikes_as_often_as_it_says(http: httpx2.AsyncClient) -> None:
    await queue(http, {"status": 529, "times": 2}, {"status": 500, "times": 0})
    seen = [(await http.post("/v1/messages", json=body())).status_code for _ in range(5)]
    assert seen == [529, 529, 500, 500, 500]
    waiting = (await http.get("/_sim/faults")).json()
    assert [(fault["status"], fault["left"]) for fault in waiting["waiting"]] == [(500, 0)]
    assert (await http.delete("/_sim/faults")).json() == {"waiting": []}
    assert (await http.post("/v1/messages", json=body())).status_code == 200


@pytest.mark.parametrize(
    "match",
    [
        {"path": "*/count_tokens"},
        {"model": "claude-opus-*"},
        {"stream": True},
        {"key": "0000000000000000"},
        {"body": "not in the request"},
        {"method": "GET"},
    ],
)
async def test_a_fault_waits_for_a_request_that_matches(http: httpx2.AsyncClient, match: dict[str, Any]) -> None:
    await queue(http, {"match": match})
    assert (await http.post("/v1/messages", json=body("a question"))).status_code == 200
    assert len((await http.get("/_sim/faults")).json()["waiting"]) == 1


async def test_a_fault_that_matches_every_field_strikes(http: httpx2.AsyncClient) -> None:
    match = {"path": "/v1/mess*", "model": "claude-sonnet-*", "stream": False, "body": "a question", "method": "POST"}
    await queue(http, {"match": match, "status": 503})
    assert (await http.post("/v1/messages", json=body("a question"))).status_code == 503


async def test_other_endpoints_meet_faults_too(http: httpx2.AsyncClient) -> None:
    await queue(http, {"status": 500, "match": {"path": "/v1/models"}})
    assert (await http.get("/v1/models")).status_code == 500
    assert (await http.get("/v1/models")).status_code == 200


async def test_html_instead_of_json(http: httpx2.AsyncClient) -> None:
    response = await http.post("/v1/messages", json=body(), headers={"x-simulate-fault": "html;status=200"})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert response.text.startswith("<!doctype html>")


async def test_a_malformed_answer_is_not_json(http: httpx2.AsyncClient) -> None:
    response = await http.post("/v1/messages", json=body(), headers={"x-simulate-fault": "malformed"})
    assert response.status_code == 200
    with pytest.raises(ValueError, match=r".*"):
        response.json()


async def test_a_malformed_stream_has_one_broken_event_and_the_rest_whole(http: httpx2.AsyncClient) -> None:
    response = await http.post(
        "/v1/messages", json=body(stream=True), headers={"x-simulate-fault": "malformed;after_events=3"}
    )
    frames = response.content.split(b"\n\n")
    with pytest.raises(ValueError, match=r".*"):
        json.loads(frames[3].partition(b"data: ")[2])
    whole = events(b"\n\n".join([*frames[:3], *frames[4:]]))
    assert whole[-1][0] == "message_stop"


async def test_slow_headers_arrive_and_the_answer_is_whole(http: httpx2.AsyncClient) -> None:
    response = await http.post(
        "/v1/messages", json=body(stream=True), headers={"x-simulate-fault": "slow_headers;delay_ms=30"}
    )
    assert events(response.content)[-1][0] == "message_stop"
    assert (await http.get("/_sim/faults")).json()["struck"]["slow_headers"] >= 1


async def test_an_error_event_ends_a_stream_and_is_billed_up_to_there(
    http: httpx2.AsyncClient, running: Running
) -> None:
    response = await http.post(
        "/v1/messages",
        json=body("long:100", stream=True),
        headers={"x-simulate-fault": "sse_error;after_events=13;error_type=permission_error;message=no"},
    )
    found = events(response.content)
    assert len(found) == 14
    assert found[-1] == ("error", {"type": "error", "error": {"type": "permission_error", "message": "no"}})
    (bill,) = running.simulator.ledger.bills()
    # message_start, content_block_start, ping and ten pieces of ten bytes: 100 bytes at 3.6.
    assert (bill["outcome"], bill["output_tokens"]) == ("cut_by_fault", 28)


async def test_a_whole_answer_gets_an_error_instead_of_an_error_event(http: httpx2.AsyncClient) -> None:
    response = await http.post("/v1/messages", json=body(), headers={"x-simulate-fault": "sse_error"})
    assert (response.status_code, response.json()["error"]["type"]) == (529, "overloaded_error")


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])
async def test_a_cut_answer_ends_without_its_end(running: Running, *, streamed: bool) -> None:
    received = await raw(running, body("long:100", stream=streamed), "cut;after_events=5")
    head, _, rest = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    if streamed:
        assert rest.count(b"event: ") == 5
        assert not rest.endswith(b"0\r\n\r\n")
    else:
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        assert 0 < len(rest) < length
    await eventually(running.simulator.ledger.bills)
    assert running.simulator.ledger.bills()[0]["outcome"] == "cut_by_fault"


async def test_a_cut_before_the_first_byte_sends_nothing_and_bills_nothing(running: Running) -> None:
    assert await raw(running, body(stream=True), "cut") == b""
    assert running.simulator.ledger.bills() == []


@pytest.mark.parametrize("fault", ["reset", "reset;after_events=4"])
async def test_a_reset_connection_is_reset(running: Running, fault: str) -> None:
    with pytest.raises(ConnectionResetError):
        await raw(running, body("long:100", stream=True), fault)


@pytest.mark.parametrize("fault", ["stall", "stall;after_events=6"])
async def test_a_stalled_stream_is_silent_until_the_client_leaves(
    http: httpx2.AsyncClient, running: Running, fault: str
) -> None:
    with pytest.raises(httpx2.ReadTimeout):
        await http.post(
            "/v1/messages", json=body("long:100", stream=True), headers={"x-simulate-fault": fault}, timeout=0.2
        )
    if "after" in fault:
        await eventually(running.simulator.ledger.bills)
        assert running.simulator.ledger.bills()[0]["outcome"] == "cut_by_client"
    else:
        assert running.simulator.ledger.bills() == []


@pytest.mark.parametrize("fault", ["explode", "cut;after=3", "cut;after_events=x", "429;retry_after=soon"])
async def test_a_header_that_is_no_fault_says_so(http: httpx2.AsyncClient, fault: str) -> None:
    response = await http.post("/v1/messages", json=body(), headers={"x-simulate-fault": fault})
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("x-simulate-fault: ")


async def test_a_queue_entry_that_is_no_fault_says_so(http: httpx2.AsyncClient) -> None:
    for wrong in ({"stats": 500}, {"kind": "explode"}, [], "x"):
        response = await http.post("/_sim/faults", json=wrong)
        assert (response.status_code, wrong) == (200 if wrong == [] else 400, wrong)
