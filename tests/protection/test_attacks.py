"""Attacks on inspection itself: places that cannot be changed, poisoned memories, hostile bodies, races."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
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
    inspect,
    new_guard,
    pass_on,
    read,
    request,
    stop,
)

from ai_platform.domain.errors import Blocked, Refused
from ai_platform.domain.finding import Action, DataClass, ProtectionPlan, RuleAction
from ai_platform.domain.principal import Principal
from ai_platform.protection import Guard, Inspection, ProtectionSettings
from ai_platform.protection.rules import ALL
from ai_platform.testing import FakeClock

GUARD = new_guard()
BILLING = "x-anthropic-billing-header: cc_version=2.1.330.8d9; cc_entrypoint=sdk-cli;"
DEVICE = "4a7d1ed414474e4033ac29ccb8653d9b8654ac1d7f3e7a3f2b4c5d6e7f809a1b"
USER = json.dumps({"device_id": DEVICE, "account_uuid": "", "session_id": "0b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d"})
SIGNATURE = "EqQBCkgIARABGAIiQL4111111111111111AKIAY3T6Q5B7C2D4WXYZ/+=="


def use(**fields: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_01A09q90qw90lq917835lq9", "name": "Read", "input": {}} | fields


def conversation(*blocks: dict[str, Any], **fields: Any) -> bytes:
    results = [{"type": "tool_result", "tool_use_id": each["id"], "content": "ok"} for each in blocks if "id" in each]
    said = [{"role": "assistant", "content": list(blocks)}, {"role": "user", "content": results}] if blocks else []
    return request("hi", *said, **fields)


# --- places that must not be changed --------------------------------------------------------------------------------


@pytest.mark.requirement("DP-2")
@pytest.mark.parametrize(
    "body",
    [
        conversation(use(id=SSN)),
        conversation(use(name=SSN)),
        conversation(metadata={"user_id": f"ssn {SSN}"}),
        conversation(model=SSN),
        conversation(tools=[{"name": SSN, "input_schema": {}}]),
        json.dumps({"requests": [{"custom_id": SSN, "params": json.loads(request("hi"))}]}).encode(),
        conversation({"type": "thinking", "thinking": f"it is {SSN}", "signature": SIGNATURE}),
        conversation({"type": "redacted_thinking", "data": f"ssn {SSN}"}),
    ],
)
def test_a_value_that_cannot_be_taken_out_is_refused_each_time(body: bytes):
    guard = new_guard()
    for attempt in range(3):
        with pytest.raises(Blocked) as caught:
            inspect(body, guard=guard, session="s")
        assert "cannot be replaced" in str(caught.value)
        assert SSN not in str(caught.value)
        assert len(caught.value.news) == (attempt == 0)


@pytest.mark.requirement("DP-2")
def test_what_the_policy_redacts_is_refused_too_where_it_cannot_be():
    plan = ProtectionPlan(actions=(RuleAction(action=Action.REDACT, type="EMAIL_ADDRESS"),))
    with pytest.raises(Blocked, match=r"metadata\.user_id"):
        inspect(request("hi", metadata={"user_id": EMAIL}), plan)
    assert not inspect(request("hi", metadata={"user_id": EMAIL})).changed


def test_signatures_ids_and_the_billing_header_stay_as_they_are():
    told = inspect(
        conversation(
            {"type": "thinking", "thinking": "nothing of note", "signature": SIGNATURE},
            use(),
            system=[{"type": "text", "text": BILLING}, {"type": "text", "text": f"be brief, {SSN}"}],
            metadata={"user_id": USER},
        ),
        REDACT_ALL,
    )
    sent = json.loads(told.body)
    assert sent["system"][0]["text"] == BILLING
    assert sent["metadata"]["user_id"] == USER
    assert sent["messages"][1]["content"][0]["signature"] == SIGNATURE
    assert sent["messages"][1]["content"][1]["id"] == use()["id"]
    assert sent["messages"][2]["content"][0]["tool_use_id"] == use()["id"]
    assert SSN not in told.body.decode()


@pytest.mark.parametrize("text", [f"{BILLING} {SSN}", f"x-anthropic-billing-header: {SSN}", f"{BILLING}\nssn {SSN}"])
def test_what_only_begins_like_the_billing_header_hides_nothing(text: str):
    assert SSN.encode() not in inspect(request("hi", system=[{"type": "text", "text": text}]), REDACT_ALL).body


def test_data_that_is_called_an_image_is_read_all_the_same():
    for data in (f"iVBORw0KGgo {SSN}", f"ssn {SSN}", "iVBORw0KGgo" + "A" * 300 + f" {SSN}"):
        source = {"type": "base64", "media_type": "image/png", "data": data}
        body = request({"role": "user", "content": [{"type": "image", "source": source}]})
        assert SSN.encode() not in inspect(body, REDACT_ALL).body


@pytest.mark.requirement("DP-2", "DP-5")
@pytest.mark.parametrize("value", [SSN, f"ssn {SSN}", CARD, EMAIL, AWS_KEY])
def test_a_value_that_is_a_key_is_not_told_by_the_place_it_stands_in(value: str):
    """Places go into messages, the audit log and incidents."""
    body = request("hi", later={value: 1, "deep": {value: {"under_it": [value]}}})
    guard = new_guard()
    for _ in range(2):
        message = ""
        try:
            found = inspect(body, guard=guard).findings
        except Blocked as error:
            found, message = tuple(error.findings), str(error)
        assert value not in repr(found) + message
        assert {finding.path for finding in found} == {"later.*", "later.deep.*", "later.deep.*.under_it[0]"}


# --- memories -------------------------------------------------------------------------------------------------------


LONG = "The build is green and the review is done; nothing else happened on this day. " * 300


def as_told(inspection: Inspection) -> tuple[object, ...]:
    return inspection.findings, inspection.body, inspection.bytes_checked


@pytest.mark.parametrize("change", ["person", "team", "plan", "upstream"])
def test_what_one_caller_sent_never_decides_about_another(change: str):
    """The same session id and nearly the same body, from somebody else or under another plan."""
    plan = ProtectionPlan(
        actions=(
            RuleAction(action=Action.ALLOW, team="red"),
            RuleAction(action=Action.ALLOW, upstream="own"),
            RuleAction(action=Action.REDACT),
        )
    )
    guard = new_guard()
    body = request(LONG, f"mail {EMAIL} now", LONG)
    red = Principal(id=PERSON.id, name="Ada", team="red")
    first = asyncio.run(
        guard.inspect(
            red if change == "team" else PERSON,
            call(body, session="s"),
            ProtectionPlan(enabled=True, patterns=frozenset({"ssn"})) if change == "plan" else plan,
            ["own"] if change == "upstream" else [],
        )
    )
    assert first.changed is (change == "person")
    other = Principal(id="person_2", name="Bob") if change == "person" else PERSON
    told = asyncio.run(guard.inspect(other, call(body, session="s"), plan, ["cloud"]))
    fresh = asyncio.run(new_guard().inspect(other, call(body, session="s"), plan, ["cloud"]))
    assert as_told(told) == as_told(fresh)
    assert EMAIL.encode() not in told.body


def test_a_body_that_may_fail_over_gets_the_strictest_action_of_all_upstreams():
    plan = ProtectionPlan(
        actions=(
            RuleAction(action=Action.ALLOW, upstream="own-*"),
            RuleAction(action=Action.MASK, upstream="eu", data_class=DataClass.PII),
            RuleAction(action=Action.REDACT),
        )
    )
    body = request(f"ssn {SSN}")
    wanted = {("own-1",): SSN, ("own-1", "eu"): "***-**-8491", ("own-1", "eu", "us"): "[REDACTED", (): "[REDACTED"}
    for upstreams, part in wanted.items():
        told = asyncio.run(new_guard().inspect(PERSON, call(body), plan, upstreams))
        assert part in told.body.decode()


@pytest.mark.parametrize("noise", [b'"', b"\\", b"}", b"{", b"]", b'\\"', b"\x00", b"\xff", b'",'])
def test_a_turn_that_breaks_the_common_beginning_is_read_as_if_it_were_the_first(noise: bytes):
    guard = new_guard()
    body = request(LONG, f"mail {EMAIL}", LONG)
    inspect(body, REDACT_ALL, guard=guard, session="s")
    for place in (1, len(body) // 3, body.index(b"mail"), len(body) - 30, len(body) - 1):
        changed = body[:place] + noise + f"ssn {SSN} ".encode() + body[place:]
        told = inspect(changed, REDACT_ALL, guard=guard, session="s")
        assert as_told(told) == as_told(inspect(changed, REDACT_ALL)), place
        inspect(body, REDACT_ALL, guard=guard, session="s")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_a_client_sends_next_the_session_changes_nothing(data: st.DataObject):
    guard = new_guard()
    body = request(LONG[:20_000], f"mail {EMAIL}", f"ssn {SSN} and {CARD}")
    inspect(body, REDACT_ALL, guard=guard, session="s")
    for _ in range(3):
        start = data.draw(st.integers(0, len(body)))
        stop = data.draw(st.integers(start, min(len(body), start + 3000)))
        new = data.draw(st.sampled_from([b"", b'"', b"\\", b'{"a":"', f'ssn {SSN}", "'.encode(), b"," * 40]))
        body = body[:start] + new + body[stop:]
        assert outcome(body, guard) == outcome(body, new_guard())


def outcome(body: bytes, guard: Guard) -> tuple[object, ...]:
    try:
        return as_told(inspect(body, REDACT_ALL, guard=guard, session="s"))
    except Blocked as error:  # the change landed where nothing can be replaced
        return error.findings, str(error), error.bytes_checked


# --- hostile bodies -------------------------------------------------------------------------------------------------

VALUE = SSN.encode()
HOSTILE: dict[str, bytes] = {
    "two keys of one name": b'{"messages":[{"role":"user","content":"ssn ' + VALUE + b'","content":"hi"}]}',
    "deep nesting": b'{"a":' * 20_000 + b'"ssn ' + VALUE + b'"' + b"}" * 20_000,
    "deep arrays": b"[" * 100_000 + b'"ssn ' + VALUE + b'"' + b"]" * 100_000,
    "brackets that close nothing": b'{"a":"x"' + b"]}" * 1000 + b',"b":"ssn ' + VALUE + b'"}',
    "no end": b'{"messages":[{"content":"ssn ' + VALUE,
    "an escape without end": b'{"content":"ssn ' + VALUE + b" \\u00",
    "a backslash at the end": b'{"content":"ssn ' + VALUE + b"\\",
    "invalid UTF-8": b'{"content":"\xff\xfe ssn ' + VALUE + b' \xc3\x28"}',
    "an overlong encoding": b'{"content":"\xc0\xb5 ssn ' + VALUE + b'"}',
    "half of a pair": b'{"content":"\\ud800 ssn ' + VALUE + b' \\udfff"}',
    "a byte order mark": b'\xef\xbb\xbf{"content":"ssn ' + VALUE + b'"}',
    "white space before": b' \r\n\t{"content":"ssn ' + VALUE + b'"}',
    "a key of a megabyte": b'{"' + b"k" * 1_000_000 + b'":"ssn ' + VALUE + b'"}',
    "the value as a key": b'{"ssn ' + VALUE + b'":1}',
    "a number": b'{"ssn":536228491}',
    "NUL in a string": b'{"content":"\x00ssn ' + VALUE + b'\x00"}',
    "a comment": b'{"content":"hi" /* "ssn ' + VALUE + b'" */}',
    "single quotes": b"{'content':'\"ssn " + VALUE + b"'}",
}


@pytest.mark.requirement("DP-2")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_never_fails_and_never_carries_a_value(name: str):
    body = HOSTILE[name]
    told = inspect(body, REDACT_ALL)
    assert told.changed
    assert VALUE not in told.body
    assert b"536228491" not in told.body
    assert told.bytes_checked > 0


@pytest.mark.parametrize(
    "valid", [b'{"messages":[{"role":"user","content":"a\\n%s\\t\\u00e9\\"%s\\"\\ud83d\\ude00 %s"}]}']
)
@pytest.mark.parametrize("action", [Action.REDACT, Action.MASK, Action.TOKENISE])
def test_a_replacement_leaves_valid_json_whatever_stands_around(valid: bytes, action: Action):
    plan = ProtectionPlan(actions=(RuleAction(action=action),))
    for value in (SSN, CARD, EMAIL, AWS_KEY):
        body = valid.replace(b"%s", value.encode())
        told = json.loads(inspect(body, plan).body)["messages"][0]["content"]
        before = json.loads(body)["messages"][0]["content"]
        assert value not in told
        assert told.replace(told.split("\n")[1].split("\t")[0], value) == before


def test_a_great_many_tiny_blocks():
    blocks = [{"type": "text", "text": text} for text in ["x"] * 400 + ["536", "-22-", "8491 "] + ["x"] * 400]
    told = inspect(request({"role": "user", "content": blocks}), REDACT_ALL)
    found = json.loads(told.body)["messages"][0]["content"]
    assert "536-22-8491" not in "".join(block["text"] for block in found)
    assert [block["text"][:9] for block in found[399:404]] == ["x", "[REDACTED", "[REDACTED", "[REDACTED", "x"]
    with pytest.raises(Refused):  # bounded, not slow
        inspect(request({"role": "user", "content": blocks * 20}), REDACT_ALL)


def test_more_values_than_can_be_handled_are_refused():
    guard = Guard(ProtectionSettings(most_values=100), FakeClock(), secret=SECRET)
    with pytest.raises(Refused):
        inspect(request(" ".join(f"4111-1111-1111-1111 x{number}" for number in range(500))), guard=guard)
    assert guard.refused_unfinished == 1


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_bytes_around_a_value_let_it_through(before: bytes, after: bytes):
    """Inside of a string, whatever else is broken. Letters and digits next to it would make it another word."""
    edge = [b" "] * 2
    body = b'{"a":"' + before.replace(b'"', b"") + edge[0] + b"ssn " + VALUE + edge[1] + after + b'"}'
    if body.split(VALUE)[0].endswith(b"\\ ssn "):
        return
    assert VALUE not in inspect(body, REDACT_ALL).body


@pytest.mark.requirement("DP-2")
def test_what_stands_for_a_value_is_no_finding_when_it_comes_back():
    """A client sends an answer that was redacted again with every later turn: nobody is alerted about that."""
    for kind in {rule.type for rule in ALL}:
        for text in (f"it is [REDACTED:{kind}:6f2ee7ff]", f'password = "[REDACTED:{kind}:6f2ee7ff]"'):
            assert inspect(request(text), guard=GUARD).findings == (), text


# --- races ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DP-2")
def test_calls_of_one_session_at_once_are_refused_once_and_never_pass():
    guard = new_guard(slice_ms=0.0)
    bodies = [request(LONG, f"turn {number}", f"ssn {SSN}, card {CARD}") for number in range(12)]

    async def together() -> list[Any]:
        calls = [guard.inspect(PERSON, call(body, session="s"), DEFAULT) for body in bodies]
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = asyncio.run(together())
    refused = [outcome for outcome in outcomes if isinstance(outcome, Blocked)]
    assert len(refused) == 1
    for outcome in outcomes:
        if isinstance(outcome, Inspection):
            assert SSN.encode() not in outcome.body
            assert CARD.encode() not in outcome.body


@pytest.mark.requirement("DP-2", "DP-4")
def test_a_refused_message_is_redacted_in_every_later_turn_the_same_way():
    guard = new_guard()
    said = [f"my ssn is {SSN}"]
    with pytest.raises(Blocked):
        inspect(request(*said), guard=guard, session="s")
    before = b""
    for number in range(5):
        said.append(f"turn {number}")
        sent = inspect(request(*said), guard=guard, session="s").body
        assert SSN.encode() not in sent
        assert sent.startswith(before[: -len(b"]}")])
        before = sent


@pytest.mark.requirement("DP-3")
def test_a_stream_of_single_bytes():
    text = f"It is {SSN}, and {CARD}. " + "words " * 200 + EMAIL
    stream = new_guard().watch(PERSON, call(), REDACT_ALL)
    said = read(pass_on(stream, [*(delta(char) for char in text), stop()]))
    assert said == read(pass_on(new_guard().watch(PERSON, call(), REDACT_ALL), [delta(text), stop()]))
    assert "8491" not in said
