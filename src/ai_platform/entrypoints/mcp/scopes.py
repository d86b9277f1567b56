"""Tokens that a program asked for with fewer scopes than its person has rights: what they lack is told as a challenge,
so that the program can ask for more (step-up; RFC 6750 section 3.1).

It grants nothing and is no check that anything depends on: policy decides on every call. Above: door.
"""

from types import MappingProxyType

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied
from ai_platform.domain.principal import Principal
from ai_platform.entrypoints.http import Scope

METHOD_FIELD = b"mcp-method"
NEEDED = MappingProxyType({b"tools/call": "tools", b"prompts/get": "prompts", b"resources/read": "resources"})
"""Method of the protocol -> kind of permission."""


class TooNarrow(Denied):
    """kinds: of permissions that the token has, and the one that it lacks."""

    status = 403

    def __init__(self, lacking: str, kinds: frozenset[str]) -> None:
        message = f"This token was not given for {lacking}: ask for access again, with the scope for it."
        super().__init__(Refusal.PERMISSION_MISSING, message, rule="scope")
        self.kinds = kinds


def check_scope(scope: Scope, principal: Principal) -> None:
    """Clients of 2025-11-25 do not name the method in a header; they are told by the call's own answer.

    Raises:
        TooNarrow: the token is a program's that asked for less.
    """
    if not (principal.signed_in and principal.narrowed):
        return
    kind = NEEDED.get(dict(scope["headers"]).get(METHOD_FIELD, b""))
    held = {permission.partition(":")[0] for permission in principal.permissions}
    if kind is not None and kind not in held:
        raise TooNarrow(kind, frozenset({kind, *(held & set(NEEDED.values()))}))
