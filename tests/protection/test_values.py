"""Tool arguments and results: JSON of any shape, in both directions."""

import asyncio
import json
from typing import Any

import pytest
from inspecting import CARD, EMAIL, PERSON, SSN, new_guard

from ai_platform.domain.errors import Blocked
from ai_platform.domain.finding import Action, Direction, ProtectionPlan, RuleAction
from ai_platform.protection import Guard, Inspection

REDACT = ProtectionPlan(actions=(RuleAction(action=Action.REDACT),))


def look(
    value: Any,
    plan: ProtectionPlan = REDACT,
    direction: Direction = Direction.OUTPUT,
    *,
    guard: Guard | None = None,
    upstream: str = "",
) -> Inspection:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return asyncio.run((guard or new_guard()).inspect_value(PERSON, raw, plan, direction, upstream=upstream))


@pytest.mark.requirement("DP-2")
@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize(
    "value",
    [
        {"query": f"who has {SSN}?"},
        {"id": SSN, "type": SSN, "name": SSN, "content": [{"id": SSN, "name": SSN, "data": SSN}]},
        {SSN: "as a key"},
        {"deep": {"er": [[[{"x": f"a {SSN}"}]]]}},
        {"ssn": 536228491},
        {"content": [{"type": "text", "text": "536-22-"}, {"type": "text", "text": "8491 it is"}]},
        f"ssn {SSN}",
    ],
)
def test_a_value_is_redacted_wherever_it_stands_in_arguments_and_results(value: Any, direction: Direction):
    told = look(value, direction=direction)
    json.loads(told.body)
    assert told.changed
    assert b"8491" not in told.body
    assert "US_SSN" in {finding.type for finding in told.findings}
    assert told.bytes_checked > 0


def test_what_holds_nothing_passes_as_the_same_bytes():
    raw = b'{"a" : [1, 2.50, "x"],"b":null}'
    told = look(raw)
    assert told.body is raw
    assert not told.changed


@pytest.mark.requirement("DP-2")
def test_arguments_block_each_time_and_are_one_incident():
    guard = new_guard()
    plan = ProtectionPlan()
    told: list[Blocked] = []
    for _ in range(3):
        with pytest.raises(Blocked) as caught:
            look({"note": SSN}, plan, Direction.INPUT, guard=guard)
        told.append(caught.value)
    assert [len(error.news) for error in told] == [1, 0, 0]
    assert all(error.bytes_checked for error in told)
    assert "The tool was not called" in str(told[0])
    assert "(note)" in str(told[0])
    assert SSN not in str(told[0])


def test_a_result_that_the_policy_blocks_is_not_passed_on():
    plan = ProtectionPlan(actions=(RuleAction(action=Action.BLOCK, type="CREDIT_CARD"),))
    with pytest.raises(Blocked) as caught:
        look({"content": [{"type": "text", "text": CARD}]}, plan)
    assert CARD not in str(caught.value)


def test_actions_may_differ_by_the_server_that_gets_the_arguments():
    plan = ProtectionPlan(
        actions=(
            RuleAction(action=Action.ALLOW, type="EMAIL_ADDRESS", upstream="crm*"),
            RuleAction(action=Action.TOKENISE, type="EMAIL_ADDRESS"),
        )
    )
    assert not look({"to": EMAIL}, plan, Direction.INPUT, upstream="crm-eu").changed
    assert EMAIL.encode() not in look({"to": EMAIL}, plan, Direction.INPUT, upstream="mail").body
    assert EMAIL.encode() not in look({"to": EMAIL}, plan, Direction.INPUT).body


@pytest.mark.parametrize("plan", [ProtectionPlan(enabled=False), ProtectionPlan(scan_output=False)])
def test_what_is_switched_off_is_counted_as_unchecked(plan: ProtectionPlan):
    told = look({"note": SSN}, plan)
    assert (told.bytes_checked, told.bytes_unchecked, told.changed) == (0, len(told.body), False)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[" * 100_000 + b'"' + SSN.encode() + b'"',
        b'{"a": "' + SSN.encode(),
        b'{"a": "\xff\xfe ' + SSN.encode() + b' \xc3"}',
        b'{"a": "\\ud83d ' + SSN.encode() + b' \\u12"}',
        b'{"a": 1, "a": "' + SSN.encode() + b'", "a": 2}',
        b'{"a": "\\u0035\\u0033\\u0036-22-8491"}',
        b"\xef\xbb\xbf" + b'{"a": "' + SSN.encode() + b'"}',
    ],
)
def test_hostile_json_never_fails_and_never_leaks(raw: bytes):
    told = look(raw)
    assert SSN.encode() not in told.body
    assert b"22-8491" not in told.body
