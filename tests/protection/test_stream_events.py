"""Everything else in a stream: thinking, tool results, citations, kinds that nobody knows yet, and hostile events."""
# ruff: noqa: E501 - events are read as one line

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspecting import (
    AWS_KEY,
    CARD,
    DEFAULT,
    EMAIL,
    PERSON,
    REDACT_ALL,
    SECRET,
    SSN,
    call,
    delta,
    event,
    new_guard,
    pass_on,
    read,
    request,
    stop,
)

from ai_platform.domain.errors import Blocked, Refused
from ai_platform.domain.finding import Action, ProtectionPlan, RuleAction
from ai_platform.domain.principal import Principal
from ai_platform.gateway.events import EventSplitter
from ai_platform.protection import Guard, ProtectionSettings, StreamGuard
from ai_platform.testing import FakeClock

GUARD = new_guard()


def guard_of(plan: ProtectionPlan = REDACT_ALL, guard: Guard = GUARD, session: str | None = None) -> StreamGuard:
    return guard.watch(PERSON, call(session=session), plan)


def start(block: dict[str, Any], index: int = 0) -> bytes:
    return event({"type": "content_block_start", "index": index, "content_block": block})


def signature(text: str) -> bytes:
    return event({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": text}})


def thinking(*pieces: str, signed: str = "EqQBCg==") -> list[bytes]:
    begun = start({"type": "thinking", "thinking": "", "signature": ""})
    return [begun, *(delta(piece, kind="thinking_delta") for piece in pieces), signature(signed), stop()]


# --- thinking -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DP-3")
@pytest.mark.parametrize("action", [Action.REDACT, Action.MASK, Action.TOKENISE])
def test_thinking_is_redacted_for_the_caller_and_its_signature_stays(action: Action):
    stream = guard_of(ProtectionPlan(actions=(RuleAction(action=action),)))
    raw = pass_on(stream, thinking("The SSN is 536", "-22-84", "91, so"))
    assert read(raw).startswith("The SSN is [REDACTED:US_SSN:")
    assert read(raw).endswith("], so")
    assert b'"signature": "EqQBCg=="' in raw
    assert raw.index(b"so") < raw.index(b"EqQBCg==") < raw.index(b"content_block_stop")
    assert [finding.action for finding in stream.findings] == [Action.REDACT]


def replayed(text: str, signed: str = "EqQBCg==") -> bytes:
    block = {"type": "thinking", "thinking": text, "signature": signed}
    return request("hi", {"role": "assistant", "content": [block, {"type": "text", "text": "ok"}]}, "go on")


@pytest.mark.requirement("DP-3", "DP-4")
def test_redacted_thinking_goes_back_to_the_upstream_as_it_was_signed():
    guard = new_guard()
    said = read(pass_on(guard_of(guard=guard, session="s"), thinking("It is ", SSN, " then\n")))
    inspection = asyncio.run(guard.inspect(PERSON, call(replayed(said), session="s"), REDACT_ALL))
    sent = json.loads(inspection.body)["messages"][1]["content"][0]
    assert sent == {"type": "thinking", "thinking": f"It is {SSN} then\n", "signature": "EqQBCg=="}
    again = asyncio.run(guard.inspect(PERSON, call(replayed(said), session="s"), REDACT_ALL))
    assert again.body == inspection.body


@pytest.mark.parametrize(
    ("person", "session", "signed"),
    [
        (Principal(id="person_2", name="Bob"), "s", "EqQBCg=="),
        (Principal(id=PERSON.id, name="Ada", tenant="other"), "s", "EqQBCg=="),
        (PERSON, "another", "EqQBCg=="),
        (PERSON, "s", "Forged=="),
    ],
)
def test_nobody_else_gets_the_thinking_of_a_session_back(person: Principal, session: str, signed: str):
    guard = new_guard()
    said = read(pass_on(guard_of(guard=guard, session="s"), thinking(SSN)))
    inspection = asyncio.run(guard.inspect(person, call(replayed(said, signed), session=session), REDACT_ALL))
    assert b"8491" not in inspection.body


def test_complete_answers_redact_thinking_too_and_take_it_back():
    guard = new_guard()
    block = {"type": "thinking", "thinking": f"It's {SSN}", "signature": "EqQB/+=="}
    body = json.dumps({"id": "msg_1", "type": "message", "role": "assistant", "content": [block]}).encode()
    told = asyncio.run(guard.inspect_answer(PERSON, call(session="s"), REDACT_ALL, body))
    shown = json.loads(told.body)["content"][0]
    assert shown["signature"] == "EqQB/+=="
    assert shown["thinking"].startswith("It's [REDACTED:US_SSN:")
    sent = asyncio.run(guard.inspect(PERSON, call(replayed(shown["thinking"], "EqQB/+=="), session="s"), REDACT_ALL))
    assert json.loads(sent.body)["messages"][1]["content"][0]["thinking"] == f"It's {SSN}"


def test_thinking_that_the_policy_blocks_ends_the_stream():
    stream = guard_of(ProtectionPlan(actions=(RuleAction(action=Action.BLOCK),)))
    with pytest.raises(Blocked):
        pass_on(stream, thinking(f"{SSN} "))


# --- what does not stream in ----------------------------------------------------------------------------------------

RESULT = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_01A09q90qw90lq917835",
    "content": [
        {"type": "web_search_result", "title": f"ssn {SSN}", "url": "https://x.org", "encrypted_content": "Eq=="}
    ],
}


@pytest.mark.requirement("DP-3")
@pytest.mark.parametrize(
    "raw",
    [
        start(RESULT),
        start({"type": "mcp_tool_result", "content": [{"type": "text", "text": f"ssn {SSN}"}], "is_error": False}),
        start({"type": "code_execution_tool_result", "content": {"stdout": f"ssn {SSN}\n", "return_code": 0}}),
        start({"type": "text", "text": f"ssn {SSN}"}),
        start({"type": "tool_use", "id": "toolu_1", "name": "Write", "input": {"content": f"ssn {SSN}"}}),
        start({"type": "from_the_future", "anything": {"deep": [f"ssn {SSN}"]}}),
        event(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "citations_delta", "citation": {"cited_text": f"ssn {SSN}", "document_title": SSN}},
            }
        ),
        event({"type": "message_start", "message": {"id": "msg_1", "content": [{"type": "text", "text": SSN}]}}),
        event({"type": "message_delta", "delta": {"stop_sequence": f"ssn {SSN}"}, "usage": {}}),
        event({"type": "error", "error": {"type": "api_error", "message": f"cannot find ssn {SSN}"}}),
        event({"type": "unheard_of", "text": f"ssn {SSN}"}),
    ],
    ids=lambda raw: raw.split(b"\n")[0].decode() + str(len(raw)),
)
def test_every_string_of_every_event_is_inspected(raw: bytes):
    stream = guard_of()
    out = pass_on(stream, [raw, stop()])
    assert b"8491" not in out
    assert b"[REDACTED:US_SSN:" in out
    assert stream.changed
    assert stream.bytes_checked >= len(SSN)
    for line in out.split(b"\n"):
        if line.startswith(b"data:"):
            json.loads(line[5:])


