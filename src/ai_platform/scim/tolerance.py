"""PATCH as directories send it beside the standard, written as the standard wants it. Nothing else is touched.

What is not JSON, or not shaped like a PATCH, is left to the validation. Above: the scim door. Below: nothing.
"""

from typing import Any

import msgspec

MANAGER = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:user:manager"


def straightened(body: bytes) -> bytes:
    """The body of a PATCH, or of a bulk request, with each of these put right (Entra sends all three).

    `"value": [{"$ref": null, "value": ID}]`: nulls say nothing and are left out.
    `"value": {"emails[type eq 'work'].value": TEXT}` without a path: each such key is an operation.
    `"path": "...:manager", "value": ID`: the value of a manager.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body
    operations = _operations(document)
    if operations is None:
        return body
    key, listed = operations
    straight = [one for each in listed for one in _straight(each)]
    return msgspec.json.encode({**document, key: straight})


def _operations(document: Any) -> tuple[str, list[Any]] | None:
    if not isinstance(document, dict):
        return None
    for key, value in document.items():
        if key.lower() == "operations" and isinstance(value, list) and all(isinstance(one, dict) for one in value):
            return key, value
    return None


def _straight(operation: dict[str, Any]) -> list[dict[str, Any]]:
    if isinstance(data := operation.get("data"), dict) and (inner := _operations(data)):  # of a bulk request
        key, listed = inner
        return [{**operation, "data": {**data, key: [one for each in listed for one in _straight(each)]}}]
    path, value = operation.get("path"), operation.get("value")
    if isinstance(path, str) and path.lower() == MANAGER and isinstance(value, str):
        return [{**operation, "value": {"value": value}}]
    if isinstance(value, list):
        return [{**operation, "value": [_without_nulls(one) for one in value]}]
    if not path and isinstance(value, dict) and any("[" in key for key in value):
        plain = {key: item for key, item in value.items() if "[" not in key}
        apart = [{**operation, "path": key, "value": item} for key, item in value.items() if "[" in key]
        return [*([{**operation, "value": plain}] if plain else []), *apart]
    return [operation]


def _without_nulls(value: Any) -> Any:
    return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value
