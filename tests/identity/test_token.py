"""The format of a platform key, as documented for secret scanners."""

import re
import string
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.identity.token import ALPHABET, LENGTH, checksum, has_shape, is_intact, key_id_of, new_token

pytestmark = pytest.mark.requirement("ID-3")


def test_a_key_is_what_the_documentation_says():
    token = new_token()
    assert re.fullmatch(r"aip_[0-9A-Za-z]{48}", token.text)
    assert len(token.text) == LENGTH == 52
    assert token.key_id == "key_" + token.text[4:16] == key_id_of(token.text)
    value = zlib.crc32(token.text[:-6].encode())
    digits = ""
    while value:
        value, digit = divmod(value, 62)
        digits = (string.digits + string.ascii_uppercase + string.ascii_lowercase)[digit] + digits
    assert token.text[-6:] == digits.rjust(6, "0")


def test_the_checksum_of_the_documented_example():
    assert checksum("aip_" + "0" * 42) == "0R2nWm"


def test_the_program_in_the_documentation_knows_a_key_when_it_sees_one():
    page = (Path(__file__).parents[2] / "docs" / "identity.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], names)  # type: ignore[index]
    text = new_token().text
    assert names["is_platform_key"](text)
    assert not names["is_platform_key"](text[:-1] + ("a" if text[-1] != "a" else "b"))


def test_the_secret_part_has_more_than_160_bits():
    assert len(ALPHABET) ** 30 > 2**160
    assert len({new_token().text for _ in range(100)}) == 100


def test_a_key_never_shows_itself_in_a_debug_print():
    token = new_token()
    assert token.text not in repr(token)


@given(st.integers(4, 51), st.sampled_from(ALPHABET))
def test_one_changed_character_is_noticed(place: int, letter: str):
    text = "aip_" + "0" * 42 + checksum("aip_" + "0" * 42)
    changed = text[:place] + letter + text[place + 1 :]
    assert is_intact(changed) == (changed == text)


@given(st.text(max_size=80))
def test_any_text_has_a_shape_or_not(text: str):
    assert has_shape(text) == bool(re.fullmatch(r"aip_[0-9A-Za-z]{48}", text))
    assert not is_intact(text) or has_shape(text)
