from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ai_platform.domain.call import Door, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.finding import Action, DataClass, Finding, Severity, Tier
from ai_platform.domain.usage import Iteration, Usage
from ai_platform.telemetry import CallFacts, Meter
from ai_platform.telemetry.settings import MetricsSettings, UserLabel
from ai_platform.testing import FakeClock

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

USAGE = Usage(
    input_tokens=3, output_tokens=50, cache_read_tokens=1000, cache_write_5m_tokens=20, cache_write_1h_tokens=7
)
CALL = CallFacts(
    door=Door.MESSAGES,
    operation=Operation.MESSAGES_CREATE,
    model="claude-opus-5-5",
    status=200,
    seconds=1.5,
    upstream="anthropic",
    team="search",
    person="usr_1",
    usage=USAGE,
    micros=1_250_000,
    first_byte_seconds=0.4,
    overhead_seconds=0.0007,
    inspection_seconds=0.0002,
    bytes_inspected=4096,
    attempts=1,
    streamed=True,
)


def knows(model: str) -> bool:
    return model.startswith("claude-")


def meter_with(clock: FakeClock, **bounds: object) -> Meter:
    return Meter(MetricsSettings(**bounds), clock=clock, known_model=knows)  # type: ignore[arg-type]


def call(**changes: object) -> CallFacts:
    return msgspec.structs.replace(CALL, **changes)


def scrape(meter: Meter) -> Samples:
    text, content_type = meter.exposition()
    assert content_type.startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(meter: Meter, name: str, **labels: str) -> float | None:
    return scrape(meter).get((name, frozenset(labels.items())))


@pytest.mark.requirement("TE-1")
def test_one_call_shows_in_every_metric_of_the_mission(clock: FakeClock) -> None:
    meter = meter_with(clock)
    meter.observe(CALL)
    labels = {"model": "claude-opus-5-5", "user": "usr_1"}
    assert value(meter, "claude_requests_total", status="success", **labels) == 1
    assert value(meter, "claude_latency_seconds_sum", model="claude-opus-5-5") == 1.5
    assert value(meter, "claude_cost_usd_total", model="claude-opus-5-5", team="search") == 1.25
    tokens = {
        kind: value(meter, "claude_tokens_used_total", team="search", type=kind, **labels)
        for kind in ("input", "output", "cache_read", "cache_write")
    }
    assert tokens == {"input": 3, "output": 50, "cache_read": 1000, "cache_write": 27}
    assert sum(tokens.values()) == USAGE.total_tokens


def test_tokens_of_further_passes_are_counted_too(clock: FakeClock) -> None:
    meter = meter_with(clock)
    compaction = Iteration(kind="compaction", usage=Usage(input_tokens=10_000, output_tokens=500))
    meter.observe(call(usage=Usage(input_tokens=1, iterations=(compaction,))))
    labels = {"model": "claude-opus-5-5", "user": "usr_1", "team": "search"}
    assert value(meter, "claude_tokens_used_total", type="input", **labels) == 10_001


def test_latency_buckets_tell_a_four_minute_call_from_an_eight_minute_one(clock: FakeClock) -> None:
    meter = meter_with(clock)
    meter.observe(call(seconds=240.0))
    meter.observe(call(seconds=480.0))
    bucket = {"model": "claude-opus-5-5"}
    assert value(meter, "claude_latency_seconds_bucket", le="300.0", **bucket) == 1
    assert value(meter, "claude_latency_seconds_bucket", le="600.0", **bucket) == 2


def test_a_policy_refusal_is_not_an_error_but_a_dead_upstream_is(clock: FakeClock) -> None:
    meter = meter_with(clock)
    meter.observe(call(status=451, refusal=Refusal.SENSITIVE_DATA))
    meter.observe(call(status=503, refusal=Refusal.UPSTREAM_UNAVAILABLE))
    meter.observe(call(status=529))
    meter.observe(call(status=0, aborted=True))
    labels = {"model": "claude-opus-5-5", "user": "usr_1"}
    seen = {
        status: value(meter, "claude_requests_total", status=status, **labels)
        for status in ("refused", "error", "aborted", "success")
    }
    assert seen == {"refused": 1, "error": 2, "aborted": 1, "success": None}
    assert value(meter, "aip_refusals_total", reason="sensitive_data", door="messages") == 1
    assert value(meter, "claude_errors_total", error_type="upstream_529") == 1
    assert value(meter, "aip_responses_total", door="messages", operation="messages.create", code="451") == 1


