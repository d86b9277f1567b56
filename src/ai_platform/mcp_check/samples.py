"""Arguments made up from a tool's schema: what a first try of a person would look like, and what an attacker's."""

from collections.abc import Mapping
from typing import Any, cast

MOST_DEPTH = 6


def sample(schema: Mapping[str, Any], *, text: str = "test") -> Any:
    """A value that fits the schema as far as it says what fits. text: stands for any string."""
    return _value(schema, schema, text, 0)


def string_arguments(schema: Mapping[str, Any]) -> list[str]:
    """Names of top-level arguments that take any text."""
    properties = cast("dict[str, Any]", schema.get("properties") or {})
    return [
        name
        for name, said in properties.items()
        if isinstance(said, dict) and said.get("type") == "string" and "enum" not in said and "const" not in said
    ]


def _value(schema: Any, root: Mapping[str, Any], text: str, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > MOST_DEPTH:
        return text
    said = cast("dict[str, Any]", schema)
    if isinstance(said.get("$ref"), str):
        return _value(_found(root, said["$ref"]), root, text, depth + 1)
    for key in ("const", "default"):
        if key in said:
            return said[key]
    for key in ("examples", "enum"):
        if isinstance(said.get(key), list) and said[key]:
            return said[key][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(said.get(key), list) and said[key]:
            return _value(said[key][0], root, text, depth + 1)
    return _typed(said, root, text, depth)


def _typed(said: dict[str, Any], root: Mapping[str, Any], text: str, depth: int) -> Any:
    kind = said.get("type")
    if isinstance(kind, list):
        kind = next((one for one in cast("list[Any]", kind) if one != "null"), "null")
    if kind == "object" or "properties" in said:
        properties = cast("dict[str, Any]", said.get("properties") or {})
        required = cast("list[str]", said.get("required") or [])
        return {name: _value(properties.get(name, {}), root, text, depth + 1) for name in required}
    if kind == "array":
        fewest = said.get("minItems", 0)
        return [_value(said.get("items", {}), root, text, depth + 1)] * max(1, min(int(fewest), 10))
    if kind in {"integer", "number"}:
        least = said.get("minimum", said.get("exclusiveMinimum", 0))
        return max(1, int(least) + 1) if isinstance(least, int | float) else 1
    if kind == "boolean":
        return False
    if kind == "null":
        return None
    return text.ljust(int(said.get("minLength", 0)), "x")[: int(said.get("maxLength", 10_000_000))]


def _found(root: Mapping[str, Any], reference: str) -> Any:
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = cast("dict[str, Any]", found).get(part) if isinstance(found, dict) else None
    return found or {}
