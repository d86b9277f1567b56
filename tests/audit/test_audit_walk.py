from typing import Any

import pytest
from audit_kit import leaf, memory_log, signer
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.audit.merkle import Frontier, leaf_hash
from ai_platform.audit.note import open_checkpoint
from ai_platform.audit.walk import Calls, Expected, Walk
from ai_platform.domain.event import EventType

BY = signer()
ORIGIN = "test-platform/audit/0"


def walked(rows: list[Any], expected: list[Expected], chunk: int = 7) -> Walk:
    walk = Walk(ORIGIN, expected)
    for at in range(0, len(rows), chunk):
        walk.feed(rows[at : at + chunk])
    walk.finish()
    return walk


def stored(count: int, every: int) -> tuple[list[tuple[int, bytes | None, bytes | None]], list[Expected]]:
    log = memory_log(0, count, every, BY)
    heads = [open_checkpoint(note, [BY.verifier]) for note in log.notes]
    return (
        [(index, data, None) for index, data in enumerate(log.leaves)],
        [Expected(head.size, head.root, f"checkpoint {head.size}") for head in heads],
    )


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 30))
def test_an_untouched_log_has_no_problem_however_it_is_cut_into_chunks(count: int, every: int, chunk: int) -> None:
    rows, expected = stored(count, every)
    walk = walked(rows, expected, chunk)
    assert walk.problems == []
    assert walk.frontier.size == count


@pytest.mark.requirement("AU-3")
@given(st.integers(2, 60), st.integers(1, 20), st.data())
def test_every_kind_of_change_to_the_rows_is_a_problem(count: int, every: int, data: st.DataObject) -> None:
    rows, expected = stored(count, every)
    at = data.draw(st.integers(0, count - 1))
    change = data.draw(st.sampled_from(["edit", "delete", "cut", "swap", "withhold"]))
    if change == "edit":
        rows[at] = (at, leaf(at, ORIGIN, told="otherwise"), None)
    elif change == "delete":
        del rows[at]
    elif change == "cut":
        del rows[at:]
    elif change == "swap":
        other = (at + 1) % count
        rows[at], rows[other] = (at, rows[other][1], None), (other, rows[at][1], None)
    else:
        rows[at] = (at, None, leaf_hash(b"something else"))
    assert walked(rows, expected).problems


def test_a_walk_may_begin_at_a_stored_frontier() -> None:
    rows, expected = stored(50, 10)
    start = Frontier()
    start.extend_leaves([data for _, data, _ in rows[:20] if data])
    walk = Walk(ORIGIN, expected, frontier=start)
    walk.feed(rows[20:])
    walk.finish()
    assert walk.problems == []
    wrong = Frontier()
    wrong.extend_leaves([b"x"] * 20)
    assert Walk(ORIGIN, expected, frontier=wrong).problems


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"not json", "is not an event"),
        (b'{"call_id":"c"}', "is not an event"),
        (leaf(1, ORIGIN), "says it is leaf 1"),
        (leaf(0, "elsewhere/audit/0"), "of elsewhere"),
        (leaf(0, ORIGIN, EventType.PLATFORM, action="audit_log_opened", logs="x"), "is not an event"),
    ],
)
def test_a_row_that_is_not_the_event_of_its_place_is_named(data: bytes, says: str) -> None:
    assert says in walked([(0, data, None)], []).problems[0]


def test_calls_are_paired_whatever_order_the_logs_are_read_in() -> None:
    calls = Calls()
    calls.note("claude_chat_response", "late")
    calls.note("claude_chat_request", "late")
    calls.note("mcp_tool_call", "pair")
    calls.note("mcp_tool_result", "pair")
    calls.note("claude_chat_request", "open")
    assert calls.open == {"open"}
