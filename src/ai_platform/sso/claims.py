"""Claims of a token: found by a path, and compared with what the configuration demands of them.

Nothing that a token says is ever read as a pattern; patterns stand in the configuration only. Above: mapping,
federation. Below: nothing.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST = 1000
_PARTS = re.compile(r"\*+|[^*]+")
_SEPARATOR = re.compile(r"[/:]")

Wanted = str | bool | int | tuple[str | bool | int, ...]
"""What a claim must be: one value or one of several. In text `*` stands for anything without `/` and `:`, and `**`
for anything.
"""


def claim_at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of that name, else the one that the dots lead to; a name may hold dots itself. None: there is none."""
    if not path or path in claims:
        return claims.get(path)
    for end in range(len(path) - 1, 0, -1):
        inner = claims.get(path[:end]) if path[end] == "." else None
        if isinstance(inner, Mapping) and (value := claim_at(inner, path[end + 1 :])) is not None:
            return value
    return None


def fits(value: Any, wanted: Wanted) -> bool:
    """Whether a claim is what is wanted; of a list one element must be. What is missing fits nothing."""
    texts = list(_texts(value))
    return any(matches(text, pattern) for pattern in patterns_of(wanted) for text in texts)


def patterns_of(wanted: Wanted) -> tuple[str, ...]:
    listed = wanted if isinstance(wanted, tuple) else (wanted,)
    return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in listed)


def matches(text: str, pattern: str) -> bool:
    """The whole text. Takes time by the product of both lengths at most, whatever they are."""
    places = {0}
    for part in _PARTS.findall(pattern):
        if part[0] != "*":
            places = {place + len(part) for place in places if text.startswith(part, place)}
        elif len(part) > 1:
            places = set(range(min(places), len(text) + 1))
        else:
            places = {end for place in places for end in range(place, _end(text, place) + 1)}
        if not places:
            return False
    return len(text) in places


def _end(text: str, place: int) -> int:
    found = _SEPARATOR.search(text, place)
    return found.start() if found else len(text)


def _texts(value: Any) -> Iterator[str]:
    for one in value if isinstance(value, list) else [value]:
        text = str(one).lower() if isinstance(one, bool) else str(one) if isinstance(one, str | int) else ""
        if 0 < len(text) <= LONGEST and text.isprintable():
            yield text
