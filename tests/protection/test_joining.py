"""Values split over the text blocks of a streamed answer: clients join those, so both parts are taken out."""

import json
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspecting import (
    CARD,
    DEFAULT,
    EMAIL,
    PERSON,
    REDACT_ALL,
    SSN,
    call,
    delta,
    event,
    new_guard,
    pass_on,
    read,
    redacted,
    scanner,
    stop,
)

from ai_platform.domain.errors import Blocked
from ai_platform.domain.finding import Action, ProtectionPlan, RuleAction
from ai_platform.protection import StreamGuard
from ai_platform.protection.held import Block
from ai_platform.protection.joining import Run
from ai_platform.protection.rule import Rule
from ai_platform.protection.rules import ALL
from ai_platform.protection.watcher import TextWatcher

GUARD = new_guard()
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
END = [event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}), event({"type": "message_stop"})]
pytestmark = pytest.mark.requirement("DP-3", "DP-7")


def guard_of(plan: ProtectionPlan = REDACT_ALL) -> StreamGuard:
    return GUARD.watch(PERSON, call(), plan)


def start(index: int = 0, **block: Any) -> bytes:
    return event(
        {"type": "content_block_start", "index": index, "content_block": block or {"type": "text", "text": ""}}
    )


def answer(blocks: Sequence[str], chance: random.Random | None = None) -> list[bytes]:
    """One text block for each; cut at random."""
    events = [event({"type": "message_start", "message": {"id": "msg_1", "content": []}})]
    for index, text in enumerate(blocks):
        events.append(start(index))
        rest = text
        while rest:
            size = chance.randint(1, 9) if chance else len(rest)
            events.append(delta(rest[:size], index))
            rest = rest[size:]
        events.append(stop(index))
    return [*events, *END]


def kinds(raw: bytes) -> list[str]:
    return [json.loads(line[5:])["type"] for line in raw.split(b"\n") if line.startswith(b"data:")]


def told(blocks: Sequence[str], plan: ProtectionPlan = REDACT_ALL, chance: random.Random | None = None) -> list[str]:
    """What the client reads of each block; no event is lost, and their order stays."""
    events = answer(blocks, chance)
    raw = pass_on(guard_of(plan), events)
    assert kinds(raw) == kinds(b"".join(events))
    return [read(raw, index) for index in range(len(blocks))]


def cut(text: str, places: Sequence[int]) -> list[str]:
    return [text[begin:end] for begin, end in pairwise([0, *places, len(text)])]


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.id)
def test_no_value_of_any_rule_leaves_in_two_blocks(rule: Rule):
    text = f"{rule.examples[0]}\n"
    one = redacted(scanner(REDACT_ALL), text)[1][0]
    for place in range(one.start + 1, one.end, max(1, (one.end - one.start) // 5)):
        out = told(cut(text, [place]))
        assert text[one.start : one.end] not in "".join(out), (place, out)


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_values_in_any_number_of_blocks_at_any_cuts_do_not_leave(chance: random.Random):
    example = chance.choice(chance.choice(ALL).examples)
    around = chance.choice(("{}", "See {}, then go on.", "a\n{}\nb", "it is {} and"))
    text = around.replace("{}", example)
    places = sorted(chance.sample(range(1, len(text)), min(chance.randint(1, 4), len(text) - 1)))
    found = redacted(scanner(REDACT_ALL), text)[1]
    values = [text[one.start : one.end] for one in found if any(one.start < place < one.end for place in places)]
    out = told(cut(text, places), chance=chance)
    assert not any(value in "".join(out) for value in values), (cut(text, places), out)


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False))
def test_blocks_without_values_leave_byte_for_byte(chance: random.Random):
    words = [
        "Done.",
        " I ran",
        " 14 tests",
        "; see",
        " https://example.com/runs/1177",
        "\n",
        " 4f2a9c1",
        "é",
        "x = 5",
        "",
    ]
    blocks = ["".join(chance.choices(words, k=chance.randint(0, 6))) for _ in range(chance.randint(1, 5))]
    events = answer(blocks, chance)
    stream = guard_of()
    assert pass_on(stream, events) == b"".join(events)
    assert not stream.changed
    assert not stream.findings


