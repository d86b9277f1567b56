"""Sample values for a JSON schema: input for a tool nobody scripted, or an answer of a required format.

Deterministic and small; covers the keywords tools use, not all of JSON Schema. A broken schema gives some value.
"""

from typing import Any

_DEPTH = 8
_MOST = 100


def sample(schema: Any, *, depth: int = 0, name: str = "") -> Any:
    """A value that fits the schema: defaults, constants and first choices where given, else the smallest."""
    if not isinstance(schema, dict) or depth > _DEPTH:
        return "simulated"
    for keyword in ("default", "const"):
        if keyword in schema:
            return schema[keyword]
    for keyword in ("enum", "examples"):
        if _list(schema, keyword):
            return schema[keyword][0]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if _list(schema, keyword):
            return sample(schema[keyword][0], depth=depth + 1, name=name)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    return _of_type(kind, schema, depth, name)


def _list(schema: dict[str, Any], keyword: str) -> list[Any]:
    value = schema.get(keyword)
    return value if isinstance(value, list) else []


def _count(schema: dict[str, Any], keyword: str, default: int) -> int:
    """A length or number of items, bounded: a schema must not make the simulator build gigabytes."""
    value = schema.get(keyword, default)
    return min(max(value, 0), _MOST) if isinstance(value, int) else default


def _of_type(kind: Any, schema: dict[str, Any], depth: int, name: str) -> Any:
    match kind:
        case "string":
            text = f"simulated {name}".strip()
            return text.ljust(_count(schema, "minLength", 0), ".")[: _count(schema, "maxLength", _MOST)]
        case "integer" | "number":
            low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
            if isinstance(low, int | float):
                return low
            return above + 1 if isinstance(above, int | float) else 1
        case "boolean":
            return False
        case "array":
            return [sample(schema.get("items"), depth=depth + 1)] * _count(schema, "minItems", 0)
        case "null":
            return None
        case _:
            return sample_object(schema, depth=depth)


def properties_of(schema: Any) -> dict[str, Any]:
    found = schema.get("properties") if isinstance(schema, dict) else None
    return found if isinstance(found, dict) else {}


def sample_object(schema: Any, *, depth: int = 0) -> dict[str, Any]:
    """An object with the schema's required properties."""
    properties = properties_of(schema)
    required = [name for name in _list(schema, "required") if isinstance(name, str)] if properties else []
    return {name: sample(properties.get(name), depth=depth + 1, name=name) for name in required}
