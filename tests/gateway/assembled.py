"""A whole gateway in memory: real rooms, the shipped trail twin, and an upstream whose answers a test scripts."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import msgspec

from ai_platform.budget import Budget, Ledger
from ai_platform.budget.settings import BudgetRule, BudgetSettings
from ai_platform.domain.call import Answer, Call, Client, Door, Headers, Operation
from ai_platform.domain.errors import UpstreamError
from ai_platform.domain.principal import Credentials, Principal
from ai_platform.domain.route import Route
from ai_platform.entrypoints.body import read_head
from ai_platform.entrypoints.errors import shape_of
from ai_platform.gateway import Book, Gateway
from ai_platform.gateway.charge import Cashier
from ai_platform.gateway.consent import Consent
from ai_platform.gateway.destinations import Models
from ai_platform.identity.ended import Ended
from ai_platform.policy import PolicyStore
from ai_platform.policy.settings import PolicySettings
from ai_platform.pricing import Estimator, load_price_book
from ai_platform.protection import Guard, ProtectionSettings
from ai_platform.routing import Router
from ai_platform.routing.router import Choice
from ai_platform.telemetry import Alerts, Meter, configure_logging
from ai_platform.telemetry.settings import AlertSettings, LogSettings, MetricsSettings
from ai_platform.testing import FakeClock, MemoryTrail

ALICE = Principal(id="usr_alice", name="Alice", email="alice@example.com", team="blue", permissions=frozenset({"*"}))


class Everybody:
    """Takes any credential for Alice's."""

    def __init__(self) -> None:
        self.ended = Ended()

    async def authenticate(self, credentials: Credentials, client: Client) -> Principal:
        assert client is not credentials
        return ALICE


@dataclass
class ScriptedUpstream:
    """Answers with `status`, `headers` and `chunks`; an exception among the chunks is raised in its place."""

    chunks: list[bytes | Exception | Callable[[], None]] = field(default_factory=list)
    status: int = 200
    headers: Headers = field(default_factory=lambda: [(b"content-type", b"text/event-stream")])
    refuse: UpstreamError | None = None
    asked: list[Call] = field(default_factory=list)
    closed: int = 0

    @asynccontextmanager
    async def open(self, route: Route, call: Call) -> AsyncIterator[Answer]:
        self.asked.append(call)
        if self.refuse is not None:
            raise self.refuse
        try:
            yield Answer(self.status, self.headers, self._body(), target=route.targets[0], attempts=["one"])
        finally:
            self.closed += 1

    async def _body(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            if isinstance(chunk, bytes):
                yield chunk
            else:
                chunk()


class Assembled:
    """gateway with what a test looks at: trail, budget, upstream, meter, book."""

    def __init__(self, folder: Path, policy: str = "", *, budgets: tuple[BudgetRule, ...] = ()) -> None:
        self.clock = FakeClock()
        self.trail = MemoryTrail()
        self.upstream = ScriptedUpstream()
        settings = PolicySettings()
        if policy:
            (folder / "enterprise.yaml").write_text(policy)
            settings = PolicySettings(file=folder / "enterprise.yaml")
        prices = load_price_book()
        cashier = Cashier(prices, Estimator(), self.clock)
        self.budget = Budget(BudgetSettings(budgets=budgets), self.clock)
        self.alerts = Alerts(AlertSettings(), clock=self.clock)
        self.meter = Meter(MetricsSettings(), clock=self.clock, known_model=lambda _: True)
        self.book = Book(
            trail=self.trail,
            cashier=cashier,
            ledger=Ledger(None, None, BudgetSettings(), process="test", slot="test"),  # type: ignore[arg-type]
            meter=self.meter,
            alerts=self.alerts,
            log=configure_logging(LogSettings(calls=False), StringIO()),
            clock=self.clock,
            status_of=lambda error: shape_of(error).status,
        )
        self.gateway = Gateway(
            identity=Everybody(),  # type: ignore[arg-type]
            policies=PolicyStore(settings, folder, clock=self.clock, folder=folder),
            protection=Guard(ProtectionSettings(), self.clock, secret=b"s" * 32),
            destinations={Door.MESSAGES: Models(Router([Choice(name="scripted")]), self.upstream)},  # type: ignore[arg-type]
            consent=self._consent(),
            cashier=cashier,
            budget=self.budget,
            book=self.book,
        )

    def _consent(self) -> Consent:
        """Nobody's: without a database there is nowhere to ask, and no policy here that wants to."""
        return Consent(None, identity=None, policies=None, protection=None)  # type: ignore[arg-type]

    def call(
        self,
        text: str = "hello",
        *,
        stream: bool = True,
        operation: Operation = Operation.MESSAGES_CREATE,
        max_tokens: int = 100,
    ) -> Call:
        body = msgspec.json.encode(
            {
                "model": "claude-sonnet-5-5",
                "max_tokens": max_tokens,
                "stream": stream,
                "messages": [{"role": "user", "content": text}],
            }
        )
        return Call(
            id="call_test",
            door=Door.MESSAGES,
            operation=operation,
            method="POST",
            path="/v1/messages",
            body=body,
            head=read_head(operation, body),
            client=Client(ip="127.0.0.1", user_agent="test"),
            received_at=self.clock.now(),
        )

    async def ask(self, call: Call, received: list[bytes] | None = None) -> list[bytes]:
        """The chunks the caller gets, also in `received` when the flow raises."""
        chunks = [] if received is None else received
        async with self.gateway.handle(call) as answer:
            async for chunk in answer.body:
                chunks.append(chunk)
        return chunks

    def lose_the_trail(self) -> None:
        self.trail.failing = True

    def event_types(self) -> list[str]:
        return [event.type.value for event in self.trail.events]

    def held(self) -> int:
        return sum(row.held for row in self.budget.standing(ALICE))

    def spent(self) -> int:
        return max((row.spent for row in self.budget.standing(ALICE) if row.unit == "micros"), default=0)


def event(kind: str, **fields: object) -> bytes:
    data = msgspec.json.encode({"type": kind, **fields})
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


START = event(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": [],
        "usage": {"input_tokens": 1000, "output_tokens": 1},
    },
)
OPEN = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
CLOSE = event("content_block_stop", index=0)
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 500})
STOP = event("message_stop")


def text(words: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": words})


def whole(*words: str) -> list[bytes]:
    return [START, OPEN, *(text(word) for word in words), CLOSE, END, STOP]
