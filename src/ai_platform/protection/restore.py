"""Puts values back for the tokens in a complete JSON answer, where the caller may see them.

In text always, in tool input where the policy allows, in a signed thinking block never.
Above: guard.py. Below: vault.py, literals.py.
"""

import re
from bisect import bisect_right
from itertools import accumulate

import msgspec

from ai_platform.protection.body import splice
from ai_platform.protection.literals import Places, segments
from ai_platform.protection.vault import TOKEN, Exchange

_TOKEN = re.compile(TOKEN.pattern.encode())
_TEXT = re.compile(r"(?:.*\.)?content\[\d+\]\.text")
_TOOL_INPUT = re.compile(r"(?:.*\.)?content\[\d+\]\.input(?:[.\[].*)?")


def restore_body(body: bytes, exchange: Exchange) -> bytes:
    """The same object when there is nothing to restore."""
    found = list(_TOKEN.finditer(body))
    if not found:
        return body
    parts = segments(body)
    starts = list(accumulate((len(part) + 1 for part in parts), initial=0))[:-1]
    indices = [bisect_right(starts, match.start()) - 1 for match in found]
    places = Places(body, starts, indices, [])
    edits: list[tuple[int, int, bytes]] = []
    for match, index in zip(found, indices, strict=True):
        path = places.path(index)
        allowed = _TEXT.fullmatch(path) or (exchange.tools and _TOOL_INPUT.fullmatch(path))
        value = exchange.restore(match.group().decode()) if allowed and index & 1 and not places.is_key(index) else None
        if value is not None:
            edits.append((*match.span(), msgspec.json.encode(value)[1:-1]))
    return splice(body, edits) if edits else body
