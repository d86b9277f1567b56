"""The facts of one call, filled in step by step by the flow; the book turns them into entries.

Rooms return facts, the record carries them: no room logs, meters or traces.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ai_platform.budget import Estimate, Hold
from ai_platform.domain.approval import Approval
from ai_platform.domain.call import Answer, Call
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Decision, Refusal
from ai_platform.domain.errors import Denied, PlatformError
from ai_platform.domain.finding import Finding
from ai_platform.domain.principal import Principal
from ai_platform.domain.route import Route, Target
from ai_platform.gateway.charge import Charge
from ai_platform.gateway.hidden import without_values
from ai_platform.pricing import UsageMeter
from ai_platform.protection import Inspection, StreamGuard

MOST_TOOLS = 256
LONGEST_NAME = 200
"""Of what an answer says, that much of a name is recorded."""


class Scribe(Protocol):
    """Who writes a record down (the book)."""

    @property
    def clock(self) -> Clock: ...

    def price(self, record: "Record") -> Charge: ...

    def tell(self, record: "Record", news: Sequence[Finding]) -> None: ...

    async def write_intent(self, record: "Record") -> None: ...

    async def write_end(self, record: "Record") -> None: ...


def _never(principal: Principal) -> bool:
    del principal
    return False


class Record:
    """One call. `settle` and `finished` take effect once, whoever calls them first.

    aside: inspections of what a server and a client said to each other before the result. result_is_error: the tool
    answered that it failed. needs_input: it wants to know something of the client first.
    """

    def __init__(self, call: Call, scribe: Scribe) -> None:
        self.call = call
        self.scribe = scribe
        self.began = scribe.clock.monotonic()
        self.caller: Principal | None = None
        self.ended: Callable[[Principal], bool] = _never
        self.decision: Decision | None = None
        self.inspection: Inspection | None = None
        self.answer_inspection: Inspection | None = None
        self.stream_guard: StreamGuard | None = None
        self.route: Route | None = None
        self.estimate: Estimate | None = None
        self.hold: Hold | None = None
        self.approval: Approval | None = None
        self.answer: Answer | None = None
        self.error: PlatformError | None = None
        self.upstream_error = b""
        self.usage_meter = UsageMeter()
        self.streamed_bytes = 0
        self.deltas = 0
        self.unchecked_bytes = 0
        self.aside: list[Inspection] = []
        self.result_is_error = False
        self.needs_input = False
        self.tools: list[tuple[str, str]] = []
        self.flagged_tools: list[tuple[str, str, str]] = []
        self.charge: Charge | None = None
        self.who_and_what: dict[str, Any] | None = None
        self.aborted = False
        self.is_admitted = False
        self.is_finished = False

    @property
    def known_caller(self) -> Principal:
        assert self.caller is not None
        return self.caller

    @property
    def known_decision(self) -> Decision:
        assert self.decision is not None
        return self.decision

    @property
    def findings(self) -> tuple[Finding, ...]:
        """In what the caller sent."""
        return self.inspection.findings if self.inspection else ()

    def hide(self, findings: Sequence[Finding]) -> None:
        """From now on the call is told without these values, where its own names for things hold one."""
        self.call = without_values(self.call, findings)
        self.who_and_what = None

    @property
    def target(self) -> Target | None:
        return self.answer.facts.get("target") if self.answer else None

    @property
    def target_name(self) -> str:
        return self.target.name if self.target else ""

    @property
    def is_simulated(self) -> bool:
        return self.answer is not None and self.answer.header(b"x-ai-platform-simulated") is not None

    async def admitted(self) -> None:
        """Make the intent durable, with the open call that the ledger settles after a crash.

        Raises:
            AuditUnavailable: no audit, no execution.
        """
        await self.scribe.write_intent(self)
        self.is_admitted = True

    def answered(self, answer: Answer) -> None:
        self.answer = answer

    def tool_used(self, tool_use_id: str, name: str) -> None:
        if len(self.tools) < MOST_TOOLS:
            self.tools.append((tool_use_id[:LONGEST_NAME], name[:LONGEST_NAME]))

    def tool_flagged(self, tool_use_id: str, name: str, rule: str) -> None:
        """The client is told that this rule of the policy refuses the tool call."""
        if len(self.flagged_tools) < MOST_TOOLS:
            self.flagged_tools.append((tool_use_id[:LONGEST_NAME], name[:LONGEST_NAME], rule[:LONGEST_NAME]))

    def failed(self, error: PlatformError) -> None:
        if self.error is None:
            self.error = error

    def outgrew(self) -> bool:
        """True when what was streamed so far passes a hard limit that the hold did not foresee."""
        if self.hold is None:
            return False
        so_far = self.scribe.price(self)
        self.hold.grow(so_far.micros, so_far.tokens)
        return self.hold.exceeded

    def noticed(self, news: Sequence[Finding]) -> None:
        """Something that people should hear of at once, not when the call has ended."""
        self.scribe.tell(self, news)

    def check_caller(self) -> None:
        """Raises Denied: the caller was suspended, removed, disabled or their key revoked since the call began."""
        if self.caller is not None and self.ended(self.caller):
            message = "The answer was stopped here: your access to this platform was ended while it was being written."
            raise Denied(Refusal.KEY_REVOKED, message, rule="people")

    def settle(self) -> None:
        """Price what was used and replace the hold by it."""
        if self.charge is None and self.is_admitted:
            self.charge = self.scribe.price(self)
            if self.hold is not None:
                self.hold.settle(self.charge.micros, self.charge.tokens)

    async def finished(self) -> None:
        """Settle and make the outcome (or the refusal) durable.

        Raises:
            AuditUnavailable: the caller must not get the end of the answer.
        """
        if self.is_finished:
            return
        self.is_finished = True
        self.settle()
        await self.scribe.write_end(self)
