"""Node tree + msgspec type -> value. Every problem is collected with its position; unknown keys are problems.

The wanted type decides how a plain word is read (`version: 1.0` is the text "1.0" where text is wanted, `region: NO`
stays Norway), which a typeless YAML loader cannot do.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import inspect

from ai_platform.documents.errors import Position, Problem, suggest
from ai_platform.documents.nodes import Items, Mapping, Node, Scalar
from ai_platform.documents.scalars import SCALARS, Unreadable, choices, describe, is_nothing, read_plain, read_scalar

Path = tuple[str | int, ...]

_MISSING: Any = object()
_LISTS: dict[type, Callable[[list[Any]], Any]] = {
    inspect.ListType: list,
    inspect.VarTupleType: tuple,
    inspect.SetType: set,
    inspect.FrozenSetType: frozenset,
    inspect.CollectionType: list,
}


class Converter:
    """One conversion. After `convert`, `problems` is empty or the value must not be used."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def convert(self, node: Node, wanted: inspect.Type, path: Path = ()) -> Any:
        if isinstance(wanted, inspect.Metadata):
            return self.convert(node, wanted.type, path)
        if isinstance(wanted, inspect.AnyType):
            return self._any(node)
        if isinstance(wanted, inspect.UnionType):
            return self._union(node, wanted, path)
        if isinstance(wanted, inspect.StructType):
            return self._struct(node, wanted, path)
        if isinstance(wanted, inspect.DictType):
            return self._dict(node, wanted, path)
        if type(wanted) in _LISTS:
            return self._list(node, wanted, path)
        if isinstance(wanted, inspect.TupleType):
            return self._tuple(node, wanted, path)
        return self._scalar(node, wanted, path)

    def problem(self, position: Position, sentence: str, suggestion: str | None = None) -> Any:
        self.problems.append(Problem(position, sentence, suggestion))
        return _MISSING

    def _expected(self, node: Node, wanted: inspect.Type, path: Path) -> Any:
        return self.problem(node.position, f"{_name(path)} must be {describe(wanted)}, not {_found(node)}.")

    def _struct(self, node: Node, wanted: inspect.StructType, path: Path) -> Any:
        node = _section(node)
        if not isinstance(node, Mapping):
            return self._expected(node, wanted, path)
        before = len(self.problems)
        fields = {field.encode_name: field for field in wanted.fields}
        values: dict[str, Any] = {}
        meant: set[str | None] = set()
        for key, child in zip(node.keys, node.nodes, strict=True):
            if (field := fields.get(key.text)) is not None:
                values[field.name] = self.convert(child, field.type, (*path, key.text))
            elif key.text != wanted.tag_field:
                meant.add(self._unknown(key, list(fields), path))
        for name, field in fields.items():
            if field.required and field.name not in values and name not in meant:
                self.problem(node.position, f"{_name(path)} needs the key '{name}'.")
        if len(self.problems) > before:
            return _MISSING
        try:
            return wanted.cls(**values)
        except (ValueError, TypeError) as error:
            return self.problem(node.position, f"{_name(path)} is not valid: {error}.")

    def _unknown(self, key: Scalar, known: Sequence[str], path: Path) -> str | None:
        near = suggest(key.text, known)
        rest = "" if near else f" Known keys: {choices(known)}."
        self.problem(key.position, f"Unknown key '{key.text[:60]}' in {_name(path, within=True)}.{rest}", near)
        return near

    def _dict(self, node: Node, wanted: inspect.DictType, path: Path) -> Any:
        node = _section(node)
        if not isinstance(node, Mapping):
            return self._expected(node, wanted, path)
        result: dict[Any, Any] = {}
        for key, child in zip(node.keys, node.nodes, strict=True):
            name = self.convert(key, wanted.key_type, path)
            value = self.convert(child, wanted.value_type, (*path, key.text))
            if name is not _MISSING and value is not _MISSING:
                result[name] = value
        return result

    def _list(self, node: Node, wanted: Any, path: Path) -> Any:
        if isinstance(node, Scalar) and is_nothing(node):
            node = Items(node.position, [])
        if not isinstance(node, Items):
            return self._expected(node, wanted, path)
        before = len(self.problems)
        values = [self.convert(child, wanted.item_type, (*path, index)) for index, child in enumerate(node.nodes)]
        if len(self.problems) > before:
            return _MISSING
        low, high = wanted.min_length, wanted.max_length
        if (low is not None and len(values) < low) or (high is not None and len(values) > high):
            return self._expected(node, wanted, path)
        return _LISTS[type(wanted)](values)

    def _tuple(self, node: Node, wanted: inspect.TupleType, path: Path) -> Any:
        if not isinstance(node, Items) or len(node.nodes) != len(wanted.item_types):
            return self._expected(node, wanted, path)
        pairs = zip(node.nodes, wanted.item_types, strict=True)
        return tuple(self.convert(child, item, (*path, index)) for index, (child, item) in enumerate(pairs))

    def _union(self, node: Node, wanted: inspect.UnionType, path: Path) -> Any:
        if wanted.includes_none and isinstance(node, Scalar) and is_nothing(node):
            return None
        options = [option for option in wanted.types if not isinstance(option, inspect.NoneType)]
        if isinstance(node, Scalar):
            fitting = [option for option in options if type(option) in SCALARS or isinstance(option, inspect.AnyType)]
            if len(fitting) > 1:
                return self._first(node, fitting, wanted, path)
        elif isinstance(node, Items):
            fitting = [option for option in options if type(option) in _LISTS or isinstance(option, inspect.TupleType)]
        else:
            fitting = [option for option in options if isinstance(option, inspect.StructType | inspect.DictType)]
            if len(fitting) > 1:
                return self._tagged(node, fitting, path)
        if len(fitting) == 1 or len(options) == 1:
            return self.convert(node, (fitting or options)[0], path)
        return self._expected(node, wanted, path)

    def _first(self, node: Scalar, options: list[inspect.Type], wanted: inspect.Type, path: Path) -> Any:
        """The first type, from narrow to wide, that can read the scalar."""
        for option in sorted(options, key=lambda option: SCALARS.get(type(option), 99)):
            if isinstance(option, inspect.AnyType):
                return self._any(node)
            try:
                return read_scalar(node, option)
            except Unreadable:
                continue
        return self._expected(node, wanted, path)

    def _tagged(self, node: Mapping, options: list[Any], path: Path) -> Any:
        field = next((str(option.tag_field) for option in options if getattr(option, "tag_field", None)), "")
        tags = {str(option.tag): option for option in options if getattr(option, "tag", None) is not None}
        for key, child in zip(node.keys, node.nodes, strict=True):
            if key.text == field and isinstance(child, Scalar):
                if child.text in tags:
                    return self._struct(node, tags[child.text], path)
                near = suggest(child.text, tags)
                return self.problem(child.position, f"{_name((*path, field))} must be {choices(tags)}.", near)
        return self.problem(node.position, f"{_name(path)} needs the key '{field}': {choices(tags)}.")

    def _scalar(self, node: Node, wanted: inspect.Type, path: Path) -> Any:
        if not isinstance(node, Scalar):
            return self._expected(node, wanted, path)
        try:
            return read_scalar(node, wanted)
        except Unreadable as error:
            return self.problem(node.position, f"{_name(path)} must be {error}.", error.suggestion)

    def _any(self, node: Node) -> Any:
        if isinstance(node, Scalar):
            return read_plain(node)
        if isinstance(node, Items):
            return [self._any(child) for child in node.nodes]
        return {key.text: self._any(child) for key, child in zip(node.keys, node.nodes, strict=True)}


def _section(node: Node) -> Node:
    """A key with nothing after it (its lines are commented out) is an empty section."""
    return Mapping(node.position, [], []) if isinstance(node, Scalar) and is_nothing(node) else node


def _name(path: Path, *, within: bool = False) -> str:
    if not path:
        return "the file" if within else "The file"
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return f"'{text.removeprefix('.')[:120]}'"


def _found(node: Node) -> str:
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Items):
        return f"a list of {len(node.nodes)}"
    if is_nothing(node):
        return "nothing"
    return f"'{node.text[:40]}'"
