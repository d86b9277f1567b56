"""What a text reads as: symbols of other scripts mean the same to every rule, however a text is decoded."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspecting import REDACT_ALL, inspect

from ai_platform.domain.finding import ProtectionPlan
from ai_platform.protection import Scanner
from ai_platform.protection.leaves import Leaf
from ai_platform.protection.literals import decode, finished
from ai_platform.protection.rule import Hit
from ai_platform.protection.view import SYMBOL, View, unfinished, without_symbols

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


RAW = st.lists(
    st.sampled_from(
        [
            "→".encode(),
            "é".encode(),
            b"\\",
            b"u",
            b"0",
            b"n",
            b"\n",
            b"\xe2",
            b"\x86",
            b"\x92",
            b"\\u2192",
            b"\\ud83d",
            b"a",
        ]
    ),
    max_size=12,
).map(b"".join)


@pytest.mark.requirement("DP-7")
@settings(max_examples=1000, deadline=None)
@given(RAW)
def test_the_content_of_a_json_string_has_as_many_characters_without_its_symbols_even_when_it_is_malformed(
    raw: bytes,
) -> None:
    assert len(decode(without_symbols(raw))) == len(decode(raw))


@pytest.mark.requirement("DP-7")
def test_a_value_behind_a_malformed_escape_of_a_symbol_is_redacted_whole() -> None:
    body = b'{"messages":[{"role":"user","content":"' + b"\\\xe2\x86\x92" * 4 + b' ssn: 536-22-8491 and so on"}]}'
    sent = inspect(body, REDACT_ALL).body
    assert b"8491" not in sent
    assert b"536" not in sent
    assert sent.endswith(b' and so on"}]}')


def test_only_symbols_are_replaced() -> None:
    assert without_symbols("12→ok ✓".encode()) == f"12{SYMBOL}ok {SYMBOL}".encode()
    for text in ("naïve →", "\uff14111 →", "a\u200bb →", "x — y"):  # a letter, look-alikes, what is not seen
        assert without_symbols(text.encode()) == text.encode()


def written(char: str) -> st.SearchStrategy[tuple[str, str]]:
    """(how it may stand in a text, what it reads as)."""
    code = ord(char)
    ways = [f"\\u{code:04x}", f"\\x{code:02X}", f"%{code:02x}", f"%25{code:02X}", f"\\u{{{code:x}}}", f"\\U{code:08x}"]
    return st.sampled_from([char, *ways, f"&#{code};", f"&#x{code:X};"]).map(lambda way: (way, char))


PARTS = st.lists(
    st.one_of(
        st.sampled_from("0149aZ-_.:@ ").flatmap(written),
        st.sampled_from(["\u200b", "\u00ad", "&shy;", "\x1b[01;31m", "&#8203;"]).map(lambda way: (way, "")),
        st.sampled_from([("\uff11", "1"), ("\u2011", "-"), ("&nbsp;", " "), ("\\/", "/"), ("\U0001d7ce", "0")]),
    ),
    max_size=12,
)


@given(PARTS)
def test_every_character_is_read_and_is_found_where_it_stands(parts: list[tuple[str, str]]) -> None:
    text = "".join(way for way, _ in parts)
    view = View(text)
    assert view.text == "".join(plain for _, plain in parts)
    begin = seen = 0
    for way, plain in parts:
        if plain:
            assert view.origin(seen) <= begin
            assert view.origin(seen + 1) >= begin + len(way)
            assert View(text[view.origin(seen) : view.origin(seen + 1)]).text == plain
        begin += len(way)
        seen += len(plain)


@given(PARTS)
def test_places_of_a_view_and_of_its_text_only_grow(parts: list[tuple[str, str]]) -> None:
    text = "".join(way for way, _ in parts)
    view = View(text)
    origins = [view.origin(place) for place in range(len(view.text) + 1)]
    places = [view.seen(place) for place in range(len(text) + 1)]
    assert origins == sorted(origins)
    assert places == sorted(places)
    assert places[-1] == len(view.text)


@given(PARTS)
def test_what_a_text_reads_as_does_not_change_by_what_follows(parts: list[tuple[str, str]]) -> None:
    """Wherever it is cut, as far as its end is finished."""
    text = "".join(way for way, _ in parts)
    whole = View(text).text
    for place in range(len(text)):
        begun = text[:place]
        assert whole.startswith(View(begun[: place - unfinished(begun)]).text)


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
