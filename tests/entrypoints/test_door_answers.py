"""An upstream that answers what nobody asked for: nothing passes uninspected, nothing hangs, money stays right."""

import gzip

import pytest
from attack_gate import Gate
from attack_kit import (
    BLOCK,
    END,
    JSON,
    SSE,
    START,
    STREAM_HEAD,
    Answer,
    Wire,
    answer_body,
    chunked,
    delta,
    event,
    eventually,
    message,
    reply,
    request,
    stream,
)

SSN = "536-22-8491"
LEAK = f"my ssn {SSN} ok"
STREAM = message(stream=True)


def ask(gate: Gate, script: object, *, streamed: bool = True) -> Answer:
    gate.upstream.next(script)  # type: ignore[arg-type]
    return gate.json(message(stream=streamed))


def last_outcome(gate: Gate) -> dict[str, object]:
    return dict(gate.events(limit="1", what="claude_chat_response")[0])


EVENTS = stream("hello ", LEAK, " bye")
LINE_ENDS = {
    "CRLF": EVENTS.replace(b"\n", b"\r\n"),
    "CR": EVENTS.replace(b"\n", b"\r"),
    "LF, then CRLF": EVENTS.replace(b"\n\n", b"\n\r\n"),
    "CRLF, then LF": EVENTS.replace(b"\n\n", b"\r\n\n"),
    "CR, then LF": EVENTS.replace(b"\n\n", b"\n\r"),
    "another in each event": b"".join(
        text.replace(b"\n", end)
        for text, end in zip(EVENTS.split(b"\n\n"), [b"\n", b"\r\n", b"\r"] * 9, strict=False)
        for text in [text + b"\n\n"]
        if text.strip()
    ),
}


@pytest.mark.requirement("DP-3", "CC-5")
@pytest.mark.parametrize("sent", LINE_ENDS.values(), ids=LINE_ENDS.keys())
@pytest.mark.parametrize("split", [0, 1], ids=["in one piece", "byte by byte"])
def test_whatever_ends_the_lines_of_a_stream_it_is_inspected_and_counted(gate: Gate, sent: bytes, split: int) -> None:
    pieces = [sent[n : n + 1] for n in range(len(sent))] if split else [sent]
    answer = ask(gate, STREAM_HEAD + chunked(*pieces))
    assert answer.status == 200
    assert SSN.encode() not in answer.text
    assert b"REDACTED" in answer.text
    assert b"message_stop" in answer.text
    outcome = last_outcome(gate)
    assert (outcome["result"], outcome["estimated"]) == ("ok", False)
    assert (outcome["input_tokens"], outcome["output_tokens"]) == (3, 2)


@pytest.mark.requirement("DP-3")
@pytest.mark.parametrize(
    "behind",
    [b"garbage " + LEAK.encode(), delta(LEAK), delta(LEAK) + END, END, b": " + LEAK.encode() + b"\n\n"],
    ids=["garbage", "a delta", "a delta and an end", "a second end", "a comment"],
)
@pytest.mark.parametrize("together", [True, False], ids=["in one piece", "later"])
def test_what_follows_the_end_of_a_message_is_not_passed_on(gate: Gate, behind: bytes, together: bool) -> None:  # noqa: FBT001 - pytest's
    pieces = [stream("fine") + behind] if together else [stream("fine"), behind]
    answer = ask(gate, STREAM_HEAD + chunked(*pieces))
    assert answer.text == stream("fine")
    assert last_outcome(gate)["output_tokens"] == 2


@pytest.mark.requirement("DP-3", "SP-2")
def test_a_stream_without_its_last_empty_line_is_inspected_and_counted(gate: Gate) -> None:
    whole = stream(LEAK).rstrip(b"\n")
    answer = ask(gate, STREAM_HEAD + chunked(whole))
    assert SSN.encode() not in answer.text
    assert answer.text.endswith(b'{"type": "message_stop"}')
    cut = START + BLOCK + delta(LEAK).rstrip(b"\n")
    answer = ask(gate, STREAM_HEAD + chunked(cut))
    assert SSN.encode() not in answer.text
    assert last_outcome(gate)["estimated"] is True
    ended = START + BLOCK + event("message_delta", delta={}, usage={"output_tokens": 7}).rstrip(b"\n")
    ask(gate, STREAM_HEAD + chunked(ended))
    assert last_outcome(gate)["output_tokens"] == 7


