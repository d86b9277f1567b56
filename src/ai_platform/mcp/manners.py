"""What a server says of itself when a connection begins. Above: link, line."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec


class Manners(msgspec.Struct, frozen=True, kw_only=True):
    """What a server said of itself. version: of the protocol, "" while nothing is known."""

    version: str = ""
    capabilities: dict[str, Any] = {}
    info: dict[str, Any] = {}
    instructions: str = ""


def manners_of(version: str, result: Mapping[str, Any], info: Any) -> Manners:
    instructions = result.get("instructions")
    return Manners(
        version=version,
        capabilities=object_of(result.get("capabilities")),
        info=object_of(info),
        instructions=instructions if isinstance(instructions, str) else "",
    )


def object_of(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
