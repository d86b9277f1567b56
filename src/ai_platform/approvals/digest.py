"""The hash that consent is bound to: the same for two calls only when nothing could tell them apart.

White space and the order of keys change nothing. Everything else does: number forms (`1`, `1.0`), unicode forms, the
caller, the tool, the policy. A text that two parsers could read differently (a repeated key) has no hash at all.
"""

import hashlib
import json
from typing import Any, NoReturn

from ai_platform.domain.approval import ApprovalDemand, Covers
from ai_platform.domain.call import Call, Door
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall
from ai_platform.domain.principal import Principal

DEEPEST = 128
_VERSION = 1


def digest_of(caller: Principal, call: Call, demand: ApprovalDemand, policy_version: str) -> bytes:
    """32 bytes (SHA-256).

    A call that consent is asked for by session, from a client that names its session, is bound to caller, model and
    session instead of its body: the body of each turn of a conversation differs.

    Raises:
        InvalidCall: the parameters have no single meaning.

    """
    facts: list[Any] = [
        _VERSION,
        policy_version,
        demand.rule,
        demand.covers.value,
        caller.tenant,
        caller.id,
        call.door.value,
        call.operation.value,
    ]
    if demand.covers is Covers.SESSION and call.client.session_id:
        facts += ["session", call.client.session_id, sorted(call.head.models or (call.head.model or "",))]
    elif call.door is Door.MCP:
        head = call.head
        facts += ["arguments", head.server or "", head.tool or "", head.request_state, canonical(call.body or b"{}")]
    else:
        facts += ["body", call.method, call.path, hashlib.sha256(call.body).hexdigest()]
    return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).digest()


def canonical(text: bytes) -> str:
    """One spelling for all JSON texts of the same meaning. Raises InvalidCall."""
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_no_number,
        )
        if _is_deeper(value, DEEPEST):
            raise ValueError("it nests too deep")
        return json.dumps(_tagged(value), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError) as error:
        message = (
            f"This call needs somebody's consent, and its parameters have no single meaning: {error}. Send plain JSON"
            " without repeated keys."
        )
        raise InvalidCall(Refusal.INVALID_REQUEST, message) from error


class _Number(str):
    """As it was written."""

    __slots__ = ()


def _number(text: str) -> _Number:
    return _Number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is repeated")
    return value


def _tagged(value: Any) -> Any:
    """Texts and numbers marked, so that `"1"` and `1` stay two values."""
    if isinstance(value, _Number):
        return f"n{value}"
    if isinstance(value, str):
        return f"s{value}"
    if isinstance(value, dict):
        return {key: _tagged(item) for key, item in value.items()}
    return [_tagged(item) for item in value] if isinstance(value, list) else value


def _is_deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            item
            for each in level
            if isinstance(each, dict | list)
            for item in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True
