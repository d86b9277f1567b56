"""What is taken for prose, and that a text is always cut in the same way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.protection.prose import LONGEST, is_prose, pieces

pytestmark = pytest.mark.requirement("DP-1")


@pytest.mark.parametrize(
    "line",
    [
        "Please ask Ann-Marie O'Brien about it.",
        "- Dr. J. R. Müller (cardiology) will call",
        "> “Never again”, said Grace Hopper.",
        "# The people who wrote this",
        "1. Ask Ronald McDonald, who said that in May 2024.",
        "Then `parse_all()` was given to Ada by `Foo.bar`",
        "Позвоните Анне Ивановой завтра утром",
        "She said that Jane Doe's car is red!",
    ],
)
def test_a_line_that_people_write_is_prose(line: str):
    assert is_prose(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Grace Hopper",
        "    def greet(self, other_person: Person) -> str:",
        "from ai_platform.domain import finding",
        '{"first": "Grace", "last": "Hopper"}',
        "| Grace Hopper | 1906 | x |",
        "2026-05-01 12:00:01 INFO userService started pid=12",
        "const userName = getUserName(aliceCooper);",
        "x = [john_doe, jane_doe]",
    ],
)
def test_code_and_data_are_no_prose(line: str):
    assert not is_prose(line)


def test_a_short_line_belongs_to_the_prose_before_it():
    letter = "Thank you for all of this.\n\nRegards,\nGrace Hopper\n"
    assert "".join(letter[start:end] for start, end in pieces(letter)) == letter.replace("\n\n", "\n")
    assert list(pieces("Grace Hopper\nRegards,\n")) == []
    assert list(pieces("Thank you for this.\nx_1 = 2\nGrace Hopper\n")) == [(0, 20)]


def test_fenced_code_is_left_out():
    text = "Here is the code now:\n```py\nthis is for you only\n```\nAnd that was all of it.\n"
    assert [text[start:end] for start, end in pieces(text)] == ["Here is the code now:\n", "And that was all of it.\n"]


@given(st.lists(st.sampled_from(["so it is", " ", "\n", "\r\n", "```", "x_1", "Ada", "\u2028", "é" * 700, "\n\n"])))
def test_pieces_are_bounded_ascending_and_within_the_text(parts: list[str]):
    text = "".join(parts)
    found = list(pieces(text))
    assert all(0 < end - start <= LONGEST for start, end in found)
    places = [place for span in found for place in span]
    assert places == sorted(places)
    assert not places or places[-1] <= len(text)
