"""Identifiers that sort by time: a ULID (github.com/ulid/spec) behind a short type prefix."""

import os
from itertools import product

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(first + second for first, second in product(_CROCKFORD, repeat=2))
_SHIFTS = tuple(range(120, -1, -10))


def new_id(prefix: str, now: float) -> str:
    """`prefix_` + 26 Crockford base-32 characters: 48 bits of milliseconds, 80 random bits."""
    value = int(now * 1000) << 80 | int.from_bytes(os.urandom(10))
    return prefix + "_" + "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])
