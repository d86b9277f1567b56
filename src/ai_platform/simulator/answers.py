"""What an endpoint hands to the application: a whole body or the frames of a stream, and what to settle afterwards."""

from typing import Protocol

import msgspec

from ai_platform.simulator.asgi import Headers
from ai_platform.simulator.ledger import Outcome
from ai_platform.simulator.player import Tempo

JSON = b"application/json"


class Settlement(Protocol):
    """Told when the response starts (cache entries become readable) and when it has ended (the bill is written)."""

    def begin(self) -> None: ...

    def end(self, events: int | None, outcome: Outcome) -> None:
        """events: how many were written; None = a whole body."""
        ...


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """wait: seconds until the answer starts. facts: shown in GET /_sim/requests."""

    body: bytes = b""
    status: int = 200
    content_type: bytes = JSON
    headers: Headers = []
    wait: float = 0.0
    settlement: Settlement | None = None
    facts: dict[str, object] = {}


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    frames: list[bytes]
    tempo: Tempo
    settlement: Settlement
    wait: float = 0.0
    facts: dict[str, object] = {}


Answer = Payload | Stream


def json_payload(value: object, *, status: int = 200) -> Payload:
    return Payload(status=status, body=msgspec.json.encode(value))
