"""What roles, lists of models and tools, and the key's own scope say about a call, before any condition is asked.

Default deny: what no role grants is refused. Above: policy. Below: roles, models, tools.
"""

from types import MappingProxyType

import msgspec

from ai_platform.domain.call import Call, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied
from ai_platform.domain.permission import Offer, Permission, grants
from ai_platform.domain.principal import Principal
from ai_platform.policy.models import ModelAccess
from ai_platform.policy.roles import Roles
from ai_platform.policy.tools import OFFERS, ToolAccess

PERMISSION_FOR: MappingProxyType[Operation, Permission] = MappingProxyType(
    {
        Operation.MESSAGES_CREATE: Permission.CLAUDE_INVOKE,
        Operation.COUNT_TOKENS: Permission.CLAUDE_INVOKE,
        Operation.BATCHES_CREATE: Permission.CLAUDE_BATCHES,
        Operation.BATCHES: Permission.CLAUDE_BATCHES,
        Operation.MODELS: Permission.CLAUDE_MODELS,
        Operation.FILES_CREATE: Permission.CLAUDE_FILES,
        Operation.FILES: Permission.CLAUDE_FILES,
    }
)
"""What a caller needs for each operation of the Messages door; the MCP door's are in `tools.py`."""

_WORDS = MappingProxyType({Offer.TOOL: "tool", Offer.RESOURCE: "resource", Offer.PROMPT: "prompt"})

_NAMES_A_MODEL = frozenset({Operation.MESSAGES_CREATE, Operation.COUNT_TOKENS, Operation.BATCHES_CREATE})


class Grant(msgspec.Struct, frozen=True):
    """denied: the refusal, None when the call is granted. final: no rule can allow it all the same."""

    rule: str = ""
    reason: str = ""
    denied: Denied | None = None
    final: bool = False


class Grants:
    def __init__(self, roles: Roles, models: ModelAccess, tools: ToolAccess, contact: str) -> None:
        self._roles = roles
        self._models = models
        self._tools = tools
        self._contact = contact
        self._granted = {
            operation: (
                permission,
                Grant(f"permission {permission.value}", f"Your roles allow {permission.value}."),
            )
            for operation, permission in PERMISSION_FOR.items()
        }

    def judge(self, principal: Principal, call: Call) -> Grant:
        if call.operation is Operation.MCP_LIST:
            return Grant("may_reach", "Everybody may ask for lists; each shows what the caller may use.")
        if offer := OFFERS.get(call.operation):
            return self.of_offer(principal, offer, call.head.server or "", call.head.tool or "")
        known = self._granted.get(call.operation)
        chosen = self.of_model(principal, call.head.model) if call.operation in _NAMES_A_MODEL else Grant()
        if known is None or not principal.may(known[0]):
            final = known is None or principal.narrowed or chosen.final
            return Grant(denied=self._missing(principal, call.operation), final=final)
        if chosen.denied or not chosen.rule:
            return chosen if chosen.denied else known[1]
        return Grant(f"{known[1].rule}, {chosen.rule}", known[1].reason)

    def of_model(self, principal: Principal, model: str | None) -> Grant:
        """What the lists and the key say about a model."""
        verdict = self._models.judge(principal, model)
        if verdict.permitted:
            return Grant(verdict.rule)
        if model is None:
            what = "The request names no model, and which model may be used is restricted here"
        else:
            what = f"The model '{model[:80]}' is not allowed for you"
        instead = f" You may use: {verdict.allowed}." if verdict.allowed else " Choose another model (/model)."
        message = f"{what} (rule: {verdict.rule}).{instead} {self._contact}"
        return Grant(denied=Denied(Refusal.MODEL_NOT_ALLOWED, message, rule=verdict.rule), final=verdict.final)

    def of_offer(self, principal: Principal, offer: Offer, server: str, name: str) -> Grant:
        """What roles, lists and the key say about a tool, resource or prompt."""
        verdict = self._tools.judge(principal, offer, server, name)
        if verdict.permitted:
            return Grant(verdict.rule, f"{verdict.rule} allows it.")
        what = f"The {_WORDS[offer]} '{server[:80]}/{name[:200]}' is not allowed for you (rule: {verdict.rule[:400]})."
        hint = f" You may use: {verdict.allowed[:400]}." if verdict.allowed else ""
        permission = offer.permission(server, name)
        is_missing = verdict.rule == f"permission {permission}"
        if is_missing:
            granting = [role for role in self._roles.names() if grants(self._roles.permissions([role]), permission)]
            hint = f" Roles that have it: {', '.join(granting)}; yours: {', '.join(principal.roles) or 'none'}."
        denied = Denied(Refusal.TOOL_NOT_ALLOWED, f"{what}{hint} {self._contact}", rule=verdict.rule[:400])
        return Grant(denied=denied, final=verdict.final or (is_missing and principal.narrowed))

    def _missing(self, principal: Principal, operation: Operation) -> Denied:
        permission = PERMISSION_FOR.get(operation)
        if permission is None:
            message = f"Nobody may use '{operation.value}': no permission stands for it."
            return Denied(Refusal.PERMISSION_MISSING, message, rule="default deny")
        roles = ", ".join(principal.roles) or "none"
        granting = [name for name in self._roles.names() if permission in self._roles.permissions([name])]
        hint = f" Roles that have it: {', '.join(granting)}." if granting else ""
        message = (
            f"'{operation.value}' needs the permission {permission.value}, which your key does not have (your roles:"
            f" {roles}).{hint} {self._contact}"
        )
        return Denied(Refusal.PERMISSION_MISSING, message, rule=f"permission {permission.value}")