def test_what_identifies_an_event_stays_when_its_content_changes():
    out = json.loads(pass_on(guard_of(), [start(RESULT)]).split(b"data: ")[1])["content_block"]
    assert out["tool_use_id"] == RESULT["tool_use_id"]
    assert out["content"][0]["encrypted_content"] == "Eq=="


@pytest.mark.requirement("DP-3")
def test_a_value_that_begins_in_the_start_of_its_block_is_caught():
    raw = pass_on(guard_of(), [start({"type": "text", "text": "ssn 536-2"}), delta("2-84"), delta("91."), stop()])
    assert b"8491" not in raw
    first = json.loads(raw.split(b"data: ")[1].split(b"\n")[0])
    assert (first["content_block"]["text"] + read(raw)).startswith("ssn [REDACTED:US_SSN:")


@pytest.mark.requirement("DP-3")
@pytest.mark.parametrize("kind", ["compaction_delta", "code_delta"])
def test_text_that_streams_in_a_member_nobody_knows_is_watched_as_one_text(kind: str):
    def piece(text: str) -> bytes:
        return event({"type": "content_block_delta", "index": 0, "delta": {"type": kind, "content": text}})

    raw = pass_on(guard_of(), [piece(text) for text in ("it is 53", "6-22-", "8491", " there")])
    said = "".join(json.loads(line[5:])["delta"]["content"] for line in raw.split(b"\n") if line[:5] == b"data:")
    assert said.startswith("it is [REDACTED:US_SSN:")
    assert said.endswith("] there")