def test_a_value_of_two_blocks_is_one_finding_and_both_parts_are_taken_out():
    stream = guard_of()
    raw = pass_on(stream, answer(["my ssn is 536-22-", "8491, thanks"]))
    assert read(raw, 0).startswith("my ssn is [REDACTED:US_SSN:")
    assert read(raw, 1) == "[REDACTED], thanks"
    assert [(one.type, one.path) for one in stream.findings] == [("US_SSN", "content[0].text")]
    assert stream.changed
    whole = guard_of()
    pass_on(whole, [delta(SSN), stop()])
    assert stream.findings[0].value_hash == whole.findings[0].value_hash


@pytest.mark.parametrize(
    "blocks",
    [
        ["is", "536-22-", "8491", "and"],
        ["is ", "536", "-22", "-8491", "x"],
        ["card: 4111 1111", " 1111 1111."],
        list(CARD),
        [f"to {EMAIL[:6]}", EMAIL[6:]],
        ["routing num", "ber: ", "021", "000021 ok"],
        ["ssn 536-22\u201184", "", "9\u200b1"],
    ],
)
def test_where_the_edges_lie_makes_no_difference(blocks: list[str]):
    out = "".join(told(blocks))
    assert "[REDACTED:" in out
    assert not any(part in out for part in ("8491", "1111", "acme", "000021", "9\u200b1"))


@pytest.mark.parametrize("blocks", [["is", SSN, "and"], [f"it is {SSN}", "5 times"]])
def test_a_value_that_a_block_holds_alone_is_found_whatever_stands_beside(blocks: list[str]):
    assert SSN not in "".join(told(blocks))


@pytest.mark.parametrize("place", [95, 100])
def test_words_before_a_value_count_also_in_the_block_before(place: int):
    """Even where the value is far into its block, and goes on in a third one."""
    key = "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"
    text = '{"kty":"EC",' + " " * 40 + f'"crv":"P-256","d":"{key}"}}\n'
    assert key not in "".join(told(cut(text, [6, place])))


def test_two_numbers_that_only_stand_in_neighbouring_blocks_are_no_value():
    blocks = ["It took 536 ms.", "22 tests, ", "8491 lines"]
    assert told(blocks) == blocks


@pytest.mark.requirement("DP-2")
def test_a_policy_that_blocks_ends_the_answer_before_the_first_part():
    stream = guard_of(ProtectionPlan(actions=(RuleAction(action=Action.BLOCK),)))
    out: list[bytes] = []
    with pytest.raises(Blocked, match="Social Security"):
        out.extend(map(stream.feed, answer(["it is 536-22-", "8491"])))
    assert b"536" not in b"".join(out)


@pytest.mark.parametrize(("action", "wanted"), [(Action.ALERT, ["it is 536-22-", "8491."]), (Action.MASK, None)])
def test_other_actions_see_such_a_value_once(action: Action, wanted: list[str] | None):
    stream = guard_of(ProtectionPlan(actions=(RuleAction(action=action),)))
    raw = pass_on(stream, answer(["it is 536-22-", "8491."]))
    out = [read(raw, 0), read(raw, 1)]
    assert out == (wanted or ["it is ***-**-8491", "[REDACTED]."])
    assert [one.action for one in stream.findings] == [action]


@pytest.mark.parametrize(
    "then",
    [
        PING,
        b": still here\n\n",
        event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
        event({"type": "message_stop"}),
        event({"type": "error", "error": {"message": "x"}}),
        event({"type": "from_the_future"}),
        start(1, type="tool_use", id="toolu_1", name="Read", input={}),
        start(1, type="thinking", thinking="", signature=""),
        delta("{}", 1, "input_json_delta"),
    ],
    ids=lambda raw: raw.decode()[:40],
)
def test_the_end_of_a_block_waits_for_one_event_only(then: bytes):
    """Whatever comes next lets it out, in order."""
    stream = guard_of(DEFAULT)
    before = [start(), delta("call 536-22"), stop()]
    held = b"".join(map(stream.feed, before))
    assert read(held) == ""
    out = held + stream.feed(then)
    assert out == b"".join(before) + then


def test_a_stream_that_is_cut_between_two_blocks_lets_everything_out():
    stream = guard_of()
    events = [start(), delta("call 536-22"), stop(), start(1)]
    assert pass_on(stream, events) == b"".join(events)


