"""What rules with conditions mean for somebody before they call."""

import datetime as dt
from collections.abc import Callable

import msgspec
import pytest

from ai_platform.domain.principal import Principal
from ai_platform.policy import Policy
from ai_platform.policy.view import Surroundings

People = Callable[..., Principal]

pytestmark = pytest.mark.requirement("ID-2")

NOON = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC).timestamp()


def seen(
    when: str, caller: Principal, *, model: str = "", tool: str = "", effect: str = "deny"
) -> tuple[str, list[str]]:
    """(state, needs) of the one rule; "cannot hold" when it is left out."""
    text = msgspec.json.encode({"rules": [{"name": "r", "effect": effect, "when": when}]}).decode()
    policy = Policy.load(text, name="p.yaml", surroundings=Surroundings(lambda: NOON))
    server, _, name = tool.partition("/")
    found = policy.outlook_of_tool(caller, server, name) if tool else policy.outlook_of_model(caller, model)
    return (found[0].state, list(found[0].needs)) if found else ("cannot hold", [])


def test_what_the_caller_and_the_model_decide_is_decided(person: People):
    ann = person("developer", team="interns")
    opus = 'call.model.startsWith("claude-opus")'
    assert seen('caller.team == "interns"', ann) == ("holds", [])
    assert seen('caller.team == "finance"', ann) == ("cannot hold", [])
    assert seen(f'caller.team == "interns" && {opus}', ann, model="claude-opus-5-5") == ("holds", [])
    assert seen(f'caller.team == "interns" && {opus}', ann, model="claude-haiku-5-5") == ("cannot hold", [])
    assert seen(f'caller.team == "interns" && {opus}', ann) == ("depends", ["call.model"])


def test_what_is_not_known_before_a_call_is_named_and_decides_nothing(person: People):
    ann = person("developer", team="interns")
    late = "time.hour >= 18"
    assert seen(late, ann) == ("depends", ["time.hour"]), "it is noon, but the next call may come at night"
    assert seen(f'caller.team == "finance" && {late}', ann) == ("cannot hold", []), "no hour could change it"
    assert seen(f'caller.team == "interns" || {late}', ann) == ("holds", [])
    assert seen("spend.user_usd_today > 5.0", ann) == ("depends", ["spend.user_usd_today"])
    assert seen("findings.count > 0", ann) == ("depends", ["findings.count"])
    assert seen("call.max_tokens > 1000 && call.ip != ''", ann, model="claude-haiku-5-5") == (
        "depends",
        ["call.ip", "call.max_tokens"],
    )


def test_rules_about_tools_are_asked_for_tools_only(person: People):
    ann = person("developer")
    pay = 'call.server == "payments" && call.arguments.amount > 100'
    assert seen(pay, ann, model="claude-haiku-5-5") == ("cannot hold", [])
    assert seen(pay, ann, tool="payments/pay") == ("depends", ["call.arguments"])
    assert seen(pay, ann, tool="wiki/search") == ("cannot hold", [])
    assert seen('call.tool == "pay"', ann, tool="payments/pay", effect="allow") == ("holds", [])


def test_what_is_not_known_is_not_taken_for_what_is_not_there(person: People):
    ann = person("developer")
    for when in ("has(call.arguments.force)", "!has(call.arguments.force)"):
        assert seen(f'call.server == "ops" && {when}', ann, tool="ops/run") == ("depends", ["call.arguments"])
