"""Verdicts on tool calls for a client in auto mode: ours beside the upstream's, streamed or not, and never lost."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from assembled import Assembled

from ai_platform.domain.call import Call
from ai_platform.domain.errors import Denied
from ai_platform.gateway.safeguards import Unmergeable, asks_for_verdicts, with_verdicts_in_message

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("PO-2", "PO-4")]

POLICY = """
rules:
  - {name: no-curl, effect: deny, when: 'call.tool == "Bash" && call.arguments.command.contains("curl")', message: No}
"""
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def event(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"


def block(index: int, identifier: str, command: str, *, whole: bool = False) -> list[bytes]:
    """A call of Bash. whole: its arguments stand in the block's beginning."""
    arguments = {"command": command}
    head = {"type": "tool_use", "id": identifier, "name": "Bash", "input": arguments if whole else {}}
    text = msgspec.json.encode(arguments).decode()
    pieces = [] if whole else [text[:9], text[9:]]
    return [
        event("content_block_start", index=index, content_block=head),
        *(
            event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": piece})
            for piece in pieces
        ),
        event("content_block_stop", index=index),
    ]


def ending(results: Any = None) -> bytes:
    delta = {"stop_reason": "tool_use", "new_field": 1.0} | ({} if results is None else {"safeguard_results": results})
    return event("message_delta", delta=delta, usage={"output_tokens": 5}, future=[1])


def available(**tool_uses: Any) -> list[Any]:
    return [{"type": "dangerous_tool_use", "status": {"type": "available", "tool_uses": tool_uses, "v": 2}, "w": 3}]


FINE = {"type": "evaluated", "outcome": "not_flagged"}


def in_auto_mode(call: Call) -> Call:
    return call.with_body(call.body[:-1] + b', "safeguards": [{"type": "dangerous_tool_use"}]}')


@pytest.fixture
def house(tmp_path: Path) -> Assembled:
    return Assembled(tmp_path, POLICY)


async def delta_of(house: Assembled, *chunks: bytes) -> dict[str, Any]:
    house.upstream.chunks = [*chunks, STOP]
    received = b"".join(await house.ask(in_auto_mode(house.call())))
    (line,) = [line for line in received.split(b"\n") if b'"message_delta"' in line and line.startswith(b"data")]
    return msgspec.json.decode(line[6:])


def verdict_of(fields: dict[str, Any], identifier: str) -> dict[str, Any]:
    (entry,) = [entry for entry in fields["safeguard_results"] if entry["type"] == "dangerous_tool_use"]
    return entry["status"]["tool_uses"][identifier]


async def test_a_forbidden_tool_call_is_flagged_and_what_the_upstream_said_stays(house: Assembled):
    other = {"type": "other_kind", "x": [1]}
    found = await delta_of(
        house,
        *block(0, "toolu_1", "curl x"),
        *block(1, "toolu_2", "ls"),
        ending([other, *available(toolu_1=FINE, toolu_2=FINE)]),
    )
    delta = found["delta"]
    assert delta["safeguard_results"][0] == other
    verdict = verdict_of(delta, "toolu_1")
    assert (verdict["type"], verdict["outcome"]) == ("evaluated", "flagged")
    assert "refused by the rule 'no-curl': No. Ask an administrator" in verdict["explanation"]
    assert verdict_of(delta, "toolu_2") == FINE
    assert (delta["stop_reason"], delta["new_field"], found["future"]) == ("tool_use", 1.0, [1])
    assert delta["safeguard_results"][1]["w"] == 3
    facts = house.trail.events[-1].facts
    assert facts["tool_uses_refused"] == [{"id": "toolu_1", "name": "Bash", "rule": "rules.no-curl"}]
    assert facts["result"] == "ok"


async def test_where_the_upstream_said_nothing_ours_is_the_verdict(house: Assembled):
    for results in (None, [], [{"type": "other_kind"}]):
        found = await delta_of(house, *block(0, "toolu_1", "curl x"), ending(results))
        assert verdict_of(found["delta"], "toolu_1")["outcome"] == "flagged"


async def test_what_the_upstream_flagged_itself_keeps_its_reason_beside_ours(house: Assembled):
    theirs = {"type": "evaluated", "outcome": "flagged", "explanation": "Looks like exfiltration."}
    found = await delta_of(house, *block(0, "toolu_1", "curl x"), ending(available(toolu_1=theirs)))
    explanation = verdict_of(found["delta"], "toolu_1")["explanation"]
    assert "no-curl" in explanation
    assert explanation.endswith("Looks like exfiltration.")


