"""Keeps secrets out of what is written for people: log lines and alerts. The last line of defence, not the first."""

import re
from collections.abc import Mapping
from typing import Any

WITHHELD = "[withheld]"

_SECRET_KEYS = frozenset(
    {
        "admin_key",
        "api_key",
        "apikey",
        "authorization",
        "body",
        "cookie",
        "credential",
        "credentials",
        "key",
        "password",
        "private_key",
        "proxy_authorization",
        "secret",
        "set_cookie",
        "token",
        "x_api_key",
    }
)
_SECRET_ENDINGS = ("_api_key", "_password", "_secret", "_token", "_cookie")
_SECRET_TEXT = re.compile(
    r"\b(?:aip_|sk-ant-|sk-)[A-Za-z0-9_\-]{6,}|(?i:\bbearer\s+)[A-Za-z0-9._~+/\-]{6,}=*|\beyJ[A-Za-z0-9_\-]{8,}\.[\w\-.]+"
)
_DEEPEST = 6


def scrub_text(text: str) -> str:
    """`text` with everything that looks like a platform key, an Anthropic key, a bearer token or a JWT withheld."""
    return _SECRET_TEXT.sub(WITHHELD, text)


def scrub(value: Any, *, depth: int = 0) -> Any:
    """A copy of a JSON-like value without secrets: by key name and by look. Too deep a nesting is withheld whole."""
    if isinstance(value, str):
        return scrub_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _DEEPEST:
        return WITHHELD
    if isinstance(value, Mapping):
        return {str(key): _of_key(str(key), item, depth) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [scrub(item, depth=depth + 1) for item in value]
    return scrub_text(str(value))


def _of_key(key: str, value: Any, depth: int) -> Any:
    name = key.lower().replace("-", "_")
    if name in _SECRET_KEYS or name.endswith(_SECRET_ENDINGS):
        return WITHHELD
    return scrub(value, depth=depth + 1)
