"""Command line of the bridge."""

import argparse
import getpass
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from ai_platform.domain.clock import SystemClock
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.identifiers import new_id
from ai_platform.mcp_servers.bridge.otlp import Exporter
from ai_platform.mcp_servers.bridge.records import Lines, Records, Span, Telling
from ai_platform.mcp_servers.bridge.relay import relay
from ai_platform.mcp_servers.bridge.watch import Watch


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ai_platform.mcp_servers.bridge",
        description="Runs a stdio MCP server and records its tool calls: spans, metrics and audit lines.",
    )
    add = parser.add_argument
    add("--output", type=Path, metavar="FILE", help="append JSON lines to FILE; default: standard error")
    add(
        "--otlp", metavar="URL", default="", help="also send to this OTLP/HTTP collector, such as http://127.0.0.1:4318"
    )
    add("--user", metavar="ID", default="", help="who is recorded; default: the user of this machine")
    add("--session", metavar="ID", default="", help="the session that is recorded; default: a new one")
    add("--name", metavar="NAME", default="", help="the server's name in the records; default: its command")
    add("--metrics-every", type=float, metavar="SECONDS", default=60.0, help="time between lines of metrics (60)")
    add("--keep-meta", action="store_true", help="do not set _meta.traceparent: forward every byte unchanged")
    add("command", nargs=argparse.REMAINDER, metavar="-- COMMAND …", help="the server to run")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until the server ends; its exit code. Raises ConfigError."""
    options = _parser().parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise ConfigError("Say which server to run: … bridge -- COMMAND ARGUMENTS.")
    if options.otlp and not options.otlp.startswith(("http://", "https://")):
        raise ConfigError(f"--otlp {options.otlp}: an address such as http://127.0.0.1:4318 is needed.")
    if not 0 < options.metrics_every <= 86_400:
        raise ConfigError("--metrics-every must be above 0 and at most 86400.")
    clock = SystemClock()
    name = options.name or Path(command[0]).name
    exported: list[Exporter] = []

    def export(span: Span) -> None:
        for exporter in exported:
            exporter.add(span)

    records = Records(
        Lines(options.output),
        user=options.user or getpass.getuser(),
        session=options.session or new_id("mcps", clock.now()),
        server=name,
        export=export,
    )
    if options.otlp:
        resource = {"service.name": name}
        exported.append(Exporter(options.otlp, _headers(), resource=resource, sums=records.sums, clock=clock))
        exported[0].start()
    watch = Watch(
        clock,
        started=records.started,
        finished=records.finished,
        outer=os.environ.get("TRACEPARENT"),
        propagate=not options.keep_meta,
    )
    telling = Telling(records, clock, options.metrics_every)
    telling.start()
    code = relay(command, watch)
    telling.close()
    for exporter in exported:
        exporter.close()
    return code


def _headers() -> dict[str, str]:
    """As the standard variable has them: `name=value,name=value`, percent-encoded."""
    pairs = (pair.partition("=") for pair in os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", "").split(",") if "=" in pair)
    return {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}
