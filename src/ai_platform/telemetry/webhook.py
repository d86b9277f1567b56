"""Delivers alerts to one configured URL by HTTP POST, signed, with retries. Redirects are never followed.

Only addresses from the configuration are contacted and no redirect can lead elsewhere; nothing a caller sends
chooses where an alert goes.
"""

import asyncio
import hashlib
import hmac
import random
from typing import Any

import httpx2
import msgspec
import structlog

from ai_platform.domain.clock import Clock
from ai_platform.telemetry.settings import AlertSettings, WebhookSettings

_LONGEST_RETRY_AFTER = 60.0

_log = structlog.get_logger(__name__)


class Webhook:
    """deliver() posts one alert. delivered, failed, retries: counters."""

    def __init__(self, webhook: WebhookSettings, settings: AlertSettings, clock: Clock) -> None:
        self.settings = webhook
        self._clock = clock
        self._attempts = settings.attempts
        self._first_delay = settings.first_delay_seconds
        self._longest_delay = settings.longest_delay_seconds
        self._http = httpx2.AsyncClient(
            timeout=settings.timeout_seconds, follow_redirects=False, trust_env=False, proxy=webhook.proxy
        )
        self.delivered = 0
        self.failed = 0
        self.retries = 0

    async def deliver(self, alert_id: str, payload: dict[str, Any]) -> bool:
        """Post until it is accepted (2xx). False after the last attempt, or at once when a retry cannot help (4xx)."""
        body = msgspec.json.encode(payload)
        problem = ""
        for attempt in range(self._attempts):
            if attempt:
                self.retries += 1
            try:
                answer = await self._http.post(self.settings.url, content=body, headers=self._headers(alert_id, body))
            except httpx2.HTTPError as error:
                problem, wait = type(error).__name__, 0.0
            else:
                if answer.is_success:
                    self.delivered += 1
                    return True
                problem, wait = f"HTTP {answer.status_code}", _retry_after(answer)
                if answer.status_code < 500 and answer.status_code not in {408, 425, 429}:
                    break
            if attempt + 1 < self._attempts:
                await asyncio.sleep(max(wait, self._delay(attempt)))
        self.failed += 1
        _log.error(
            "alert_not_delivered", webhook=self.settings.name, to=self.settings.origin, alert=alert_id, problem=problem
        )
        return False

    async def aclose(self) -> None:
        await self._http.aclose()

    def _headers(self, alert_id: str, body: bytes) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "user-agent": "ai-platform",
            "x-aip-alert-id": alert_id,
        }
        if self.settings.secret:
            stamp = str(int(self._clock.now()))
            headers["x-aip-timestamp"] = stamp
            headers["x-aip-signature"] = sign(self.settings.secret, stamp, body)
        return headers

    def _delay(self, attempt: int) -> float:
        longest = min(self._longest_delay, self._first_delay * 2**attempt)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """`sha256=` + hex HMAC-SHA256 over `timestamp.body`. The receiver computes it too and compares in constant time."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={digest.hexdigest()}"


def _retry_after(answer: httpx2.Response) -> float:
    """Seconds the receiver asked for; HTTP dates are ignored."""
    value = answer.headers.get("retry-after", "")
    return min(float(value), _LONGEST_RETRY_AFTER) if value.isdecimal() else 0.0
