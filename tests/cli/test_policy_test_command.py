"""`ai-platform policy test`: cases are decided as real calls are, and what comes out otherwise is told."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ai_platform.cli.policy import app

EXAMPLES = Path(__file__).parents[2] / "examples" / "policies"
POLICY = """
version: "1"
contact: Ask security@example.com.
models: {deny: ["claude-opus-*"]}
content_filters:
  block_patterns:
    - {pattern: "launch codes", message: "Not a matter for Claude"}
    - {pattern: "DROP TABLE", scope: sql, message: "Destructive SQL not allowed"}
rules:
  - {name: weekend, effect: deny, when: time.weekday > 5, message: Nobody works}
  - {name: spent, effect: deny, when: spend.user_usd_today > 10}
  - {name: found, effect: deny, when: findings.types.US_SSN > 1}
policies:
  - {name: Production, resources: [prod-db], requires_approval: true, approvers: [security-team]}
"""


def run(folder: Path, cases: str, *options: str, policy: str = POLICY) -> Result:
    (folder / "policy.yaml").write_text(policy)
    (folder / "cases.yaml").write_text(cases)
    return CliRunner().invoke(app, ["test", str(folder / "cases.yaml"), *options], env={"COLUMNS": "250"})


RUN = "caller: {roles: [admin]}, call: {server: prod-db, tool: run}"
MONDAY = 'now: "2026-11-23T12:00:00Z"'


@pytest.mark.requirement("PO-2")
@pytest.mark.parametrize(
    ("case", "got"),
    [
        ("expect: allow", ""),
        ("expect: deny", "expected deny, got allow by permission claude:messages:create"),
        ("{expect: deny, call: {model: claude-opus-5-5}, rule: models.deny}", ""),
        ("{expect: allow, call: {model: claude-opus-5-5}}", "expected allow, got deny by models.deny"),
        ("{expect: deny, call: {model: claude-opus-5-5}, rule: models.allow}", "expected the rule models.allow"),
        ("{expect: deny, call: {text: the launch codes}, says: Not a matter}", ""),
        ("{expect: deny, call: {text: the launch codes}, says: Nobody}", "the refusal does not say 'Nobody'"),
        ("{expect: deny, caller: {roles: []}}", ""),
        ("{expect: deny, caller: {models: ['claude-haiku-*']}, rule: key scope}", ""),
        ("{expect: deny, spend: {user_usd_today: 10.5}, rule: rules.spent}", ""),
        ("{expect: allow, spend: {user_usd_today: 9.99}}", ""),
        ("{expect: deny, findings: {US_SSN: 2}, rule: rules.found}", ""),
        ("{expect: allow, findings: {US_SSN: 1}}", ""),
        ("{expect: deny, call: {tool: Bash, arguments: {command: psql -c 'drop table x'}}}", ""),
        ("{expect: deny, call: {server: prod-db, tool: run}, rule: 'permission tools:prod-db/run:call'}", ""),
        (f"{{expect: approval, {RUN}, approvers: [security-team]}}", ""),
        (f"{{expect: approval, {RUN}, approvers: [lead]}}", "expected the consent of lead, got security-team"),
        ("{expect: approval, caller: {roles: [admin]}, call: {server: prod-db, resource: 'db://x'}}", ""),
        ("{expect: allow, caller: {roles: [admin]}, call: {server: test-db, prompt: explain}}", ""),
    ],
)
def test_a_case_comes_out_as_the_platform_would_decide(tmp_path: Path, case: str, got: str):
    body = case[1:-1] if case.startswith("{") else case
    done = run(tmp_path, f"policy: policy.yaml\ncases:\n  - {{name: c, {MONDAY}, {body}}}\n", "--json")
    (result,) = json.loads(done.output)
    assert result["error"] == ""
    assert result["cases"][0]["wrong"].startswith(got) if got else result["cases"][0]["wrong"] == ""
    assert done.exit_code == (1 if got else 0)


def test_the_moment_is_the_cases_own(tmp_path: Path):
    cases = """policy: policy.yaml
cases:
  - {name: sunday, now: 2026-11-22T12:00:00Z, expect: deny, rule: rules.weekend}
  - {name: monday, now: "2026-11-23T00:30:00+01:00", expect: deny}
  - {name: monday in UTC, now: 2026-11-23T00:30:00, expect: allow}
"""
    done = run(tmp_path, cases)
    assert done.exit_code == 0, done.output
    assert "3 of 3 as wanted" in done.output


def test_what_came_out_otherwise_is_shown_with_the_refusal(tmp_path: Path):
    done = run(
        tmp_path,
        f"policy: policy.yaml\ncases:\n  - {{name: mine, {MONDAY}, call: {{text: launch codes}}, expect: allow}}\n",
    )
    assert done.exit_code == 1
    assert "0 of 1 as wanted" in done.output
    assert "mine" in done.output
    assert "Not a matter for Claude" in done.output


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        ("cases: [{name: a, expect: maybe}]", "cases.yaml:1:27"),
        ("cases: [{name: a, expect: allow}, {name: a, expect: allow}]", "already written in line 1"),
        ("cases: [{name: a, expect: allow, call: {tol: x}}]", "Did you mean 'tool'?"),
        ("cases: [{name: a, expect: allow, call: {tool: x, prompt: y}}]", "one of 'tool', 'resource' and 'prompt'"),
        ("cases: [{name: a, expect: allow, call: {resource: x}}]", "needs its 'server'"),
        ("cases: [{name: a, expect: allow, findings: {US_SNN: 1}}]", "No detector finds 'US_SNN'"),
    ],
)
def test_a_mistake_in_the_cases_is_placed(tmp_path: Path, cases: str, says: str):
    done = run(tmp_path, f"{cases}\npolicy: policy.yaml\n")
    assert done.exit_code == 1
    assert says in done.output


def test_a_policy_that_does_not_load_is_told_and_a_file_without_one_too(tmp_path: Path):
    done = run(tmp_path, "policy: policy.yaml\ncases: []\n", policy="rules: [{name: a}]")
    assert done.exit_code == 1
    assert "policy.yaml:1:9" in done.output
    assert run(tmp_path, "cases: []\n").exit_code == 2
    assert run(tmp_path, "cases: []\n", "--policy", str(tmp_path / "policy.yaml")).exit_code == 0
    assert CliRunner().invoke(app, ["test", str(tmp_path / "none.yaml")]).exit_code == 2


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.cases.yaml")), ids=lambda path: path.name)
def test_the_examples_come_out_as_they_say(path: Path):
    done = CliRunner().invoke(app, ["test", str(path)], env={"COLUMNS": "250"})
    assert done.exit_code == 0, done.output
