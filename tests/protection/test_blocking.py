"""Block on first sight, redact on replay; words that show no value; limits that fail closed."""

import asyncio

import pytest
from inspecting import AWS_KEY, CARD, DEFAULT, EMAIL, PERSON, SECRET, SSN, call, inspect, new_guard, request

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Blocked, Refused
from ai_platform.domain.finding import Action, ProtectionPlan, RuleAction
from ai_platform.domain.principal import Principal
from ai_platform.protection import Guard, MemorySeen, ProtectionSettings
from ai_platform.testing import FakeClock

OTHER = Principal(id="person_2", name="Bob")


@pytest.mark.requirement("DP-2")
def test_a_value_blocks_each_person_once_whatever_the_session():
    guard = new_guard()
    for person in (PERSON, OTHER):
        with pytest.raises(Blocked):
            inspect(request(f"ssn {SSN}"), guard=guard, person=person, session="one")
        replayed = inspect(request("other words", f"again 536 22 8491 ssn {SSN}"), guard=guard, person=person)
        assert SSN.encode() not in replayed.body
    with pytest.raises(Blocked):
        inspect(request(f"ssn {SSN} and card {CARD}"), guard=guard, person=OTHER)


@pytest.mark.requirement("DP-2")
def test_the_message_counts_what_was_found_and_shows_no_value():
    with pytest.raises(Blocked) as caught:
        inspect(request("hi", f"{SSN} {SSN} {AWS_KEY} {EMAIL}"))
    said = str(caught.value)
    assert "2 values that look like a US Social Security number and an AWS access key" in said
    assert "(messages[1].content)" in said
    assert all(value not in said for value in (SSN, AWS_KEY, EMAIL, "536", "AKIA"))
    assert {finding.type for finding in caught.value.findings} == {"US_SSN", "AWS_ACCESS_KEY"}


def test_nothing_of_a_blocked_call_is_let_through_by_asking_twice_at_once():
    guard = new_guard(slice_ms=0.0)
    body = request(f"ssn {SSN}")

    async def twice() -> list[object]:
        calls = [guard.inspect(PERSON, call(body), DEFAULT) for _ in range(2)]
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = asyncio.run(twice())
    assert sum(isinstance(outcome, Blocked) for outcome in outcomes) == 1
    (passed,) = (outcome for outcome in outcomes if not isinstance(outcome, Blocked))
    assert SSN.encode() not in passed.body  # type: ignore[attr-defined]


@pytest.mark.requirement("DP-2")
def test_a_policy_that_does_not_block_redacts_and_still_names_the_incident():
    inspection = inspect(request(f"ssn {SSN}"), ProtectionPlan(block_on_match=False))
    assert SSN.encode() not in inspection.body
    assert [finding.type for finding in inspection.new_incidents] == ["US_SSN"]


def test_a_new_incident_is_told_once():
    guard = new_guard()
    plan = ProtectionPlan(actions=(RuleAction(action=Action.LOG),))
    assert len(inspect(request(f"{SSN} {SSN}"), plan, guard=guard).new_incidents) == 1
    assert inspect(request(SSN), plan, guard=guard).new_incidents == ()


def test_any_detector_may_block_when_the_policy_says_so():
    plan = ProtectionPlan(actions=(RuleAction(action=Action.BLOCK, type="EMAIL_ADDRESS"),))
    guard = new_guard()
    with pytest.raises(Blocked):
        inspect(request(EMAIL), plan, guard=guard)
    assert EMAIL.encode() not in inspect(request(EMAIL), plan, guard=guard).body


def test_replacements_are_the_same_in_every_process_that_has_the_secret():
    plan = ProtectionPlan(block_on_match=False)
    body = request(f"{SSN} {CARD}")
    assert inspect(body, plan, guard=new_guard()).body == inspect(body, plan, guard=new_guard()).body
    other = Guard(ProtectionSettings(), FakeClock(), secret=b"1" * 32)
    assert inspect(body, plan, guard=other).body != inspect(body, plan).body
    assert SECRET not in inspect(body, plan).body


@pytest.mark.parametrize(
    "plan", [ProtectionPlan(enabled=False), ProtectionPlan(scan_input=False), ProtectionPlan(patterns=frozenset())]
)
def test_what_the_policy_switches_off_is_not_done(plan: ProtectionPlan):
    body = request(SSN)
    assert inspect(body, plan).body is body


class Slow(FakeClock):
    """Every look at the clock costs a second."""

    def monotonic(self) -> float:
        self.advance(1.0)
        return super().monotonic()


def test_a_scan_that_takes_too_long_refuses_the_call():
    guard = Guard(ProtectionSettings(time_budget=3.0), Slow(), secret=SECRET)
    body = request(*["some words that hold nothing at all, and more of them " * 2000] * 20)
    with pytest.raises(Refused) as caught:
        inspect(body, guard=guard)
    assert caught.value.reason is Refusal.INSPECTION_FAILED
    assert guard.refused_unfinished == 1


async def test_the_event_loop_is_not_held_up():
    """Others run many times while a large body is inspected."""
    guard = new_guard(slice_ms=0.0)
    guard.prepare(DEFAULT)
    body = request(*["def function(argument): return argument.value + 1  # comment\n" * 3000] * 6)
    turns = 0
    done = asyncio.Event()

    async def other() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    await guard.inspect(PERSON, call(body), DEFAULT)
    done.set()
    await beside
    assert turns > len(body) / 100_000


def test_memory_of_seen_values_is_bounded():
    seen = MemorySeen(3)
    assert [seen.first_sight("p", value) for value in "abcab"] == [True, True, True, False, False]
    assert seen.first_sight("p", "d")  # pushes out "c", seen longest ago
    assert seen.first_sight("p", "c")
    assert not seen.first_sight("p", "b")
