"""The first promises of the room, end to end: find, block once, redact ever after, leave everything else alone."""

import json

import pytest

from ai_platform.domain.call import Call, Door, Operation
from ai_platform.domain.errors import Blocked
from ai_platform.domain.finding import Action, ProtectionPlan
from ai_platform.domain.principal import Principal
from ai_platform.protection import Guard, ProtectionSettings, Scanner
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.anyio

PERSON = Principal(id="person_1", name="Ada")
SSN = "536-22-8491"


def call(body: bytes) -> Call:
    return Call(
        id="call_1",
        door=Door.MESSAGES,
        operation=Operation.MESSAGES_CREATE,
        method="POST",
        path="/v1/messages",
        body=body,
    )


def message(text: str) -> bytes:
    return json.dumps({"model": "claude-opus-5-5", "messages": [{"role": "user", "content": text}]}).encode()


@pytest.fixture
def guard(clock: FakeClock) -> Guard:
    return Guard(ProtectionSettings(), clock, secret=b"0" * 32)


@pytest.mark.requirement("DP-1")
@pytest.mark.parametrize(
    ("text", "kind", "severity"),
    [
        ("my ssn is 123-45-6789", "US_SSN", "critical"),
        ("4111 1111 1111 1111", "CREDIT_CARD", "critical"),
        ("jane@acme.io", "EMAIL_ADDRESS", "warning"),
        ('api_key = "q8Rk2Lm5Nw7Pz4Xc6Vb9Jh1G"', "API_KEY", "critical"),
        ("AKIAY3T6Q5B7C2D4WXYZ", "AWS_ACCESS_KEY", "critical"),
        ("-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj\n" * 3, "PRIVATE_KEY", "critical"),
    ],
)
def test_the_six_types_of_the_policy_are_found(text: str, kind: str, severity: str):
    findings = Scanner(ProtectionPlan()).scan(text)
    assert [(finding.type, finding.severity) for finding in findings] == [(kind, severity)]


@pytest.mark.requirement("DP-2", "DP-4")
async def test_a_critical_value_blocks_once_and_is_redacted_the_same_way_on_every_later_turn(guard: Guard):
    body = message(f"it is {SSN}, thanks")
    with pytest.raises(Blocked) as caught:
        await guard.inspect(PERSON, call(body), ProtectionPlan())
    assert SSN not in str(caught.value)
    assert "1 value that looks like a US Social Security number" in str(caught.value)
    first = await guard.inspect(PERSON, call(body), ProtectionPlan())
    again = await guard.inspect(PERSON, call(body), ProtectionPlan())
    assert first.changed
    assert SSN.encode() not in first.body
    assert first.body == again.body
    assert [finding.action for finding in first.findings] == [Action.REDACT]


async def test_a_body_without_findings_is_the_same_object(guard: Guard):
    body = message("nothing to see")
    inspection = await guard.inspect(PERSON, call(body), ProtectionPlan())
    assert inspection.body is body
    assert inspection.leaves == 7


@pytest.mark.requirement("DP-3")
def test_a_value_split_over_deltas_never_leaves(guard: Guard):
    stream = guard.watch(PERSON, call(b""), ProtectionPlan())
    out = b"".join(stream.feed(delta(text)) for text in ("Hello, ", "the SSN is 53", "6-22-", "8491", " as asked."))
    out += stream.close()
    texts = [json.loads(line[5:])["delta"]["text"] for line in out.splitlines() if line.startswith(b"data:")]
    assert "".join(texts).startswith("Hello, the SSN is [REDACTED:US_SSN:")
    assert "".join(texts).endswith("] as asked.")
    assert stream.changed


def delta(text: str) -> bytes:
    data = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return b"event: content_block_delta\ndata: " + json.dumps(data).encode() + b"\n\n"