# --- hostile events -------------------------------------------------------------------------------------------------


def data(text: str) -> bytes:
    return f"event: content_block_delta\ndata: {text}\n\n".encode("utf-8", "surrogateescape")


HOSTILE = {
    "two members of one name": '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"536-22-8491","text":"x"}}',
    "two deltas": '{"type":"content_block_delta","index":0,"delta":{"text":"536-22-8491"},"delta":{"type":"text_delta","text":"x"}}',
    "a member beside": '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x","more":"536-22-8491"}}',
    "a member above": '{"type":"content_block_delta","index":0,"note":"536-22-8491","delta":{"type":"text_delta","text":"x"}}',
    "an index that is text": '{"type":"content_block_delta","index":"0","delta":{"type":"text_delta","text":"536-22-8491 "}}',
    "not a number": '{"type":"content_block_delta","index":NaN,"delta":{"type":"text_delta","text":"536-22-8491 "}}',
    "half a surrogate pair": '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ud83d 536-22-8491 "}}',
    "a control character": '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\t536-22-8491 "}}',
    "invalid UTF-8": '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\udcff 536-22-8491 "}}',
    "cut off": '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"536-22-8491 ',
    "rubbish behind": '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"536-22-8491 "}} and more',
    "an escaped type": '{"type":"content\\u005fblock_delta","index":0,"delta":{"type":"text_delta","text":"536-22-8491 "}}',
    "escaped digits": '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\u0035\\u00336-22-8491 "}}',
    "no data at all": None,
    "an array": '["content_block_delta", "536-22-8491"]',
    "deep": '{"type":"content_block_delta","delta":' + "[" * 50_000 + '"536-22-8491"',
    "a huge number": '{"type":"content_block_delta","index":' + "9" * 5000 + ',"delta":{"text":"536-22-8491 "}}',
}


@pytest.mark.requirement("DP-3")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_events_never_carry_a_value_through(name: str):
    stream = guard_of()
    text = HOSTILE[name]
    raw = data(text) if text is not None else b": 536-22-8491\n" + delta("536-22-8491 ").replace(b"data:", b"\x00data:")
    out = pass_on(stream, [raw, stop()])
    assert b"22-8491" not in out
    assert any(finding.type == "US_SSN" for finding in stream.findings) or name.startswith("two")


SAID = delta("hi")


