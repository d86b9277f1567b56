"""Rules with conditions: what they see, deny overrides, what cannot be decided denies and is told."""

import contextlib
import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_platform.domain.call import Call, Client, Door, Head, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import ConfigError, Denied
from ai_platform.domain.finding import Action, DataClass, Finding, Severity, Tier
from ai_platform.domain.principal import Principal
from ai_platform.policy import Policy
from ai_platform.policy.view import Spent, Surroundings

People = Callable[..., Principal]
Calls = Callable[..., Call]

pytestmark = pytest.mark.requirement("PO-2")

SUNDAY = dt.datetime(2026, 11, 22, 14, 30, tzinfo=dt.UTC).timestamp()


def rule(when: str, effect: str = "deny", **fields: object) -> dict[str, object]:
    return {"name": "r", "effect": effect, "when": when} | fields


def policy(
    *rules: dict[str, object], spent: Spent | None = None, failed: list[str] | None = None, **more: Any
) -> Policy:
    text = msgspec.json.encode({"rules": rules} | more).decode()
    sink = failed if failed is not None else []
    around = Surroundings(lambda: SUNDAY, lambda _: spent or Spent(), sink.append)
    return Policy.load(text, name="p.yaml", surroundings=around)


def tool_call(server: str, tool: str, arguments: object = None) -> Call:
    body = msgspec.json.encode({"name": tool, "arguments": arguments if arguments is not None else {}})
    return Call(
        id="call_1",
        door=Door.MCP,
        operation=Operation.TOOLS_CALL,
        method="POST",
        path="/mcp",
        head=Head(server=server, tool=tool),
        body=body,
    )


def finding(kind: str = "US_SSN", severity: Severity = Severity.CRITICAL) -> Finding:
    return Finding(
        start=0,
        end=1,
        data_class=DataClass.PII,
        type=kind,
        rule=kind,
        tier=Tier.FORMAT,
        severity=severity,
        action=Action.REDACT,
    )


def is_denied(made: Policy, caller: Principal, call: Call, *findings: Finding) -> bool:
    try:
        made.weigh(caller, call, made.decide(caller, call), findings)
    except Denied as error:
        return (error.reason, error.rule) == (Refusal.CONDITION, "rules.r")
    return False


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("caller.team == 'blue'", True),
        ("caller.team == 'red'", False),
        ("'developer' in caller.roles && !caller.signed_in", True),
        ("caller.email.endsWith('@example.com') && caller.kind == 'person'", True),
        ("caller.groups.exists(g, g.startsWith('eng'))", True),
        ("caller.region == '' && caller.project == '' && caller.tenant == 'default'", True),
        ("call.model.startsWith('claude-opus')", False),
        ("call.operation == 'messages.create' && call.door == 'messages'", True),
        ("call.max_tokens > 4000 && call.stream", True),
        ("call.bytes > 10 && call.ip == '10.1.2.3' && call.session == 's1'", True),
        ("call.user_agent.lowerAscii().contains('curl')", True),
        ("time.hour == 14 && time.minute == 30 && time.weekday == 7 && time.date == '2026-11-22'", True),
        ("time.now > timestamp('2026-01-01T00:00:00Z')", True),
        ("time.weekday <= 5 && time.hour >= 8", False),
        ("spend.user_usd_today > 10 && spend.user_tokens_today == 900", True),
        ("spend.user_usd_month > 1000.0 || spend.team_usd_month > 5000", True),
    ],
)
def test_a_rule_sees_caller_call_time_and_spend(when: str, holds: object, person: People):
    spent = Spent(user_tokens_today=900, user_today=12_500_000, user_month=1_000_000, team_month=5_000_000_001)
    made = policy(rule(when), spent=spent)
    caller = person("developer", team="blue", groups=("engineers",))
    call = Call(
        id="call_1",
        door=Door.MESSAGES,
        operation=Operation.MESSAGES_CREATE,
        method="POST",
        path="/v1/messages",
        head=Head(model="claude-sonnet-5-5", stream=True, max_tokens=8000),
        client=Client(ip="10.1.2.3", user_agent="CURL/8", session_id="s1"),
        body=b'{"messages": []}',
    )
    assert is_denied(made, caller, call) == holds


