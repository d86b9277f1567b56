"""Sign-ins in the audit log: durable before their answer, so that nobody is signed in whom the log does not know."""

from collections.abc import Mapping
from typing import Any

from ai_platform.audit import Trail
from ai_platform.domain.clock import Clock
from ai_platform.domain.event import Event, EventType
from ai_platform.domain.identifiers import new_id
from ai_platform.entrypoints.signin.web import Visit


class Recorder:
    """Raises AuditUnavailable: then nothing may happen."""

    def __init__(self, trail: Trail, clock: Clock) -> None:
        self._trail = trail
        self._clock = clock

    async def __call__(
        self,
        what: str,
        visit: Visit,
        *,
        subject: str | None = None,
        email: str | None = None,
        kind: EventType = EventType.AUTHENTICATION,
        personal: Mapping[str, Any] | None = None,
        **facts: Any,
    ) -> None:
        """personal: beside address and user agent, what may identify somebody."""
        now = self._clock.now()
        sender = {"user_email": email, "ip_address": visit.ip, "user_agent": visit.header(b"user-agent")[:200]}
        event = Event(
            id=new_id("evt", now),
            type=kind,
            at=now,
            subject=subject,
            personal={**sender, **(personal or {})},
            facts={"what": what, **facts},
        )
        await self._trail.append((event,))
