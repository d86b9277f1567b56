"""What a text reads as: symbols of other scripts mean the same to every rule, however a text is decoded."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_platform.domain.finding import ProtectionPlan
from ai_platform.protection import Scanner
from ai_platform.protection.leaves import Leaf
from ai_platform.protection.literals import finished
from ai_platform.protection.rule import Hit
from ai_platform.protection.view import SYMBOL, View, without_symbols

TEXT = st.text(st.sampled_from("ab1 4→✓“│é\u0664\uff14\u200b\U0001f600-—\n%\\"), max_size=60)


@given(TEXT)
def test_a_text_without_its_symbols_has_as_many_characters_and_the_same_view(text: str) -> None:
    plain = without_symbols(text.encode()).decode()
    assert len(plain) == len(text)
    assert View(plain).text == View(text).text


@given(st.binary(max_size=40))
def test_bytes_that_are_no_utf8_are_given_back_as_they_are_or_without_whole_symbols(raw: bytes) -> None:
    shown = without_symbols(raw)
    assert shown == raw or shown.isascii()


def test_only_symbols_are_replaced() -> None:
    assert without_symbols("12→ok ✓".encode()) == f"12{SYMBOL}ok {SYMBOL}".encode()
    for text in ("naïve →", "\uff14111 →", "a\u200bb →", "x — y"):  # a letter, look-alikes, what is not seen
        assert without_symbols(text.encode()) == text.encode()


@pytest.mark.requirement("DP-7")
@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("→✓“│…"), min_size=1, max_size=12).map("".join))
def test_a_value_among_symbols_is_found_where_it_stands(symbols: str) -> None:
    text = f"{symbols} ssn: 536-22-8491 {symbols}\n"
    leaf = Leaf(0, 0, text.encode(), "")
    shown = finished(leaf.shown_in_steps())
    scanner = Scanner(ProtectionPlan())
    for seen in (text, shown):
        [hit] = scanner.hits(seen)
        assert text[hit.start : hit.end] == "536-22-8491"


PIECES = (
    "ssn: 536-22-8491",
    "536\\u002d22-8491",
    "&#53;36-22-8491",
    "%35%33%36-22-8491",
    "536\u200b-22-8491",
    "4111 1111 1111 1111",
    "→ ✓",
    "\\",
    "%4",
    "&#5",
    "\0",
    "&#0;",
    "\u200b",
    "plain",
)


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=4).map("".join), max_size=8))
def test_texts_that_are_searched_together_hold_what_each_holds_alone(texts: list[str]) -> None:
    scanner = Scanner(ProtectionPlan())
    together = {index: _places(hits) for index, hits in scanner.sweep(texts, 1000) if index >= 0}
    alone = {index: _places(scanner.hits(text)) for index, text in enumerate(texts)}
    assert together == {index: places for index, places in alone.items() if places}


def _places(hits: list[Hit]) -> list[tuple[int, int, str]]:
    return sorted((hit.start, hit.end, hit.rule.id) for hit in hits)
