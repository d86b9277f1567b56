"""A condition that is wrong stops the file from loading, and is told with its place and what was probably meant."""

import contextlib
import time

import pytest

from ai_platform.documents import DocumentError
from ai_platform.documents.errors import Position
from ai_platform.policy import Policy
from ai_platform.policy.analysis import Mistake, analyse
from ai_platform.policy.expressions import Expression
from ai_platform.policy.place import place_in
from ai_platform.policy.plan import Catalogue

pytestmark = pytest.mark.requirement("PO-2")


def mistake_of(when: str) -> tuple[int, str]:
    with pytest.raises(Mistake) as found:
        Expression(when)
    suggestion = f" -> {found.value.suggestion}" if found.value.suggestion else ""
    return found.value.at, f"{found.value}{suggestion}"


@pytest.mark.parametrize(
    ("when", "at", "says"),
    [
        ("caller.teem == 'x'", 7, "There is no field of 'caller' 'teem'. -> team"),
        ("caler.team == 'x'", 0, "There is no variable 'caler'. -> caller"),
        ("unknown == 1", 0, "There is no variable 'unknown'. Known: call, caller"),
        ("call.tool.startswith('x')", 10, "There is no function 'startswith'. -> startsWith"),
        ("lower(call.tool) == 'x'", 0, "There is no function 'lower'"),
        ("caller.team = 'x'", 12, "A single '=' compares nothing. -> =="),
        ("true & false", 5, "A single '&' joins nothing. -> &&"),
        ("caller.team == 'x' and true", 19, "'and' is not a word of CEL. -> &&"),
        ("not true", 0, "'not' is not a word of CEL. -> !"),
        ("caller.team ==", 14, "ends too early"),
        ("(caller.team == 'x'", 19, "ends too early"),
        ("", 0, "ends too early"),
        ("caller.team == 'x", 15, "The text that begins here does not end"),
        ("caller == null", 0, "no value by itself"),
        ("caller['team'] == 'x'", 0, "no value by itself"),
        ("[caller].exists(c, c.secret == 1)", 1, "no value by itself"),
        ("caller.size() > 1", 0, "no value by itself"),
        ("caller.roles.map(r, r + r).size() > 3", 13, "'map' cannot be used"),
        ("call.tool.matches(call.server)", 10, "takes its pattern as one text"),
        ("call.tool.matches('a' + 'b')", 10, "takes its pattern as one text"),
        ("call.tool.matches('(a')", 18, "The pattern cannot be used: Missing close parenthesis"),
        ("call.tool.matches('(?=a)b')", 18, "look-ahead"),
        ("call.tool.matches('((a{1000}){1000}){1000}')", 18, "The pattern cannot be used: it is too large"),
        ("caller.roles.exists(call, true)", 20, "'call' is taken"),
        ("findings.kinds.X > 0", 9, "There is no field of 'findings' 'kinds'"),
        ("findings.types == {}", 9, "Name one of the types"),
        ("!has(call.arguments)", 10, "'call.arguments' is always there"),
        ("has( call . arguments )", 12, "'call.arguments' is always there"),
        ("has((call.arguments))", 10, "'call.arguments' is always there"),
        ("call.optional.?x", 5, "There is no field of 'call' 'optional'"),
        ("x{a: 1}", 0, "There is no variable 'x'"),
        ("call.tool == `x`", 14, "There is no variable 'x'"),
        ("call.tool == 'x' 5", 17, "not a condition in CEL"),
        ("now() > time.now", 0, "There is no function 'now'"),
        ("cel.bind(x, 1, true)", 0, "There is no variable 'cel'"),
    ],
)
def test_a_mistake_is_placed_and_explained(when: str, at: int, says: str):
    place, message = mistake_of(when)
    assert says in message or (says == "look-ahead" and "look" in message)
    assert place == at


@pytest.mark.parametrize(
    "when",
    [
        "'caller.teem' == 'x'",
        "caller.team == 'and' // or caler.teem",
        'caller.team == "it\'s"',
        "caller.team == '''a'b'''",
        r"caller.team == 'a\'b'",
        r"caller.team == r'a\'",
        "has(call.arguments.caller) && call.arguments.caller.teem == 1",
        "call.arguments['x y'].z[0] in [1, 2.5, 0x1F, 1u, .5]",
        "caller.roles.filter(r, r != 'a').size() > 1 ? true : false",
        "caller . team == 'x'",
        "has((call.arguments).x) && (has(call.arguments.y))",
        "caller.roles.exists(r, caller.groups.exists(g, g == r))",
        "duration('1h') > duration('5m') && size(caller.roles) > 0",
    ],
)
def test_what_is_right_is_left_alone(when: str):
    assert Expression(when).source == when


