"""The facts of one finished call, as the meter and the call log need them. No prompt, no answer, no found value."""

import msgspec

from ai_platform.domain.call import Door, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.finding import Action, Direction
from ai_platform.domain.money import Micros
from ai_platform.domain.usage import Usage


class FindingCount(msgspec.Struct, frozen=True):
    """How many findings of one type ended in one action."""

    type: str
    direction: Direction
    action: Action
    count: int = 1


class CallFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one call, whichever way it ended.

    model: as asked for, unbounded (the meter bounds it). person: the principal's id; team: its team.
    status: the HTTP status the caller got, 0 when the caller left before one was sent.
    refusal: why the platform refused, None when it did not. error: the failure's name when something broke,
    snake case (`upstream_timeout`), "" otherwise.
    seconds: whole call; first_byte_seconds: until the first byte of the answer went out; overhead_seconds: the part
    spent in the platform and not waiting for the upstream; inspection_seconds: of that, inspection. None = unknown.
    inspected_input / inspected_output: bytes of text checked. attempts: requests sent upstream (retries = attempts-1).
    aborted: the caller hung up before the end of the answer.
    """

    call_id: str
    door: Door
    operation: Operation
    status: int
    seconds: float
    model: str | None = None
    refusal: Refusal | None = None
    error: str = ""
    upstream: str = ""
    team: str | None = None
    person: str | None = None
    usage: Usage = Usage()
    micros: Micros = Micros(0)
    first_byte_seconds: float | None = None
    overhead_seconds: float | None = None
    inspection_seconds: float | None = None
    inspected_input: int = 0
    inspected_output: int = 0
    findings: tuple[FindingCount, ...] = ()
    attempts: int = 0
    streamed: bool = False
    aborted: bool = False
