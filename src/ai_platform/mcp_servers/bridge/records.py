"""What is written about tool calls: JSON lines for spans, audit and metrics, and the sums behind the metrics."""

import os
import sys
import threading
from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.event import EventType
from ai_platform.mcp_servers.bridge.trace import SpanContext
from ai_platform.mcp_servers.bridge.watch import Finished, ToolCall

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
MOST_TOOLS = 200
"""Names beyond these are counted as `other`: a host cannot make the metrics grow without end."""


class Span(msgspec.Struct, frozen=True):
    """start, end: seconds since the epoch."""

    name: str
    context: SpanContext
    start: float
    end: float
    attributes: dict[str, Any]
    error: str


class Sum(msgspec.Struct):
    """Calls of one tool with one outcome. buckets: one more than BOUNDS."""

    count: int = 0
    seconds: float = 0.0
    bytes: int = 0
    buckets: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))


class Lines:
    """Appends JSON lines to a file, or to standard error. failed: lines that could not be written (fails open)."""

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self.failed = 0
        if path is None:
            self._descriptor = sys.stderr.fileno()
            return
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"The file cannot be written: {error.strerror}.", where=str(path)) from error

    def write(self, line: dict[str, Any]) -> None:
        data = msgspec.json.encode(line) + b"\n"
        try:
            with self._lock:
                written = os.write(self._descriptor, data)
        except OSError:
            self.failed += 1
            return
        self.failed += written != len(data)


class Records:
    """started() and finished() write lines; finished spans also go to `export`."""

    def __init__(self, lines: Lines, *, user: str, session: str, server: str, export: Callable[[Span], None]) -> None:
        self._lines = lines
        self._who = {"mcp.user": user, "mcp.session": session, "mcp.server": server}
        self._export = export
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, bool], Sum] = {}
        self._told: dict[tuple[str, bool], int] = {}

    def started(self, call: ToolCall) -> None:
        facts = {"argument_bytes": call.argument_bytes}
        self._audit(EventType.TOOL_CALL, call, call.started, facts)

    def finished(self, done: Finished) -> None:
        call = done.call
        end = call.started + done.seconds
        outcome = {
            "success": not done.error,
            "duration_ms": round(done.seconds * 1000, 3),
            "result_size": done.result_bytes,
            **({"error": done.error} if done.error else {}),
        }
        self._audit(EventType.TOOL_RESULT, call, end, outcome)
        attributes = {"mcp.tool.name": call.tool, **self._who, **outcome}
        span = Span(f"mcp.tool.{call.tool}", call.context, call.started, end, attributes, done.error)
        self._lines.write(
            {
                "kind": "span",
                "name": span.name,
                "trace_id": call.context.trace,
                "span_id": call.context.span,
                "parent_span_id": call.context.parent or None,
                "start": _stamp(call.started),
                "end": _stamp(end),
                "attributes": attributes,
            }
        )
        self._count(done)
        self._export(span)

    def write_metrics(self, at: float) -> None:
        """One line for each tool and outcome that was called since the last lines, cumulative since the start."""
        for (tool, success), total in self.sums().items():
            if self._told.get((tool, success)) == total.count:
                continue
            self._told[tool, success] = total.count
            self._lines.write(
                {
                    "kind": "metric",
                    "name": "mcp.tool.duration",
                    "unit": "s",
                    "timestamp": _stamp(at),
                    "attributes": {"mcp.tool.name": tool, "success": success, **self._who},
                    "count": total.count,
                    "sum": round(total.seconds, 6),
                    "result_bytes": total.bytes,
                    "bounds": BOUNDS,
                    "buckets": total.buckets,
                }
            )

    def sums(self) -> dict[tuple[str, bool], Sum]:
        """A copy: (tool, success) -> what was counted."""
        with self._lock:
            return {
                key: Sum(total.count, total.seconds, total.bytes, [*total.buckets]) for key, total in self._sums.items()
            }

    def _count(self, done: Finished) -> None:
        key = (done.call.tool, not done.error)
        with self._lock:
            if key not in self._sums and len(self._sums) >= MOST_TOOLS:
                key = ("other", key[1])
            total = self._sums.setdefault(key, Sum())
            total.count += 1
            total.seconds += done.seconds
            total.bytes += done.result_bytes
            total.buckets[bisect_left(BOUNDS, done.seconds)] += 1

    def _audit(self, event: EventType, call: ToolCall, at: float, facts: dict[str, Any]) -> None:
        named = {"mcp.tool.name": call.tool, **self._who, "trace_id": call.context.trace, "span_id": call.context.span}
        self._lines.write({"kind": "audit", "timestamp": _stamp(at), "event_type": event.value, **named, **facts})


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Telling:
    """Writes metrics at intervals, in a thread of its own, and once more at the end."""

    def __init__(self, records: Records, clock: Clock, every: float) -> None:
        self._records = records
        self._clock = clock
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._records.write_metrics(self._clock.now())

    def _run(self) -> None:
        while not self._over.wait(self._every):
            self._records.write_metrics(self._clock.now())
