"""Cases of a policy: calls and what must become of them, in a file that `ai-platform policy test` runs.

A case is decided by the same functions as a real call. Not asked: data protection (a case says what was found), usage
limits, budgets. Above: cli. Below: policy.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from ai_platform.documents import Document
from ai_platform.documents.errors import Problem
from ai_platform.domain.call import Call, Client, Door, Head, Operation
from ai_platform.domain.errors import Refused
from ai_platform.domain.finding import Finding
from ai_platform.domain.money import from_usd
from ai_platform.domain.principal import SIGNED_IN, Principal, PrincipalKind
from ai_platform.policy.policy import Policy
from ai_platform.policy.view import Spent, Surroundings

FindingOf = Callable[[str], Finding | None]
"""A finding of this type with the class and severity of its detector; None when there is no such type."""


class CaseCaller(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls. permissions: beyond those of the roles. models, tools: the key's scopes."""

    id: str = "usr_case"
    name: str = "Case"
    email: str | None = None
    kind: PrincipalKind = PrincipalKind.PERSON
    roles: tuple[str, ...] = ("developer",)
    permissions: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    team: str | None = None
    project: str | None = None
    tenant: str = "default"
    region: str | None = None
    signed_in: bool = False
    models: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()


class CaseCall(msgspec.Struct, frozen=True, kw_only=True):
    """What is called. With `server`: its tool, resource or prompt. A tool without a server: what a model proposes in
    its answer. Otherwise a model, asked with `text`.
    """

    operation: Operation | None = None
    model: str = "claude-sonnet-5-5"
    text: str = "hello"
    stream: bool = True
    max_tokens: int = 1024
    server: str = ""
    tool: str = ""
    resource: str = ""
    prompt: str = ""
    arguments: dict[str, Any] = {}
    ip: str = "127.0.0.1"
    user_agent: str = ""
    session: str | None = None


class CaseSpend(msgspec.Struct, frozen=True, kw_only=True):
    """In dollars, as conditions read it."""

    user_tokens_today: int = 0
    user_usd_today: float = 0
    user_usd_month: float = 0
    team_usd_month: float = 0


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """expect: what must become of the call. rule: which rule must say so (a part of its name is enough). says: a part
    of the refusal. approvers: whose consent must be needed. findings: number by type. now: the moment, UTC.
    """

    name: str
    expect: Literal["allow", "deny", "approval"]
    caller: CaseCaller = CaseCaller()
    call: CaseCall = CaseCall()
    findings: dict[str, int] = {}
    spend: CaseSpend = CaseSpend()
    now: datetime | None = None
    rule: str = ""
    says: str = ""
    approvers: tuple[str, ...] = ()


