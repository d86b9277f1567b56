"""Plausibility of secrets: pure functions of a value, True = may be real. Check digits are in checkdigits.py."""

import math
import re
from collections import Counter

_ENOUGH = 512
"""So much of a long value tells what the rest is like."""

_COSTS = [0.0, *(count * math.log2(count) for count in range(1, _ENOUGH + 1))]


def entropy(value: str) -> float:
    """Shannon entropy in bits per character (of the first _ENOUGH characters)."""
    value = value[:_ENOUGH]
    size = len(value)
    return math.log2(size) - sum(map(_COSTS.__getitem__, Counter(value).values())) / size if size else 0.0


_STAND_INS = tuple(
    "xxxxxx *** #### ... your- your_ example sample placeholder redacted changeme change_me abcdefghijk ${ {{ %(".split()
)
_NAMES = ("token", "key", "secret", "usertoserver")
_NAMED = re.compile(r".(?:access|action|auth|api|bot|client|server|user)_?(?:token|key|secret)|.usertoserver")
"""A payload that says what it stands for."""

_DIGIT = re.compile(r"[0-9]")


def numbered(value: str) -> bool:
    """Has it a digit? A search is faster than a look at each character."""
    return _DIGIT.search(value) is not None or (not value.isascii() and any(map(str.isdigit, value)))


def may_repeat(value: str, times: int) -> bool:
    """False: no character stands there `times` times in a row. All characters are compared with the next ones at once."""
    if not value.isascii():
        return True
    number = int.from_bytes(value.encode(), "big")
    return b"\0" * (times - 1) in (number ^ number >> 8).to_bytes(len(value), "big")


_REPEATED = re.compile(r"([A-Za-z0-9])\1{7,}")


def not_placeholder(value: str) -> bool:
    """Not an obvious stand-in: crosses, stars, `your-key`, `...EXAMPLE`, a template's variable (in what tells)."""
    value = value[:_ENOUGH]
    lowered = value.lower()
    if any(map(lowered.__contains__, _STAND_INS)):
        return False
    if any(map(lowered.__contains__, _NAMES)) and _NAMED.search(lowered) is not None:
        return False
    if not may_repeat(value, 8):
        return True
    run = _REPEATED.search(value)
    return run is None or 2 * len(run.group()) < len(value)


def varied(value: str, bits: float) -> bool:
    """Has `value` at least so many bits of entropy per character?"""
    value = value[:_ENOUGH]
    size = len(value)
    if not size:
        return False
    # the least entropy that so many different characters can have: all but one of them once
    least = math.log2(size) - _COSTS[size - len(set(value)) + 1] / size
    return least >= bits or entropy(value) >= bits


def random_looking(value: str) -> bool:
    """A vendor token's payload: not a stand-in, and at least 2.5 bits per character."""
    return varied(value, 2.5) and not_placeholder(value)


def random_after_apikey(value: str) -> bool:
    """A vendor token whose documented prefix holds the word apikey, which elsewhere says that a value is a stand-in."""
    return random_looking(value.partition("apikey_")[2] or value)


def has_digit(value: str) -> bool:
    return numbered(value) and random_looking(value)


def has_letter_and_digit(value: str) -> bool:
    return numbered(value) and any(map(str.isalpha, value)) and random_looking(value)


def has_both_cases(value: str) -> bool:
    return any(map(str.islower, value)) and any(map(str.isupper, value)) and random_looking(value)


def has_three_kinds(value: str) -> bool:
    """Upper case, lower case and digits: for shapes whose prefix alone proves little."""
    return has_both_cases(value) and numbered(value)


def dense(value: str) -> bool:
    """At least 3.5 bits per character, with a digit: for short prefixes before long random tails."""
    return varied(value, 3.5) and has_digit(value)


def after_padding(value: str) -> bool:
    """Random-looking behind a run of `A` (X bearer tokens begin with one)."""
    return random_looking(value.lstrip("A"))


def issued(value: str) -> bool:
    """What a service issues as a key or id: digits and letters mixed, or a long number; no word, no stand-in."""
    return numbered(value) and random_looking(value)
