"""The policy file: both forms of the mission, our keys beside them, every mistake placed, nothing silently ignored."""

import re
from pathlib import Path

import pytest

from ai_platform.documents import DocumentError
from ai_platform.domain.finding import Action, Direction, ProtectionPlan, RuleAction
from ai_platform.policy import Policy
from ai_platform.policy.compile import Parts
from ai_platform.policy.notices import NOT_ENFORCED
from ai_platform.policy.plan import Catalogue

pytestmark = pytest.mark.requirement("PO-1")

EXAMPLES = Path(__file__).parents[2] / "examples" / "policies"
CATALOGUE = Catalogue(
    types=frozenset({"US_SSN", "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD"}),
    rules=frozenset({"us_ssn", "aws_key_id"}),
)


def _plan(text: str) -> ProtectionPlan:
    policy = Policy.load(text)
    return policy.plan


def _fail(text: str, catalogue: Catalogue | None = None) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        Policy.load(text, name="p.yaml", catalogue=catalogue)
    return caught.value


def test_the_full_form_sets_the_plan():
    plan = _plan("""
security:
  pii_detection:
    enabled: true
    block_on_match: false
    alert_security_team: false
    patterns: [ssn, credit_card, api_key, private_key]
""")
    assert plan.enabled
    assert not plan.block_on_match
    assert not plan.alert
    assert plan.patterns == {"ssn", "credit_card", "api_key", "private_key"}
    assert plan.scan_input
    assert plan.scan_output


def test_the_short_form_sets_the_plan():
    plan = _plan("""
policies:
  - {name: PII Detection, scan_input: true, scan_output: false, block_on_match: false, alert_security_team: true}
  - {name: Production Access, resources: [prod-db, prod-api], requires_approval: true, approvers: [security-team]}
""")
    assert plan.scan_input
    assert not plan.scan_output
    assert not plan.block_on_match
    assert plan.alert


def test_an_empty_policy_is_the_platforms_default():
    assert _plan("") == ProtectionPlan(version=Policy.load("").version)


def test_our_own_keys_reach_the_plan():
    plan = _plan("""
protection:
  actions:
    - {action: redact, type: EMAIL_ADDRESS, direction: input, team: sales}
    - {action: log, data_class: PII, severity: warning}
  custom:
    - {name: BADGE, pattern: 'B-[0-9]{4}', examples: [B-0001], counter_examples: [B-1]}
  allow: ['*@example.com']
""")
    first = RuleAction(action=Action.REDACT, type="EMAIL_ADDRESS", direction=Direction.INPUT, team="sales")
    assert plan.actions[0] == first
    assert plan.custom[0].name == "BADGE"
    assert plan.allow == ("*@example.com",)


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("security:\n  pii_detection:\n    block_on_mach: true", "3:5", "Did you mean 'block_on_match'?"),
        ("usage_limits: {per_user: {requests_per_day: 5}}", "1:27", "Did you mean 'requests_per_hour'?"),
        ("usage_limits: {per_user: {requests_per_hour: many}}", "1:46", "must be a whole number from 0 or 'unlimited'"),
        ("usage_limits: {per_user: {requests_per_hour: -1}}", "1:46", "a whole number from 0"),
        ("usage_limits: {per_team: {cost_per_month_usd: -1}}", "1:47", "between 0 and"),
        ("usage_limits: {per_team: {cost_per_month_usd: 1e99}}", "1:47", "between 0 and"),
        ("usage_limits: {per_user: {cost_per_month_usd: 5}}", "1:27", "Unknown key"),
        ("content_filters: {block_patterns: [{scope: sql}]}", "1:36", "needs the key 'pattern'"),
        ("content_filters: {block_patterns: [{pattern: x, scope: SQL}]}", "1:56", "Did you mean 'sql'?"),
        ("content_filters: {block_patterns: [{pattern: '(a'}]}", "1:46", "Missing close parenthesis"),
        ("content_filters: {block_patterns: [{pattern: '(?=a)b'}]}", "1:46", "write it without look-ahead"),
        ("content_filters: {block_patterns: [{pattern: '(a)\\1'}]}", "1:46", "without look-ahead"),
        ("content_filters: {block_patterns: [{pattern: 'a*'}]}", "1:46", "matches the empty text"),
        ("content_filters: {block_patterns: [{pattern: '(a{1,500}){1,500}'}]}", "1:46", "use smaller numbers"),
        ("content_filters: {block_patterns: [{pattern: '[a-z]{9000}'}]}", "1:46", "use smaller numbers"),
        ("content_filters: {block_patterns: [{pattern: ''}]}", "1:46", "a text of 1 to 1000 characters"),
        ("policies: [{name: a}]", "1:12", "says nothing"),
        ("policies: [{name: a, approvers: [x]}]", "1:12", "without 'requires_approval: true'"),
        ("policies: [{name: a, requires_approval: true}]", "1:12", "needs 'resources' (or 'when') and 'approvers'"),
        ("policies: [{name: a, scan_input: true}, {name: a, scan_output: true}]", "1:48", "already written in line 1"),
        ("policies: [{scan_input: true}]", "1:12", "needs the key 'name'"),
        ("policies: {name: a}", "1:11", "must be a list"),
        ("models: {roles: {develper: {allow: []}}}", "1:18", "There is no role 'develper'"),
        ("models: {allow: claude}", "1:17", "must be a list"),
        ("security: {access_control: {authentication: {required: false}}}", "1:56", "cannot be switched off"),
        ("security: {access_control: {authentication: {methods: [smal]}}}", "1:56", "Did you mean 'saml'?"),
        ("security: {access_control: {authorization: {model: abac}}}", "1:52", "must be 'rbac'"),
        ("audit: {compliance_frameworks: [gpdr]}", "1:33", "Did you mean 'gdpr'?"),
        ("protection: {actions: [{action: hide}]}", "1:33", "must be 'block'"),
        ("protection: {custom: [{name: A, pattern: 'A[0-9]', examples: [B1]}]}", "1:63", "does not match this example"),
        (
            "protection: {custom: [{name: A, pattern: 'A[0-9]', counter_examples: [xA1]}]}",
            "1:71",
            "matches this counter",
        ),
        ("protection: {custom: [{name: A, pattern: '(?<!x)A'}]}", "1:42", "without look-ahead"),
        ("protection: {custom: [{name: ssn, pattern: 'A'}]}", "1:30", "is taken"),
        ("protection: {custom: [{name: A, pattern: A}, {name: A, pattern: B}]}", "1:53", "is taken"),
        ("contact: [a]", "1:10", "must be a text"),
        ("teams: {a: {limits: {}}}", "1:13", "Did you mean 'usage_limits'?"),
    ],
)
def test_a_mistake_is_placed_and_explained(text: str, where: str, says: str):
    error = _fail(text)
    assert says in str(error)
    assert error.where == f"p.yaml:{where}"