class CasesFile(msgspec.Struct, frozen=True, kw_only=True):
    """policy: the file that is tested, beside this one."""

    policy: str = ""
    cases: tuple[Case, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """got: `allow`, `deny` or `approval`. rule: which said so. wrong: what is not as the case wants it, or empty."""

    name: str
    expect: str
    got: str
    rule: str
    message: str
    wrong: str


def problems_of(document: Document[CasesFile], finding_of: FindingOf) -> Iterator[Problem]:
    """What cannot be meant, with its place."""
    seen: dict[str, int] = {}
    for index, case in enumerate(document.value.cases):
        first = seen.setdefault(case.name, index)
        if first != index:
            line = document.position("cases", first).line
            yield document.problem(f"The case '{case.name}' is already written in line {line}.", "cases", index, "name")
        call = case.call
        if sum(bool(name) for name in (call.tool, call.resource, call.prompt)) > 1:
            sentence = "A call has one of 'tool', 'resource' and 'prompt'."
            yield document.problem(sentence, "cases", index, "call")
        if (call.resource or call.prompt) and not call.server:
            yield document.problem("A resource or prompt needs its 'server'.", "cases", index, "call")
        for kind in case.findings:
            if finding_of(kind) is None:
                sentence = f"No detector finds '{kind[:60]}'."
                yield document.problem(sentence, "cases", index, "findings", kind, key=True)


class Tester:
    """Runs cases against one policy. load: makes it, with the moment and the spending of the case under way."""

    def __init__(self, load: Callable[[Surroundings], Policy], finding_of: FindingOf) -> None:
        self._finding_of = finding_of
        self._now = 0.0
        self._spend = CaseSpend()
        self._policy = load(Surroundings(lambda: self._now, lambda _: _spent(self._spend)))

    def run(self, case: Case, now: float) -> Outcome:
        """now: for a case that names no moment."""
        self._now = case.now.replace(tzinfo=case.now.tzinfo or UTC).timestamp() if case.now else now
        self._spend = case.spend
        message = ""
        approvers: tuple[str, ...] = ()
        try:
            got, rule, approvers = self._decide(_principal(case.caller, self._policy), _call(case.call), case)
        except Refused as error:
            got, rule, message = "deny", error.rule, str(error)
        wrong = _wrong(case, got, rule, message, approvers)
        return Outcome(name=case.name, expect=case.expect, got=got, rule=rule, message=message, wrong=wrong)

    def _decide(self, caller: Principal, call: Call, case: Case) -> tuple[str, str, tuple[str, ...]]:
        policy = self._policy
        decision = policy.decide(caller, call)
        call = policy.check_input(call)
        found = [self._finding_of(kind) for kind, count in case.findings.items() for _ in range(count)]
        decision = policy.weigh(caller, call, decision, [finding for finding in found if finding is not None])
        if case.call.tool and not case.call.server:
            policy.check_tool_use(caller, call, case.call.tool, msgspec.json.encode(case.call.arguments))
        if decision.approval is not None:
            return "approval", decision.approval.rule, decision.approval.approvers
        return "allow", decision.rule, ()


def _wrong(case: Case, got: str, rule: str, message: str, approvers: tuple[str, ...]) -> str:
    if got != case.expect:
        by = f" by {rule}" if rule else ""
        return f"expected {case.expect}, got {got}{by}"
    if case.rule and case.rule not in rule:
        return f"expected the rule {case.rule}, got {rule or 'none'}"
    if case.says and case.says not in message:
        return f"the refusal does not say {case.says!r}"
    if case.approvers and case.approvers != approvers:
        return f"expected the consent of {', '.join(case.approvers)}, got {', '.join(approvers) or 'nobody'}"
    return ""


def _principal(caller: CaseCaller, policy: Policy) -> Principal:
    fields: Mapping[str, Any] = msgspec.structs.asdict(caller)
    values = {name: value for name, value in fields.items() if name not in {"signed_in", "permissions"}}
    permissions = policy.roles.permissions(caller.roles) | frozenset(caller.permissions)
    key_id = f"{SIGNED_IN}{caller.id}" if caller.signed_in else "key_case"
    return Principal(**values, permissions=permissions, key_id=key_id)


def _call(case: CaseCall) -> Call:
    client = Client(ip=case.ip, user_agent=case.user_agent, session_id=case.session)
    if case.server:
        name = case.tool or case.resource or case.prompt
        operation = (
            Operation.TOOLS_CALL if case.tool else Operation.RESOURCES_READ if case.resource else Operation.PROMPTS_GET
        )
        return Call(
            id="call_case",
            door=Door.MCP,
            operation=case.operation or operation,
            method="POST",
            path="/mcp",
            body=msgspec.json.encode({"arguments": case.arguments}),
            head=Head(server=case.server, tool=name),
            client=client,
        )
    message = {"role": "user", "content": case.text}
    body = {"model": case.model, "max_tokens": case.max_tokens, "stream": case.stream, "messages": [message]}
    return Call(
        id="call_case",
        door=Door.MESSAGES,
        operation=case.operation or Operation.MESSAGES_CREATE,
        method="POST",
        path="/v1/messages",
        body=msgspec.json.encode(body),
        head=Head(model=case.model, stream=case.stream, max_tokens=case.max_tokens),
        client=client,
    )


def _spent(spend: CaseSpend) -> Spent:
    return Spent(
        user_tokens_today=spend.user_tokens_today,
        user_today=from_usd(str(spend.user_usd_today)),
        user_month=from_usd(str(spend.user_usd_month)),
        team_month=from_usd(str(spend.team_usd_month)),
    )