@pytest.mark.requirement("DP-3")
@pytest.mark.parametrize(
    "raw",
    [
        f"event: x\ndata: ssn {SSN}\n\n".encode(),
        f"event: x\ndata: {{ssn {SSN}}}\n\n".encode(),
        f'data: ["ssn {SSN}"]\n\n'.encode(),
        f'event: ssn {SSN}\ndata: {{"type":"later"}}\n\n'.encode(),
        f"event: ssn {SSN}\n".encode() + SAID,
        f"id: ssn {SSN}\n".encode() + SAID,
        f"retry: ssn {SSN}\r".encode() + SAID,
        f"later: ssn {SSN}\n".encode() + SAID,
        f": ssn {SSN}\n".encode() + SAID,
        SAID[:-1] + f": ssn {SSN}\n\n".encode(),
        f'event: ping\ndata: {{"type": "ping"}}\n: ssn {SSN}\n\n'.encode(),
        event({"type": "content_block_stop", "index": 0, "note": f"ssn {SSN}"}),
        event({"type": "content_block_stop", "index": int(CARD.replace(" ", ""))}),
        event({"type": "content_block_delta", "index": f"ssn {SSN}", "delta": {"type": "text_delta", "text": "hi"}}),
        event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi", "thinking": f"ssn {SSN}"}}),
        start({"type": "text", "text": "hi", "thinking": f"ssn {SSN}", "partial_json": f"ssn {SSN}"}),
    ],
)
def test_whatever_stands_beside_what_an_event_is_for_is_inspected_too(raw: bytes):
    stream = guard_of()
    out = pass_on(stream, [SAID, raw, SAID, stop()])
    assert SSN.encode() not in out
    assert CARD.replace(" ", "").encode() not in out
    assert stream.findings or b"thinking" in raw, "of two texts in one event only the first is passed on"
    assert out.count(b"hi") >= 2


def test_no_name_or_number_of_a_stream_tells_a_value_as_a_place():
    for index, name in ((f"ssn {SSN}", "text"), (int(CARD.replace(" ", "")), "text"), (0, f"ssn {SSN}")):
        stream = guard_of()
        sent = {
            "type": "content_block_delta",
            "index": index,
            "delta": {"type": "later_delta", name: f"it is {EMAIL} "},
        }
        pass_on(stream, [event(sent)])
        assert EMAIL not in repr(stream.findings)
        assert SSN not in repr(stream.findings)
        assert CARD.replace(" ", "") not in repr(stream.findings)
        assert stream.findings


def test_lines_beside_the_data_that_hold_nothing_stay():
    raw = b": keep-alive\nid: 7\n" + SAID
    assert pass_on(guard_of(), [raw, stop()]) == raw + stop()


def test_an_event_of_several_data_lines_is_read_as_clients_read_it():
    raw = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,\n'
    raw += b'data: "delta":{"type":"text_delta","text":"ssn 536-22-8491 x"}}\n\n'
    out = pass_on(guard_of(), [raw, stop()])
    assert read(out).startswith("ssn [REDACTED:US_SSN:")


def test_a_name_that_looks_like_another_event_does_not_hide_a_text():
    text = "content_block_start content_block_stop message_stop event: ping"
    raw = pass_on(guard_of(), [delta(text), delta(" ssn 536-22-"), delta("8491 "), stop()])
    assert read(raw).startswith(f"{text} ssn [REDACTED:US_SSN:")
    error = event({"type": "error", "error": {"message": "content_block_delta content_block_start"}})
    assert pass_on(guard_of(), [delta("536-22"), error]).endswith(error)


@given(st.binary(max_size=80), st.lists(st.integers(0, 400), max_size=6))
def test_no_bytes_make_it_fail(noise: bytes, places: list[int]):
    raw = bytearray(delta("the ssn is 536-22-8491 ") + thinking("x")[0] + stop())
    for place in places:
        raw[place % len(raw) : place % len(raw)] = noise[:7]
    stream = guard_of()
    for each in bytes(raw).split(b"\n\n"):
        stream.feed(each + b"\n\n")
    stream.close()


def test_too_many_values_in_one_event_end_the_answer():
    guard = Guard(ProtectionSettings(most_values=50), FakeClock(), secret=SECRET)
    many = " ".join(f"4111-1111-1111-1111 x{number}" for number in range(200))
    with pytest.raises(Refused):
        guard_of(guard=guard).feed(start({"type": "mcp_tool_result", "content": [{"type": "text", "text": many}]}))


# --- the framing of events ------------------------------------------------------------------------------------------


