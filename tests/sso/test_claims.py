"""Claims and the patterns they are compared with: a pattern is never taken from a token, a value never as a pattern."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.sso.claims import claim_at, fits, matches


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("acme/web", ["acme/web"], ["acme/we", "acme/web2", "Acme/web", "xacme/web", "acme/web/", "acme/*", ""]),
        ("acme/*", ["acme/web", "acme/"], ["acme/web/x", "acme", "evil/acme/web", "acme/a:b"]),
        ("refs/heads/**", ["refs/heads/a/b", "refs/heads/"], ["refs/head", "refs/tags/a"]),
        ("refs/tags/v*", ["refs/tags/v1.2"], ["refs/tags/x", "refs/tags/v1/2"]),
        (
            "repo:acme/*:ref:refs/heads/main",
            ["repo:acme/web:ref:refs/heads/main"],
            [
                "repo:acme/web:ref:refs/heads/x:ref:refs/heads/main",
                "repo:acme/web:environment:a:ref:refs/heads/main",
                "repo:acme/a/b:ref:refs/heads/main",
                "repo:acmeevil/web:ref:refs/heads/main",
            ],
        ),
        ("a.c", ["a.c"], ["abc"]),
        ("[ab](x)+", ["[ab](x)+"], ["a", "ax"]),
        ("**a*b", ["a/ab", "ab", "x/y/a1b"], ["a/b", "ba"]),
    ],
)
def test_a_pattern_fits_the_whole_text_and_a_star_stops_at_separators(pattern: str, good: list[str], bad: list[str]):
    assert [text for text in good if not matches(text, pattern)] == []
    assert [text for text in bad if matches(text, pattern)] == []


@given(st.text("ab/:*", max_size=12), st.text("ab/:*", max_size=8))
def test_matching_is_what_the_regular_expression_says(text: str, pattern: str):
    parts = re.findall(r"\*+|[^*]+", pattern)
    expression = "".join(re.escape(one) if one[0] != "*" else ".*" if len(one) > 1 else "[^/:]*" for one in parts)
    assert matches(text, pattern) == (re.fullmatch(expression, text) is not None)


def test_the_worst_pattern_on_the_worst_text_is_bounded():
    assert not matches("a" * 1000, "**a*" * 20 + "b")


@pytest.mark.parametrize(
    ("value", "wanted", "fitting"),
    [
        ("*", "acme", False),
        ("acme*", "acme", False),
        (["x", "acme"], "acme", True),
        (["x"], "acme", False),
        ([], "acme", False),
        ([["acme"]], "acme", False),
        (None, "acme", False),
        (None, "None", False),
        (True, True, True),
        ("true", True, True),
        (False, True, False),
        (1, True, False),
        (12, 12, True),
        ("12", 12, True),
        (12.0, 12, False),
        ({"a": 1}, "a", False),
        ("acme\n", "acme*", False),
        ("a" * 1001, "a*", False),
        ("two", ("one", "two"), True),
        ("three", ("one", "two"), False),
    ],
)
def test_a_claim_fits_or_not(value: Any, wanted: Any, fitting: Any):
    assert fits(value, wanted) is fitting


def test_a_claim_is_found_by_its_name_or_by_a_path_through_objects():
    claims = {"a.b": 1, "a": {"b": 2, "c": 3}, "kubernetes.io": {"pod": {"name": "p"}}, "n": None, "t": "x"}
    assert claim_at(claims, "a.b") == 1
    assert claim_at(claims, "a.c") == 3
    assert claim_at(claims, "kubernetes.io.pod.name") == "p"
    assert [claim_at(claims, path) for path in ("", "n", "t.x", "kubernetes.io.pod.name.x", "a.b.c", "zz", "..")] == [
        None
    ] * 7
