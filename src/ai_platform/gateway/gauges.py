"""State of the rooms as metrics: read when somebody scrapes, never pushed."""

from ai_platform.audit.trail import PostgresTrail
from ai_platform.gateway.book import Book
from ai_platform.policy import PolicyStore
from ai_platform.protection import Guard
from ai_platform.telemetry import Alerts, Meter
from ai_platform.upstream import Upstream


def register_gauges(
    meter: Meter,
    *,
    trail: PostgresTrail,
    book: Book,
    upstream: Upstream,
    policies: PolicyStore,
    alerts: Alerts,
    guard: Guard,
) -> None:
    meter.gauge("aip_calls_in_flight", "Calls between authentication and their record.", lambda: book.in_flight)
    meter.gauge("aip_late_outcomes", "Outcomes that wait for a trail that is down.", lambda: len(book.late_outcomes))
    meter.counter(
        "aip_sign_in_failures_unrecorded_total",
        "Failed sign-ins beyond what the audit log takes one by one.",
        lambda: book.failures.skipped,
    )
    meter.counter("aip_audit_refused_total", "Events the audit trail could not take.", lambda: trail.writer.refused)
    meter.gauge(
        "aip_policy_invalid", "1 while the policy file is not valid.", lambda: int(policies.last_error is not None)
    )
    meter.counter("aip_policy_reloads_total", "New policy versions taken.", lambda: policies.reloads)
    meter.counter("aip_policy_failures_total", "Policy versions refused.", lambda: policies.failures)
    meter.counter(
        "aip_policy_undecided_total",
        "Calls refused because a condition of the policy could not be decided.",
        lambda: {(rule,): count for rule, count in policies.undecided.items()},
        labels=("rule",),
    )
    meter.counter("aip_alerts_dropped_total", "Alerts dropped because a queue was full.", lambda: alerts.dropped)
    meter.counter("aip_alerts_failed_total", "Alerts that could not be delivered.", lambda: alerts.failed)
    meter.gauge(
        "aip_upstream_breaker_open",
        "1 while the circuit breaker of the upstream is open.",
        lambda: {(one.name,): int(one.breaker.value == "open") for one in upstream.health()},
        labels=("upstream",),
    )
    meter.gauge(
        "aip_upstream_connections",
        "Open connections to the upstream.",
        lambda: {(one.name,): one.open_connections for one in upstream.health()},
        labels=("upstream",),
    )
    meter.counter(
        "aip_inspection_refused_total",
        "Calls refused because they could not be inspected within their bounds.",
        lambda: guard.refused_unfinished,
    )
    meter.gauge("aip_vault_entries", "Values that can be put back for tokens.", lambda: guard.vault.size)
    meter.counter("aip_vault_unread_total", "Looks into the vault's table that failed.", lambda: guard.vault.unread)
