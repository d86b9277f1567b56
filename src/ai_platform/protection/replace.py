"""What stands in the text instead of a value: the same value always gives the same replacement.

The replacement carries a keyed hash, so that it is stable from turn to turn, replica to replica and over restarts, and
two different values stay distinguishable for the model. It contains no character that JSON or a shell must escape.
"""

import json
from collections.abc import Callable

import msgspec

from ai_platform.domain.finding import Action, Finding

_KEPT = {"CREDIT_CARD": 4, "US_SSN": 4, "PHONE_NUMBER": 2, "IBAN_CODE": 4}

MARK = b"[REDACTED:"
"""How every text that stands for a redacted value begins."""

Mint = Callable[[str, str], str]
"""(type, value) -> the token that stands for it."""


def replacement(finding: Finding, value: str, mint: Mint | None = None) -> str | None:
    """The new text, or None when the action leaves the value alone. Without `mint` nothing can be tokenised."""
    match finding.action:
        case Action.MASK:
            return mask(finding.type, value)
        case Action.TOKENISE if mint is not None:
            return mint(finding.type, value)
        case Action.BLOCK | Action.REDACT | Action.TOKENISE:
            told = f":{finding.value_hash[:8]}" if finding.value_hash else ""
            return f"{MARK.decode()}{finding.type}{told}]"
        case _:
            return None


def as_json(text: str) -> str:
    """The text as it stands between the quotes of a JSON string."""
    try:
        return msgspec.json.encode(text).decode()[1:-1]
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write
        return json.dumps(text)[1:-1]


def mask(kind: str, value: str) -> str:
    """Stars for all but what identifies nobody: the last four of a card, the domain of an address."""
    if kind == "EMAIL_ADDRESS":
        local, _, domain = value.partition("@")
        return f"{local[:1]}***@{domain}"
    kept = _KEPT.get(kind, 0)
    hidden = "".join(char if char in " -." else "*" for char in value[: len(value) - kept])
    return (hidden if kept else "****") + (value[len(value) - kept :] if kept else "")
