"""Check digits, checksums and plausibility of values: pure functions of a string, True = plausible.

Numbers arrive as written (separators included) unless the docstring says `digits`.
"""

import math
import re
from collections import Counter

_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")
_SEPARATORS = str.maketrans("", "", " -./\u00a0")


def digits_of(value: str) -> str:
    """`value` without separators."""
    return value.translate(_SEPARATORS)


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1 annex B over ASCII digits."""
    raw = digits.encode()
    return (sum(raw[-1::-2]) + sum(raw[-2::-2].translate(_DOUBLED)) - 48 * len(raw)) % 10 == 0


def mod97(value: str) -> bool:
    """ISO 7064 MOD 97-10 with the first four characters moved to the end (ISO 13616, IBAN)."""
    moved = value[4:] + value[:4]
    return int("".join(str(int(char, 36)) for char in moved)) % 97 == 1


def entropy(value: str) -> float:
    """Shannon entropy in bits per character."""
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in Counter(value).values()) if size else 0.0


_PLACEHOLDER = re.compile(
    r"(?i)x{5,}|\*{3,}|\.{3}|(.)\1{5,}|1234567890?|0123456|abcdef|placeholder|example|sample|dummy|changeme|change_me"
    r"|your[_-]?|redacted|insert|replace|<[a-z _-]+>|\$\{|\{\{|\.\.\.|fake|todo"
)


def not_placeholder(value: str) -> bool:
    return _PLACEHOLDER.search(value) is None


def random_looking(value: str) -> bool:
    """A vendor token's payload: not a placeholder, and at least 2.5 bits per character."""
    return entropy(value) >= 2.5 and not_placeholder(value)


def us_ssn(value: str) -> bool:
    """Area, group and serial as SSA assigns them; published sample numbers are not findings (SSA, POMS RM 10201)."""
    digits = digits_of(value)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if area in {"000", "666"} or area[0] == "9" or group == "00" or serial == "0000":
        return False
    return digits not in {"078051120", "219099999", "457555462"} and len(set(digits)) > 2
