"""Turn N costs only its new content and gives what a fresh look gives; the sent prefix never changes."""

import asyncio
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspecting import AWS_KEY, CARD, DEFAULT, EMAIL, PERSON, REDACT_ALL, SSN, call, inspect, new_guard, request

from ai_platform.domain.errors import Blocked
from ai_platform.domain.finding import Action, ProtectionPlan, RuleAction
from ai_platform.domain.principal import Principal
from ai_platform.protection import Guard, Inspection
from ai_platform.protection import body as bodies
from ai_platform.protection.rules import ALL
from ai_platform.protection.sessions import common_prefix, common_suffix

FILLER = "The build is green and the review is done; nothing else happened on this day. " * 60


def turn(number: int, *texts: str) -> list[dict[str, Any]]:
    use = {"type": "tool_use", "id": f"toolu_{number}", "name": "Read", "input": {"file_path": f"/src/{number}.py"}}
    result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": FILLER}
    said = [{"type": "text", "text": text} for text in texts]
    return [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result, *said]}]


def conversation(turns: list[list[dict[str, Any]]]) -> bytes:
    """As Claude Code sends it: a cache marker on the last block, which moves from turn to turn."""
    messages = json.loads(json.dumps([message for each in turns for message in each]))
    messages[-1]["content"][-1]["cache_control"] = {"type": "ephemeral"}
    return request(
        {"role": "user", "content": "start"}, *messages, system=[{"type": "text", "text": "You are Claude."}]
    )


def as_told(inspection: Inspection) -> tuple[object, ...]:
    return (
        inspection.findings,
        inspection.body,
        inspection.bytes_checked,
        inspection.bytes_unchecked,
        inspection.leaves,
    )


