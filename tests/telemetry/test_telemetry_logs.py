import asyncio
import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from ai_platform.domain.decision import Refusal
from ai_platform.telemetry import CallFacts, CallLog, configure_logging
from ai_platform.telemetry.logs import render_json_line
from ai_platform.telemetry.settings import LogFormat, LogSettings

pytestmark = pytest.mark.anyio

SECRETS = ["aip_9fk2LxQ0aZ71", "sk-ant-api03-AbCdEf123456", "Bearer eyJhbGciOi.eyJzdWIiOi.c2ln"]
CALL = CallFacts(
    call_id="call_01",
    door="messages",
    operation="messages.create",
    model="claude-opus-5-5",
    status=200,
    seconds=1.25,
    person="usr_1",
    micros=12_345,
)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


async def test_structlog_and_the_standard_library_and_uvicorn_write_the_same_json(out: io.StringIO) -> None:
    configure_logging(LogSettings(), out)
    structlog.get_logger("room").info("policy_loaded", version="v3")
    logging.getLogger("some.library").warning("odd %s", "thing")
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    ours, library, server = lines(out)
    assert (ours["event"], ours["version"], ours["level"]) == ("policy_loaded", "v3", "info")
    assert (library["event"], library["level"], library["logger"]) == ("odd thing", "warning", "some.library")
    assert server["event"] == "Invalid HTTP request received."
    assert all(line["timestamp"].endswith("Z") for line in (ours, library, server))


@pytest.mark.parametrize("secret", SECRETS)
async def test_a_secret_in_a_message_a_value_or_a_traceback_is_withheld(out: io.StringIO, secret: str) -> None:
    configure_logging(LogSettings(), out)
    log = structlog.get_logger("room")
    message = f"sent {secret} away"
    log.info(message, note=secret, nested={"list": [secret]})
    logging.getLogger("library").error("header %s", secret)
    try:
        raise ValueError(secret)
    except ValueError:
        log.exception("failed")
    assert len(lines(out)) == 3
    assert secret.rsplit(maxsplit=1)[-1] not in out.getvalue()
    assert out.getvalue().count("[withheld]") >= 5


@pytest.mark.parametrize("key", ["authorization", "X-Api-Key", "client_secret", "password", "refresh-token", "body"])
async def test_a_field_that_bears_secrets_by_name_is_never_written(out: io.StringIO, key: str) -> None:
    configure_logging(LogSettings(), out)
    structlog.get_logger("room").info("x", **{key: "plain words"}, headers={key: ["plain words"]})
    assert "plain words" not in out.getvalue()


async def test_ordinary_fields_that_only_sound_like_secrets_are_kept(out: io.StringIO) -> None:
    configure_logging(LogSettings(), out)
    structlog.get_logger("room").info("x", key_id="key_7", max_tokens=100, tokens_used=5)
    assert lines(out)[0] | {"key_id": "key_7", "max_tokens": 100, "tokens_used": 5} == lines(out)[0]


async def test_one_line_for_each_call(out: io.StringIO) -> None:
    calls = configure_logging(LogSettings(), out)
    calls.write(CALL)
    await calls.aclose()
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "event": "call",
        "call": "call_01",
        "person": "usr_1",
        "operation": "messages.create",
        "model": "claude-opus-5-5",
        "status": 200,
        "ms": 1250.0,
        "cost_usd": "0.012345",
    }


async def test_a_model_name_chosen_by_the_caller_cannot_carry_a_secret_or_a_novel(out: io.StringIO) -> None:
    calls = configure_logging(LogSettings(), out)
    for model in ("sk-ant-api03-AbCdEf123456", "x" * 5000, "a\nb"):
        calls.write(CallFacts(door="messages", operation="messages.create", status=451, seconds=0.1, model=model))
    await calls.aclose()
    assert [line["model"] for line in lines(out)] == ["[withheld]", "x" * 80, "a\nb"]


async def test_the_console_form_is_one_readable_line(out: io.StringIO) -> None:
    calls = configure_logging(LogSettings(format=LogFormat.CONSOLE), out)
    calls.write(CALL)
    refused = CallFacts(
        door="messages", operation="messages.create", status=451, seconds=0.0, refusal=Refusal.CONTENT_FILTER
    )
    calls.write(refused)
    await calls.aclose()
    first, second = out.getvalue().splitlines()
    assert "200" in first
    assert "$0.012345" in first
    assert second.endswith("content_filter")


async def test_call_lines_can_be_switched_off(out: io.StringIO) -> None:
    for settings in (LogSettings(calls=False), LogSettings(level="warning")):
        calls = configure_logging(settings, out)
        calls.write(CALL)
        await calls.aclose()
    assert out.getvalue() == ""


async def test_lines_reach_the_stream_without_waiting_for_the_end() -> None:
    written = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Out(io.StringIO):
        def flush(self) -> None:
            loop.call_soon_threadsafe(written.set)

    calls = CallLog(Out(), render_json_line, delay=0.001)
    calls.write(CALL)
    async with asyncio.timeout(5):
        await written.wait()
    await calls.aclose()


async def test_a_blocked_standard_error_never_blocks_calls_and_what_is_lost_is_counted() -> None:
    release, blocked = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            loop.call_soon_threadsafe(blocked.set)
            release.wait(5)
            return super().write(text)

    stuck = Stuck()
    calls = CallLog(stuck, render_json_line, delay=0.001, limit=10)
    calls.write(CALL)
    async with asyncio.timeout(5):
        await blocked.wait()
    for _ in range(25):
        calls.write(CALL)
    assert calls.dropped == 15
    release.set()
    await calls.aclose()
    assert len(lines(stuck)) == 11


async def test_a_closed_standard_error_is_counted_not_raised() -> None:
    closed = io.StringIO()
    closed.close()
    calls = CallLog(closed, render_json_line)
    calls.write(CALL)
    await calls.aclose()
    assert calls.dropped == 1
