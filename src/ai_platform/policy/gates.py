"""Entries of `policies` with `requires_approval`: which calls need somebody's consent, and whose.

A resource is a name or glob of an MCP server, of `SERVER/TOOL`, of a resource's URI or (as `model:GLOB`) of a model.
It is also reached by a tool call that names it: as a whole argument, or within a command or a database query.
Carrying it out is the approvals room's. Above: compile, policy. Below: conditions, surfaces.
"""

import re
from collections.abc import Iterator, Sequence

from ai_platform.documents import Document
from ai_platform.documents.errors import Problem
from ai_platform.domain.approval import ApprovalDemand, Covers
from ai_platform.domain.call import Call, Operation
from ai_platform.policy.conditions import Condition, Contexts, Vocabulary, condition_of
from ai_platform.policy.globs import LONGEST_NAME, Globs, plain_model
from ai_platform.policy.plan import Catalogue
from ai_platform.policy.schema import NamedPolicy, PolicyFile
from ai_platform.policy.view import View

MODEL = "model:"
_OF_MODELS = frozenset({Operation.MESSAGES_CREATE, Operation.BATCHES_CREATE})
_OF_TOOLS = frozenset({Operation.TOOLS_CALL, Operation.RESOURCES_READ, Operation.PROMPTS_GET})
GATED = _OF_MODELS | _OF_TOOLS
"""Operations that can need consent; lists, counting and the like never do."""


class Gate:
    """One entry. condition: must hold too; None = always."""

    def __init__(self, entry: NamedPolicy, condition: Condition | None) -> None:
        names = [name for name in entry.resources if not name.startswith(MODEL)]
        self.demand = ApprovalDemand(rule=entry.name, approvers=entry.approvers, covers=entry.covers or Covers.CALL)
        self.resources = entry.resources
        self.condition = condition
        self._names = Globs(names)
        self._models = Globs([name.removeprefix(MODEL) for name in entry.resources if name.startswith(MODEL)])
        plain = [re.escape(name.strip().lower()) for name in names if not re.search(r"[*?]", name)]
        self._words = re.compile(rf"(?<![a-z0-9])(?:{'|'.join(plain)})(?![a-z0-9])") if plain else None

    def stops(self, call: Call, view: View, contexts: Contexts) -> bool:
        """Whether the call needs the consent. Raises Undecided: the condition could not be decided."""
        if self.condition is not None and self.condition.about_tools and view.target is None:
            return False
        if self.resources and not self._reaches(call, view):
            return False
        return self.condition is None or self.condition.holds(view, contexts)

    def _reaches(self, call: Call, view: View) -> bool:
        if call.operation in _OF_MODELS:
            models = call.head.models or (call.head.model or "",)
            return bool(self._models) and any(self._models.match(plain_model(name[:LONGEST_NAME])) for name in models)
        return view.target is not None and bool(self._names) and self._is_named(view)

    def _is_named(self, view: View) -> bool:
        assert view.target is not None
        server, tool = view.target.server.lower(), view.target.tool.lower()
        if any(self._names.match(name) for name in (server, f"{server}/{tool}", tool)):
            return True
        surfaces = view.surfaces
        if any(self._names.match(text.strip().lower()) for text in surfaces.texts if len(text) <= LONGEST_NAME):
            return True
        read = (f"{server}/{tool}", *surfaces.database, *surfaces.commands)
        return self._words is not None and any(self._words.search(text.lower()) for text in read)


class Gates:
    """In the order of the file: the first that stops a call says whose consent it needs."""

    def __init__(self, gates: Sequence[Gate]) -> None:
        self.gates = tuple(gates)
        self._vocabulary = Vocabulary(gate.condition for gate in gates if gate.condition)

    def __bool__(self) -> bool:
        return bool(self.gates)

    def demand(self, call: Call, view: View) -> ApprovalDemand | None:
        """Raises Undecided, Unreadable: it cannot be known (fails closed)."""
        if call.operation not in GATED:
            return None
        contexts = Contexts(self._vocabulary)
        return next((gate.demand for gate in self.gates if gate.stops(call, view, contexts)), None)


def gates_of(document: Document[PolicyFile], catalogue: Catalogue) -> tuple[Gates, list[Problem]]:
    """The approvals of a policy file, and what is wrong with them."""
    gates: list[Gate] = []
    problems: list[Problem] = []
    for index, entry in enumerate(document.value.policies):
        condition = None
        if entry.when is not None:
            path = ("policies", index, "when")
            condition, mistakes = condition_of(document, path, entry.name, entry.when, catalogue)
            problems += mistakes
        if entry.requires_approval:
            problems += _problems(document, index, entry)
            gates.append(Gate(entry, condition))
    return Gates(gates), problems


def _problems(document: Document[PolicyFile], index: int, entry: NamedPolicy) -> Iterator[Problem]:
    for number, name in enumerate(entry.resources):
        if not name.removeprefix(MODEL).strip():
            yield document.problem("A resource has a name.", "policies", index, "resources", number)
    if entry.covers is Covers.SESSION and any(not name.startswith(MODEL) for name in entry.resources):
        sentence = "'covers: session' is for models (resources: ['model:...']); a tool call is approved one by one."
        yield document.problem(sentence, "policies", index, "covers")


def named_problem(policy: NamedPolicy) -> str:
    """What is wrong with an entry of `policies` as a whole; empty when nothing is."""
    scans = (policy.scan_input, policy.scan_output, policy.block_on_match, policy.alert_security_team)
    approval = bool(policy.resources or policy.approvers or policy.when is not None or policy.covers)
    if policy.requires_approval and not (policy.approvers and (policy.resources or policy.when)):
        return f"The policy '{policy.name}' requires approval, so it needs 'resources' (or 'when') and 'approvers'."
    if approval and not policy.requires_approval:
        return f"The policy '{policy.name}' names resources or approvers without 'requires_approval: true'."
    if policy.requires_approval is None and all(switch is None for switch in scans):
        return f"The policy '{policy.name}' says nothing: give it scan_input, scan_output or requires_approval."
    return ""
