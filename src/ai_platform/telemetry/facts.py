"""The facts of one finished call, as the meter and the call log need them. No prompt, no answer, no found value."""

import msgspec

from ai_platform.domain.finding import Finding
from ai_platform.domain.usage import Usage


class CallFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one call, whichever way it ended.

    door, operation, refusal: values of the enums in domain.call and domain.decision.
    model: as asked for, unbounded (the meter bounds it). person: the principal's id; team: its team.
    status: the HTTP status the caller got, 0 when the caller left before one was sent.
    refusal: why the platform refused, None when it did not. error: the failure's name when something broke,
    snake case (`upstream_timeout`), "" otherwise.
    seconds: whole call; first_byte_seconds: until the first byte of the answer went out; overhead_seconds: the part
    spent in the platform and not waiting for the upstream; inspection_seconds: of that, inspection. None = unknown.
    bytes_inspected: bytes of text checked, both directions. attempts: requests sent upstream, repetitions included.
    server, tool: of a call through the MCP door, unbounded; tool_failed: the tool itself answered that it failed.
    aborted: the caller hung up before the end of the answer. micros: cost in micro-dollars.
    """

    door: str
    operation: str
    status: int
    seconds: float
    call_id: str = ""
    model: str | None = None
    refusal: str | None = None
    error: str = ""
    upstream: str | None = None
    server: str | None = None
    tool: str | None = None
    tool_failed: bool = False
    team: str | None = None
    person: str | None = None
    usage: Usage = Usage()
    micros: int = 0
    first_byte_seconds: float | None = None
    overhead_seconds: float | None = None
    inspection_seconds: float | None = None
    bytes_inspected: int = 0
    input_findings: tuple[Finding, ...] = ()
    output_findings: tuple[Finding, ...] = ()
    attempts: int = 0
    streamed: bool = False
    aborted: bool = False
