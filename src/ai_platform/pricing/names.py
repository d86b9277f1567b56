"""What a model is called on each platform -> the one id the price book lists it under.

Claude API, Foundry: `claude-opus-5-5`, dated (`-20250929`), `-latest`, Claude Code's `[1m]` suffix. Bedrock:
`us.anthropic.claude-sonnet-4-5-20250929-v1:0`, ARNs. Google Cloud: `claude-haiku-4-5@20251001`.
"""

import re
from functools import lru_cache
from typing import NamedTuple

LONGEST = 200
FAMILIES = ("fable", "mythos", "opus", "sonnet", "haiku")

_PROFILE = re.compile(r"(?:([a-z]{2,6}(?:-gov)?)\.)?anthropic\.")
_ENDING = re.compile(r"(?:-v\d{1,2}|-latest|-20\d{6})+$")
_POINT = re.compile(r"(?<=\d)\.(?=\d)")


class ModelName(NamedTuple):
    """id: as the price book lists it. profile: Bedrock's inference profile (`global`, `us`, `eu`, ...), else ""."""

    id: str
    profile: str


@lru_cache(maxsize=4096)
def canonical(model: str) -> ModelName:
    """The price book's id of a model; a name nobody knows comes back lower-cased and without its ending."""
    name = model[:LONGEST].strip().lower().rsplit("/", 1)[-1]
    for mark in "[@:":
        name = name.split(mark, 1)[0]
    profile = ""
    if match := _PROFILE.match(name):
        profile = match[1] or ""
        name = name[match.end() :]
    return ModelName(_POINT.sub("-", _ENDING.sub("", name)), profile)


def family(model_id: str) -> str | None:
    """The family a canonical id belongs to, known or not: `claude-opus-9` is an opus."""
    return next((name for name in FAMILIES if name in model_id.split("-")), None)