def test_after_a_pause_the_part_that_has_not_left_is_taken_out():
    stream = guard_of()
    events = answer(["it is 536-22-", "8491, ok"])
    at = events.index(stop(0)) + 1
    raw = pass_on(stream, [*events[:at], PING, *events[at:]])
    assert read(raw, 0) == "it is 536-22-"
    assert read(raw, 1).startswith("[REDACTED:US_SSN:")
    assert read(raw, 1).endswith("], ok")
    assert [one.path for one in stream.findings] == ["content[1].text"]


def test_what_belongs_to_a_block_stays_in_its_place():
    citation = {"type": "citations_delta", "citation": {"cited_text": "a", "document_title": "b"}}
    cited = event({"type": "content_block_delta", "index": 1, "delta": citation})
    events = [start(), delta("as in 536-22"), stop(), start(1), cited, delta("-84 and", 1), cited, stop(1), *END]
    raw = pass_on(guard_of(), events)
    assert kinds(raw) == kinds(b"".join(events))
    assert raw.count(b"citations_delta") == 2
    assert raw.index(b"as in 536-22") < raw.index(b"citations_delta") < raw.index(b"-84 and") < raw.rindex(b"citations")


def test_a_block_that_begins_with_text_in_its_first_event_is_joined_too():
    events = [start(), delta("it is 536-22-"), stop(), start(1, type="text", text="8491"), stop(1), *END]
    raw = pass_on(guard_of(), events)
    assert b"8491" not in raw
    assert b"536-22" not in raw


def test_a_flood_of_short_blocks_comes_out_as_it_went_in():
    blocks = ["a1"[number % 2] for number in range(600)]
    assert told(blocks, DEFAULT) == blocks


def test_a_flood_of_short_blocks_is_followed_in_bounded_work():
    run = Run()
    for number in range(600):
        block = Block(TextWatcher(scanner(REDACT_ALL), None), "", signed=False)
        run.begin(block)
        block.watcher.feed("a1"[number % 2])
        run.feed("a1"[number % 2])
        block.position = 1
        run.end(block)
    assert 1 <= len(run.chains) <= 40


def test_a_block_that_begins_beside_an_open_one_begins_before_its_text():
    events = [start(), delta("call 536-22"), stop(), start(1), delta("-84", 1), start(2), delta("Done.\n", 2)]
    raw = pass_on(guard_of(DEFAULT), events)
    assert order(raw, "index", None) == [0, 1, 2]
    assert order(raw, "delta", 2) == order(b"".join(events), "delta", 2)


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_however_blocks_are_mixed_each_keeps_its_order_and_no_event_is_lost(chance: random.Random):
    events: list[bytes] = []
    opened: list[int] = []
    for step in range(chance.randint(1, 20)):
        index = chance.choice(opened) if opened else 0
        cited = {"type": "citations_delta", "citation": {"n": step}}
        one = chance.choice(["start", "text", "text", "stop", "ping", "cited", "new"])
        if one == "start" or not opened:
            opened.append(step)
            tool = {"type": "tool_use", "id": "t", "name": "Read", "input": {}}
            events.append(start(step, **(tool if chance.random() < 0.2 else {})))
        elif one == "stop":
            opened.remove(index)
            events.append(stop(index))
        elif one == "text":
            events.append(delta(chance.choice(["Done.", " call 536-22", "-84", "", "a", "\n"]), index))
        elif one == "cited":
            events.append(event({"type": "content_block_delta", "index": index, "delta": cited}))
        else:
            events.append(PING if one == "ping" else event({"type": "from_the_future"}))
    raw = pass_on(guard_of(DEFAULT), events)
    sent = b"".join(events)
    assert sorted(kinds(raw)) == sorted(kinds(sent))
    assert order(raw, "index", None) == order(sent, "index", None)
    for index in range(20):
        assert order(raw, "delta", index) == order(sent, "delta", index)


def order(raw: bytes, member: str, index: int | None) -> list[Any]:
    """That member of each event of a block, or, without one, of each start of a block."""
    every = [json.loads(line[5:]) for line in raw.split(b"\n") if line.startswith(b"data:")]
    if index is None:
        return [one[member] for one in every if one["type"] == "content_block_start"]
    return [(one["type"], one.get(member)) for one in every if one.get("index") == index]
