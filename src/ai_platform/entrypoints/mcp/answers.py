"""One table: domain error -> answer in the protocol. The counterpart of entrypoints/errors.py at the other door.

A refused or failed tool call is a result with `isError`, because the model reads results and can do something else;
everything else is an error of the protocol. Code -32602 is the protocol's own for what does not exist.
"""

import math
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS

from ai_platform.domain.call import Call, Operation
from ai_platform.domain.errors import InvalidCall, PlatformError, Refused
from ai_platform.entrypoints.errors import sentence, shape_of

REFUSED = -32010
FAILED = -32011
REFUSAL = "ai-platform/refusal"
"""Key in a result's `_meta` and in an error's `data`: {reason, rule, call, retryAfter}."""


def result_of(error: PlatformError, call: Call) -> dict[str, Any]:
    """The result of a tool call that was refused or failed.

    Raises:
        MCPError: for any other operation, and for a tool that does not exist.
    """
    text = sentence(error)
    facts = _facts(error, call)
    if isinstance(error, InvalidCall):
        raise MCPError(INVALID_PARAMS, text, facts) from error
    if call.operation is not Operation.TOOLS_CALL:
        raise MCPError(REFUSED if isinstance(error, Refused) else FAILED, text, facts) from error
    if (wait := facts.get("retryAfter")) is not None and "again" not in text:
        text = f"{text} Try again in {wait} seconds."
    content = [{"type": "text", "text": text}]
    return {"resultType": "complete", "content": content, "isError": True, "_meta": {REFUSAL: facts}}


def theirs(code: int) -> int:
    """The code of a server's own error, which is none of ours."""
    return INTERNAL_ERROR if code in {REFUSED, FAILED} else code


def _facts(error: PlatformError, call: Call) -> dict[str, Any]:
    facts: dict[str, Any] = {"reason": shape_of(error).type, "call": call.id}
    if isinstance(error, Refused):
        facts["reason"] = error.reason.value
        if error.rule:
            facts["rule"] = error.rule
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        facts["retryAfter"] = max(1, math.ceil(wait))
    return facts
