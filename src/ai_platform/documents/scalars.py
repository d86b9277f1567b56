"""One word of a document -> the Python value its key wants."""

import datetime as dt
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import inspect

from ai_platform.documents.errors import suggest
from ai_platform.documents.nodes import Scalar

SCALARS: dict[type, int] = {
    inspect.BoolType: 1,
    inspect.LiteralType: 2,
    inspect.EnumType: 2,
    inspect.IntType: 3,
    inspect.DecimalType: 4,
    inspect.FloatType: 4,
    inspect.DateType: 5,
    inspect.DateTimeType: 6,
    inspect.CustomType: 7,
    inspect.StrType: 8,
}
"""The scalar types, narrow before wide: the order in which a union tries them."""

_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NOTHING = {"", "~", "null", "Null", "NULL"}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_NUMBER = re.compile(r"[-+]?([0-9][0-9_]*)?\.?[0-9]+([eE][-+]?[0-9]{1,2})?|[-+]?[0-9][0-9_]*\.")


class Unreadable(Exception):
    """`str(error)` completes the sentence "KEY must be ..."."""

    def __init__(self, expected: str, suggestion: str | None = None) -> None:
        super().__init__(expected)
        self.suggestion = suggestion


def is_nothing(node: Scalar) -> bool:
    return node.plain and node.text in _NOTHING


def read_scalar(node: Scalar, wanted: inspect.Type) -> Any:
    """Raises:
    Unreadable: the word is not of the wanted type.
    TypeError: the wanted type is one this module does not know (a defect of the caller).

    """
    reader = _READERS.get(type(wanted))
    if reader is None:
        raise TypeError(f"documents cannot read {wanted}")
    if is_nothing(node):
        raise Unreadable(f"{describe(wanted)}, but nothing is written here")
    return reader(node, wanted)


def read_plain(node: Scalar) -> Any:
    """What the word means by itself: nothing, a boolean (true/false only), a number, else text."""
    if not node.plain or node.text in {"true", "false"}:
        return node.text == "true" if node.plain else node.text
    if is_nothing(node):
        return None
    if _INTEGER.fullmatch(node.text) and len(node.text) < 40:
        return int(node.text)
    return float(node.text) if _NUMBER.fullmatch(node.text) else node.text


def _bool(node: Scalar, wanted: Any) -> bool:
    value = _BOOLEANS.get(node.text.lower()) if node.plain else None
    if value is None:
        raise Unreadable(_instead(wanted, node), suggest(node.text, ("true", "false")))
    return value


def _int(node: Scalar, wanted: Any) -> int:
    if not node.plain or len(node.text) > 40 or not _INTEGER.fullmatch(node.text):
        raise Unreadable(_instead(wanted, node))
    return _bounded(int(node.text), node, wanted)


def _float(node: Scalar, wanted: Any) -> float:
    return _bounded(float(_number(node, wanted)), node, wanted)


def _decimal(node: Scalar, wanted: Any) -> Decimal:
    """A quoted number is welcome: people quote amounts so that no reader makes a float of them."""
    return Decimal(_number(node, wanted, quoted=True))


def _number(node: Scalar, wanted: Any, *, quoted: bool = False) -> str:
    if not (node.plain or quoted) or len(node.text) > 40 or not _NUMBER.fullmatch(node.text):
        raise Unreadable(_instead(wanted, node))
    return node.text.replace("_", "")


def _bounded(value: Any, node: Scalar, wanted: Any) -> Any:
    inside = (
        (wanted.ge is None or value >= wanted.ge)
        and (wanted.gt is None or value > wanted.gt)
        and (wanted.le is None or value <= wanted.le)
        and (wanted.lt is None or value < wanted.lt)
    )
    if not inside:
        raise Unreadable(_instead(wanted, node))
    return value


def _str(node: Scalar, wanted: Any) -> str:
    """The value is not repeated in the message: a text may be a secret."""
    text = node.text
    if (wanted.min_length and len(text) < wanted.min_length) or (
        wanted.max_length is not None and len(text) > wanted.max_length
    ):
        raise Unreadable(describe(wanted))
    if wanted.pattern and not re.search(wanted.pattern, text):
        raise Unreadable(describe(wanted))
    return text


