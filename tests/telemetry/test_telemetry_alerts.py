import asyncio
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ai_platform.telemetry import Alert, Alerts
from ai_platform.telemetry.settings import AlertSettings, WebhookSettings
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.anyio

ALERT = Alert(
    kind="sensitive_data",
    severity="critical",
    title="Blocked: CREDIT_CARD",
    facts={"types": ["CREDIT_CARD"], "call": "call_01"},
    person="usr_1",
)
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer(status: int, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", "content-length: 0", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def alert(**changes: Any) -> Alert:
    return msgspec.structs.replace(ALERT, **changes)


def alerts_to(receiver: Any, clock: FakeClock, hook: dict[str, Any] | None = None, **settings: Any) -> Alerts:
    webhook = WebhookSettings(name="security", url=receiver.url, **(hook or {}))
    quick = {"first_delay_seconds": 0.001, "longest_delay_seconds": 0.002, "attempts": 3, **settings}
    return Alerts(AlertSettings(webhooks=(webhook,), **quick), clock=clock)


async def test_an_alert_arrives_signed_with_type_and_person(receiver: Any, clock: FakeClock) -> None:
    async with alerts_to(receiver, clock, {"secret": "shared"}) as alerts:
        assert alerts.send(ALERT)
        (got,) = await receiver.wait_for(1)
    payload = json.loads(got.body)
    assert payload.pop("id") == got.headers["x-aip-alert-id"]
    assert payload == {
        "source": "ai-platform",
        "kind": "sensitive_data",
        "severity": "critical",
        "title": "Blocked: CREDIT_CARD",
        "person": "usr_1",
        "at": "2026-11-22T12:00:00.000Z",
        "repeated": 0,
        "facts": {"types": ["CREDIT_CARD"], "call": "call_01"},
    }
    signed = got.headers["x-aip-timestamp"].encode() + b"." + got.body
    expected = hmac.new(b"shared", signed, hashlib.sha256).hexdigest()
    assert got.headers["x-aip-signature"] == f"sha256={expected}"
    assert (alerts.sent, alerts.delivered, alerts.failed, alerts.dropped) == (1, 1, 0, 0)


@pytest.mark.parametrize("trouble", [500, 503, 429, 408])
async def test_a_receiver_in_trouble_is_tried_again(receiver: Any, clock: FakeClock, trouble: int) -> None:
    receiver.answers = [answer(trouble), answer(trouble), OK]
    async with alerts_to(receiver, clock) as alerts:
        alerts.send(ALERT)
        got = await receiver.wait_for(3)
    assert len({one.headers["x-aip-alert-id"] for one in got}) == 1
    assert (alerts.delivered, alerts.failed) == (1, 0)


@pytest.mark.parametrize("refusal", [400, 401, 404, 410])
async def test_an_answer_that_no_retry_can_change_is_final(receiver: Any, clock: FakeClock, refusal: int) -> None:
    receiver.answers = [answer(refusal), OK]
    async with alerts_to(receiver, clock) as alerts:
        alerts.send(ALERT)
    assert len(receiver.got) == 1
    assert (alerts.delivered, alerts.failed) == (0, 1)


async def test_a_redirect_is_never_followed(receiver: Any, clock: FakeClock) -> None:
    receiver.answers = [answer(302, f"location: http://127.0.0.1:{receiver.port}/internal"), OK]
    async with alerts_to(receiver, clock) as alerts:
        alerts.send(ALERT)
    assert [one.path for one in receiver.got] == ["/hooks/s3cr3t-path"]
    assert alerts.failed == 1


async def test_a_receiver_that_never_answers_is_given_up_and_counted(receiver: Any, clock: FakeClock) -> None:
    receiver.silent = True
    async with alerts_to(receiver, clock, timeout_seconds=0.02, attempts=2) as alerts:
        alerts.send(ALERT)
        await receiver.wait_for(2)
    assert (alerts.delivered, alerts.failed) == (0, 1)


async def test_a_dead_receiver_neither_raises_nor_delays(receiver: Any, clock: FakeClock) -> None:
    receiver.port = 1
    async with alerts_to(receiver, clock) as alerts:
        assert alerts.send(ALERT)
        assert alerts.waiting == 1  # queued only: sending never waits for the network
    assert alerts.failed == 1


async def test_a_repetition_within_the_window_is_held_back_and_the_next_one_says_how_many(
    receiver: Any, clock: FakeClock
) -> None:
    async with alerts_to(receiver, clock, dedupe_seconds=60) as alerts:
        assert alerts.send(ALERT)
        assert not alerts.send(ALERT)
        assert not alerts.send(ALERT)
        assert alerts.send(alert(person="usr_2"))
        clock.advance(61)
        assert alerts.send(ALERT)
        got = await receiver.wait_for(3)
    assert [json.loads(one.body)["repeated"] for one in got] == [0, 0, 2]
    assert alerts.repeated == 2


async def test_the_dedupe_text_decides_what_is_the_same(receiver: Any, clock: FakeClock) -> None:
    async with alerts_to(receiver, clock) as alerts:
        assert alerts.send(alert(dedupe="value-1"))
        assert not alerts.send(alert(dedupe="value-1", title="Other words"))
        assert alerts.send(alert(dedupe="value-2"))


async def test_an_alert_nobody_received_is_sent_again_when_it_repeats(receiver: Any, clock: FakeClock) -> None:
    receiver.answers = [answer(400), OK]
    async with alerts_to(receiver, clock) as alerts:
        alerts.send(ALERT)
        await receiver.wait_for(1)
        async with asyncio.timeout(5):
            await alerts._receivers[0].waiting.join()
        assert alerts.send(ALERT)
    assert alerts.delivered == 1


async def test_a_full_queue_drops_counts_and_never_raises(receiver: Any, clock: FakeClock) -> None:
    receiver.silent = True
    async with alerts_to(receiver, clock, queue=5, drain_seconds=0.01) as alerts:
        for number in range(20):
            alerts.send(alert(dedupe=str(number)))
        assert alerts.dropped == 15
    assert alerts.dropped == 20  # and what a stop cuts off is counted as well


async def test_each_webhook_gets_the_severities_and_kinds_it_asked_for(receiver: Any, clock: FakeClock) -> None:
    hook = {"at_least": "warning", "kinds": ("budget_threshold", "sensitive_data")}
    async with alerts_to(receiver, clock, hook) as alerts:
        alerts.send(alert(severity="info"))
        alerts.send(alert(kind="breaker_open"))
        alerts.send(alert(kind="budget_threshold", severity="warning"))
    assert [json.loads(one.body)["kind"] for one in receiver.got] == ["budget_threshold"]


async def test_a_slow_webhook_does_not_hold_up_another(receiver: Any, second_receiver: Any, clock: FakeClock) -> None:
    second_receiver.silent = True
    hooks = (WebhookSettings(name="slow", url=second_receiver.url), WebhookSettings(name="quick", url=receiver.url))
    async with Alerts(AlertSettings(webhooks=hooks, drain_seconds=0.01), clock=clock) as alerts:
        for number in range(3):
            alerts.send(alert(dedupe=str(number)))
        await receiver.wait_for(3)
    assert len(second_receiver.got) == 1


async def test_secrets_in_an_alert_are_withheld(receiver: Any, clock: FakeClock) -> None:
    facts = {"note": "key aip_9fk2LxQ0aZ71", "authorization": "x y", "long": "z" * 5000}
    async with alerts_to(receiver, clock) as alerts:
        alerts.send(alert(title="Key sk-ant-api03-AbCdEf123456 used", facts=facts))
    payload = json.loads(receiver.got[0].body)
    assert payload["title"] == "Key [withheld] used"
    assert payload["facts"] == {"note": "key [withheld]", "authorization": "[withheld]", "long": "z" * 500}


async def test_the_memory_of_sent_alerts_is_bounded(clock: FakeClock) -> None:
    async with Alerts(AlertSettings(), clock=clock) as alerts:
        for number in range(10_500):
            alerts.send(alert(dedupe=str(number)))
        assert len(alerts._seen) <= 10_000


@pytest.mark.parametrize("url", ["ftp://x/y", "file:///etc/passwd", "//x/y", "http://", "http://user:pw@x/y"])
def test_an_address_that_is_not_a_plain_web_address_is_refused_at_load(url: str) -> None:
    with pytest.raises(ValueError, match="url of 'hook'"):
        WebhookSettings(name="hook", url=url)


def test_settings_do_not_print_the_secret_or_the_path() -> None:
    shown = repr(WebhookSettings(name="a", url="https://hooks.example:8443/T0/secret-path", secret="shh"))
    assert shown == "WebhookSettings(name='a', url='https://hooks.example:8443')"


async def test_the_check_shown_in_the_documentation_accepts_ours_and_nothing_else(
    receiver: Any, clock: FakeClock
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
    shown: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], shown)
    async with alerts_to(receiver, clock, {"secret": "shared"}) as alerts:
        alerts.send(ALERT)
    (got,) = receiver.got
    assert shown["genuine"]("shared", got.headers, got.body)
    assert not shown["genuine"]("other", got.headers, got.body)
    assert not shown["genuine"]("shared", got.headers, got.body + b" ")
