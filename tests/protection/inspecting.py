"""What the suites of this room share: a caller, calls, streamed events, and what a client reads of them."""

import asyncio
import json
from collections.abc import Iterable
from functools import cache
from typing import Any

from ai_platform.domain.call import Call, Client, Door, Operation
from ai_platform.domain.finding import Action, Direction, Finding, ProtectionPlan, RuleAction
from ai_platform.domain.principal import Principal
from ai_platform.protection import Guard, Inspection, ProtectionSettings, Scanner, StreamGuard
from ai_platform.protection.replace import replacement
from ai_platform.testing import FakeClock

SECRET = b"0" * 32
PERSON = Principal(id="person_1", name="Ada")
DEFAULT = ProtectionPlan()
REDACT_ALL = ProtectionPlan(actions=(RuleAction(action=Action.REDACT),))

SSN = "536-22-8491"
CARD = "4111 1111 1111 1111"
EMAIL = "jane@acme.io"
AWS_KEY = "AKIAY3T6Q5B7C2D4WXYZ"


@cache
def scanner(plan: ProtectionPlan = DEFAULT) -> Scanner:
    return Scanner(plan, secret=SECRET)


def new_guard(**settings: Any) -> Guard:
    return Guard(ProtectionSettings(**settings), FakeClock(), secret=SECRET)


def call(body: bytes = b"", *, session: str | None = None, headers: dict[bytes, bytes] | None = None) -> Call:
    return Call(
        id="call_1",
        door=Door.MESSAGES,
        operation=Operation.MESSAGES_CREATE,
        method="POST",
        path="/v1/messages",
        headers=list((headers or {}).items()),
        body=body,
        client=Client(session_id=session),
    )


def request(*messages: Any, **fields: Any) -> bytes:
    """A Messages API body; a plain string is what the user says."""
    listed = [{"role": "user", "content": each} if isinstance(each, str) else each for each in messages]
    return json.dumps({"model": "claude-opus-5-5", **fields, "messages": listed}, ensure_ascii=False).encode()


def inspect(
    body: bytes,
    plan: ProtectionPlan = DEFAULT,
    *,
    guard: Guard | None = None,
    person: Principal = PERSON,
    session: str | None = None,
    headers: dict[bytes, bytes] | None = None,
) -> Inspection:
    own = guard or new_guard()
    return asyncio.run(own.inspect(person, call(body, session=session, headers=headers), plan))


def redacted(scanner: Scanner, text: str) -> tuple[str, list[Finding]]:
    """What the whole text becomes as output, and its findings: the truth that streams are held to."""
    findings = scanner.scan(text, direction=Direction.OUTPUT)
    pieces: list[str] = []
    position = 0
    for finding in findings:
        new = replacement(finding, text[finding.start : finding.end])
        if new is not None:
            pieces += [text[position : finding.start], new]
            position = finding.end
    return "".join([*pieces, text[position:]]), findings


FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


def event(data: dict[str, Any]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def delta(text: str, index: int = 0, kind: str = "text_delta") -> bytes:
    return event({"type": "content_block_delta", "index": index, "delta": {"type": kind, FIELDS[kind]: text}})


def stop(index: int = 0) -> bytes:
    return event({"type": "content_block_stop", "index": index})


def pass_on(stream: StreamGuard, events: Iterable[bytes]) -> bytes:
    return b"".join(map(stream.feed, events)) + stream.close()


def read(raw: bytes, index: int = 0) -> str:
    """The text of one content block, as a client puts it together."""
    pieces: list[str] = []
    for line in raw.split(b"\n"):
        if line.startswith(b"data:"):
            data = json.loads(line[5:])
            if data["type"] == "content_block_delta" and data["index"] == index:
                pieces += [value for name, value in data["delta"].items() if name in FIELDS.values()]
    return "".join(pieces)
