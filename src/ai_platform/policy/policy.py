"""One version of the policy: immutable, compiled, asked synchronously on every call.

Default deny; a rule that denies comes before everything that allows. Above: gateway. Below: the part modules of this
room: grants (roles, lists), conditions (rules), filters (content), gates (approvals).
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ai_platform.documents import read_text
from ai_platform.domain.call import Call, Door, Operation
from ai_platform.domain.decision import Decision, Limits, Refusal
from ai_platform.domain.errors import Denied
from ai_platform.domain.finding import Finding
from ai_platform.domain.principal import Principal
from ai_platform.policy.compile import Parts, compile_policy
from ai_platform.policy.conditions import Rule, Undecided
from ai_platform.policy.grants import Grants
from ai_platform.policy.notices import Line
from ai_platform.policy.outlook import RuleOutlook, outlook
from ai_platform.policy.plan import Catalogue
from ai_platform.policy.roles import Roles
from ai_platform.policy.summary import summary
from ai_platform.policy.tools import OFFERS, arguments_of
from ai_platform.policy.view import PROPOSED, Surroundings, Target, Unreadable, View, proposed_target

_MODEL_PROBE = Call(id="", door=Door.MESSAGES, operation=Operation.MESSAGES_CREATE, method="", path="")
_TOOL_PROBE = Call(id="", door=Door.MCP, operation=Operation.TOOLS_CALL, method="", path="")


class Policy:
    """decide, weigh: may this caller make this call. check_input, check_tool_use: the content filters.

    version: the file's `version` and a hash of what is in force. name: the file. notices: what it says that is not
    carried out by this version.
    """

    def __init__(self, parts: Parts, surroundings: Surroundings | None = None) -> None:
        self._parts = parts
        self._grants = Grants(parts.roles, parts.models, parts.tools, parts.contact)
        self._rules = parts.rules
        self._gates = parts.gates
        self._surroundings = surroundings or Surroundings(time.time)
        self._team_limits = parts.team_limits
        self.limits = parts.limits
        self.plan = parts.plan
        self.name = parts.name
        self.version = parts.version
        self.sha256 = parts.sha256
        self.roles = parts.roles
        self.contact = parts.contact
        self.notices: tuple[Line, ...] = parts.notices
        self.filters_input = parts.filters.reads_prompts
        self.filters_tool_use = parts.filters.reads_tools or parts.rules.reads_tools
        self.flags_in_auto_mode = parts.file.auto_mode == "flag"
        self.filters = parts.filters
        self.check_input = parts.filters.check_input

    @staticmethod
    def load(
        source: Path | str,
        *,
        name: str = "",
        roles: Roles | None = None,
        catalogue: Catalogue | None = None,
        surroundings: Surroundings | None = None,
    ) -> "Policy":
        """From a file (a Path; its roles_file is read too) or a text (a str; no other file is read).

        Raises:
            ConfigError: file, line, column, what is wrong and what was probably meant.

        """
        if isinstance(source, str):
            parts = compile_policy(source, name=name, roles=roles, catalogue=catalogue)
            return Policy(parts, surroundings)
        text = read_text(source)
        parts = compile_policy(text, name=name or str(source), folder=source.parent, catalogue=catalogue)
        return Policy(parts, surroundings)

    def decide(self, principal: Principal, call: Call) -> Decision:
        """The call is allowed, within these limits, inspected by this plan; `weigh` has the last word.

        Raises:
            Denied: PERMISSION_MISSING, MODEL_NOT_ALLOWED, TOOL_NOT_ALLOWED, CONDITION; the message names the rule, the
            reason and the remedy.

        """
        granted = self._grants.judge(principal, call)
        rule, reason = granted.rule, granted.reason
        if granted.denied is not None and (granted.final or not self._rules):
            raise granted.denied
        if self._rules:
            view = View(principal, call, self._surroundings, target=_target(call))
            self._refuse_denied(view, "This call")
            if granted.denied is not None:
                allowing = self._allowing(view)
                if allowing is None:
                    raise granted.denied
                rule, reason = f"rules.{allowing.name}", f"The rule '{allowing.name}' allows it."
        return Decision(
            rule=rule,
            reason=reason,
            policy_version=self.version,
            limits=self.limits_of(principal),
            plan=self.plan,
        )

    def weigh(self, principal: Principal, call: Call, decision: Decision, findings: Sequence[Finding]) -> Decision:
        """What is known only after inspection: rules about what was found, and whose consent the call needs.

        Raises:
            Denied: CONDITION.

        """
        if not (self._gates or self._rules.reads_content):
            return decision
        view = View(principal, call, self._surroundings, target=_target(call), findings=findings)
        self._refuse_denied(view, "This call")
        try:
            demand = self._gates.demand(call, view)
        except (Undecided, Unreadable) as error:
            raise self._undecided(error, "This call") from error
        return decision if demand is None else msgspec.structs.replace(decision, approval=demand)

    def check_tool_use(self, principal: Principal, call: Call, name: str, arguments: bytes) -> None:
        """Refuse a tool call that the model proposes in its answer to `call`. arguments: its input as JSON.

        Raises:
            Denied: CONTENT_FILTER, CONDITION.

        """
        self.filters.check_tool_use(name, arguments)
        if self._rules.reads_tools:
            target = proposed_target(name, arguments)
            view = View(principal, call, self._surroundings, operation=PROPOSED, target=target)
            self._refuse_denied(view, f"The call of the tool '{name[:80]}'", tools_only=True)

    def may_reach(self, principal: Principal, operation: Operation, server: str, name: str) -> bool:
        """Whether the caller may use this tool, prompt or resource (URI) of a server, for lists of them.

        A rule that needs to see arguments is asked when the call comes; until then what it may allow is shown.
        """
        offer = OFFERS.get(operation)
        if offer is None:
            return False
        granted = self._grants.of_offer(principal, offer, server, name)
        if not self._rules or (granted.denied is not None and granted.final):
            return granted.denied is None
        target = Target(server, name)
        view = View(principal, _TOOL_PROBE, self._surroundings, operation=operation.value, target=target, listing=True)
        return self._is_open(view, granted=granted.denied is None)

    def may_use(self, principal: Principal, model: str) -> bool:
        """Whether the caller may use this model, for lists of models."""
        granted = self._grants.of_model(principal, model)
        if not self._rules or (granted.denied is not None and granted.final):
            return granted.denied is None
        view = View(principal, _MODEL_PROBE.for_model(model), self._surroundings, listing=True)
        return self._is_open(view, granted=granted.denied is None)

    def outlook_of_model(self, principal: Principal, model: str = "") -> list[RuleOutlook]:
        """Rules with conditions that have, or may have, a say in this caller's calls of Claude. model: "" = any."""
        known = {"call.door", "call.operation"} | ({"call.model"} if model else set())
        view = View(principal, _MODEL_PROBE.for_model(model), self._surroundings)
        return outlook(self._rules, view, frozenset(known))

    def outlook_of_tool(self, principal: Principal, server: str, tool: str) -> list[RuleOutlook]:
        """The same of calls of one tool."""
        known = frozenset({"call.door", "call.operation", "call.server", "call.tool"})
        view = View(principal, _TOOL_PROBE, self._surroundings, target=Target(server, tool))
        return outlook(self._rules, view, known)

    def check_model(self, principal: Principal, model: str) -> None:
        """Raises Denied: MODEL_NOT_ALLOWED."""
        if not self.may_use(principal, model):
            denied = self._grants.of_model(principal, model).denied
            message = f"The model '{model[:80]}' is not allowed for you by a rule of the policy. {self.contact}"
            raise denied or Denied(Refusal.MODEL_NOT_ALLOWED, message, rule="rules")

    def limits_of(self, principal: Principal) -> Limits:
        return self._team_limits.get(principal.team or "", self.limits)

    def summary(self) -> list[dict[str, Any]]:
        """Rows {rule, effect, status, where}: everything the policy says and what becomes of it."""
        return summary(self._parts)

    def _is_open(self, view: View, *, granted: bool) -> bool:
        try:
            return self._rules.denied(view) is None and (granted or self._rules.allowed(view) is not None)
        except (Undecided, Unreadable):
            return False

    def _refuse_denied(self, view: View, what: str, *, tools_only: bool = False) -> None:
        try:
            rule = self._rules.denied(view, tools_only=tools_only)
        except Undecided as error:
            raise self._undecided(error, what) from error
        if rule is not None:
            message = f"{what} was refused by the rule '{rule.name}': {rule.message or 'this is not allowed'}."
            raise Denied(Refusal.CONDITION, f"{message} {self.contact}", rule=f"rules.{rule.name}")

    def _allowing(self, view: View) -> Rule | None:
        """An allow rule that cannot be decided allows nothing; the refusal that stood before then stands."""
        try:
            return self._rules.allowed(view)
        except Undecided as error:
            self._surroundings.failed(error.rule)
            return None

    def _undecided(self, error: Undecided | Unreadable, what: str) -> Denied:
        """Fails closed: what cannot be decided is refused, counted, and the record names the rule and the reason."""
        rule = error.rule if isinstance(error, Undecided) else "policies"
        self._surroundings.failed(rule)
        message = (
            f"{what} was refused because the condition of '{rule}' cannot be decided for it: {error}. {self.contact}"
        )
        return Denied(Refusal.CONDITION, message, rule=rule)


def _target(call: Call) -> Target | None:
    """What a call through the MCP door is about; None for lists and for calls of the other door."""
    if call.operation not in OFFERS:
        return None
    return Target(call.head.server or "", call.head.tool or "", arguments_of(call))
