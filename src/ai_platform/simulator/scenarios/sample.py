"""Sample values for a JSON schema: input for a tool nobody scripted, or an answer of a required format.

Deterministic and small; covers the keywords tools use, not all of JSON Schema.
"""

from typing import Any

_DEPTH = 8


def sample(schema: Any, *, depth: int = 0, name: str = "") -> Any:
    """A value that fits the schema: defaults, constants and first choices where given, else the smallest."""
    if not isinstance(schema, dict) or depth > _DEPTH:
        return "simulated"
    for keyword in ("default", "const"):
        if keyword in schema:
            return schema[keyword]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("examples"):
        return schema["examples"][0]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if schema.get(keyword):
            return sample(schema[keyword][0], depth=depth + 1, name=name)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    return _of_type(kind, schema, depth, name)


def _of_type(kind: Any, schema: dict[str, Any], depth: int, name: str) -> Any:
    match kind:
        case "string":
            text = f"simulated {name}".strip()
            return text.ljust(int(schema.get("minLength", 0)), ".")[: int(schema.get("maxLength", 10_000))]
        case "integer" | "number":
            return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1 if "exclusiveMinimum" in schema else 1)
        case "boolean":
            return False
        case "array":
            return [sample(schema.get("items", {}), depth=depth + 1)] * int(schema.get("minItems", 0))
        case "null":
            return None
        case _:
            return sample_object(schema, depth=depth)


def sample_object(schema: Any, *, depth: int = 0) -> dict[str, Any]:
    """An object with the schema's required properties."""
    if not isinstance(schema, dict):
        return {}
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    required = schema.get("required") or []
    return {name: sample(properties.get(name, {}), depth=depth + 1, name=str(name)) for name in required}
