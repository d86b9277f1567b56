"""One condition in CEL, compiled when the policy loads. Needs the extra `cel` (common-expression-language).

Whatever goes wrong while it runs is an error and never an answer; texts of errors are ours, because the library's may
hold values of the call. Above: conditions. Below: analysis.
"""

import logging
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from ai_platform.domain.extras import only_missing
from ai_platform.policy.analysis import Analysis, Mistake, analyse
from ai_platform.policy.patterns import BadPattern, Finder

try:
    import cel as _library
except ImportError as error:  # without the extra no condition can be compiled, and a policy that has one does not load
    only_missing(error, "cel")
    _library = None

cel: Any = _library
logging.getLogger("cel").disabled = True  # it would print why a function failed, once a call

MATCHES = "aipfind"
"""Stands for `matches` in what is compiled: as long, so that places stay where they are."""

EXTRA = 'Conditions need an extra: pip install "ai-platform[cel]".'

_PARSER = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)")
_EXPECTING = re.compile(r" expecting \{.*")

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (KeyError, "a field that it reads is missing"),
    (IndexError, "a list has fewer items than it reads"),
    (TypeError, "two values are of types that cannot be compared or combined so"),
    (ZeroDivisionError, "it divides by zero"),
    (OverflowError, "a number is too large"),
    (ValueError, "a value of the call cannot be read by it"),
    (RuntimeError, "a function does not take the values of this call"),
)


class ConditionFailed(Exception):
    """It could not be decided. `str(error)` says why, without a full stop and without any value of the call."""


class Expression:
    """source: as written. analysis: what it reads."""

    def __init__(self, source: str) -> None:
        """Raises Mistake."""
        if cel is None:
            raise Mistake(EXTRA, 0)
        self.source = source
        try:
            self.analysis: Analysis = analyse(source)
            cel.compile(source)
            self._program = cel.compile(self._with_own_matching(source))
        except ValueError as error:
            raise _unreadable(source, str(error)) from error
        if unknown := set(self._program.variables()) - self.analysis.variables:
            raise Mistake(f"There is no variable '{min(unknown)[:60]}'.", 0)

    def _with_own_matching(self, source: str) -> str:
        """The library compiles a pattern anew at each match, up to 50 ms each time; ours are compiled now."""
        for at, pattern in self.analysis.patterns:
            text = cel.compile(pattern.text).execute({})
            try:
                finder_of(text if isinstance(text, str) else "(")
            except BadPattern as error:
                raise Mistake(f"The pattern cannot be used: {error}.", pattern.at) from error
            source = f"{source[:at]}{MATCHES}{source[at + len(MATCHES) :]}"
        return source

    def run(self, context: "Context") -> bool:
        """Raises ConditionFailed."""
        try:
            result = self._program.execute(context.inner)
        except tuple(kind for kind, _ in _REASONS) as error:
            reason = next(reason for kind, reason in _REASONS if isinstance(error, kind))
            raise ConditionFailed(reason) from None
        if not isinstance(result, bool):
            raise ConditionFailed("it says neither true nor false")
        return result


class Context:
    """The variables of one call; given piece by piece, because handing them over costs more than deciding."""

    def __init__(self) -> None:
        self.inner = cel.Context(functions={"lowerAscii": _lower, "upperAscii": _upper, MATCHES: _finds})

    def add(self, name: str, value: Mapping[str, Any]) -> None:
        """Raises ConditionFailed when a value is no text, number, list or mapping that CEL knows."""
        try:
            self.inner.add_variable(name, value)
        except (ValueError, TypeError, OverflowError):
            raise ConditionFailed("a value of the call cannot be read by it") from None


@lru_cache(maxsize=4096)
def finder_of(pattern: str) -> Finder:
    """Raises BadPattern."""
    return Finder(pattern)


def _finds(text: Any, pattern: Any) -> bool:
    return finder_of(pattern).finds(_text(text))


def _lower(value: Any) -> str:
    return _text(value).lower() if _text(value).isascii() else _ascii(value, bytes.lower)


def _upper(value: Any) -> str:
    return _text(value).upper() if _text(value).isascii() else _ascii(value, bytes.upper)


def _ascii(text: str, fold: Callable[[bytes], bytes]) -> str:
    """Letters beyond ASCII stay as they are."""
    return fold(text.encode("utf-8", "replace")).decode("utf-8", "replace")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _unreadable(source: str, message: str) -> Mistake:
    match = _PARSER.search(message)
    if match is None:
        return Mistake("This is not a condition in CEL.", 0)
    line, column, why = int(match[1]), int(match[2]), _EXPECTING.sub("", match[3])
    lines = source.split("\n")
    at = sum(len(text) + 1 for text in lines[: line - 1]) + column - 1
    if "'<EOF>'" in why:
        return Mistake("The condition ends too early: a value or a ')' is missing.", len(source.rstrip()))
    if "recursion" in why.lower():
        return Mistake("The condition nests too deep.", min(at, len(source)))
    return Mistake(f"This is not a condition in CEL: {why.strip().rstrip('.')}.", min(at, len(source)))
