"""Turns the tallies into Prometheus metric families at scrape time (`claude_*`: the calls, `aip_*`: the platform)."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ai_platform.domain.call import Door
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.money import MICROS_PER_USD
from ai_platform.telemetry.tally import ErrorWindow, Histogram, Row, RowKey

_CALL_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_PLATFORM_SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

Labels = tuple[str, ...]
Counts = dict[Labels, int]
Reading = Callable[[], float | Mapping[Labels, float]]


class Registered(NamedTuple):
    """A number of another room, read at scrape time. A reading must not raise and should only read attributes."""

    name: str
    explanation: str
    kind: str
    read: Reading
    labels: Labels


class Tallies:
    """Everything that is counted, by label values."""

    def __init__(self) -> None:
        self.rows: dict[RowKey, Row] = {}
        self.latency = Histogram(_CALL_SECONDS)
        self.first_byte = Histogram(_CALL_SECONDS)
        self.overhead = Histogram(_PLATFORM_SECONDS)
        self.inspection = Histogram(_PLATFORM_SECONDS)
        self.window = ErrorWindow()
        self.responses: defaultdict[Labels, int] = defaultdict(int)
        self.errors: Counts = {}
        self.refusals: Counts = {(reason, door): 0 for reason in Refusal for door in Door}
        self.findings: Counts = {}
        self.inspected: Counts = {}
        self.attempts: Counts = {}
        self.retries: Counts = {}
        self.aborted: Counts = {}
        self.tool_calls: Counts = {}
        self.tools = Histogram(_CALL_SECONDS)
        self.suggestions: dict[str, tuple[int, int]] = {}
        self.dropped = 0


class Families(Collector):
    """folded: how often a label value was folded into `other`, by label."""

    def __init__(
        self,
        tallies: Tallies,
        registered: Mapping[str, Registered],
        folded: Callable[[], Mapping[str, int]],
        clock: Clock,
    ) -> None:
        self._tallies = tallies
        self._registered = registered
        self._folded = folded
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        yield from self._rows()
        yield from self._histograms()
        yield from self._counters()
        yield from self._ratios()
        for registered in self._registered.values():
            yield _read(registered)

    def describe(self) -> Iterable[Metric]:
        """Nothing to describe ahead: readings must not be called at registration."""
        return ()

    def _rows(self) -> Iterable[Metric]:
        requests: defaultdict[Labels, float] = defaultdict(float)
        tokens: defaultdict[Labels, float] = defaultdict(float)
        micros: defaultdict[Labels, int] = defaultdict(int)
        for key, row in self._tallies.rows.items():
            if key.door != Door.MESSAGES:
                continue
            requests[(key.model, key.status, key.user)] += row.calls
            micros[(key.model, key.team)] += row.micros
            for kind, count in _kinds(row):
                if count:
                    tokens[(key.model, key.user, key.team, kind)] += count
        dollars = {labels: amount / MICROS_PER_USD for labels, amount in micros.items()}
        yield _counter("claude_requests", "Calls to the Claude API by outcome.", ("model", "status", "user"), requests)
        yield _counter(
            "claude_tokens_used",
            "Tokens; the types are disjoint, so their sum is all tokens.",
            ("model", "user", "team", "type"),
            tokens,
        )
        yield _counter("claude_cost_usd", "Cost at list price, in US dollars.", ("model", "team"), dollars)

    def _histograms(self) -> Iterable[Metric]:
        tallies = self._tallies
        yield _histogram("claude_latency_seconds", "Whole call, until the last byte.", "model", tallies.latency)
        yield _histogram(
            "claude_first_byte_seconds", "Until the first byte of the answer.", "model", tallies.first_byte
        )
        yield _histogram(
            "aip_overhead_seconds", "Time in the platform, upstream excluded.", "operation", tallies.overhead
        )
        yield _histogram("aip_tool_seconds", "Whole call of a tool, prompt or resource.", "server", tallies.tools)
        yield _histogram("aip_inspection_seconds", "Time spent inspecting.", "operation", tallies.inspection)

    def _counters(self) -> Iterable[Metric]:
        tallies = self._tallies
        for name, explanation, labels, counts in (
            ("aip_responses", "Answers by HTTP status; 0 = none was sent.", ("door", "operation", "code"),
             tallies.responses),
            ("claude_errors", "Failed or refused calls by type.", ("error_type",), tallies.errors),
            ("aip_refusals", "Calls refused, by reason.", ("reason", "door"), tallies.refusals),
            ("aip_findings", "Sensitive values found.", ("type", "direction", "action"), tallies.findings),
            ("aip_inspected_bytes", "Bytes of text checked.", ("operation",), tallies.inspected),
            ("aip_upstream_attempts", "Requests sent upstream.", ("upstream",), tallies.attempts),
            ("aip_upstream_retries", "Of those, repetitions.", ("upstream",), tallies.retries),
            ("aip_tool_calls", "Calls of tools by outcome.", ("server", "tool", "outcome"), tallies.tool_calls),
            ("aip_aborted_calls", "Calls the client hung up on.", ("operation",), tallies.aborted),
        ):  # fmt: skip
            yield _counter(name, explanation, labels, counts)
        yield _counter(
            "claude_metrics_series_dropped",
            "Times a label value was folded into `other`, or a series ended, because a bound was reached.",
            ("label",),
            {(label,): count for label, count in self._folded().items()},
        )

    def _ratios(self) -> Iterable[Metric]:
        suggestions = self._tallies.suggestions
        feature = ("feature",)
        yield _counter("claude_suggestions_shown", "Suggestions judged by a person.", feature,
                       {(name,): shown for name, (shown, _) in suggestions.items()})  # fmt: skip
        yield _counter("claude_suggestions_accepted", "Of those, accepted.", feature,
                       {(name,): taken for name, (_, taken) in suggestions.items()})  # fmt: skip
        yield _gauge("claude_acceptance_rate", "Accepted / shown since start; for windows divide counters.", feature,
                     {(name,): taken / shown for name, (shown, taken) in suggestions.items() if shown})  # fmt: skip
        rates = self._tallies.window.rates(self._clock.monotonic())
        yield _gauge("claude_error_rate", "Share of calls of the last five minutes that failed so.", ("error_type",),
                     {(kind,): rate for kind, rate in rates.items()})  # fmt: skip


def _kinds(row: Row) -> tuple[tuple[str, int], ...]:
    return (
        ("input", row.input),
        ("output", row.output),
        ("cache_read", row.cache_read),
        ("cache_write", row.cache_write),
    )


def _counter(name: str, explanation: str, labels: Labels, counts: Mapping[Labels, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, explanation, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def _gauge(name: str, explanation: str, labels: Labels, values: Mapping[Labels, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, explanation, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def _histogram(name: str, explanation: str, label: str, histogram: Histogram) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, explanation, labels=(label,))
    bounds = [*(repr(bound) for bound in histogram.bounds), "+Inf"]
    for value, counts in histogram.counts.items():
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip(bounds, counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric((value,), buckets, histogram.sums[value])
    return family


def _read(registered: Registered) -> Metric:
    value = registered.read()
    values = value if isinstance(value, Mapping) else {(): value}
    make = _gauge if registered.kind == "gauge" else _counter
    return make(registered.name, registered.explanation, registered.labels, values)
