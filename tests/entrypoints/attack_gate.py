"""A platform with short patience in front of a scripted upstream, as the attacks see it."""

from collections.abc import Mapping
from typing import Any

from attack_kit import JSON, Answer, Line, RawUpstream, eventually, message, request

from platform_process import PlatformProcess

CONFIG = """\
server:
  max_connections: 1500
  max_calls: 40
  max_held_bytes: 67108864
  head_timeout: 1
  body_timeout: 1.5
  write_timeout: 1.5
  idle_timeout: 3
  shutdown_seconds: 2
breaker: {failures: 1000000}
retry: {attempts: 1}
"""
POLICY = """\
usage_limits:
  per_user: {requests_per_hour: 1000000, tokens_per_day: 100000000}
"""
UPSTREAM_KEY = "sk-ant-api03-NOTREAL0000000000000000"


class Gate:
    """key: a developer's. upstream: what stands behind."""

    def __init__(self, platform: PlatformProcess, upstream: RawUpstream) -> None:
        self.platform = platform
        self.upstream = upstream
        self.port = int(platform.url.rpartition(":")[2])
        self.key = platform.key("attacker", "--role", "developer")
        self.admin = platform.admin_key

    def line(self, **options: Any) -> Line:
        return Line(self.port, **options)

    def ask(
        self,
        body: bytes | None = None,
        *lines: str | bytes,
        method: str = "POST",
        path: str = "/v1/messages",
        **how: Any,
    ) -> Answer:
        """One request on a connection of its own, and its answer."""
        how.setdefault("key", self.key)
        with self.line() as line:
            line.send(request(method, path, message() if body is None else body, *lines, "connection: close", **how))
            return line.answer(method)

    def get(self, path: str, *lines: str | bytes, **how: Any) -> Answer:
        return self.ask(b"", *lines, method="GET", path=path, **how)

    def json(self, body: bytes | None = None, *lines: str | bytes, **how: Any) -> Answer:
        return self.ask(body, JSON, *lines, **how)

    def events(self, **query: str) -> list[Mapping[str, Any]]:
        """Audit events, newest first."""
        query.setdefault("limit", "1000")
        with self.platform.http() as http:
            answer = http.get("/admin/audit/events", params=query)
            assert answer.status_code == 200, answer.text
            return answer.json()["events"]

    def outcomes(self, model: str) -> list[Mapping[str, Any]]:
        """What was recorded of the calls that named this model, newest first; the intents left out."""
        kinds = "claude_chat_response,call_refused"
        return [event for event in self.events(what=kinds) if event.get("model") == model]

    def metric(self, name: str) -> float:
        text = self.get("/metrics").text.decode()
        return sum(
            float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))
        )

    def held(self) -> float:
        """What calls under way have reserved of the developer's limits."""
        rows = self.get("/admin/usage/standing").json["limits"]
        assert rows, "there are limits, or nothing would be held"
        return sum(float(row["held"]) for row in rows)

    def is_idle(self) -> bool:
        return self.metric("aip_calls_open") == 0 and self.metric("aip_calls_in_flight") == 0

    def settled(self) -> None:
        eventually(self.is_idle)

    def log(self) -> str:
        return (self.platform.data.parent / f"{self.platform.data.name}.log").read_text()
