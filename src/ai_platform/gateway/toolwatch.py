"""The tool calls in an answer: remembered for the record, and held against the policy before a client can run them.

A tool call that the policy forbids ends the answer before its last event. A client in auto mode, which asks for
verdicts (`safeguards`), gets one instead: it refuses that one tool call by itself, shows our reason, and goes on.
Above: watch. Below: safeguards, policy.
"""

import msgspec

from ai_platform.domain.call import Call
from ai_platform.domain.errors import Denied
from ai_platform.gateway.events import data_of
from ai_platform.gateway.record import Record
from ai_platform.gateway.safeguards import (
    Unmergeable,
    asks_for_verdicts,
    with_verdicts_in_event,
    with_verdicts_in_message,
)
from ai_platform.policy import Policy


class _Block(msgspec.Struct):
    type: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _BlockStart(msgspec.Struct):
    index: int = 0
    content_block: _Block = msgspec.field(default_factory=_Block)


class _InputDelta(msgspec.Struct):
    partial_json: str = ""


class _BlockDelta(msgspec.Struct):
    index: int = 0
    delta: _InputDelta = msgspec.field(default_factory=_InputDelta)


class _BlockStop(msgspec.Struct):
    index: int = 0


class _Message(msgspec.Struct):
    content: list[_Block] = []


_block_start = msgspec.json.Decoder(_BlockStart)
_block_delta = msgspec.json.Decoder(_BlockDelta)
_block_stop = msgspec.json.Decoder(_BlockStop)
_message = msgspec.json.Decoder(_Message)


class _Proposal:
    """One tool call as it arrives."""

    __slots__ = ("block", "parts")

    def __init__(self, block: _Block) -> None:
        self.block = block
        self.parts: list[str] = []

    @property
    def arguments(self) -> bytes:
        """What came in pieces, else what stood in the block's beginning."""
        return "".join(self.parts).encode() or bytes(self.block.input)


class ToolWatch:
    """One answer. flagged: refusals that the client is to be told as verdicts, by the id of the tool call."""

    __slots__ = ("_filtering", "_flags", "_open", "_policy", "_record", "flagged")

    def __init__(self, policy: Policy, record: Record, call: Call) -> None:
        self.flagged: dict[str, Denied] = {}
        self._policy = policy
        self._record = record
        self._filtering = policy.filters_tool_use
        self._flags = self._filtering and policy.flags_in_auto_mode and asks_for_verdicts(call.body)
        self._open: dict[int, _Proposal] = {}

    def start(self, event: bytes) -> None:
        try:
            found = _block_start.decode(data_of(event))
        except msgspec.DecodeError:
            return  # not ours to judge: the client sees the same bytes
        if found.content_block.type == "tool_use":
            self._record.tool_used(found.content_block.id, found.content_block.name)
            if self._filtering:
                self._open[found.index] = _Proposal(found.content_block)

    def delta(self, event: bytes) -> None:
        if not self._open:
            return
        try:
            found = _block_delta.decode(data_of(event))
        except msgspec.DecodeError:
            return
        if proposal := self._open.get(found.index):
            proposal.parts.append(found.delta.partial_json)

    def stop(self, event: bytes) -> None:
        """Raises Denied when the policy forbids the tool call and the client asked for no verdicts."""
        if not self._open:
            return
        try:
            index = _block_stop.decode(data_of(event)).index
        except msgspec.DecodeError:
            index = -1
        ended = [index] if index in self._open else list(self._open)
        for each in ended:
            proposal = self._open.pop(each)
            self._check(proposal.block, proposal.arguments)

    def verdicts(self, event: bytes) -> bytes:
        """The `message_delta` with our verdicts in it; the same bytes when there are none.

        Raises:
            Denied: they cannot be told, so the answer ends here.
        """
        if not self.flagged:
            return event
        try:
            told = with_verdicts_in_event(event, self._explanations())
        except Unmergeable:
            raise self._first() from None
        self.flagged = {}
        return told

    def ended(self) -> None:
        """Raises Denied when the answer ends without having told a verdict."""
        if self.flagged:
            raise self._first()

    def message(self, body: bytes) -> bytes:
        """The same for a complete message: the body to pass on. Raises Denied."""
        try:
            content = _message.decode(body).content
        except msgspec.DecodeError:
            return body
        for block in content:
            if block.type == "tool_use":
                self._record.tool_used(block.id, block.name)
                if self._filtering:
                    self._check(block, bytes(block.input))
        if not self.flagged:
            return body
        try:
            return with_verdicts_in_message(body, self._explanations())
        except Unmergeable:
            raise self._first() from None

    def _check(self, block: _Block, arguments: bytes) -> None:
        try:
            self._policy.check_tool_use(self._record.known_caller, self._record.call, block.name, arguments)
        except Denied as error:
            if not self._flags:
                raise
            self.flagged[block.id] = error
            self._record.tool_flagged(block.id, block.name, error.rule)

    def _explanations(self) -> dict[str, str]:
        return {tool_use_id: str(error) for tool_use_id, error in self.flagged.items()}

    def _first(self) -> Denied:
        return next(iter(self.flagged.values()))
