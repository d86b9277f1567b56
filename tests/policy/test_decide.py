"""Default deny, permission by operation, and a refusal that says which rule, why, what to do and whom to ask."""

from collections.abc import Callable

import pytest

from ai_platform.domain.call import Call, Operation
from ai_platform.domain.decision import Limits, Refusal
from ai_platform.domain.errors import Denied
from ai_platform.domain.permission import EVERYTHING, Permission
from ai_platform.domain.principal import Principal
from ai_platform.policy import Policy
from ai_platform.policy.grants import PERMISSION_FOR
from ai_platform.policy.tools import OFFERS

People = Callable[..., Principal]
Calls = Callable[..., Call]


@pytest.mark.requirement("ID-2")
@pytest.mark.parametrize("operation", list(PERMISSION_FOR))
def test_nobody_may_do_anything_without_the_permission(operation: Operation, person: People, call: Calls):
    policy = Policy.load("")
    needed = PERMISSION_FOR[operation]
    others = frozenset(permission.value for permission in Permission if permission is not needed)
    with pytest.raises(Denied) as refused:
        policy.decide(person(permissions=others), call(operation=operation))
    assert refused.value.reason is Refusal.PERMISSION_MISSING
    with pytest.raises(Denied):
        policy.decide(person(), call(operation=operation))


@pytest.mark.requirement("ID-2")
@pytest.mark.parametrize("operation", list(PERMISSION_FOR))
def test_the_one_permission_of_an_operation_is_enough_and_so_is_the_star(
    operation: Operation, person: People, call: Calls
):
    policy = Policy.load("")
    needed = PERMISSION_FOR[operation]
    for permissions in ({needed.value}, {EVERYTHING}):
        caller = person(permissions=frozenset(permissions))
        assert policy.decide(caller, call(operation=operation)).rule.startswith(f"permission {needed.value}")


@pytest.mark.requirement("ID-2")
def test_every_operation_has_a_permission_or_belongs_to_the_door_of_tools():
    assert set(Operation) == {*PERMISSION_FOR, *OFFERS, Operation.MCP_LIST}


def test_a_missing_permission_names_the_rule_the_reason_the_remedy_and_whom_to_ask(person: People, call: Calls):
    policy = Policy.load("contact: Ask security@example.com.")
    with pytest.raises(Denied) as refused:
        policy.decide(person("member"), call(operation=Operation.BATCHES_CREATE))
    assert refused.value.rule == "permission claude:batches:use"
    assert str(refused.value) == (
        "'batches.create' needs the permission claude:batches:use, which your key does not have (your roles: member)."
        " Roles that have it: developer. Ask security@example.com."
    )


def test_without_a_contact_the_refusal_names_the_administrator(person: People, call: Calls):
    with pytest.raises(Denied, match=r"Ask an administrator of this platform\.$"):
        Policy.load("").decide(person(), call())


@pytest.mark.requirement("PO-1")
def test_a_decision_carries_the_version_the_limits_of_the_team_and_the_plan(person: People, call: Calls):
    policy = Policy.load("""
version: "7"
usage_limits:
  per_user: {requests_per_hour: 100, tokens_per_day: 1000000}
  per_team: {requests_per_hour: 1000, cost_per_month_usd: 10000}
teams:
  batch:
    usage_limits: {per_user: {requests_per_hour: unlimited}, per_team: {cost_per_month_usd: 2.5, cost_limit: block}}
""")
    decision = policy.decide(person("developer", team="payments"), call())
    assert decision.limits == Limits(
        user_requests_per_hour=100,
        user_tokens_per_day=1_000_000,
        team_requests_per_hour=1000,
        team_cost_per_month=10_000_000_000,
        team_cost_soft=True,
    )
    assert decision.policy_version == policy.version == decision.plan.version
    assert policy.version.startswith("7+")
    batch = policy.decide(person("developer", team="batch"), call()).limits
    assert batch == Limits(
        user_requests_per_hour=None,
        user_tokens_per_day=1_000_000,
        team_requests_per_hour=1000,
        team_cost_per_month=2_500_000,
        team_cost_soft=False,
    )


@pytest.mark.requirement("PO-1")
def test_the_version_changes_with_every_byte_of_the_file():
    versions = {Policy.load(text).version for text in ("", "version: '1'", "version: '1' ", "# x\nversion: '1'")}
    assert len(versions) == 4
    assert Policy.load("version: '1'").version == Policy.load("version: '1'").version
