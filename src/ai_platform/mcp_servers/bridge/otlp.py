"""Spans and sums to an OpenTelemetry collector: OTLP/HTTP with JSON (opentelemetry.io/docs/specs/otlp, 1.x).

A thread sends every few seconds and once at the end. Fails open: what the collector does not take is dropped and
counted, and nothing waits for it.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import httpx2
import msgspec

from ai_platform import __version__
from ai_platform.domain.clock import Clock
from ai_platform.mcp_servers.bridge.records import BOUNDS, Span, Sum

MOST_WAITING = 2048
EVERY_SECONDS = 5.0
_CLIENT, _ERROR, _CUMULATIVE = 3, 2, 2  # the protocol's numbers for span kind, status code and temporality


class Exporter:
    """add() never blocks. sent, dropped: counters of spans."""

    def __init__(
        self,
        endpoint: str,
        headers: dict[str, str],
        *,
        resource: dict[str, Any],
        sums: Callable[[], dict[tuple[str, bool], Sum]],
        clock: Clock,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._headers = {**headers, "content-type": "application/json"}
        self._resource = {"attributes": _attributes(resource)}
        self._scope = {"name": "ai-platform.bridge", "version": __version__}
        self._sums = sums
        self._clock = clock
        self._begun = clock.now()
        self._waiting: deque[Span] = deque()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0
        self.dropped = 0

    def start(self) -> None:
        self._thread.start()

    def add(self, span: Span) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self.dropped += 1
        else:
            self._waiting.append(span)

    def close(self) -> None:
        """Send what is left; three seconds at most."""
        self._end.set()
        self._thread.join(3.0)

    def _run(self) -> None:
        with httpx2.Client(timeout=2.5, follow_redirects=False, headers=self._headers) as http:
            while not self._end.wait(EVERY_SECONDS):
                self._send(http)
            self._send(http)

    def _send(self, http: httpx2.Client) -> None:
        spans = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not spans:
            return
        if self._post(
            http, "traces", {"resourceSpans": [self._under("Spans", "spans", [_span(span) for span in spans])]}
        ):
            self.sent += len(spans)
        else:
            self.dropped += len(spans)
        self._post(http, "metrics", {"resourceMetrics": [self._under("Metrics", "metrics", [self._metric()])]})

    def _post(self, http: httpx2.Client, signal: str, body: dict[str, Any]) -> bool:
        try:
            return http.post(f"{self._endpoint}/v1/{signal}", content=msgspec.json.encode(body)).is_success
        except httpx2.HTTPError:
            return False

    def _under(self, kind: str, name: str, items: list[Any]) -> dict[str, Any]:
        return {"resource": self._resource, f"scope{kind}": [{"scope": self._scope, name: items}]}

    def _metric(self) -> dict[str, Any]:
        points = [
            {
                "attributes": _attributes({"mcp.tool.name": tool, "success": success}),
                "startTimeUnixNano": _nanoseconds(self._begun),
                "timeUnixNano": _nanoseconds(self._clock.now()),
                "count": str(total.count),
                "sum": total.seconds,
                "bucketCounts": [str(count) for count in total.buckets],
                "explicitBounds": BOUNDS,
            }
            for (tool, success), total in self._sums().items()
        ]
        histogram = {"aggregationTemporality": _CUMULATIVE, "dataPoints": points}
        return {"name": "mcp.tool.duration", "unit": "s", "histogram": histogram}


def _span(span: Span) -> dict[str, Any]:
    return {
        "traceId": span.context.trace,
        "spanId": span.context.span,
        **({"parentSpanId": span.context.parent} if span.context.parent else {}),
        "name": span.name,
        "kind": _CLIENT,
        "startTimeUnixNano": _nanoseconds(span.start),
        "endTimeUnixNano": _nanoseconds(span.end),
        "attributes": _attributes(span.attributes),
        "status": {"code": _ERROR, "message": span.error} if span.error else {},
    }


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": str(value)}


def _nanoseconds(at: float) -> str:
    return str(int(at * 1_000_000) * 1000)