def _enum(node: Scalar, wanted: Any) -> Any:
    return _one_of({str(member.value): member for member in wanted.cls}, node)


def _literal(node: Scalar, wanted: Any) -> Any:
    return _one_of({str(value): value for value in wanted.values}, node)


def _one_of(values: dict[str, Any], node: Scalar) -> Any:
    if node.text in values:
        return values[node.text]
    near = suggest(node.text, values)
    raise Unreadable(f"{choices(values)}, not '{node.text[:40]}'", near)


def _date(node: Scalar, wanted: Any) -> dt.date:
    try:
        return dt.date.fromisoformat(node.text)
    except ValueError:
        raise Unreadable(_instead(wanted, node)) from None


def _datetime(node: Scalar, wanted: Any) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(node.text)
    except ValueError:
        raise Unreadable(_instead(wanted, node)) from None


def _custom(node: Scalar, wanted: Any) -> Any:
    if wanted.cls is not Path:
        raise TypeError(f"documents cannot read {wanted.cls}")
    return Path(node.text)


_READERS: dict[type, Callable[[Scalar, Any], Any]] = {
    inspect.BoolType: _bool,
    inspect.LiteralType: _literal,
    inspect.EnumType: _enum,
    inspect.IntType: _int,
    inspect.DecimalType: _decimal,
    inspect.FloatType: _float,
    inspect.DateType: _date,
    inspect.DateTimeType: _datetime,
    inspect.CustomType: _custom,
    inspect.StrType: _str,
}

_WORDS: dict[type, str] = {
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.DecimalType: "a number",
    inspect.FloatType: "a number",
    inspect.DateType: "a date (2026-11-22)",
    inspect.DateTimeType: "a date and time (2026-11-22T12:00:00Z)",
    inspect.CustomType: "a path",
    inspect.StrType: "a text",
    inspect.StructType: "a section (key: value lines)",
    inspect.DictType: "a section (name: value lines)",
    inspect.AnyType: "anything",
}


def describe(wanted: Any) -> str:
    """What a key wants, for "must be ..."."""
    if isinstance(wanted, inspect.Metadata):
        return describe(wanted.type)
    if isinstance(wanted, inspect.UnionType):
        options = [option for option in wanted.types if not isinstance(option, inspect.NoneType)]
        return " or ".join(dict.fromkeys(describe(option) for option in options))
    if isinstance(wanted, inspect.EnumType):
        return choices([str(member.value) for member in wanted.cls])
    if isinstance(wanted, inspect.LiteralType):
        return choices([str(value) for value in wanted.values])
    if hasattr(wanted, "item_type"):
        return f"a list{_length(wanted, 'entries')} (each entry {describe(wanted.item_type)})"
    if isinstance(wanted, inspect.TupleType):
        return f"a list of {len(wanted.item_types)}"
    word = _WORDS.get(type(wanted), str(wanted))
    if isinstance(wanted, inspect.StrType):
        return word + _length(wanted, "characters") + (f" like {wanted.pattern}" if wanted.pattern else "")
    return word + _bounds(wanted)


def choices(values: Iterable[str]) -> str:
    names = [f"'{value}'" for value in values]
    if len(names) > 24:
        names = [*names[:24], "..."]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}" if names else "nothing"


def _instead(wanted: Any, node: Scalar) -> str:
    shown = node.text[:40]
    return f"{describe(wanted)}, not {'the text ' if not node.plain else ''}'{shown}'"


def _bounds(wanted: Any) -> str:
    limits = [
        f" {word} {limit}"
        for word, name in (("from", "ge"), ("above", "gt"), ("up to", "le"), ("below", "lt"))
        if (limit := getattr(wanted, name, None)) is not None
    ]
    return "".join(limits)


def _length(wanted: Any, unit: str) -> str:
    low, high = wanted.min_length, wanted.max_length
    if low is not None and high is not None:
        return f" of {low} to {high} {unit}"
    if low is not None:
        return f" of at least {low} {unit}"
    return f" of at most {high} {unit}" if high is not None else ""
