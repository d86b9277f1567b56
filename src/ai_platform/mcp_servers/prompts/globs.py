"""Globs over paths as git's `:(glob)` reads them: `*` stays within a folder, `**` crosses folders, and a plain name of
a folder means all below it. For repositories that are not here. No backtracking; patterns are bounded.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate

from ai_platform.mcp_servers.prompts.material import Unfilled

MOST_PARTS = 32
_Part = re.Pattern[str] | None
"""None stands for `**`."""


def matching(paths: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Those that match any of the patterns, in their order.

    Raises:
        Unfilled: the patterns have more parts than are looked at.

    """
    if sum(pattern.count("/") + 1 for pattern in patterns) > MOST_PARTS:
        raise Unfilled(f"The globs have more than {MOST_PARTS} parts; choose less.")
    wanted = [_finder(pattern) for pattern in patterns]
    return [path for path in paths if any(finds(path) for finds in wanted)]


def _finder(pattern: str) -> Callable[[str], bool]:
    parts = [part for part in pattern.split("/") if part not in {"", "."}]
    if not any(sign in pattern for sign in "*?["):
        name = "/".join(parts)
        below = f"{name}/" if name else ""
        return lambda path: path.startswith(below) or (path == name and not pattern.endswith("/"))
    compiled = [None if part == "**" else re.compile(translate(part)) for part in parts]
    return lambda path: _matches(compiled, path.split("/"))


def _matches(pattern: Sequence[_Part], path: Sequence[str]) -> bool:
    """places: how far the pattern may have come once some parts of the path are read."""
    places = _skipping(pattern, {0})
    for part in path:
        after: set[int] = set()
        for place in places:
            wanted = pattern[place] if place < len(pattern) else _END
            if wanted is None:
                after.add(place)
                if place == len(pattern) - 1:
                    after.add(place + 1)
            elif wanted.match(part):
                after.add(place + 1)
        places = _skipping(pattern, after)
    return len(pattern) in places


_END = re.compile(r"(?!)")


def _skipping(pattern: Sequence[_Part], places: set[int]) -> set[int]:
    """`**` may stand for nothing, but at the end it stands for something below."""
    found = set(places)
    for place in range(len(pattern) - 1):
        if place in found and pattern[place] is None:
            found.add(place + 1)
    return found
