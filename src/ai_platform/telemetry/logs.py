"""Structured logs on standard error: JSON lines for machines, colours on a terminal, secrets withheld in both.

`configure_logging` is called once, by the program's entry; everything else uses `structlog.get_logger()`. The line
of each call goes through the `CallLog` it returns, which costs a few microseconds and never blocks the event loop.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from ai_platform.domain.money import to_usd
from ai_platform.telemetry.facts import CallFacts
from ai_platform.telemetry.scrub import scrub, scrub_text
from ai_platform.telemetry.settings import LogFormat, LogSettings

_LONGEST_MODEL = 80


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> "CallLog":
    """Send structlog, the standard library's and uvicorn's logs to `stream` (standard error) in one form."""
    out = stream or sys.stderr
    console = settings.format is LogFormat.CONSOLE or (settings.format is LogFormat.AUTO and out.isatty())
    renderer: Processor = structlog.dev.ConsoleRenderer() if console else _render_json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _scrub_event,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _scrub_event, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    _take_over("uvicorn", "uvicorn.error", "uvicorn.access")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # it announces starts and stops, twice
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)  # the call log has a better line for each call
    for chatty in ("httpx2", "httpcore", "asyncio", "hpack"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    for telling in ("mcp", "client", "mcp_types"):  # the MCP SDK's: its errors quote the messages they are about
        logging.getLogger(telling).setLevel(logging.CRITICAL + 1)
    return CallLog(
        out, render_console_line if console else render_json_line, enabled=settings.calls and root.level <= logging.INFO
    )


class CallLog:
    """One line a call. Lines are written together, off the event loop, at most `delay` seconds late.

    Fails open: with more than `limit` lines waiting (standard error is blocked), further lines are dropped and
    counted in `dropped`. The audit log, not this, is the record of calls.
    """

    def __init__(
        self,
        out: TextIO,
        render: Callable[[CallFacts, float], str],
        *,
        enabled: bool = True,
        delay: float = 0.1,
        limit: int = 20_000,
    ) -> None:
        self._out = out
        self._render = render
        self._enabled = enabled
        self._delay = delay
        self._limit = limit
        self._waiting: list[str] = []
        self._writing: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.dropped = 0

    def write(self, facts: CallFacts) -> None:
        """Queue the line of a finished call. Needs a running event loop."""
        if not self._enabled:
            return
        if len(self._waiting) >= self._limit:
            self.dropped += 1
            return
        self._waiting.append(self._render(facts, time.time()))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._delay, self._flush)

    async def aclose(self) -> None:
        """Write what is waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            await self._writing
        if self._waiting:
            await asyncio.to_thread(self._put, "".join(self._taken()))

    def _flush(self) -> None:
        self._timer = None
        if self._writing is not None and not self._writing.done():  # still blocked: come back later
            self._timer = asyncio.get_running_loop().call_later(self._delay, self._flush)
            return
        self._writing = asyncio.get_running_loop().run_in_executor(None, self._put, "".join(self._taken()))

    def _taken(self) -> list[str]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def _put(self, lines: str) -> None:
        try:
            self._out.write(lines)
            self._out.flush()
        except (OSError, ValueError):  # a closed or full standard error: fails open, counted
            self.dropped += lines.count("\n")


def _scrub_event(_logger: Any, _method: str, event: EventDict) -> EventDict:
    private = {name: event.pop(name) for name in ("_record", "_from_structlog") if name in event}
    return {**scrub(event), **private}


def _render_json(_logger: Any, _method: str, event: EventDict) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _stamp(now: float) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z"


def _model(facts: CallFacts) -> str | None:
    """The caller chose this text, so it is bounded and scrubbed."""
    return None if facts.model is None else scrub_text(facts.model[:_LONGEST_MODEL])


def _tool(facts: CallFacts) -> str:
    """The same of a tool's name, which its server chose."""
    return scrub_text(f"{facts.server}/{facts.tool or ''}"[:_LONGEST_MODEL]) if facts.server else ""


def render_json_line(facts: CallFacts, now: float) -> str:
    line: dict[str, Any] = {
        "timestamp": _stamp(now),
        "level": "info",
        "event": "call",
        "call": facts.call_id,
        "person": facts.person,
        "operation": facts.operation,
        "model": _model(facts),
        "status": facts.status,
        "ms": round(facts.seconds * 1000, 1),
        "cost_usd": to_usd(facts.micros),
    }
    if facts.refusal is not None:
        line["refusal"] = facts.refusal
    if facts.error:
        line["error"] = facts.error
    if facts.upstream:
        line["upstream"] = facts.upstream
    if facts.tool:
        line["tool"] = scrub_text(facts.tool[:_LONGEST_MODEL])
    if facts.attempts > 1:
        line["attempts"] = facts.attempts
    if facts.aborted:
        line["aborted"] = True
    return msgspec.json.encode(line).decode() + "\n"


def render_console_line(facts: CallFacts, now: float) -> str:
    why = facts.refusal or facts.error or ("aborted" if facts.aborted else "")
    return (
        f"{time.strftime('%H:%M:%S', time.localtime(now))} {facts.operation:<22} {facts.status or '---'}"
        f" {facts.seconds * 1000:8.0f} ms  ${to_usd(facts.micros)}  {_model(facts) or _tool(facts) or '-'}"
        f"  {facts.person or '-'}  {facts.call_id}{f'  {why}' if why else ''}\n"
    )


def _take_over(*names: str) -> None:
    """Uvicorn installs handlers of its own; its records shall go to the root handler only."""
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
