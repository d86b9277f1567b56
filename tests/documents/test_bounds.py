"""A hostile document costs little and ends in an error, never in a crash or a wrong value."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.documents import DocumentError, load
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.money import Micros

pytestmark = pytest.mark.requirement("PO-1")

Anything = dict[str, Any]


class Price(msgspec.Struct, forbid_unknown_fields=True):
    usd: Decimal
    whole: Micros | None = None
    either: int | str | None = None
    rate: float = 1.0


def _bomb(levels: int) -> str:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_a_billion_laughs_is_refused_before_anything_grows():
    with pytest.raises(DocumentError, match="once its aliases are written out"):
        load(_bomb(30), Anything)


def test_a_few_aliases_are_welcome():
    assert load("a: &a [1, 2]\nb: *a\n", Anything) == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "a: " + "[" * 100_000])
def test_a_tower_of_brackets_is_refused_without_recursion(text: str):
    with pytest.raises(DocumentError, match=r"nests deeper than 32 levels|no key can be"):
        load(text, Anything)


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path):
    with pytest.raises(DocumentError, match="larger than 2048 KiB"):
        load("a" * 3_000_000, Anything)
    big = tmp_path / "big.yaml"
    with big.open("wb") as file:
        file.truncate(10 * 1024 * 1024 * 1024)
    with pytest.raises(ConfigError, match="larger than 2048 KiB"):
        load(big, Anything)
    with pytest.raises(ConfigError, match="larger than 2048 KiB"):
        load(Path("/dev/zero"), Anything)


@pytest.mark.parametrize("number", ["1e999", "0x10", "0o7", "1:30", "01", "1__0e", ".inf", ".nan", "9" * 50, "1e100"])
def test_numbers_that_are_traps_are_refused(number: str):
    with pytest.raises(DocumentError, match=r"must be a number|must be a whole number"):
        load(f"usd: 1\nwhole: {number}\n", Price)
    if number != "01":
        with pytest.raises(DocumentError, match="must be a number"):
            load(f"usd: {number}\n", Price)


def test_amounts_are_exact_decimals_quoted_or_not():
    assert load("usd: 0.10", Price).usd == load("usd: '0.10'", Price).usd == Decimal("0.10")
    assert load("usd: 10_000.5", Price).usd == Decimal("10000.5")


def test_a_union_takes_the_narrowest_reading():
    assert load("usd: 1\neither: 5", Price).either == 5
    assert load("usd: 1\neither: '5'", Price).either == "5"
    assert load("usd: 1\neither: five", Price).either == "five"
    assert load("usd: 1\neither:", Price).either is None


def _error_of(text: str) -> DocumentError | None:
    try:
        load(text, Anything, name="any")
    except DocumentError as error:
        return error
    return None


@given(st.text(max_size=200) | st.text(alphabet="ab:-{}[]&*'\"!|>#%@`, \n\t?", max_size=200))
def test_any_text_gives_a_value_or_an_error_with_a_place_in_the_text(text: str):
    if error := _error_of(text):
        assert 1 <= error.line <= len(text.splitlines()) + 2
        assert error.column >= 1
        assert error.problems
        assert error.excerpt.endswith("^")


_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=10), _plain, max_size=5))
def test_what_json_writes_is_read_back_equal(value: dict[str, Any]):
    text = msgspec.json.encode(value).decode()
    if error := _error_of(text):  # the three honest limits: control characters, invisible breaks, merge keys
        assert re.search("YAML does not allow|invisible line separator|Merge keys", str(error))
    else:
        assert load(text, Anything) == value
