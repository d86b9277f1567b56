"""Globs over names: `*` is any text, `?` one character; case is ignored. Linear: no glob can be slow."""

import re
from collections.abc import Iterable
from functools import lru_cache

LONGEST_NAME = 256

_PLATFORM_PREFIX = re.compile(r"^(?:[a-z-]{2,10}\.)?anthropic[./]")


class Globs:
    """A set of globs. `patterns` is what was written, in order."""

    __slots__ = ("_match", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        parts = [_translate(pattern.strip().lower()) for pattern in self.patterns]
        self._match = re.compile("|".join(parts) or r"(?!)", re.DOTALL).fullmatch

    def match(self, name: str) -> bool:
        return self._match(name) is not None

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def __str__(self) -> str:
        return ", ".join(self.patterns)


@lru_cache(maxsize=4096)
def key_scope(patterns: tuple[str, ...]) -> Globs:
    """The globs of a key's scopes, compiled once."""
    return Globs(patterns)


def plain_model(model: str) -> str:
    """The model id as globs see it: lower-case, without a cloud's prefix (`eu.anthropic.`, `anthropic/`).

    A deny list that names `claude-opus-*` must also hold for the same model behind Bedrock.
    """
    return _PLATFORM_PREFIX.sub("", model.strip().lower())


def _translate(glob: str) -> str:
    """Each `*` and the fixed part after it is atomic: the first place that fits is the only one tried."""
    head, *rest = re.split(r"\*+", glob)
    middle = "".join(f"(?>.*?{_fixed(part)})" for part in rest[:-1])
    tail = f".*{_fixed(rest[-1])}" if rest else ""
    return f"(?:{_fixed(head)}{middle}{tail})"


def _fixed(part: str) -> str:
    return re.escape(part).replace(r"\?", ".")
