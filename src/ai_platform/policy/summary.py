"""Everything a policy says, one row a rule, with what becomes of it: for people (`policy check`, `policy show`)."""

from collections.abc import Iterator
from typing import Any

import msgspec

from ai_platform.domain.approval import Covers
from ai_platform.domain.decision import Limits
from ai_platform.domain.finding import ProtectionPlan
from ai_platform.domain.money import to_usd
from ai_platform.policy.compile import Parts
from ai_platform.policy.conditions import Condition, Rules
from ai_platform.policy.gates import Gates
from ai_platform.policy.notices import ENFORCED
from ai_platform.policy.schema import AccessRule, AccessSection

Row = dict[str, Any]

_CONDITIONS = ("rule", "type", "data_class", "severity", "direction", "team")


def summary(parts: Parts) -> list[Row]:
    """Rows {rule, effect, status, where}, in the order of the documentation."""
    rows = [
        _row("roles", ", ".join(parts.roles.names())),
        *_detection(parts.plan),
        *_limits("usage_limits", parts.limits),
        *(row for team, limits in parts.team_limits.items() for row in _limits(f"teams.{team}", limits)),
        *_access("models", "no model", parts.file.models),
        *_access("tools", "no tool", parts.file.tools),
        *_filters(parts),
        *_rules(parts.rules),
        *_gates(parts.gates),
    ]
    rows += [
        {"rule": line.key, "effect": line.says, "status": line.status, "where": line.where} for line in parts.notices
    ]
    return rows


def _row(rule: str, effect: str) -> Row:
    return {"rule": rule, "effect": effect, "status": ENFORCED, "where": ""}


def _detection(plan: ProtectionPlan) -> Iterator[Row]:
    if not plan.enabled:
        yield _row("security.pii_detection", "off: nothing is inspected")
        return
    directions = [name for name, on in (("input", plan.scan_input), ("output", plan.scan_output)) if on]
    what = "every detector" if plan.patterns is None else ", ".join(sorted(plan.patterns))
    critical = "blocked" if plan.block_on_match else "redacted"
    alert = ", security team alerted" if plan.alert else ""
    yield _row(
        "security.pii_detection", f"{' and '.join(directions) or 'nothing'}: {what}; critical: {critical}{alert}"
    )
    for action in plan.actions:
        fields = msgspec.structs.asdict(action)
        when = ", ".join(f"{name} {fields[name]}" for name in fields if name != "action" and fields[name] is not None)
        yield _row("protection.actions", f"{action.action.value} when {when or 'anything is found'}")
    for rule in plan.custom:
        yield _row(f"protection.custom {rule.name}", f"own detector, its {len(rule.examples)} example(s) checked")
    if plan.allow:
        yield _row("protection.allow", f"{len(plan.allow)} values are never findings")
    if plan.restore_in_tools:
        yield _row("protection.restore_in_tools", f"tokens are restored for {', '.join(plan.restore_in_tools)}")


def _limits(where: str, limits: Limits) -> Iterator[Row]:
    if (count := limits.user_requests_per_hour) is not None:
        yield _row(f"{where}.per_user", f"{count:,} requests in any hour")
    if (count := limits.user_tokens_per_day) is not None:
        yield _row(f"{where}.per_user", f"{count:,} tokens a day (UTC)")
    if (count := limits.team_requests_per_hour) is not None:
        yield _row(f"{where}.per_team", f"{count:,} requests in any hour")
    if (cost := limits.team_cost_per_month) is not None:
        then = "alert, calls pass" if limits.team_cost_soft else "calls are refused"
        yield _row(f"{where}.per_team", f"${to_usd(cost).rstrip('0').rstrip('.')} a month (UTC); then: {then}")


def _access(name: str, nothing: str, section: AccessSection) -> Iterator[Row]:
    yield from _access_rule(name, nothing, section)
    for kind, rules in (("roles", section.roles), ("teams", section.teams), ("users", section.users)):
        for who, rule in rules.items():
            yield from _access_rule(f"{name}.{kind}.{who}", nothing, rule)


def _access_rule(name: str, nothing: str, rule: AccessRule) -> Iterator[Row]:
    if rule.allow is not None:
        yield _row(f"{name}.allow", ", ".join(rule.allow) or nothing)
    if rule.deny:
        yield _row(f"{name}.deny", ", ".join(rule.deny))


def _filters(parts: Parts) -> Iterator[Row]:
    for index, each in enumerate(parts.file.content_filters.block_patterns):
        name = each.name or f"content_filters.block_patterns[{index}]"
        yield _row(name, f"{each.scope.value}: {each.pattern}")


def _rules(rules: Rules) -> Iterator[Row]:
    for rule in rules.rules:
        when = " ".join(rule.condition.source.split())
        yield _row(f"rules.{rule.name}", f"{rule.effect.value} {_asked(rule.condition)} when {when}")


def _asked(condition: Condition) -> str:
    what = "tool calls" if condition.about_tools else "calls"
    return f"{what}, once they are inspected," if condition.about_content else what


def _gates(gates: Gates) -> Iterator[Row]:
    for gate in gates.gates:
        what = ", ".join(gate.resources) or "calls"
        when = f" when {' '.join(gate.condition.source.split())}" if gate.condition else ""
        each = "a session" if gate.demand.covers is Covers.SESSION else "each call"
        yield _row(gate.demand.rule, f"{what}{when}: {each} needs the consent of {' or '.join(gate.demand.approvers)}")
