"""One version of the policy: immutable, compiled, asked synchronously on every call.

Default deny: an operation that no permission stands for, and a caller whose roles do not list the permission, are
refused. Above: gateway. Below: the part modules of this room.
"""

from pathlib import Path
from types import MappingProxyType
from typing import Any

from ai_platform.documents import read_text
from ai_platform.domain.call import Call, Operation
from ai_platform.domain.decision import Decision, Limits, Refusal
from ai_platform.domain.errors import Denied
from ai_platform.domain.permission import Offer, Permission, grants
from ai_platform.domain.principal import Principal
from ai_platform.policy.access import Verdict
from ai_platform.policy.compile import Parts, compile_policy
from ai_platform.policy.notices import Line
from ai_platform.policy.plan import Catalogue
from ai_platform.policy.roles import Roles
from ai_platform.policy.summary import summary
from ai_platform.policy.tools import OFFERS

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


class Policy:
    """decide: may this caller make this call. check_input, check_tool_use: the content filters.

    version: the file's `version` and a hash of what is in force. name: the file. notices: what it says that is not
    carried out by this version.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._models = parts.models
        self._tools = parts.tools
        self._team_limits = parts.team_limits
        self.limits = parts.limits
        self.plan = parts.plan
        self._reasons = {
            operation: (permission, f"permission {permission.value}", f"Your roles allow {permission.value}.")
            for operation, permission in PERMISSION_FOR.items()
        }
        self.name = parts.name
        self.version = parts.version
        self.sha256 = parts.sha256
        self.roles = parts.roles
        self.contact = parts.contact
        self.notices: tuple[Line, ...] = parts.notices
        self.filters_input = parts.filters.reads_prompts
        self.filters_tool_use = parts.filters.reads_tools
        self.filters = parts.filters
        self.check_input = parts.filters.check_input
        self.check_tool_use = parts.filters.check_tool_use

    @staticmethod
    def load(
        source: Path | str,
        *,
        name: str = "",
        roles: Roles | None = None,
        catalogue: Catalogue | None = None,
    ) -> "Policy":
        """From a file (a Path; its roles_file is read too) or a text (a str; no other file is read).

        Raises:
            ConfigError: file, line, column, what is wrong and what was probably meant.

        """
        if isinstance(source, str):
            return Policy(compile_policy(source, name=name, roles=roles, catalogue=catalogue))
        text = read_text(source)
        return Policy(compile_policy(text, name=name or str(source), folder=source.parent, catalogue=catalogue))

    def decide(self, principal: Principal, call: Call) -> Decision:
        """The call is allowed, within these limits, inspected by this plan.

        Raises:
            Denied: PERMISSION_MISSING, MODEL_NOT_ALLOWED, TOOL_NOT_ALLOWED; the message names the rule, the reason
            and the remedy.

        """
        if call.operation is Operation.MCP_LIST:
            rule, reason = "may_reach", "Everybody may ask for lists; each shows what the caller may use."
        elif offer := OFFERS.get(call.operation):
            rule, reason = self._offered(principal, call, offer)
        else:
            rule, reason = self._permitted(principal, call)
        return Decision(
            rule=rule,
            reason=reason,
            policy_version=self.version,
            limits=self.limits_of(principal),
            plan=self.plan,
        )

    def may_reach(self, principal: Principal, operation: Operation, server: str, name: str) -> bool:
        """Whether the caller may use this tool, prompt or resource (URI) of a server, for lists of them."""
        offer = OFFERS.get(operation)
        return offer is not None and self._tools.judge(principal, offer, server, name).permitted

    def _permitted(self, principal: Principal, call: Call) -> tuple[str, str]:
        known = self._reasons.get(call.operation)
        if known is None or not principal.may(known[0]):
            raise self._missing(principal, call.operation)
        _, rule, reason = known
        if call.operation in _NAMES_A_MODEL:
            verdict = self._models.judge(principal, call.head.model)
            if not verdict.permitted:
                raise self._model_denied(call.head.model, verdict)
            rule = f"{rule}, {verdict.rule}"
        return rule, reason

    def _offered(self, principal: Principal, call: Call, offer: Offer) -> tuple[str, str]:
        server, name = call.head.server or "", call.head.tool or ""
        verdict = self._tools.judge(principal, offer, server, name)
        if not verdict.permitted:
            raise self._offer_denied(principal, offer, server, name, verdict)
        return verdict.rule, f"{verdict.rule} allows it."

    def limits_of(self, principal: Principal) -> Limits:
        return self._team_limits.get(principal.team or "", self.limits)

    def may_use(self, principal: Principal, model: str) -> bool:
        """Whether the caller may use this model, for lists of models."""
        return self._models.judge(principal, model).permitted

    def check_model(self, principal: Principal, model: str) -> None:
        """Raises Denied: MODEL_NOT_ALLOWED."""
        verdict = self._models.judge(principal, model)
        if not verdict.permitted:
            raise self._model_denied(model, verdict)

    def summary(self) -> list[dict[str, Any]]:
        """Rows {rule, effect, status, where}: everything the policy says and what becomes of it."""
        return summary(self._parts)

    def _missing(self, principal: Principal, operation: Operation) -> Denied:
        permission = PERMISSION_FOR.get(operation)
        if permission is None:
            message = f"Nobody may use '{operation.value}': no permission stands for it."
            return Denied(Refusal.PERMISSION_MISSING, message, rule="default deny")
        roles = ", ".join(principal.roles) or "none"
        granting = [name for name in self.roles.names() if permission in self.roles.permissions([name])]
        hint = f" Roles that have it: {', '.join(granting)}." if granting else ""
        message = (
            f"'{operation.value}' needs the permission {permission.value}, which your key does not have (your roles:"
            f" {roles}).{hint} {self.contact}"
        )
        return Denied(Refusal.PERMISSION_MISSING, message, rule=f"permission {permission.value}")

    def _offer_denied(self, principal: Principal, offer: Offer, server: str, name: str, verdict: Verdict) -> Denied:
        what = f"The {_WORDS[offer]} '{server[:80]}/{name[:200]}' is not allowed for you (rule: {verdict.rule[:400]})."
        hint = ""
        permission = offer.permission(server, name)
        if verdict.rule == f"permission {permission}":
            granting = [role for role in self.roles.names() if grants(self.roles.permissions([role]), permission)]
            hint = f" Roles that have it: {', '.join(granting)}; yours: {', '.join(principal.roles) or 'none'}."
        elif verdict.allowed:
            hint = f" You may use: {verdict.allowed[:400]}."
        return Denied(Refusal.TOOL_NOT_ALLOWED, f"{what}{hint} {self.contact}", rule=verdict.rule[:400])

    def _model_denied(self, model: str | None, verdict: Verdict) -> Denied:
        if model is None:
            what = "The request names no model, and which model may be used is restricted here"
        else:
            what = f"The model '{model[:80]}' is not allowed for you"
        instead = f" You may use: {verdict.allowed}." if verdict.allowed else " Choose another model (/model)."
        message = f"{what} (rule: {verdict.rule}).{instead} {self.contact}"
        return Denied(Refusal.MODEL_NOT_ALLOWED, message, rule=verdict.rule)