def test_two_forms_that_disagree_are_an_error_at_the_second():
    error = _fail("""security:
  pii_detection: {block_on_match: true}
policies:
  - {name: a, block_on_match: false}
""")
    assert str(error) == "p.yaml:4:31: This contradicts line 2, which says true; keep one of the two."
    agreeing = "security: {pii_detection: {block_on_match: false}}\npolicies: [{name: a, block_on_match: false}]"
    assert not _plan(agreeing).block_on_match
    error = _fail("security: {pii_detection: {enabled: false}}\npolicies: [{name: a, scan_input: true}]")
    assert error.where == "p.yaml:2:34"


def test_detector_names_are_checked_against_the_catalogue_when_there_is_one():
    error = _fail("security: {pii_detection: {patterns: [ssn, credit_crd]}}", CATALOGUE)
    assert error.where == "p.yaml:1:44"
    assert "There is no detector 'credit_crd'. Did you mean 'credit_card'?" in str(error)
    error = _fail("protection: {actions: [{action: log, type: EMAIL_ADRESS}]}", CATALOGUE)
    assert "Did you mean 'EMAIL_ADDRESS'?" in str(error)
    assert "No detector has a rule like" in str(
        _fail("protection: {actions: [{action: log, rule: 'gcp_*'}]}", CATALOGUE)
    )
    good = "security: {pii_detection: {patterns: [ssn, US_SSN, aws_key_id, MINE]}}\nprotection:\n  actions:\n"
    good += "    - {action: log, rule: 'aws_*'}\n    - {action: log, type: '*'}\n    - {action: log, type: MINE}\n"
    good += "  custom: [{name: MINE, pattern: M}]\n"
    assert Policy.load(good, catalogue=CATALOGUE).plan.patterns == {"ssn", "US_SSN", "aws_key_id", "MINE"}
    assert Policy.load("security: {pii_detection: {patterns: [anything]}}").plan.patterns == {"anything"}


def test_the_missions_files_load_and_their_examples_hold():
    policy = Policy.load(EXAMPLES / "enterprise.yaml")
    assert policy.version.startswith("1.0+")
    assert policy.limits.user_requests_per_hour == 100
    assert policy.limits.team_cost_per_month == 10_000_000_000
    assert policy.roles.permissions(["security_auditor"])
    assert policy.filters_tool_use
    assert not policy.filters_input


def test_what_is_written_and_not_carried_out_is_named_with_its_place():
    notices = {notice.key: notice for notice in Policy.load(EXAMPLES / "enterprise.yaml").notices}
    assert set(notices) == {
        "security.data_residency",
        "security.access_control.authentication.methods",
        "audit.retention_days",
        "audit.export_format",
        "audit.compliance_frameworks",
        "teams.batch.region",
    }
    assert all(notice.status == NOT_ENFORCED and notice.says for notice in notices.values())
    assert re.search(r"enterprise\.yaml:16:3$", notices["security.data_residency"].where)
    assert Policy.load("version: '1'").notices == ()


def test_every_key_of_the_file_is_in_the_summary_or_changes_the_policy():
    """Nothing silently ignored: each leaf key of the schema, set to something, must change what the policy is."""
    settings = {
        "security": ("pii_detection", "data_residency", "access_control"),
        "usage_limits": ("per_user", "per_team"),
        "content_filters": ("block_patterns",),
        "audit": ("retention_days", "export_format", "compliance_frameworks"),
        "protection": ("actions", "custom", "allow"),
        "models": ("allow", "deny", "roles", "teams", "users"),
    }
    rows = " ".join(row["rule"] for row in Policy.load(EXAMPLES / "enterprise.yaml").summary())
    for section, keys in settings.items():
        for key in keys:
            if (section, key) != ("models", "deny"):
                assert f"{section}.{key}" in rows, (section, key)
    assert "models.deny" in " ".join(row["rule"] for row in Policy.load("models: {deny: [x]}").summary())


def test_the_parts_of_a_policy_cannot_be_changed():
    with pytest.raises(AttributeError):
        Policy.load("")._parts.contact = "nobody"  # type: ignore[misc]
    assert Parts.__struct_config__.frozen
