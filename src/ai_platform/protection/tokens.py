"""How a token is written, and where in a body text of that shape stands: `EMAIL_ADDRESS_7QK3ZD2AX`.

The type, eight characters of a keyed hash, and a check character. Above: vault.py, exchange.py, watcher.py. Below:
nothing.
"""

import re
from functools import cache

import hyperscan

from ai_platform.protection.database import compiled

TOKEN = re.compile(r"(?:(?<![A-Za-z0-9_])|(?<=\\[nrt]))[A-Z][A-Z0-9_]{1,38}_[A-Z2-7]{9}(?![A-Za-z0-9_])")
"""Also behind an escaped line end or tab, as in JSON or source code."""

LONGEST = 49
SAID = frozenset({"text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "mcp_tool_use"})
"""Types of blocks that hold what the model itself said. What the others hold it was shown: results of tools that run at
the upstream stand in its answers too.
"""

MOST_LITERALS = 4096
"""A body with more places that look like tokens gets nothing restored in its answer."""

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_BYTES = re.compile(TOKEN.pattern.encode())


class TooManyTokensError(Exception):
    """Nobody writes so many."""


def check_character(body: str) -> str:
    total = sum(_ALPHABET.index(char) * (place + 1) for place, char in enumerate(body))
    return _ALPHABET[total % 31]


def is_token(text: str) -> bool:
    """Is it shaped like a token, check character included?"""
    return TOKEN.fullmatch(text) is not None and check_character(text[-9:-1]) == text[-1]


def tokens_in(body: bytes) -> list[tuple[int, str]]:
    """(offset, token) of every text of that shape. Raises TooManyTokensError."""
    ends: list[int] = []

    def on_match(_number: int, _start: int, end: int, _flags: int, _context: object) -> bool:
        ends.append(end)
        return len(ends) > MOST_LITERALS

    try:
        _endings().scan(body, match_event_handler=on_match)
    except hyperscan.ScanTerminated as error:
        raise TooManyTokensError from error
    found: dict[int, str] = {}
    for end in ends:
        for match in _BYTES.finditer(body, max(0, end - LONGEST), end + 1):
            token = match.group().decode()
            if match.end() == end and is_token(token):
                found[match.start()] = token
    return sorted(found.items())


@cache
def _endings() -> hyperscan.Database:
    return compiled([(r"_[A-Z2-7]{9}\b", 0)])
