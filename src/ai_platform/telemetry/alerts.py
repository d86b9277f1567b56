"""Sends alerts to the configured webhooks within seconds, never waiting for them.

Fails open: an alert that cannot be delivered never stops a call. It is counted (`dropped`, `failed`) and logged.
Above: gateway, bootstrap. Not the rules that Prometheus evaluates; those live beside the dashboards.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
import structlog

from ai_platform.domain.clock import Clock
from ai_platform.domain.identifiers import new_id
from ai_platform.telemetry.scrub import scrub, scrub_text
from ai_platform.telemetry.settings import AlertSettings, AlertSeverity, WebhookSettings
from ai_platform.telemetry.webhook import Webhook

_RANK = {"info": 0, "warning": 1, "critical": 2}
_MOST_KEYS = 10_000
_LONGEST_TEXT = 500

_log = structlog.get_logger(__name__)


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something a person should know.

    kind: a fixed name, e.g. `sensitive_data`, `budget_threshold`, `unknown_model`, `breaker_open`.
    facts: types, counts, names and ids; never a prompt, a secret or a found value.
    person: the principal's id. dedupe: alerts of one kind with the same text here are one within the dedupe window;
    "" = the kind, the title and the person together.
    """

    kind: str
    severity: AlertSeverity
    title: str
    facts: dict[str, Any] = {}
    person: str | None = None
    dedupe: str = ""


class _Seen(NamedTuple):
    until: float
    repeated: int


class _Delivery(NamedTuple):
    alert_id: str
    key: tuple[str, ...]
    payload: dict[str, Any]


class _Receiver:
    """One webhook, what waits for it, and the task that delivers. forget: called with the key of a failed alert."""

    def __init__(
        self,
        webhook: WebhookSettings,
        settings: AlertSettings,
        clock: Clock,
        forget: Callable[[tuple[str, ...]], None],
    ) -> None:
        self.webhook = Webhook(webhook, settings, clock)
        self.waiting: asyncio.Queue[_Delivery] = asyncio.Queue(settings.queue)
        self.busy = False
        self.task: asyncio.Task[None] | None = None
        self._forget = forget

    def wants(self, alert: Alert) -> bool:
        settings = self.webhook.settings
        return _RANK[alert.severity] >= _RANK[settings.at_least] and (
            not settings.kinds or alert.kind in settings.kinds
        )

    async def work(self) -> None:
        while True:
            delivery = await self.waiting.get()
            self.busy = True
            if not await self.webhook.deliver(delivery.alert_id, delivery.payload):
                self._forget(delivery.key)  # nobody saw it, so the next one is not a repetition
            self.busy = False
            self.waiting.task_done()


class Alerts:
    """send() queues an alert for every webhook that wants it. Use as an async context manager.

    sent: accepted for delivery. dropped: a queue was full. repeated: suppressed by the dedupe window.
    """

    def __init__(self, settings: AlertSettings, *, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._receivers = [_Receiver(webhook, settings, clock, self._forget) for webhook in settings.webhooks]
        self._seen: dict[tuple[str, ...], _Seen] = {}
        self.sent = 0
        self.dropped = 0
        self.repeated = 0

    @property
    def delivered(self) -> int:
        return sum(receiver.webhook.delivered for receiver in self._receivers)

    @property
    def failed(self) -> int:
        return sum(receiver.webhook.failed for receiver in self._receivers)

    @property
    def waiting(self) -> int:
        return sum(receiver.waiting.qsize() for receiver in self._receivers)

    async def __aenter__(self) -> Self:
        for receiver in self._receivers:
            receiver.task = asyncio.create_task(receiver.work(), name=f"alerts:{receiver.webhook.settings.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Deliver what waits, for `drain_seconds` at most; the rest is counted as dropped."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_seconds):
                await asyncio.gather(*(receiver.waiting.join() for receiver in self._receivers))
        for receiver in self._receivers:
            if receiver.task is not None:
                self.dropped += receiver.waiting.qsize() + receiver.busy
                receiver.task.cancel()
                await asyncio.gather(receiver.task, return_exceptions=True)
            await receiver.webhook.aclose()

    def send(self, alert: Alert) -> bool:
        """Queue the alert; False when it repeats a recent one. Never waits and never raises."""
        key = (alert.kind, alert.dedupe) if alert.dedupe else (alert.kind, alert.title, alert.person or "")
        now = self._clock.monotonic()
        seen = self._seen.get(key)
        if seen is not None and seen.until > now:
            self._seen[key] = seen._replace(repeated=seen.repeated + 1)
            self.repeated += 1
            return False
        self._remember(key, now)
        alert_id = new_id("alert", self._clock.now())
        payload = self._payload(alert, alert_id, seen.repeated if seen else 0)
        _log.warning("alert", **{name: value for name, value in payload.items() if name != "source"})
        for receiver in self._receivers:
            if receiver.wants(alert):
                self._queue(receiver, _Delivery(alert_id, key, payload))
        self.sent += 1
        return True

    def _queue(self, receiver: _Receiver, delivery: _Delivery) -> None:
        try:
            receiver.waiting.put_nowait(delivery)
        except asyncio.QueueFull:  # fails open: the call goes on, the loss is counted and logged
            self.dropped += 1
            _log.error("alert_dropped", webhook=receiver.webhook.settings.name, alert=delivery.alert_id, problem="full")

    def _forget(self, key: tuple[str, ...]) -> None:
        self._seen.pop(key, None)

    def _remember(self, key: tuple[str, ...], now: float) -> None:
        if len(self._seen) >= _MOST_KEYS:
            self._seen = {known: seen for known, seen in self._seen.items() if seen.until > now}
            while len(self._seen) >= _MOST_KEYS:
                self._seen.pop(next(iter(self._seen)))
        self._seen[key] = _Seen(now + self._settings.dedupe_seconds, 0)

    def _payload(self, alert: Alert, alert_id: str, repeated: int) -> dict[str, Any]:
        """The JSON that is posted; docs/alerts.md lists it. repeated: how many were held back since the last one."""
        return {
            "id": alert_id,
            "source": "ai-platform",
            "kind": alert.kind,
            "severity": alert.severity,
            "title": scrub_text(alert.title)[:_LONGEST_TEXT],
            "person": alert.person,
            "at": datetime.fromtimestamp(self._clock.now(), UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "repeated": repeated,
            "facts": {name: _short(value) for name, value in scrub(alert.facts).items()},
        }


def _short(value: Any) -> Any:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else value
