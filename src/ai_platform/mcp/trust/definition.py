"""A definition as it is pinned: its name, its canonical form and hash, and what differs between two."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

MOST_CHANGES = 200
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.]{2,16}(?:Z|[+-][0-9:]{2,6})?)?")
_NAMED_BY = {"tools": "name", "prompts": "name", "resources": "uri", "templates": "uriTemplate"}
_SCHEMAS = ("inputSchema", "outputSchema", "arguments", "uriTemplate")
"""What a call depends on; everything else is text about it."""


class Change(msgspec.Struct, frozen=True):
    """One place that differs. before, after: text, None = not there."""

    path: str
    before: str | None
    after: str | None


def name_of(kind: str, item: Mapping[str, Any]) -> str:
    """What it is called by; "" when it has no usable name. A server's instructions are one thing without a name."""
    if kind == "instructions":
        return kind
    name = item.get(_NAMED_BY[kind], "")
    return name if isinstance(name, str) else ""


def digest(kind: str, item: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical form. Of a resource its size and date do not count: its content changes, not what
    is said about it.
    """
    return hashlib.sha256(encoded(_lasting(item) if kind == "resources" else item)).hexdigest()


def encoded(item: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(item, order="deterministic")


def differs_in_use(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """A call that fits one may not fit the other."""
    return any(before.get(field) != after.get(field) for field in _SCHEMAS)


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Change]:
    """Every place that differs, in order of path."""
    old, new = _flat(before), _flat(after)
    return [
        Change(path, old.get(path), new.get(path)) for path in sorted({*old, *new}) if old.get(path) != new.get(path)
    ][:MOST_CHANGES]


def _lasting(item: Mapping[str, Any]) -> dict[str, Any]:
    """What stays while the content changes. What only stands where a size or a date should can be read as text, and
    counts.
    """
    kept = {key: value for key, value in item.items() if key != "size" or not isinstance(value, int)}
    annotations = kept.get("annotations")
    if isinstance(annotations, dict):
        said = cast("dict[str, Any]", annotations)
        kept["annotations"] = {
            key: value for key, value in said.items() if key != "lastModified" or not _is_date(value)
        }
    return kept


def _is_date(value: Any) -> bool:
    return isinstance(value, str) and _DATE.fullmatch(value) is not None


def _flat(value: Any, path: str = "") -> dict[str, str]:
    if value is None and not path:
        return {}
    if isinstance(value, dict) and value:
        found: dict[str, str] = {}
        for key, inner in cast("dict[str, Any]", value).items():
            found |= _flat(inner, f"{path}.{key}" if path else key)
        return found
    if isinstance(value, list) and value:
        found = {}
        for number, inner in enumerate(cast("list[Any]", value)):
            found |= _flat(inner, f"{path}[{number}]")
        return found
    return {path: value if isinstance(value, str) else msgspec.json.encode(value).decode()}