def test_every_refusal_reason_is_exposed_at_zero_before_it_happens(clock: FakeClock) -> None:
    reasons = {labels for name, labels in scrape(meter_with(clock)) if name == "aip_refusals_total"}
    assert len(reasons) == len(Refusal) * len(Door)


def test_the_error_rate_forgets_after_five_minutes(clock: FakeClock) -> None:
    meter = meter_with(clock)
    for _ in range(3):
        meter.observe(CALL)
    meter.observe(call(status=500))
    assert value(meter, "claude_error_rate", error_type="upstream_500") == 0.25
    clock.advance(200)
    meter.observe(CALL)
    assert value(meter, "claude_error_rate", error_type="upstream_500") == 0.2
    clock.advance(200)
    assert value(meter, "claude_error_rate", error_type="upstream_500") is None
    assert value(meter, "claude_errors_total", error_type="upstream_500") == 1


def test_the_acceptance_rate_comes_with_the_counters_it_is_made_of(clock: FakeClock) -> None:
    meter = meter_with(clock)
    meter.suggestion("edit", accepted=True, count=3)
    meter.suggestion("edit", accepted=False)
    assert value(meter, "claude_acceptance_rate", feature="edit") == 0.75
    assert value(meter, "claude_suggestions_shown_total", feature="edit") == 4
    assert value(meter, "claude_suggestions_accepted_total", feature="edit") == 3


def test_a_model_nobody_prices_is_labelled_other(clock: FakeClock) -> None:
    meter = meter_with(clock)
    for number in range(100):
        meter.observe(call(model=f"made-up-{number}"))
    meter.observe(call(model=None))
    models = {dict(labels)["model"] for name, labels in scrape(meter) if name == "claude_requests_total"}
    assert models == {"other", "none"}
    assert value(meter, "claude_metrics_series_dropped_total", label="model") == 100


@pytest.mark.requirement("TE-1")
def test_ten_thousand_users_stay_below_five_thousand_series(clock: FakeClock) -> None:
    meter = meter_with(clock)
    for number in range(10_000):
        meter.observe(
            call(
                person=f"usr_{number}",
                team=f"team_{number % 200}",
                model=f"claude-{number % 60}",
                status=(200, 200, 500, 451)[number % 4],
                micros=number,
            )
        )
    samples = scrape(meter)
    assert len(samples) < 5_000
    assert sum(count for (name, _), count in samples.items() if name == "aip_responses_total") == 10_000
    assert value(meter, "claude_metrics_series_dropped_total", label="user") > 0  # type: ignore[operator]
    assert value(meter, "claude_metrics_series_dropped_total", label="team") > 0  # type: ignore[operator]


def test_the_row_bound_holds_and_nothing_is_lost_by_it(clock: FakeClock) -> None:
    meter = meter_with(clock, rows=10)
    for number in range(50):
        meter.observe(call(team=f"team_{number}"))
    requests = {labels: count for (name, labels), count in scrape(meter).items() if name == "claude_requests_total"}
    assert sum(requests.values()) == 50
    costs = {labels: count for (name, labels), count in scrape(meter).items() if name == "claude_cost_usd_total"}
    assert len(costs) == 11
    assert sum(costs.values()) == 62.5


def test_a_big_spender_gets_a_series_of_their_own_and_the_smallest_loses_it(clock: FakeClock) -> None:
    meter = meter_with(clock, top_users=2)
    meter.observe(call(person="usr_small", micros=10))
    meter.observe(call(person="usr_big", micros=1000))
    meter.observe(call(person="usr_new", micros=12))  # not half as much again as the least
    assert value(meter, "claude_requests_total", model="claude-opus-5-5", status="success", user="other") == 1
    meter.observe(call(person="usr_new", micros=500))
    users = {dict(labels)["user"] for name, labels in scrape(meter) if name == "claude_requests_total"}
    assert users == {"usr_big", "usr_new", "other"}