@pytest.mark.requirement("DP-4")
@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([DEFAULT, REDACT_ALL]))
def test_a_later_turn_is_told_as_if_it_were_the_first(random_: random.Random, plan: ProtectionPlan):
    said = [EMAIL, "jane", "4111", "no", f"password = {'x' * 3}k9Qz7", *(rule.examples[0] for rule in ALL[:40])]
    logged = ProtectionPlan(actions=(RuleAction(action=Action.REDACT, type="EMAIL*"), RuleAction(action=Action.LOG)))
    used = plan if plan is REDACT_ALL else logged
    guard = new_guard()
    turns: list[list[dict[str, Any]]] = []
    for number in range(random_.randint(3, 7)):
        if turns and random_.random() < 0.25:
            turns.pop(random_.randrange(len(turns)))  # the client edits or compacts its history
        if turns and random_.random() < 0.25:
            place = random_.randrange(len(turns))
            turns[place] = turn(place, random_.choice(said))
        turns.append(turn(number, *(random_.choice(said) for _ in range(random_.randint(0, 2)))))
        body = conversation(turns)
        if random_.random() < 0.2:
            body = body[: random_.randint(len(body) // 2, len(body))]
        assert as_told(inspect(body, used, guard=guard, session="s")) == as_told(inspect(body, used))


@pytest.mark.requirement("DP-4")
def test_twenty_turns_keep_the_sent_prefix_byte_for_byte():
    """What stands before the client's cache marker of one turn is what the next turn sends again."""
    guards = [new_guard(), new_guard()]  # two replicas
    turns: list[list[dict[str, Any]]] = []
    before = b""
    for number in range(20):
        value = [SSN, EMAIL, CARD, AWS_KEY, "nothing"][number % 5]
        turns.append(turn(number, f"turn {number}: {value}"))
        body = conversation(turns)
        for guard in guards:
            if number < 5:
                try:
                    inspect(body, guard=guard, session="s")
                except Blocked:
                    assert value in {SSN, CARD, AWS_KEY}
        sent = inspect(body, guard=guards[number % 2], session="s").body
        if before:
            assert sent.startswith(before)
        before = sent[: sent.rindex(b', "cache_control"')]
    fresh = inspect(body, ProtectionPlan(block_on_match=False)).body
    assert sent == fresh
    assert all(value.encode() not in sent for value in (SSN, CARD, AWS_KEY))


@pytest.mark.requirement("DP-4", "DP-2")
@pytest.mark.parametrize("action", [Action.REDACT, Action.MASK, Action.TOKENISE])
def test_twenty_turns_keep_the_sent_prefix_with_every_action_on_every_replica_and_after_restarts(action: Action):
    """Whoever takes a turn, with or without a memory of the turns before, sends the same beginning."""
    plan = ProtectionPlan(actions=(RuleAction(action=action),))
    lasting = [new_guard(), new_guard()]
    turns: list[list[dict[str, Any]]] = []
    before = b""
    values = [SSN, EMAIL, CARD, AWS_KEY, "DE89370400440532013000", "+1 415 555 0132"]
    for number in range(20):
        value = values[number % len(values)]
        turns.append(turn(number, f"turn {number}: {value}", f"and again {values[number % 2]}"))
        body = conversation(turns)
        sent = {inspect(body, plan, guard=guard, session="s").body for guard in (*lasting, new_guard())}
        assert len(sent) == 1
        (now,) = sent
        assert now.startswith(before)
        assert all(value.encode() not in now for value in (SSN, EMAIL, CARD, AWS_KEY))
        before = now[: now.rindex(b', "cache_control"')]


@pytest.mark.requirement("DP-4")
def test_a_turn_reads_only_what_is_new(monkeypatch: pytest.MonkeyPatch):
    guard = new_guard()
    turns = [turn(number, "hello") for number in range(30)]
    first = inspect(conversation(turns), guard=guard, session="s")
    read: list[int] = []
    original = bodies.cut
    monkeypatch.setattr(bodies, "cut", lambda body, *part: read.append(part[1] - part[0]) or original(body, *part))
    turns.append(turn(30, "something new"))
    second = inspect(conversation(turns), guard=guard, session="s")
    assert second.bytes_checked > first.bytes_checked
    assert sum(read) < 2 * len(json.dumps(turns[-1]))


def test_conversations_of_one_session_do_not_disturb_one_another():
    guard = new_guard()
    one, two = [turn(1, "alpha")], [turn(1, EMAIL)]
    for number in range(2, 12):
        for turns in (one, two):
            turns.append(turn(number, "more"))
            body = conversation(turns * 3)
            assert as_told(inspect(body, REDACT_ALL, guard=guard, session="s")) == as_told(inspect(body, REDACT_ALL))


def test_sessions_do_not_grow_without_bound():
    guard = new_guard(session_bytes=200_000)
    bodies = [conversation([turn(number, EMAIL) for number in range(count)]) for count in range(5, 25)]
    for number, body in enumerate(bodies):
        told = inspect(body, REDACT_ALL, guard=guard, session=f"s{number % 3}")
        assert as_told(told) == as_told(inspect(body, REDACT_ALL))
    assert guard._sessions._size <= 200_000


def test_the_same_person_in_two_teams_and_plans():
    guard = new_guard()
    body = conversation([turn(number, EMAIL) for number in range(8)])
    red = ProtectionPlan(actions=(RuleAction(action=Action.MASK, team="red"),))
    assert not inspect(body, red, guard=guard, session="s").changed
    person = Principal(id=PERSON.id, name="Ada", team="red")
    assert inspect(body, red, guard=guard, person=person, session="s").changed
    assert not inspect(body, red, guard=guard, session="s").changed


def test_calls_of_one_session_that_run_side_by_side():
    guard = new_guard(slice_ms=0.0)
    bodies = [conversation([turn(number, EMAIL) for number in range(count)]) for count in (6, 7, 8, 9)]

    async def together(guard: Guard) -> list[Inspection]:
        calls = [guard.inspect(PERSON, call(body, session="s"), REDACT_ALL) for body in bodies]
        return await asyncio.gather(*calls)

    for inspection, body in zip(asyncio.run(together(guard)), bodies, strict=True):
        assert as_told(inspection) == as_told(inspect(body, REDACT_ALL))


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=300))
def test_common_beginnings_and_ends(shared: bytes, one: bytes, two: bytes):
    length = common_prefix(shared + one, shared + two)
    assert (shared + one)[:length] == (shared + two)[:length]
    assert length >= len(shared)
    longer = (shared + one)[: length + 1], (shared + two)[: length + 1]
    assert longer[0] != longer[1] or length == len(shared + one) == len(shared + two)
    end = common_suffix(one + shared, two + shared, len(shared))
    assert end == len(shared)
