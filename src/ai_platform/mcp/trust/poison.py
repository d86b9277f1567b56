"""Looks at one definition of a server for what a person should not approve unread: see docs/mcp.md, "Trust".

It judges words, not intent: no flag does not mean that a server is honest. Above: pins, commands.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from ai_platform.domain.finding import Severity
from ai_platform.mcp.trust.characters import RULES as CHARACTER_RULES
from ai_platform.mcp.trust.characters import folded, hidden, spelled_in_tags
from ai_platform.mcp.trust.definition import encoded, name_of
from ai_platform.mcp.trust.flag import Flag, Rule
from ai_platform.mcp.trust.phrases import PHRASES
from ai_platform.mcp.trust.shape import RULES as SHAPE_RULES
from ai_platform.mcp.trust.shape import VERY_LONG, item_shape, names_foreign, text_shape

MOST_FLAGS = 50
MOST_TEXTS = 4_000
LONGEST_READ = VERY_LONG
"""Characters of one text that are read for phrases; a longer one is flagged as high for its length anyway."""
_DEEPEST = 40
_RANK = {Severity.CRITICAL: 0, Severity.HIGH: 1, Severity.WARNING: 2, Severity.INFO: 3}

RULES: tuple[Rule, ...] = (*CHARACTER_RULES, *(phrase.rule for phrase in PHRASES), *SHAPE_RULES)


def inspect(
    kind: str, item: Mapping[str, Any], *, foreign: frozenset[str] = frozenset(), own: frozenset[str] = frozenset()
) -> list[Flag]:
    """Flags of a definition, worst first. foreign, own: names of other servers' tools, and of this one's."""
    flags = list(item_shape(name_of(kind, item), item, len(encoded(item)), named=kind in {"tools", "prompts"}))
    for number, (path, text) in enumerate(_texts(item, "", 0)):
        if number >= MOST_TEXTS or len(flags) >= MOST_FLAGS:
            break
        flags += inspect_text(text, path, picture=path.startswith("icons["))
        flags += names_foreign(text, path, foreign, own)
    flags.sort(key=lambda flag: _RANK[flag.severity])
    return flags[:MOST_FLAGS]


def inspect_text(text: str, path: str = "", *, picture: bool = False) -> list[Flag]:
    """Flags of one text. picture: it is the address of one, or one itself (`data:`), which no model reads."""
    flags = [*hidden(text, path), *(() if picture else text_shape(text, path))]
    if picture and not text.lower().startswith(("javascript:", "data:text", "data:application")):
        return flags
    read = folded(text[:LONGEST_READ])
    told = folded(spelled_in_tags(text[:LONGEST_READ]))
    for phrase in PHRASES:
        for one in (read, told) if told else (read,):
            if (found := phrase.pattern.search(one)) is not None:
                flags.append(phrase.rule.flag(one, found.start(), path))
                break
    return flags


def is_grave(flags: list[Flag]) -> bool:
    """Nobody but a person may approve it."""
    return any(flag.severity in {Severity.CRITICAL, Severity.HIGH} for flag in flags)


def _texts(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """(path, text) of every string, names of members included: clients show all of a schema to the model."""
    if isinstance(value, str):
        yield path, value
    elif depth >= _DEEPEST:
        return
    elif isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            below = f"{path}.{key}" if path else key
            if not key.isidentifier():
                yield f"{path} (a key)", key
            yield from _texts(inner, below, depth + 1)
    elif isinstance(value, list):
        for number, inner in enumerate(cast("list[Any]", value)):
            yield from _texts(inner, f"{path}[{number}]", depth + 1)
