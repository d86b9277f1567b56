import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.audit.canonical import canonical, is_common, number
from ai_platform.domain.event import EventType

# RFC 8785 appendix B: IEEE 754 bits and the text ECMAScript gives them.
NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=5),
    max_leaves=20,
)


@pytest.mark.requirement("AU-3")
@pytest.mark.parametrize(("bits", "text"), NUMBERS)
def test_a_double_is_spelled_as_the_standard_lists_it(bits: str, text: str) -> None:
    assert number(struct.unpack(">d", bytes.fromhex(bits))[0]).decode() == text


@pytest.mark.requirement("AU-3")
def test_keys_are_sorted_by_utf_16_and_strings_escaped_as_in_the_standard() -> None:
    # RFC 8785 sections 3.2.2.2 and 3.2.3.
    value = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    order = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(canonical(value))) == order
    assert canonical("\u20ac$\u000f\nA'\u0042\u0022\u005c\\\"/") == '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'.encode()


@given(values)
def test_reading_canonical_bytes_and_writing_them_again_changes_nothing(value: Any) -> None:
    text = canonical(value)
    assert canonical(json.loads(text, parse_int=float)) == text  # every number of JSON is a double to the standard


@given(values)
def test_the_same_value_with_its_keys_in_another_order_has_the_same_bytes(value: Any) -> None:
    def turned(inner: Any) -> Any:
        if isinstance(inner, dict):
            return {key: turned(inner[key]) for key in reversed(list(inner))}
        return [turned(item) for item in inner] if isinstance(inner, list) else inner

    assert canonical(turned(value)) == canonical(value)


@given(st.floats() | st.floats(-1000, 1000) | st.floats(-1e-3, 1e-3))
def test_the_fast_way_spells_every_number_it_accepts_as_the_standard_does(value: float) -> None:
    if is_common(value):
        assert canonical({"n": value}) == b'{"n":' + number(value) + b"}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**53, b"9007199254740992"),
        (2**53 + 1, b'"9007199254740993"'),
        (-(2**70), b'"-1180591620717411303424"'),
        (float("nan"), b"null"),
        (float("-inf"), b"null"),
        (12.0, b"12"),
        ("a\ud800b", '"a\ufffdb"'.encode()),
        ("a\x00b", '"a\ufffdb"'.encode()),
        (EventType.PLATFORM, b'"platform"'),
        ((1, (2,)), b"[1,[2]]"),
    ],
)
def test_what_the_standard_cannot_spell_is_respelled_and_never_refused(value: Any, text: bytes) -> None:
    assert canonical({"k": value}) == b'{"k":' + text + b"}"


def test_something_without_a_json_form_is_an_error_of_the_caller() -> None:
    with pytest.raises(TypeError):
        canonical({"k": object()})