Spending = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 50)), max_size=200)


@given(Spending)
@settings(max_examples=60, deadline=None)
def test_no_series_ever_goes_down(spending: list[tuple[int, int]]) -> None:
    meter = meter_with(FakeClock(), top_users=3)
    before: Samples = {}
    for number, micros in spending:
        meter.observe(call(person=f"usr_{number}", micros=micros))
        now = {
            (name, labels): amount
            for (name, labels), amount in scrape(meter).items()
            if name == "claude_requests_total" and dict(labels)["user"] == "other"
        }
        assert all(now[series] >= amount for series, amount in before.items())
        before = now


@pytest.mark.parametrize(("form", "expected"), [(UserLabel.NONE, 1), (UserLabel.BUCKET, 64)])
def test_the_user_label_can_name_nobody(clock: FakeClock, form: UserLabel, expected: int) -> None:
    meter = meter_with(clock, user_label=form)
    for number in range(2000):
        meter.observe(call(person=f"usr_{number}"))
    users = {dict(labels)["user"] for name, labels in scrape(meter) if name == "claude_requests_total"}
    assert len(users) == expected
    assert not any(user.startswith("usr_") for user in users)


def test_findings_bytes_and_attempts_are_counted(clock: FakeClock) -> None:
    found = Finding(
        start=0,
        end=4,
        data_class=DataClass.PCI,
        type="CREDIT_CARD",
        rule="pci-card",
        tier=Tier.VERIFIED,
        severity=Severity.CRITICAL,
        action=Action.REDACT,
    )
    meter = meter_with(clock)
    meter.observe(call(input_findings=(found, found), output_findings=(found,), attempts=3))
    labels = {"type": "CREDIT_CARD", "action": "redact"}
    assert value(meter, "aip_findings_total", direction="input", **labels) == 2
    assert value(meter, "aip_findings_total", direction="output", **labels) == 1
    assert value(meter, "aip_inspected_bytes_total", operation="messages.create") == 4096
    assert value(meter, "aip_upstream_attempts_total", upstream="anthropic") == 3
    assert value(meter, "aip_upstream_retries_total", upstream="anthropic") == 2


def test_tool_calls_do_not_count_as_claude_requests(clock: FakeClock) -> None:
    meter = meter_with(clock)
    meter.observe(call(door=Door.MCP, operation=Operation.TOOLS_CALL, model=None))
    assert not [name for name, _ in scrape(meter) if name.startswith("claude_requests")]
    assert value(meter, "aip_responses_total", door="mcp", operation="tools.call", code="200") == 1


def test_other_rooms_expose_numbers_that_are_read_at_each_scrape(clock: FakeClock) -> None:
    meter = meter_with(clock)
    depth = [1.0]
    meter.gauge("aip_audit_queue_depth", "Events waiting.", lambda: depth[0])
    meter.counter("aip_policy_load_errors_total", "Bad files.", lambda: {("a.yaml",): 2}, labels=("file",))
    depth[0] = 5
    assert value(meter, "aip_audit_queue_depth") == 5
    assert value(meter, "aip_policy_load_errors_total", file="a.yaml") == 2
    assert {"aip_audit_queue_depth", "aip_policy_load_errors_total"} <= set(meter.names())
    with pytest.raises(ValueError, match="registered twice"):
        meter.gauge("aip_audit_queue_depth", "Again.", lambda: 1)


def test_two_meters_share_nothing(clock: FakeClock) -> None:
    first, second = meter_with(clock), meter_with(clock)
    first.observe(CALL)
    assert value(second, "claude_requests_total", model="claude-opus-5-5", status="success", user="usr_1") is None


def test_every_metric_is_explained_in_the_documentation(clock: FakeClock) -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    missing = [
        name for name in meter_with(clock).names() if not name.startswith("process_") and f"`{name}`" not in page
    ]
    assert missing == []
