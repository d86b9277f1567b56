"""Settings of the telemetry room: `metrics`, `logs` and `alerts` in the configuration file."""

from enum import StrEnum
from typing import Literal
from urllib.parse import urlsplit

import msgspec


class UserLabel(StrEnum):
    """What stands in the `user` label: the ids of the biggest spenders, one of 64 keyed buckets, or nothing."""

    TOP = "top"
    BUCKET = "bucket"
    NONE = "none"


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of the label values. What is beyond a bound is counted under `other`, and the folding is counted too.

    user_label: whose name the `user` label may carry: the biggest spenders' ids, keyed buckets, or nobody's.
    top_users: how many people get a series of their own (the biggest spenders). teams, models, finding_types,
    servers, tools: the most values of that label. rows: the most combinations of all labels kept at once.
    """

    user_label: UserLabel = UserLabel.TOP
    top_users: int = 25
    teams: int = 50
    models: int = 40
    finding_types: int = 250
    servers: int = 100
    tools: int = 500
    rows: int = 4000


class LogFormat(StrEnum):
    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """level: a standard level name. format: `auto` is console on a terminal, JSON lines otherwise.

    calls: write one line for each call.
    """

    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    format: LogFormat = LogFormat.AUTO
    calls: bool = True


AlertSeverity = Literal["info", "warning", "critical"]
"""info: read daily. warning: within the hour. critical: at once."""


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One receiver of alerts.

    name: how logs and counters call it. url: where alerts are posted.
    secret: signs each delivery with HMAC-SHA256 ("" = unsigned).
    at_least: the lowest severity sent. kinds: the kinds sent, () = all. proxy: an http(s) proxy to go through.
    """

    name: str
    url: str
    secret: str = ""
    at_least: AlertSeverity = "info"
    kinds: tuple[str, ...] = ()
    proxy: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"the url of {self.name!r} has to be an absolute http:// or https:// address")
        if parts.username is not None or parts.password is not None:
            raise ValueError(f"the url of {self.name!r} holds a user name or password; use `secret`, which signs")

    def __repr__(self) -> str:
        """Without the secret and without the path, which often is one."""
        return f"WebhookSettings(name={self.name!r}, url={self.origin!r})"

    @property
    def origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


class AlertSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """queue: alerts that may wait for each receiver. dedupe_seconds: an alert with the same key is not repeated within.

    attempts, first_delay_seconds, longest_delay_seconds: retry with doubling, jittered delays.
    timeout_seconds: of one delivery. drain_seconds: how long a stop waits for what is queued.
    """

    webhooks: tuple[WebhookSettings, ...] = ()
    queue: int = 1000
    dedupe_seconds: float = 300.0
    attempts: int = 6
    first_delay_seconds: float = 0.5
    longest_delay_seconds: float = 30.0
    timeout_seconds: float = 5.0
    drain_seconds: float = 2.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.queue < 1:
            raise ValueError("`attempts` and `queue` have to be 1 or more")
