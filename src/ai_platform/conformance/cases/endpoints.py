"""The other endpoints a session touches, and the shape of plain answers."""

import asyncio
import json
from typing import Any

from ai_platform.conformance.case import Case, Lab, Mismatch, expect, expect_status, expect_whole, same_bytes, text
from ai_platform.conformance.client import Answer, Request
from ai_platform.conformance.traffic import COUNT, COUNTED, MESSAGE, answer, compact, post, replying, small, turn

_MEASURED = "measured with Claude Code 2.1.330"
_PROTOCOL = "code.claude.com/docs: LLM gateway protocol"


def _object(got: Answer) -> dict[str, Any]:
    expect_status(got, 200)
    expect_whole(got)
    try:
        value = json.loads(got.content)
    except ValueError as error:
        raise Mismatch(f"the answer is not JSON: {text(got.raw[:120])}") from error
    if not isinstance(value, dict):
        raise Mismatch(f"the answer is not a JSON object: {text(got.raw[:120])}")
    return value


async def _message(lab: Lab) -> None:
    body = _object(await lab.call(post(compact(small(lab.model, lab.marker("message"))), lab.fields())))
    expect(body.get("type") == "message" and isinstance(body.get("content"), list), "the answer is not a message")
    expect("output_tokens" in (body.get("usage") or {}), "the answer has no usage")


async def _stream(lab: Lab) -> None:
    request = post(compact(small(lab.model, lab.marker("stream"), stream=True)), lab.fields())
    got = await lab.call(request)
    expect_status(got, 200)
    expect_whole(got)
    names = [line[7:].strip() for line in got.content.decode().splitlines() if line.startswith("event: ")]
    expect(names[:1] == ["message_start"], f"the stream begins with {names[:1]}")
    expect(names[-1:] == ["message_stop"], f"the stream ends with {names[-1:]}")


async def _claude_code(lab: Lab) -> None:
    body = turn(lab.model, lab.marker("tolerates"), stream=False) | {"max_tokens": 64}
    del body["x_unknown_field"]  # without a recording upstream the real API answers, and it knows no such field
    _object(await lab.call(post(compact(body), lab.fields())))


async def _count(lab: Lab) -> None:
    body = {"model": lab.model, "messages": [{"role": "user", "content": lab.marker("count")}], "tools": []}
    counted = _object(await lab.call(post(compact(body), lab.fields(), path=COUNT)))
    expect(isinstance(counted.get("input_tokens"), int), f"no input_tokens in {counted}")


async def _models(lab: Lab) -> None:
    request = Request(method="GET", path="/v1/models?limit=1000", fields=lab.fields())
    try:
        async with asyncio.timeout(3):
            listed = _object(await lab.call(request))
    except TimeoutError as error:
        raise Mismatch("no answer within 3 s") from error
    rows = listed.get("data")
    if not isinstance(rows, list) or not rows:
        raise Mismatch(f"no models in {text(json.dumps(listed).encode()[:120])}")
    expect(all(isinstance(row.get("id"), str) for row in rows), "a row has no id")


async def _hello(lab: Lab) -> None:
    for path in ("/api/hello", "/"):
        got = await lab.call(Request(method="HEAD", path=path, fields=[(b"User-Agent", b"Bun/1.4.4")]))
        expect(got.status < 500, f"HEAD {path} is answered {got.status}")


async def _answer_bytes(lab: Lab) -> None:
    marker = lab.marker("answer-bytes")
    body = MESSAGE % lab.model.encode()
    request = post(compact(small(lab.model, marker)), lab.fields())
    got, _ = await lab.through(marker, request, replying(answer(200, body)))
    expect_status(got, 200)
    same_bytes("the answer", body, got.content)
    expect_whole(got)


async def _count_bytes(lab: Lab) -> None:
    marker = lab.marker("count-bytes")
    body = {"model": lab.model, "messages": [{"role": "user", "content": marker}]}
    request = post(compact(body), lab.fields(), path=COUNT)
    got, _ = await lab.through(marker, request, replying(answer(200, COUNTED)))
    same_bytes("the count", COUNTED, got.content)


ENDPOINTS: tuple[Case, ...] = (
    Case(
        id="endpoint-message",
        title="POST /v1/messages answers a message with usage",
        why="The call everything else builds on.",
        source=_PROTOCOL,
        check=_message,
        weight=3,
        needs=(),
    ),
    Case(
        id="endpoint-stream",
        title="The same as a stream, from message_start to message_stop",
        why="Claude Code always streams.",
        source=_PROTOCOL,
        check=_stream,
        weight=3,
        needs=(),
    ),
    Case(
        id="endpoint-claude-code-turn",
        title="A 60 KB Claude Code turn is served",
        why="Closed schemas fail on its system messages, deferred tools and safeguards.",
        source=_MEASURED,
        check=_claude_code,
        weight=3,
        needs=(),
    ),
    Case(
        id="endpoint-count-tokens",
        title="POST /v1/messages/count_tokens answers",
        why="Asked for each large file; without it context use is guessed.",
        source=_MEASURED,
        check=_count,
        needs=(),
    ),
    Case(
        id="endpoint-models",
        title="GET /v1/models lists models within 3 s",
        why="/model shows what the gateway offers.",
        source=_PROTOCOL,
        check=_models,
        needs=(),
    ),
    Case(
        id="endpoint-hello",
        title="HEAD /api/hello and HEAD / do no harm",
        why="Claude Code warms the connection up so, without a key.",
        source=_MEASURED,
        check=_hello,
        weight=1,
        needs=(),
    ),
    Case(
        id="answer-bytes",
        title="A plain answer arrives byte for byte",
        why="Unknown fields in usage and content are what the next Claude Code reads.",
        source=_PROTOCOL,
        check=_answer_bytes,
        weight=3,
    ),
    Case(
        id="answer-count-bytes",
        title="A token count arrives byte for byte",
        why="The same.",
        source=_PROTOCOL,
        check=_count_bytes,
        weight=1,
    ),
)
