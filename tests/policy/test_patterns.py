"""Patterns of a policy file: linear, bounded in size, matched on whole words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.policy.patterns import BadPattern, Expression, PatternSet, check_pattern, written_out

pytestmark = pytest.mark.requirement("PO-1")


@pytest.mark.parametrize(
    ("pattern", "positions"),
    [
        ("abc", 3),
        ("a|bc", 3),
        ("[a-z]{10}", 10),
        ("[]x]{10}", 10),
        (r"[^\]]{10}", 10),
        ("(ab){3}c", 7),
        ("(a{1,5}b){1,4}", 24),
        (r"\d{3}-\d{2,}", 6),
        (r"\p{L}{4}", 4),
        (r"\(\{", 2),
        ("(?:ab)*", 4),
    ],
)
def test_repeats_are_counted_as_if_written_out(pattern: str, positions: int):
    assert written_out(pattern) == pytest.approx(positions, abs=2)


@pytest.mark.parametrize(
    "pattern", ["(a{1,500}){1,500}", "((((a{99}){99}){99}){99}){99}", "a{999999}", "[a-z]{1,2000}x[0-9]{1,2000}"]
)
def test_a_pattern_that_would_keep_the_compiler_busy_is_refused_at_once(pattern: str):
    with pytest.raises(BadPattern, match="use smaller numbers"):
        check_pattern(Expression(pattern))


@given(st.text(alphabet="ab()[]{}0123456789,\\|*+?^$.-", max_size=40))
def test_any_pattern_compiles_or_is_refused(pattern: str):
    try:
        check_pattern(Expression(pattern or "x"))
    except BadPattern as error:
        assert str(error)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("prod", True),
        ("prod-db", True),
        ("my_prod_db", True),
        ("db.prod:5432", True),
        ("products", False),
        ("reprod", False),
        ("prod1", False),
        ("éprod", False),
        ("prodé", False),
        ("\N{EN DASH}prod\N{EN DASH}", True),
        ("PRODUCTION", True),
        ("productions", False),
    ],
)
def test_a_word_is_matched_whole(text: str, found: bool):  # noqa: FBT001 - a table
    assert bool(PatternSet([Expression("prod|production")]).find(text)) == found


def test_parts_of_words_and_case_can_be_asked_for():
    assert PatternSet([Expression("prod", whole_words=False)]).find("products")
    assert not PatternSet([Expression("PROD", case_sensitive=True)]).find("prod")
    assert PatternSet([Expression("=secret;")]).find("x=secret;y")


def test_no_pattern_finds_nothing():
    assert not PatternSet([])
    assert PatternSet([]).find("anything") == []
