"""Counts finished calls and renders them for Prometheus. The names and labels are explained in docs/metrics.md.

It keeps plain numbers and builds metric families when scraped, so that a call costs a few microseconds. Money and
limits are never read back from here: the ledger is the truth. Above: gateway, bootstrap. Below: domain.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import version as installed_version
from platform import python_version

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from ai_platform.domain.call import Door
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.finding import Direction
from ai_platform.telemetry.facts import CallFacts
from ai_platform.telemetry.families import Families, Reading, Registered, Tallies
from ai_platform.telemetry.labels import NONE, OTHER, Bounded, UserLabels
from ai_platform.telemetry.settings import MetricsSettings
from ai_platform.telemetry.tally import Row, RowKey, add

_OUR_FAULT = frozenset(
    {
        Refusal.AUDIT_UNAVAILABLE,
        Refusal.INSPECTION_FAILED,
        Refusal.OVERLOADED,
        Refusal.UPSTREAM_UNAVAILABLE,
    }
)
"""Refusals that count as errors: the platform could not, rather than would not."""


class Meter:
    """observe() each finished call; exposition() is what /metrics answers.

    known_model: does the price book know this model (others are labelled `other`). user_key: keys user buckets.
    """

    def __init__(
        self, settings: MetricsSettings, *, clock: Clock, known_model: Callable[[str], bool], user_key: bytes = b""
    ) -> None:
        self._clock = clock
        self._limit = settings.rows
        self._users = UserLabels(settings.user_label, settings.top_users, user_key, self._forget_user)
        self._teams = Bounded(settings.teams)
        self._models = Bounded(settings.models, known_model)
        self._types = Bounded(settings.finding_types)
        self._errors = Bounded(100)
        self._servers = Bounded(settings.servers)
        self._tools = Bounded(settings.tools)
        self._tallies = Tallies()
        self._registered: dict[str, Registered] = {}
        self._registry = CollectorRegistry()
        self._registry.register(Families(self._tallies, self._registered, self._folded, clock))
        ProcessCollector(registry=self._registry)
        self.gauge(
            "aip_build_info",
            "Version of the platform and of Python; the value is always 1.",
            lambda: {(installed_version("ai-platform"), python_version()): 1},
            labels=("version", "python"),
        )

    def observe(self, facts: CallFacts) -> None:
        """Add one finished call."""
        tallies = self._tallies
        failure = self._failure(facts)
        model = self._models.of(facts.model)
        tallies.responses[(facts.door, facts.operation, str(facts.status))] += 1
        key = RowKey(
            facts.door,
            facts.operation,
            model,
            _outcome(facts, failure),
            self._users.of(facts.person, facts.micros),
            self._teams.of(facts.team),
        )
        row = tallies.rows.get(key)
        if row is None:
            row = self._new_row(key)
        row.add(facts.usage, facts.micros)
        if facts.door == Door.MESSAGES:
            tallies.latency.observe(model, facts.seconds)
            tallies.window.observe(self._clock.monotonic(), failure)
        if failure is not None:
            add(tallies.errors, (failure,))
        if facts.refusal is not None:
            add(tallies.refusals, (facts.refusal, facts.door))
        self._timings(facts, model)
        self._inspection(facts)
        if facts.attempts:
            self._attempts(facts)
        if facts.door == Door.MCP and facts.server:
            self._tool(facts, failure)
        if facts.aborted:
            add(tallies.aborted, (facts.operation,))

    def suggestion(self, feature: str, *, accepted: bool, count: int = 1) -> None:
        """Count suggestions (edits, reviews, ...) a person accepted or rejected. feature: a fixed, small set."""
        shown, taken = self._tallies.suggestions.get(feature, (0, 0))
        self._tallies.suggestions[feature] = (shown + count, taken + (count if accepted else 0))

    def gauge(self, name: str, explanation: str, read: Reading, *, labels: tuple[str, ...] = ()) -> None:
        """Expose a number of another room. read: called at each scrape; with labels it returns {label values: number}.

        Raises:
            ValueError: the name is taken.

        """
        self._register(Registered(name, explanation, "gauge", read, labels))

    def counter(self, name: str, explanation: str, read: Reading, *, labels: tuple[str, ...] = ()) -> None:
        """As `gauge`, for a number that only grows. name ends in `_total`."""
        self._register(Registered(name.removesuffix("_total"), explanation, "counter", read, labels))

    def exposition(self) -> tuple[bytes, str]:
        """All metrics in the Prometheus text format 0.0.4, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def names(self) -> list[str]:
        """Every metric family exposed now, as documented (counters with `_total`)."""
        return sorted(
            f"{family.name}_total" if family.type == "counter" else family.name for family in self._registry.collect()
        )

    def _register(self, registered: Registered) -> None:
        if registered.name in self._registered:
            raise ValueError(f"the metric {registered.name} is registered twice")
        self._registered[registered.name] = registered

    def _failure(self, facts: CallFacts) -> str | None:
        if facts.refusal is not None:
            return facts.refusal
        if facts.error:
            return self._errors.of(facts.error)
        return self._errors.of(f"upstream_{facts.status}") if facts.status >= 400 else None

    def _new_row(self, key: RowKey) -> Row:
        if len(self._tallies.rows) >= self._limit:
            self._tallies.dropped += 1
            key = key._replace(user=OTHER, team=OTHER, model=OTHER)
        return self._tallies.rows.setdefault(key, Row())

    def _timings(self, facts: CallFacts, model: str) -> None:
        tallies = self._tallies
        if facts.first_byte_seconds is not None:
            tallies.first_byte.observe(model, facts.first_byte_seconds)
        if facts.overhead_seconds is not None:
            tallies.overhead.observe(facts.operation, facts.overhead_seconds)
        if facts.inspection_seconds is not None:
            tallies.inspection.observe(facts.operation, facts.inspection_seconds)

    def _inspection(self, facts: CallFacts) -> None:
        if facts.bytes_inspected:
            add(self._tallies.inspected, (facts.operation,), facts.bytes_inspected)
        for found in facts.input_findings:
            add(self._tallies.findings, (self._types.of(found.type), Direction.INPUT, found.action))
        for found in facts.output_findings:
            add(self._tallies.findings, (self._types.of(found.type), Direction.OUTPUT, found.action))

    def _tool(self, facts: CallFacts, failure: str | None) -> None:
        server = self._servers.of(facts.server)
        self._tallies.tools.observe(server, facts.seconds)
        if facts.tool is not None:
            outcome = "tool_error" if facts.tool_failed and failure is None else _outcome(facts, failure)
            tool = self._tools.of(f"{server}/{facts.tool}")
            add(self._tallies.tool_calls, (server, tool.removeprefix(f"{server}/"), outcome))

    def _attempts(self, facts: CallFacts) -> None:
        upstream = facts.upstream or NONE
        add(self._tallies.attempts, (upstream,), facts.attempts)
        if facts.attempts > 1:
            add(self._tallies.retries, (upstream,), facts.attempts - 1)

    def _forget_user(self, person: str) -> None:
        """A person who left the top: the series end here (they would otherwise pile up), which is counted."""
        rows = self._tallies.rows
        for key in [key for key in rows if key.user == person]:
            del rows[key]
            self._tallies.dropped += 1

    def _folded(self) -> Mapping[str, int]:
        return {
            "user": self._users.folded,
            "team": self._teams.folded,
            "model": self._models.folded,
            "finding_type": self._types.folded,
            "server": self._servers.folded,
            "tool": self._tools.folded,
            "row": self._tallies.dropped,
        }


def _outcome(facts: CallFacts, failure: str | None) -> str:
    if facts.refusal is not None and facts.refusal not in _OUR_FAULT:
        return "refused"
    if failure is not None:
        return "error"
    return "aborted" if facts.aborted else "success"
