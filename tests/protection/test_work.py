"""The work of inspecting grows with the length of a text and no faster: counted in calls, never in seconds.

A call is one event of the interpreter's profiler (a function of Python or C); what regular expressions do within one
call is bounded by how much text a rule may read, which is checked for every rule. Dear units are kept in WORST.
"""

import gc
import json
import sys
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspecting import SECRET, scanner

from ai_platform.domain.finding import Direction
from ai_platform.protection.body import BodyInspector, Memo
from ai_platform.protection.probe import LONGEST
from ai_platform.protection.rules import ALL
from ai_platform.protection.scanner import Scanner, TooManyValues

SMALL, LARGE = 8_000, 32_000
ALLOWANCE = 60_000
"""Of the calls that are spent on alerts before their share is used up, whatever the length (attention.py)."""

WORST = (
    "key=abcd1234 ",
    "password=q8Rk2Lm5Nw ",
    "Bearer q8Rk2Lm5Nw7Pz4Xc6Vb9 ",
    "https://ab:q8Rk2Lm5@h.io ",
    "a@b.",
    "4111111111111111 ",
    "536-22-8491 ",
    "DE89370400440532013000 ",
    "AKIAY3T6Q5B7C2D4WXYZ ",
    "eyJhbGciOiJIUzI1NiJ9.",
    "-----BEGIN RSA PRIVATE KEY-----\n",
    "token token= token:",
    "\\",
    "\\\\u0034",
    '\\"',
    "%34",
    "\u200b1",
    "\u0664",
    "QUJDREVGR0hJSktMTU5PUFFS",
    "/+-_",
    " -./,;:|",
    '{"a":"',
    "[",
    "1,",
    "123456789012,",
    "ssn ",
    "+1(",
    "1.",
    ":1",
    "\u200b_prod_ta6guOAeeyJpassword=sqp_ghp_",
    "0*ramp_tok_PfCxLv4CXGWxOjXTuoLJb1rhQZAIAiq6cd8asqACpassword=",
    "8*rk_prod_tMPBaxguy4OAeHpassCword=sqp_ghgésa%34p",
    "ECAPI-fm2_n8q8Rk2Lm5Nw7Papi_9",
    "+447700900123456789ab ",
    "GR1348941 ",
)
UNITS = st.lists(
    st.one_of(
        st.sampled_from(WORST),
        st.sampled_from([start for rule in ALL for start in rule.starts]),
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=4),
        st.text(" \n\t\"'`=:,;.@/\\%-_+#0123456789abcDEF", min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
).map("".join)


def work(text: str, *, share: int = 0) -> int:
    """Calls that inspecting the text takes, as one string of a body that was never seen."""
    raw = json.dumps({"messages": [{"role": "user", "content": text}]}, ensure_ascii=False)
    return work_of(raw.encode("utf-8", "surrogatepass"), share=share)


def work_of(body: bytes, *, share: int = 0) -> int:
    """As `work`, of a body."""
    made = BodyInspector(Scanner(scanner().plan, secret=SECRET, most_values=share), Memo(100, SECRET))
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    gc.disable()
    sys.setprofile(count)
    try:
        for _ in made.whole(body, Direction.INPUT, None):
            pass
    except TooManyValues:  # refused here, which costs no more
        pass
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls


def repeated(unit: str, size: int) -> str:
    return (unit * (size // len(unit) + 1))[:size]


def assert_linear(unit: str) -> None:
    small, large = work(repeated(unit, SMALL)), work(repeated(unit, LARGE))
    assert large <= 1.25 * (LARGE / SMALL) * small + 2_000, (unit, small, large)
    assert large <= ALLOWANCE + 12 * LARGE, (unit, large)


@pytest.mark.parametrize("unit", WORST)
def test_the_calls_that_known_worst_inputs_take_grow_with_their_length(unit: str) -> None:
    assert_linear(unit)


@settings(max_examples=40, deadline=None)
@given(UNITS)
def test_the_calls_that_any_repeated_unit_takes_grow_with_its_length(unit: str) -> None:
    assert_linear(unit)


def test_the_calls_that_blocks_take_whose_texts_may_be_one_value_grow_with_their_number() -> None:
    def blocks(count: int) -> bytes:
        texts = [{"type": "text", "text": f"password=q8Rk{number:06d}"} for number in range(count)]
        return json.dumps({"messages": [{"role": "user", "content": texts}]}).encode()

    small, large = work_of(blocks(400)), work_of(blocks(1_600))
    assert large <= 1.25 * 4 * small, (small, large)


def _repeats(tree: Any, depth: int = 0) -> int:
    """How many repeats with a free count stand within one another, at the most."""
    deepest = depth
    for operation, argument in tree:
        if operation in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            low, high, inner = argument
            deepest = max(deepest, _repeats(inner, depth + (high != low and high > 1)))
        elif operation is sre.POSSESSIVE_REPEAT or operation is sre.ATOMIC_GROUP:
            continue  # is not tried in another way
        elif operation is sre.SUBPATTERN:
            deepest = max(deepest, _repeats(argument[3], depth))
        elif operation is sre.BRANCH:
            deepest = max(deepest, *(_repeats(branch, depth) for branch in argument[1]))
        elif operation in (sre.ASSERT, sre.ASSERT_NOT):
            deepest = max(deepest, _repeats(argument[1], depth))
    return deepest


@pytest.mark.parametrize("rule", [rule for rule in ALL if rule.confirm], ids=lambda rule: rule.id)
def test_a_confirmation_reads_a_bounded_text_without_endless_ways_to_try(rule: Any) -> None:
    tree = _parser.parse(rule.confirm)
    assert tree.getwidth()[1] <= LONGEST
    assert _repeats(tree) <= 2, rule.confirm
