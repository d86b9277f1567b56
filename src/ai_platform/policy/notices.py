"""What a policy file says and what becomes of it: the lines of `ai-platform policy check` and of GET /admin/policy.

A control that is written down but not carried out is worse than none, so each such key is named in plain words.
"""

from collections.abc import Iterator

import msgspec

from ai_platform.documents import Document
from ai_platform.policy.schema import PolicyFile

ENFORCED = "enforced"
NOT_ENFORCED = "loaded, not enforced by this version"


class Line(msgspec.Struct, frozen=True):
    """key: path in the file. status: ENFORCED or NOT_ENFORCED. where: `file:line:column`, empty when not in a file."""

    key: str
    says: str
    status: str
    where: str = ""


def unenforced(document: Document[PolicyFile]) -> tuple[Line, ...]:
    """Every key that is set and that nothing carries out yet."""
    return tuple(
        Line(_dotted(path), says, NOT_ENFORCED, document.where(*path, key=True)) for path, says in _found(document)
    )


def _found(document: Document[PolicyFile]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    value = document.value
    residency = ("security", "data_residency")
    if document.has(*residency):
        regions = ", ".join(value.security.data_residency.allowed_regions) or "none named"
        yield residency, f"calls are not kept within regions ({regions}): every configured upstream may serve them"
    methods = ("security", "access_control", "authentication", "methods")
    if document.has(*methods):
        yield methods, "who may sign in how is set in the configuration (keys, and providers under sso), not here"
    texts = {
        "retention_days": "events are kept for the time their class prescribes, not for these days",
        "export_format": "exports are JSON lines",
        "compliance_frameworks": "no compliance report is made from these names",
    }
    for key, says in texts.items():
        if document.has("audit", key):
            yield ("audit", key), says
    for team, entry in value.teams.items():
        if entry.region:
            yield ("teams", team, "region"), f"the team's region ({entry.region}) does not choose an upstream"


def _dotted(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
