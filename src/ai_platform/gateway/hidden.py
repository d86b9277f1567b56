"""A call as records may tell it: names that it gives to things (its model, session, resource) without found values.

Above: record. Below: domain.
"""

from collections.abc import Sequence

from msgspec import structs

from ai_platform.domain.call import Call, Head
from ai_platform.domain.finding import Finding

_SESSION = "header x-claude-code-session-id"
_AGENT = "header x-claude-code-agent-id"
_CLIENT = "header user-agent"


def without_values(call: Call, findings: Sequence[Finding]) -> Call:
    """The call, with `[TYPE]` for each of its names that holds a value."""
    found = {_name(finding.path): f"[{finding.type}]" for finding in findings}
    if found.keys().isdisjoint(_NAMES):
        return call
    client = structs.replace(
        call.client,
        user_agent=found.get(_CLIENT, call.client.user_agent),
        session_id=found.get(_SESSION, call.client.session_id),
        agent_id=found.get(_AGENT, call.client.agent_id),
    )
    return structs.replace(call, client=client, head=_head(call.head, found.get("model"), found.get("uri")))


_NAMES = frozenset({"model", "uri", _SESSION, _AGENT, _CLIENT})


def _name(path: str) -> str:
    return "model" if path.startswith("requests[") and path.endswith(".params.model") else path


def _head(head: Head, model: str | None, uri: str | None) -> Head:
    if model is not None:
        head = structs.replace(head, model=model, models=(model,) if head.models else ())
    return structs.replace(head, tool=uri) if uri is not None else head
