"""Identifiers that sort by time: a ULID (github.com/ulid/spec) behind a short type prefix."""

import secrets

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id(prefix: str, now: float) -> str:
    """`prefix_` + 26 Crockford base-32 characters: 48 bits of milliseconds, 80 random bits."""
    value = (int(now * 1000) << 80) | secrets.randbits(80)
    letters = [_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5)]
    return f"{prefix}_{''.join(letters)}"