@pytest.mark.parametrize(
    "when",
    [
        "(" * 900 + "true" + ")" * 900,
        "!" * 1500 + "true",
        "[" * 900 + "]" * 900 + " == []",
        "true" + " || true" * 240,
        "true ? " * 200 + "true" + " : true" * 200,
        "call.tool" + ".x" * 900 + " == 1",
        "'" + "a" * 3000 + "'",
        "caller.roles.exists(a, caller.roles.exists(b, caller.roles.exists(c, true)))",
        "'a'" + " + 'a'" * 17 + " == ''",
        "call.tool.matches('" + "(a|b)*" * 150 + "')",
    ],
)
def test_no_expression_breaks_or_stalls_the_process(when: str):
    began = time.process_time()
    with contextlib.suppress(Mistake):
        Expression(when)
    assert time.process_time() - began < 2


def test_what_is_read_is_known_before_it_runs():
    found = analyse("findings.types.US_SSN > 1 && call.arguments.a.exists(x, x == caller.team) || time.hour > 3")
    assert found.reads == {"findings.types", "call.arguments", "caller.team", "time.hour"}
    assert found.names == (("types", "US_SSN", 15),)
    assert found.depth == 1


RULE = "rules:\n  - name: a\n    effect: deny\n"
CATALOGUE = Catalogue(types=frozenset({"US_SSN", "CREDIT_CARD"}), rules=frozenset())


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        (f"{RULE}    when: caller.teem == 'x'\n", "4:18", "Did you mean 'team'?"),
        (
            f'{RULE}    when: "caller.team == \\"x\\" && caler.id"\n',
            "4:36",
            "'caller'?",
        ),
        (f"{RULE}    when: 'caller.team == ''x'' && caler.id'\n", "4:36", "'caller'?"),
        (
            f"{RULE}    when: |\n      true &&\n        caler.id == ''\n",
            "6:9",
            "'caller'?",
        ),
        ("rules: [{name: a, effect: maybe, when: 'true'}]", "1:27", "allow"),
        ("rules: [{name: a, effect: deny}]", "1:9", "needs the key 'when'"),
        ("rules: [{name: a, effect: deny, when: 'true', if: x}]", "1:47", "Unknown key 'if'"),
        (
            "rules: [{name: a, effect: deny, when: 'true'}, {name: a, effect: deny, when: 'true'}]",
            "1:55",
            "already written in line 1",
        ),
        ("rules: [{name: a, effect: allow, when: findings.count > 0}]", "1:40", "cannot read 'findings'"),
        ("rules: [{name: a, effect: deny, when: findings.types.US_SNN > 0}]", "1:54", "Did you mean 'US_SSN'?"),
        ("rules: [{name: a, effect: deny, when: findings.severities.fatal > 0}]", "1:59", "nothing called 'fatal'"),
        ("policies: [{name: a, requires_approval: true, approvers: [x], when: caller.teem == ''}]", "1:76", "'team'?"),
        ("policies: [{name: a, scan_input: true, when: 'true'}]", "1:12", "without 'requires_approval: true'"),
        (
            "policies: [{name: a, requires_approval: true, approvers: [x], resources: [db], covers: session}]",
            "1:88",
            "is for models",
        ),
    ],
)
def test_a_mistake_in_a_file_names_line_and_column(text: str, where: str, says: str):
    with pytest.raises(DocumentError, match=says.replace("(", r"\(").replace("?", r"\?")) as found:
        Policy.load(text, name="p.yaml", catalogue=CATALOGUE)
    assert str(found.value).startswith(f"p.yaml:{where}: ")


def test_all_mistakes_are_told_at_once():
    text = (
        "rules:\n  - {name: a, effect: deny, when: caler.id == ''}\n  - {name: b, effect: deny, when: call.tol == ''}\n"
    )
    with pytest.raises(DocumentError) as found:
        Policy.load(text)
    assert [problem.position.line for problem in found.value.problems] == [2, 3]


def test_there_are_not_too_many_rules():
    text = "rules: [" + ", ".join(f"{{name: r{number}, effect: deny, when: 'false'}}" for number in range(201)) + "]"
    with pytest.raises(DocumentError, match="at most 200"):
        Policy.load(text)


@pytest.mark.parametrize(
    ("text", "value", "written", "at", "place"),
    [
        ("when: abc", Position(1, 7), "abc", 2, (1, 9)),
        ("when: 'a''b c'", Position(1, 7), "a'b c", 4, (1, 13)),
        ('when: "a\\"b c"', Position(1, 7), 'a"b c', 4, (1, 13)),
        ("when: |\n  ab\n  cd\n", Position(1, 7), "ab\ncd\n", 4, (3, 4)),
        ("when: >\n  ab\n  cd\n", Position(1, 7), "ab cd\n", 1, (2, 4)),
        ("when: ab\n  cd", Position(1, 7), "ab cd", 4, (1, 7)),
        ("when: |", Position(1, 7), "", 0, (1, 7)),
    ],
)
def test_a_place_in_a_value_is_a_place_in_the_file(
    text: str, value: Position, written: str, at: int, place: tuple[int, int]
):
    assert place_in(text, value, written, at) == place