@pytest.mark.requirement("DP-3")
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_chunks_of_the_network_make_no_difference(newline: str, size: int):
    events = [
        start({"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}),
        *(delta(text, kind="input_json_delta") for text in ('{"comm', 'and":"echo 536-2', "2-84", '91"', "}")),
        stop(),
        *(delta(text, 1) for text in ("card 4111 1111 ", "1111 11", "11", ".")),
        stop(1),
        event({"type": "message_stop"}),
    ]
    wire = b"".join(events).decode().replace("\n", newline).encode()
    splitter, stream = EventSplitter(), guard_of()
    out = b""
    for place in range(0, len(wire), size):
        for each in splitter.feed(wire[place : place + size]):
            out += stream.feed(each)
    out += stream.feed(splitter.rest) if splitter.rest else b""
    out += stream.close()
    text = out.decode().replace(newline, "\n").encode()
    assert json.loads(read(text, 0))["command"].startswith("echo [REDACTED:US_SSN:")
    assert read(text, 1).startswith("card [REDACTED:CREDIT_CARD:")
    assert text.endswith(b"\n\n")


@pytest.mark.requirement("DP-3")
@pytest.mark.parametrize("value", [SSN, CARD, EMAIL, AWS_KEY])
@pytest.mark.parametrize(
    "written",
    [
        lambda value: value,
        lambda value: "".join(f"\\u{ord(char):04x}" for char in value),
        lambda value: f'\\"{value}\\"',
        lambda value: f"a\\n{value}\\tb",
        lambda value: f"C:\\\\dir\\\\ {value} ",
    ],
)
def test_arguments_of_tools_stay_valid_json_when_a_value_is_taken_out(value: str, written: Any):
    text = '{"a": "' + written(value) + '", "b": [1, "' + written(value) + '"]}'
    for size in (1, 3, 10):
        pieces = [text[place : place + size] for place in range(0, len(text), size)]
        raw = pass_on(guard_of(), [*(delta(piece, kind="input_json_delta") for piece in pieces), stop()])
        found = json.loads(read(raw))
        assert value not in json.dumps(found)
        assert json.dumps(found).count("[REDACTED:") == 2


def test_a_number_among_arguments_is_replaced_by_a_string():
    pieces = ['{"ssn": 5362', '28491, "n": 12', "34567890123456789012345678901234567890", "123456}"]
    raw = pass_on(guard_of(), [*(delta(piece, kind="input_json_delta") for piece in pieces), stop()])
    found = json.loads(read(raw))
    assert found["ssn"].startswith("[REDACTED:US_SSN:")
    assert str(found["n"]).startswith("1234")


def test_inspection_that_is_switched_off_passes_everything_and_counts_it():
    stream = GUARD.watch(PERSON, call(), ProtectionPlan(scan_output=False))
    raw = [start({"type": "text", "text": SSN}), delta(SSN), stop()]
    assert pass_on(stream, raw) == b"".join(raw)
    assert (stream.bytes_checked, stream.bytes_unchecked) == (0, len(b"".join(raw)))


def test_a_plan_without_actions_still_records_what_streams():
    stream = guard_of(DEFAULT)
    assert read(pass_on(stream, [delta(f"mail {EMAIL} "), stop()])) == f"mail {EMAIL} "
    assert [(finding.type, finding.path) for finding in stream.findings] == [("EMAIL_ADDRESS", "content[0].text")]


def test_citations_and_texts_that_a_block_begins_with_leave_byte_for_byte():
    cited = {"type": "citations_delta", "citation": {"cited_text": "é\u2019s", "document_title": "b", "start": 1}}
    events = [
        event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hello\n"}}),
        event({"type": "content_block_delta", "index": 0, "delta": cited}),
        event({"type": "content_block_delta", "index": 0, "delta": {"type": "from_the_future", "words": "so\n"}}),
        stop(),
    ]
    assert pass_on(guard_of(), events) == b"".join(events)


def test_an_event_in_which_a_name_stands_twice_leaves_as_it_was_read():
    twice = b'event: content_block_start\ndata: {"type": "content_block_start", "index": 0, "content_block": %b}\n\n'
    raw = pass_on(guard_of(), [twice % b'{"type": "text", "text": "ssn 536-22-8491", "text": "Hello"}', stop()])
    assert b"8491" not in raw
    assert b"Hello" in raw