def test_what_is_no_event_at_the_end_of_a_stream_is_left_out(gate: Gate) -> None:
    answer = ask(gate, STREAM_HEAD + chunked(START + BLOCK + delta("fine") + LEAK.encode()))
    assert answer.text == START + BLOCK + delta("fine")


UNEVENTFUL = {
    "no name of the event": b"data: ",
    "an id first": b"id: 7\nevent: content_block_delta\ndata: ",
    "a retry first": b"retry: 7\ndata: ",
}


@pytest.mark.requirement("DP-3", "SP-2")
@pytest.mark.parametrize("start", UNEVENTFUL.values(), ids=UNEVENTFUL.keys())
def test_events_of_compatible_servers_are_known_by_what_they_hold(gate: Gate, start: bytes) -> None:
    """The type last in the object, no `event:` line."""
    usage = b'data: {"usage": {"output_tokens": 9}, "delta": {"stop_reason": "end_turn"}, "type": "message_delta"}\n\n'
    words = (
        b'{"delta": {"text": "%b", "type": "text_delta"}, "index": 0, "type": "content_block_delta"}\n\n'
        % LEAK.encode()
    )
    end = b'data: {"index": 0, "type": "content_block_stop"}\n\n' + usage + b'data: {"type": "message_stop"}\n\n'
    answer = ask(gate, STREAM_HEAD + chunked(START + BLOCK + start + words + end))
    assert answer.status == 200
    assert SSN.encode() not in answer.text
    assert last_outcome(gate)["output_tokens"] == 9


UNINSPECTED = {
    "a web page": reply(f"<html>{LEAK}".encode(), kind="text/html"),
    "events that call themselves bytes": reply(stream(LEAK), kind="application/octet-stream"),
    "events that call themselves text": reply(stream(LEAK), kind="text/plain"),
    "no type": reply(answer_body(LEAK), kind=""),
    "events, created, as bytes": reply(stream(LEAK), kind="binary/octet-stream", status=201),
    "compressed with something else": reply(stream(LEAK), "content-encoding: br", kind=SSE),
}


@pytest.mark.requirement("UP-3")
@pytest.mark.parametrize("script", UNINSPECTED.values(), ids=UNINSPECTED.keys())
@pytest.mark.parametrize("streamed", [True, False])
def test_a_success_that_cannot_be_inspected_is_not_passed_on(gate: Gate, script: bytes, streamed: bool) -> None:  # noqa: FBT001 - pytest's
    answer = ask(gate, script, streamed=streamed)
    assert answer.status == 502
    assert SSN not in answer.text.decode()
    assert "upstream" in answer.says
    assert last_outcome(gate)["result"] == "failed"


INSPECTED = {
    "events where a document was asked for": (reply(stream(LEAK), kind=SSE), False),
    "a document where events were asked for": (reply(answer_body(LEAK)), True),
    "events, created": (reply(stream(LEAK), kind=SSE, status=201), True),
    "a document, created": (reply(answer_body(LEAK), status=201), False),
    "a type in capitals": (reply(stream(LEAK), kind="TEXT/EVENT-STREAM"), True),
    "events with a length": (reply(stream(LEAK), kind=SSE), True),
    "events until the connection ends": (reply(stream(LEAK), "connection: close", kind=SSE, length=False), True),
    "compressed events": (reply(gzip.compress(stream(LEAK)), "content-encoding: gzip", kind=SSE), True),
    "a compressed document": (reply(gzip.compress(answer_body(LEAK)), "content-encoding: gzip"), False),
}


@pytest.mark.requirement("DP-3", "SP-2")
@pytest.mark.parametrize(("script", "streamed"), INSPECTED.values(), ids=INSPECTED.keys())
def test_what_was_not_asked_for_is_inspected_counted_and_complete(gate: Gate, script: bytes, streamed: bool) -> None:  # noqa: FBT001 - pytest's
    def closing(wire: Wire) -> None:
        wire.send(script)

    answer = ask(gate, closing, streamed=streamed)
    assert answer.status in {200, 201}
    assert SSN.encode() not in answer.text
    assert b"REDACTED" in answer.text
    assert answer.text.rstrip().endswith((b'"message_stop"}', b"}"))
    assert answer.field("content-encoding") is None
    outcome = last_outcome(gate)
    assert (outcome["output_tokens"], outcome["estimated"]) == (2, False)
    assert outcome["sensitive_data_types"] == ["US_SSN"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300, 399])