def test_rules_about_what_was_found_are_asked_after_inspection(person: People, call: Calls):
    made = policy(rule("findings.types.US_SSN > 1 && findings.severities.critical > 1 || findings.classes.SECRET > 0"))
    caller, asked = person("developer"), call()
    made.decide(caller, asked)
    assert not is_denied(made, caller, asked)
    assert not is_denied(made, caller, asked, finding())
    assert not is_denied(made, caller, asked, finding(), finding("EMAIL_ADDRESS"))
    assert is_denied(made, caller, asked, finding(), finding())


def test_a_rule_about_tools_is_not_asked_for_other_calls(person: People, call: Calls):
    failed: list[str] = []
    made = policy(rule("call.arguments.path.startsWith('/etc')"), failed=failed)
    admin = person("admin")
    assert not is_denied(made, admin, call())
    assert is_denied(made, admin, tool_call("files", "read", {"path": "/etc/passwd"}))
    assert not is_denied(made, admin, tool_call("files", "read", {"path": "/home"}))
    assert not failed


def test_a_tool_call_that_the_model_proposes_is_held_against_the_rules_about_tools(person: People, call: Calls):
    made = policy(rule("call.tool == 'Bash' && call.arguments.command.contains('curl') || call.server == 'github'"))
    caller, asked = person("developer"), call()
    made.check_tool_use(caller, asked, "Bash", b'{"command": "ls"}')
    made.check_tool_use(caller, asked, "Read", b'{"file": "curl"}')
    for name, arguments in [
        ("Bash", b'{"command": "curl x"}'),
        ("mcp__github__create", b"{}"),
        ("mcp__all__github__create", b"{}"),
    ]:
        with pytest.raises(Denied, match="was refused by the rule 'r'") as refused:
            made.check_tool_use(caller, asked, name, arguments)
        assert refused.value.reason is Refusal.CONDITION
    general = policy(rule("call.operation == 'tools.propose'"))
    general.check_tool_use(caller, asked, "Bash", b"{}")


def test_deny_overrides_allow_whatever_the_priority(person: People):
    made = policy(
        rule("true", "allow", name="open", priority=100),
        rule("call.tool == 'drop'", priority=-5, message="Nobody drops."),
    )
    caller = person("member")
    assert made.decide(caller, tool_call("db", "read")).rule == "rules.open"
    with pytest.raises(Denied, match=r"refused by the rule 'r': Nobody drops\. Ask an administrator"):
        made.decide(caller, tool_call("db", "drop"))


def test_an_allow_rule_grants_what_no_role_grants_and_nothing_that_a_list_or_the_key_denies(
    person: People, call: Calls
):
    made = policy(
        rule("caller.team == 'blue' && call.server == 'wiki'", "allow"),
        rule("call.model.startsWith('claude-opus')", "allow", name="opus"),
        tools={"deny": ["wiki/delete_*"]},
        models={"allow": ["claude-haiku-*"], "deny": ["claude-opus-4*"]},
    )
    caller = person("member", team="blue")
    assert made.decide(caller, tool_call("wiki", "read")).rule == "rules.r"
    assert made.may_reach(caller, Operation.TOOLS_CALL, "wiki", "read")
    assert not made.may_reach(person("member"), Operation.TOOLS_CALL, "wiki", "read")
    assert made.may_use(caller, "claude-opus-5-5")
    assert not made.may_use(caller, "claude-opus-4-7")
    assert made.decide(caller, call("claude-opus-5-5")).rule == "rules.opus"
    for other, refused in [
        (caller, tool_call("wiki", "delete_page")),
        (caller, tool_call("github", "read")),
        (caller, call("claude-opus-4-7")),
        (person("member", team="blue", tools=("github/*",)), tool_call("wiki", "read")),
        (person("member", team="blue", models=("claude-haiku-*",)), call("claude-opus-5-5")),
        (person("member", team="blue", narrowed=True), tool_call("wiki", "read")),
    ]:
        with pytest.raises(Denied):
            made.decide(other, refused)