async def test_arguments_in_the_beginning_of_a_block_and_blocks_that_overlap_are_judged(house: Assembled):
    one, two = block(0, "toolu_1", "curl x", whole=True), block(1, "toolu_2", "curl y")
    mixed = [one[0], two[0], two[1], one[1], *two[2:]]
    found = await delta_of(house, *mixed, ending(available(toolu_1=FINE, toolu_2=FINE)))
    assert {verdict_of(found["delta"], name)["outcome"] for name in ("toolu_1", "toolu_2")} == {"flagged"}


@pytest.mark.parametrize(
    "results",
    [
        [{"type": "dangerous_tool_use", "status": {"type": "unavailable", "reason": "timeout"}}],
        [{"type": "dangerous_tool_use"}],
        [{"type": "dangerous_tool_use", "status": {"type": "available", "tool_uses": []}}],
        [*available(toolu_1=FINE), *available(toolu_1=FINE)],
        {"type": "dangerous_tool_use"},
        ["dangerous_tool_use"],
        "none",
    ],
)
async def test_a_verdict_that_cannot_be_told_ends_the_answer(house: Assembled, results: Any):
    house.upstream.chunks = [*block(0, "toolu_1", "curl x"), ending(results), STOP]
    with pytest.raises(Denied, match="no-curl"):
        await house.ask(in_auto_mode(house.call()))


async def test_an_answer_that_ends_without_the_event_that_tells_it_is_stopped(house: Assembled):
    house.upstream.chunks = [*block(0, "toolu_1", "curl x"), STOP]
    received: list[bytes] = []
    with pytest.raises(Denied, match="no-curl"):
        await house.ask(in_auto_mode(house.call()), received)
    assert STOP not in b"".join(received)


async def test_an_answer_with_nothing_forbidden_is_the_upstreams_own_bytes(house: Assembled):
    chunks = [*block(0, "toolu_1", "ls"), ending(available(toolu_1=FINE)), STOP]
    house.upstream.chunks = list(chunks)
    assert b"".join(await house.ask(in_auto_mode(house.call()))) == b"".join(chunks)


async def test_a_client_that_asked_for_no_verdicts_gets_no_such_tool_call(house: Assembled):
    house.upstream.chunks = [*block(0, "toolu_1", "curl x"), ending(), STOP]
    received: list[bytes] = []
    with pytest.raises(Denied, match="no-curl"):
        await house.ask(house.call(), received)
    assert event("content_block_stop", index=0) not in b"".join(received)


async def test_a_policy_may_stop_the_answer_in_auto_mode_too(tmp_path: Path):
    house = Assembled(tmp_path, POLICY + "auto_mode: stop\n")
    house.upstream.chunks = [*block(0, "toolu_1", "curl x"), ending(available(toolu_1=FINE)), STOP]
    with pytest.raises(Denied, match="no-curl"):
        await house.ask(in_auto_mode(house.call()))


async def test_a_message_that_is_not_streamed_carries_the_verdict_too(house: Assembled):
    house.upstream.headers = [(b"content-type", b"application/json")]
    message = {
        "id": "msg_1",
        "content": [
            {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "curl x"}},
            {"type": "tool_use", "id": "toolu_2", "name": "Bash", "input": {"command": "ls"}},
        ],
        "safeguard_results": available(toolu_1=FINE, toolu_2=FINE),
        "big": 12345678901234567890,
    }
    house.upstream.chunks = [msgspec.json.encode(message)]
    (body,) = await house.ask(in_auto_mode(house.call(stream=False)))
    found = msgspec.json.decode(body)
    assert verdict_of(found, "toolu_1")["outcome"] == "flagged"
    assert verdict_of(found, "toolu_2") == FINE
    assert found["big"] == message["big"]
    house.upstream.chunks = [msgspec.json.encode(message)]
    with pytest.raises(Denied):
        await house.ask(house.call(stream=False))


@pytest.mark.parametrize(
    ("body", "asks"),
    [
        (b'{"safeguards":[{"type":"dangerous_tool_use","classifier_context":{}}]}', True),
        (b'{"safeguards":[{"type":"other"}]}', False),
        (b'{"safeguards":[]}', False),
        (b'{"safeguards":{}}', False),
        (b'{"safeguards":"dangerous_tool_use"}', False),
        (b'{"messages":[{"content":"\\"safeguards\\":[{\\"type\\":\\"dangerous_tool_use\\"}]"}]}', False),
        (b'{"messages":[{"content":[{"safeguards":[{"type":"dangerous_tool_use"}]}]}]}', False),
        (b"{", False),
    ],
)
def test_only_the_requests_own_field_asks_for_verdicts(body: bytes, asks: object):
    assert asks_for_verdicts(body) == asks


def test_an_explanation_has_a_bound():
    body = with_verdicts_in_message(b"{}", {"toolu_1": "x" * 5000})
    assert len(verdict_of(msgspec.json.decode(body), "toolu_1")["explanation"]) == 1000
    with pytest.raises(Unmergeable):
        with_verdicts_in_message(b"[]", {"toolu_1": "x"})