def test_a_redirect_is_not_passed_on_because_keys_would_follow_it(gate: Gate, status: int) -> None:
    answer = ask(gate, reply(b"moved", "location: http://127.0.0.1:9/thief", status=status, kind="text/plain"))
    assert answer.status == 502
    assert answer.field("location") is None
    assert answer.field("x-should-retry") == "false"
    assert "redirect" in answer.says
    assert "`url`" in answer.says


@pytest.mark.parametrize(
    "script",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n",
        reply(b""),
        reply(b"", kind=""),
    ],
    ids=["204", "204 with a length", "304 with a length", "200, empty", "200, empty, no type"],
)
def test_an_answer_without_content_is_passed_on_as_that(gate: Gate, script: bytes) -> None:
    with gate.line() as line:
        gate.upstream.next(script, reply(answer_body("after")))
        for wanted in (b"", b"after"):
            line.send(request_of(gate))
            answer = line.answer()
            assert wanted in answer.text
    assert answer.status == 200


def request_of(gate: Gate) -> bytes:
    return request("POST", "/v1/messages", message(), JSON, key=gate.key)


@pytest.mark.requirement("CC-6")
def test_an_error_as_the_first_event_reaches_the_client_and_costs_what_was_said(gate: Gate) -> None:
    first = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    answer = ask(gate, STREAM_HEAD + chunked(first))
    assert answer.text == first
    outcome = last_outcome(gate)
    assert outcome["result"] == "upstream_error"


FIELDS = {
    "a control character": "x-odd: a\x01b",
    "a bracket in a name": "x(odd): a",
    "a space before the colon": "x-odd : a",
}


@pytest.mark.parametrize("line", FIELDS.values(), ids=FIELDS.keys())
def test_fields_that_could_be_read_in_two_ways_are_not_passed_on(gate: Gate, line: str) -> None:
    answer = ask(gate, reply(answer_body(), line), streamed=False)
    assert answer.status == 502
    assert "no acceptable HTTP answer" in answer.says


def test_an_answer_cannot_forge_what_this_gateway_says_of_itself(gate: Gate) -> None:
    answer = ask(gate, reply(answer_body(), "x-ai-platform-call-id: forged", "set-cookie: a=b"), streamed=False)
    ids = [value for name, value in answer.fields if name == "x-ai-platform-call-id"]
    assert len(ids) == 1
    assert ids[0].startswith("call_")
    assert answer.field("set-cookie") is None


ODD_FACTS = {
    "NUL in the names of tools": {"content": [{"type": "tool_use", "id": "t\0", "name": "a\0b", "input": {}}]},
    "names without end": {"content": [{"type": "tool_use", "id": "t" * 90_000, "name": "n" * 90_000, "input": {}}]},
    "10,000 tools": {"content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}] * 10_000},
    "negative usage": {"usage": {"input_tokens": -5_000_000, "output_tokens": -4}},
    "usage beyond all money": {"usage": {"input_tokens": 10**18, "output_tokens": 10**18}},
    "usage beyond all numbers": {"usage": {"input_tokens": 10**30, "output_tokens": 1}},
    "usage in words": {"usage": {"input_tokens": "many", "output_tokens": None}},
    "usage as a list": {"usage": [1, 2]},
    "a model's name without end": {"model": "m" * 90_000},
    "NUL in the model's name": {"model": "m\0"},
    "no content": {"content": None},
}


@pytest.mark.requirement("AU-2", "SP-2")
@pytest.mark.parametrize("facts", ODD_FACTS.values(), ids=ODD_FACTS.keys())
def test_odd_facts_in_an_answer_are_recorded_within_bounds_and_lose_no_record(
    gate: Gate, facts: dict[str, object]
) -> None:
    answer = ask(gate, reply(answer_body(**facts)), streamed=False)
    assert answer.status == 200
    outcome = last_outcome(gate)
    assert outcome["call_id"] == answer.field("x-ai-platform-call-id")
    assert len(str(outcome)) < 150_000
    assert not str(outcome["cost_usd"]).startswith("-")
    assert gate.metric("aip_late_outcomes") == 0


def test_an_answer_that_never_ends_is_bounded_by_its_silence(gate: Gate) -> None:
    """The end was seen, the upstream keeps its connection: the client is not kept waiting for more than its answer."""

    def lingering(wire: Wire) -> None:
        wire.send(STREAM_HEAD, chunked(stream("fine"), last=False))
        wire.hung_up()

    gate.upstream.next(lingering)
    with gate.line() as line:
        line.send(request_of(gate))
        line.until(b"message_stop")
    eventually(gate.is_idle)