def test_lists_hide_what_a_rule_denies(person: People):
    made = policy(rule("call.server == 'github' && caller.team != 'blue' || call.model.contains('opus')"))
    blue, red = person("admin", team="blue"), person("admin", team="red")
    assert made.may_reach(blue, Operation.TOOLS_CALL, "github", "x")
    assert not made.may_reach(red, Operation.TOOLS_CALL, "github", "x")
    by_model = policy(rule("call.model.contains('opus')"))
    assert by_model.may_use(red, "claude-haiku-4-5")
    assert not by_model.may_use(red, "claude-opus-5-5")
    with pytest.raises(Denied, match="not allowed for you by a rule"):
        by_model.check_model(red, "claude-opus-5-5")
    by_argument = policy(rule("call.arguments.path == '/'"))
    assert by_argument.may_reach(red, Operation.TOOLS_CALL, "files", "read"), "decided when the call comes"


LONG = {"a": ["x" * 900_000], "b": [1] * 120}


@pytest.mark.parametrize(
    ("when", "arguments", "says"),
    [
        ("call.arguments.sql.contains('x')", {"query": "x"}, "a field that it reads is missing"),
        ("call.arguments.amount > 100", {"amount": "1000"}, "of types that cannot be compared"),
        ("call.arguments.amount / call.arguments.zero > 1", {"amount": 5, "zero": 0}, "divides by zero"),
        ("call.arguments.amount + 1 > 0", {"amount": 2**63 - 1}, "a number is too large"),
        ("call.arguments.list[3] == 1", {"list": [1]}, "fewer items"),
        ("call.arguments.flag", {"flag": "yes"}, "neither true nor false"),
        ("call.arguments.text.matches('a')", {"text": 5}, "does not take the values"),
        ("call.arguments.text.matches('a') == false", {"text": 5}, "does not take the values"),
        ("call.arguments.text.lowerAscii() != 'a'", {"text": None}, "does not take the values"),
        ("call.arguments.list.all(x, !x.matches('a'))", {"list": [1]}, "does not take the values"),
        (
            "call.arguments.a.exists(x, call.arguments.b.exists(y, x == y))",
            {"a": ["x" * 900_000], "b": [1] * 120},
            "text",
        ),
        ("call.arguments.a.lowerAscii().contains('b')", {"a": 7}, "does not take the values"),
        ("call.arguments.a == 1", ["a"], "the arguments are no JSON object"),
        ("call.arguments.a == 1", {"a": 1, "b": list(range(12_000))}, "more than 10000 values"),
        ("call.arguments.a.exists(x, call.arguments.a.exists(y, x == y))", {"a": list(range(300))}, "more than 141"),
    ],
)
def test_a_condition_that_cannot_be_decided_denies_and_is_counted(
    when: str, arguments: object, says: str, person: People
):
    failed: list[str] = []
    made = policy(rule(when), failed=failed)
    call = tool_call("db", "run")
    call = call.with_body(b'{"arguments": ' + msgspec.json.encode(arguments) + b"}")
    with pytest.raises(Denied, match=says) as refused:
        made.decide(person("admin"), call)
    assert refused.value.reason is Refusal.CONDITION
    assert refused.value.rule == "rules.r"
    assert failed == ["rules.r"]


def test_a_refusal_never_repeats_what_the_arguments_held(person: People, capfd: pytest.CaptureFixture[str]):
    made = policy(rule("call.arguments[call.arguments.key] + call.arguments.n > 1"))
    with pytest.raises(Denied) as refused:
        made.decide(person("admin"), tool_call("db", "run", {"key": "hunter2", "n": 1}))
    assert "hunter2" not in str(refused.value)
    made = policy(rule("call.arguments.s.lowerAscii() > 5"))
    with pytest.raises(Denied) as refused:
        made.decide(person("admin"), tool_call("db", "run", {"s": "hunter2"}))
    assert "hunter2" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_an_allow_rule_that_cannot_be_decided_allows_nothing_and_is_counted(person: People):
    failed: list[str] = []
    made = policy(rule("call.arguments.x == 1", "allow"), failed=failed)
    with pytest.raises(Denied) as refused:
        made.decide(person("member"), tool_call("db", "run"))
    assert refused.value.reason is Refusal.TOOL_NOT_ALLOWED
    assert failed == ["rules.r"]


