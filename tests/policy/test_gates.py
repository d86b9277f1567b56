"""Which calls need somebody's consent: the mission's policy as it is written, conditions, models."""

from collections.abc import Callable

import msgspec
import pytest

from ai_platform.domain.approval import ApprovalDemand, Covers
from ai_platform.domain.call import Call, Door, Head, Operation
from ai_platform.domain.errors import Denied
from ai_platform.domain.principal import Principal
from ai_platform.policy import Policy

People = Callable[..., Principal]
Calls = Callable[..., Call]

MISSION = Policy.load("""
policies:
  - {name: "PII Detection", scan_input: true, scan_output: true, block_on_match: true, alert_security_team: true}
  - name: "Production Access"
    resources: ["prod-db", "prod-api"]
    requires_approval: true
    approvers: ["security-team"]
""")
ADMIN = Principal(id="usr_1", name="Ann", permissions=frozenset({"*"}))


def demand_of(policy: Policy, call: Call, caller: Principal = ADMIN) -> ApprovalDemand | None:
    return policy.weigh(caller, call, policy.decide(caller, call), ()).approval


def tool_call(
    target: str, arguments: object = None, operation: Operation = Operation.TOOLS_CALL, *, body: bytes | None = None
) -> Call:
    server, _, tool = target.partition("/")
    return Call(
        id="call_1",
        door=Door.MCP,
        operation=operation,
        method="POST",
        path="/mcp",
        head=Head(server=server, tool=tool),
        body=msgspec.json.encode({"arguments": arguments or {}}) if body is None else body,
    )


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("prod-db/query", {"sql": "select 1"}),
        ("PROD-DB/query", {}),
        ("warehouse/query", {"database": "prod-db"}),
        ("warehouse/query", {"options": {"target": [" Prod-DB "]}}),
        ("warehouse/query", {"dsn": "postgres://u@prod-db.internal:5432/x"}),
        ("shell/run", {"command": "curl http://prod-api/v1/users"}),
        ("shell/run", {"command": "psql -h PROD-DB -c 'select 1'"}),
        ("ops/prod-api", {}),
        ("ops/restart_prod-api_now", {}),
    ],
)
def test_the_policy_of_the_mission_stops_what_reaches_its_resources(target: str, arguments: object):
    demand = demand_of(MISSION, tool_call(target, arguments))
    assert demand == ApprovalDemand(rule="Production Access", approvers=("security-team",))


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("wiki/search", {"query": "what is prod-db?"}),
        ("files/write", {"path": "docs/prod-api.md", "text": "prod-api listens on 80"}),
        ("warehouse/query", {"database": "prod-db2"}),
        ("warehouse/query", {"database": "myprod-dbx", "sql": "select 1"}),
        ("shell/run", {"command": "ls staging-db"}),
    ],
)
def test_what_only_mentions_a_resource_passes(target: str, arguments: object):
    assert demand_of(MISSION, tool_call(target, arguments)) is None


def test_resources_are_globs_over_servers_tools_and_addresses():
    policy = Policy.load("""
policies:
  - {name: a, resources: ["github/delete_*", "db://prod/*"], requires_approval: true, approvers: [x]}
""")
    assert demand_of(policy, tool_call("github/delete_repo"))
    assert not demand_of(policy, tool_call("github/get_repo"))
    assert demand_of(policy, tool_call("data/db://prod/users", None, Operation.RESOURCES_READ, body=b"{}"))
    assert not demand_of(policy, tool_call("data/db://test/users", None, Operation.RESOURCES_READ, body=b"{}"))


def test_a_condition_narrows_and_stands_alone_too(person: People):
    policy = Policy.load("""
policies:
  - name: large payments
    when: call.tool == "pay" && call.arguments.amount > 1000
    requires_approval: true
    approvers: [finance, "role:admin"]
  - {name: interns, resources: ["github"], when: 'caller.team == "interns"', requires_approval: true, approvers: [lead]}
""")
    assert demand_of(policy, tool_call("bank/pay", {"amount": 5000})) == ApprovalDemand(
        rule="large payments", approvers=("finance", "role:admin")
    )
    assert demand_of(policy, tool_call("bank/pay", {"amount": 10})) is None
    with pytest.raises(Denied, match="condition of 'large payments' cannot be decided"):
        demand_of(policy, tool_call("bank/pay", {"amount": "5000"}))
    intern = person("admin", team="interns")
    assert demand_of(policy, tool_call("github/x"), intern) == ApprovalDemand(rule="interns", approvers=("lead",))
    assert demand_of(policy, tool_call("github/x")) is None


def test_the_first_policy_of_the_file_decides_whose_consent_it_takes():
    policy = Policy.load("""
policies:
  - {name: first, resources: ["github/delete_*"], requires_approval: true, approvers: [a]}
  - {name: second, resources: ["github"], requires_approval: true, approvers: [b]}
""")
    assert demand_of(policy, tool_call("github/delete_x")) == ApprovalDemand(rule="first", approvers=("a",))
    assert demand_of(policy, tool_call("github/get")) == ApprovalDemand(rule="second", approvers=("b",))


def test_the_use_of_a_model_can_need_consent(call: Calls):
    policy = Policy.load("""
policies:
  - {name: opus, resources: ["model:claude-opus-*"], requires_approval: true, approvers: [lead], covers: session}
""")
    wanted = ApprovalDemand(rule="opus", approvers=("lead",), covers=Covers.SESSION)
    assert demand_of(policy, call("claude-opus-5-5")) == wanted
    assert demand_of(policy, call("eu.anthropic.claude-opus-5-5")) == wanted
    assert demand_of(policy, call("claude-haiku-4-5")) is None
    assert demand_of(policy, call("claude-opus-5-5", Operation.COUNT_TOKENS)) is None
    batch = call("claude-haiku-4-5", Operation.BATCHES_CREATE)
    head = Head(model="claude-haiku-4-5", models=("claude-haiku-4-5", "claude-opus-5-5"))
    assert demand_of(policy, msgspec.structs.replace(batch, head=head)) == wanted


def test_a_condition_about_what_was_found_is_known_after_inspection(call: Calls):
    policy = Policy.load("""
policies:
  - {name: personal data, when: findings.count > 0, requires_approval: true, approvers: [privacy]}
""")
    assert demand_of(policy, call()) is None


def test_arguments_that_cannot_be_read_are_refused_where_consent_depends_on_them():
    with pytest.raises(Denied, match="no JSON object"):
        demand_of(MISSION, tool_call("warehouse/query", body=b'{"arguments": [1]}'))


def test_a_check_says_whose_consent_is_needed():
    rows = {row["rule"]: row["effect"] for row in MISSION.summary()}
    assert rows["Production Access"] == "prod-db, prod-api: each call needs the consent of security-team"