def test_what_other_tools_are_called_with_does_not_matter(person: People):
    """A rule that names its tool first stays decidable for calls of other tools, however large or odd they are."""
    made = policy(rule("call.tool == 'refund' && call.arguments.items.exists(x, call.arguments.amount > x)"))
    many = msgspec.json.encode({"rows": list(range(50_000))})
    for arguments in (many, b"[1]", b'{"a":' + b"[" * 99 + b"]" * 99 + b"}"):
        call = tool_call("db", "insert").with_body(b'{"arguments": ' + arguments + b"}")
        assert made.decide(person("admin"), call)
        refund = tool_call("db", "refund").with_body(call.body)
        with pytest.raises(Denied, match="cannot be decided"):
            made.decide(person("admin"), refund)
    always = policy(rule("call.arguments.size() >= 0 || call.server == 'db'"))
    with pytest.raises(Denied, match="refused by the rule"):
        always.decide(person("admin"), tool_call("db", "insert").with_body(b'{"arguments": ' + many + b"}"))


@pytest.mark.parametrize(
    "when",
    [
        "call.arguments.list.exists(x, x.matches('(\\\\w+ ){30}z'))",
        "call.arguments.list.exists(x, call.arguments.list.exists(y, x.contains(y) && y.matches('\\\\w{200}z')))",
        "call.arguments.list.all(x, call.arguments.list.exists(y, y == x + x + x))",
        "call.arguments.list.filter(x, !(x in call.arguments.list)).size() > 0",
        "call.arguments.text.lowerAscii().matches('(a|b)*c{1,100}d')",
    ],
)
def test_no_arguments_can_make_a_condition_slow(when: str, person: People):
    made = policy(rule(when))
    for count in (100, 141, 1000, 9000):
        size = 400_000 // count
        call = tool_call("db", "run", {"text": "ab" * 2_000_000, "list": [f"{n:0{size}}" for n in range(count)]})
        began = time.process_time()
        with contextlib.suppress(Denied):
            made.decide(person("admin"), call)
        assert time.process_time() - began < 1.5


def test_arguments_that_no_rule_reads_need_not_be_readable(person: People):
    made = policy(rule("call.tool == 'other'"))
    for body in (
        b'{"arguments": [1]}',
        b'{"arguments": "text"}',
        b'{"arguments": {"a": ' + b"[" * 99 + b"]" * 99 + b"}}",
    ):
        assert made.decide(person("admin"), tool_call("db", "run").with_body(body))


def test_arguments_nested_without_end_deny(person: People):
    made = policy(rule("call.arguments.a == 1"))
    body = b'{"arguments": {"a": ' + b"[" * 200 + b"]" * 200 + b"}}"
    with pytest.raises(Denied, match="nest deeper"):
        made.decide(person("admin"), tool_call("db", "run").with_body(body))


def test_large_arguments_cost_little_where_no_rule_reads_them(person: People):
    made = policy(rule("call.tool == 'other' || call.arguments.content.contains('needle')"))
    big = {"content": "x" * 3_000_000}
    assert not is_denied(made, person("admin"), tool_call("files", "write", big))
    by_name = policy(rule("call.tool == 'other'"))
    assert not is_denied(by_name, person("admin"), tool_call("files", "write", {"many": list(range(100_000))}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)
STRICT = policy(
    rule("call.arguments.path.startsWith('/safe') == false || call.arguments.size() != 1 || call.tool != 'read'")
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(JSON)
def test_whatever_the_arguments_are_the_answer_is_yes_no_or_refused(arguments: object):
    caller = Principal(id="u", name="u", permissions=frozenset({"*"}))
    call = tool_call("files", "read").with_body(b'{"arguments": ' + msgspec.json.encode(arguments) + b"}")
    try:
        STRICT.decide(caller, call)
    except Denied:
        return
    assert isinstance(arguments, dict)
    assert list(arguments) == ["path"]
    assert str(arguments["path"]).startswith("/safe")


def test_a_policy_value_is_data_and_never_an_expression(person: People, call: Calls):
    """Names and texts of the caller that look like CEL stay texts."""
    made = policy(rule("caller.team == 'blue'", name="r"))
    for team in ("blue' || true || '", "' || true || caller.team == '", "true", "{{caller.id}}"):
        assert not is_denied(made, person("developer", team=team), call())


def test_without_the_extra_a_policy_with_conditions_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ai_platform.policy.expressions.cel", None)
    with pytest.raises(ConfigError, match=r'p\.yaml:1:\d+: Conditions need an extra: pip install "ai-platform\[cel\]"'):
        policy(rule("true"))
    assert Policy.load("version: '1'").version.startswith("1+")
