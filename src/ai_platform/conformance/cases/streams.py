"""Streamed answers: every byte, as it comes, and the truth about how the stream ended."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import cycle

from ai_platform.conformance.case import Case, Lab, Mismatch, expect, expect_status, expect_whole, same_bytes
from ai_platform.conformance.client import Exchange, connected
from ai_platform.conformance.traffic import (
    MESSAGES,
    compact,
    event,
    events,
    post,
    small,
    stream_head,
    streaming,
    turn,
)
from ai_platform.conformance.upstream import Conversation, Script
from ai_platform.conformance.wire import chunk

_PROTOCOL = "code.claude.com/docs: LLM gateway protocol, streaming"
_MEASURED = "measured with Claude Code 2.1.330"

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
COMMENT = b": keep-alive\n\n"

_SAFEGUARDS = {
    "type": "dangerous_tool_use",
    "status": {"type": "available", "tool_uses": {"toolu_01": {"type": "evaluated", "outcome": "not_flagged"}}},
}


@asynccontextmanager
async def _streaming(lab: Lab, marker: str, script: Script) -> AsyncGenerator[Exchange]:
    """A streamed call under way."""
    lab.upstream.expect(marker, script)
    async with connected(lab.target.url) as connection:
        yield await connection.send(post(compact(small(lab.model, marker, stream=True)), lab.fields(), path=MESSAGES))


async def _same(lab: Lab, name: str, parts: list[bytes]) -> None:
    """The client gets the concatenation of `parts`, then a proper end."""
    async with _streaming(lab, lab.marker(name), streaming(parts)) as exchange:
        got = await exchange.rest()
    expect_status(got, 200)
    same_bytes("the stream", b"".join(parts), got.content)
    expect_whole(got)


def _rich(model: str) -> list[bytes]:
    """Thinking, text, a tool call, pings, a comment, an unknown event and safeguard results."""
    begin, *_, stop = events(model, [])
    return [
        begin,
        PING,
        event("content_block_start", {"index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
        event("content_block_delta", {"index": 0, "delta": {"type": "thinking_delta", "thinking": "I look."}}),
        event("content_block_delta", {"index": 0, "delta": {"type": "signature_delta", "signature": "c2ln" * 40}}),
        event("content_block_stop", {"index": 0}),
        COMMENT,
        event("event_of_next_year", {"index": 1, "field": {"nested": [1, None]}}),
        event(
            "content_block_start", {"index": 1, "content_block": {"type": "tool_use", "id": "toolu_01", "input": {}}}
        ),
        *_tool_input(1, {"path": "src/café/漢字.py", "old": 'a\n\t"b"', "limit": 1.0}),
        event("content_block_stop", {"index": 1}),
        PING,
        event(
            "message_delta",
            {
                "delta": {"stop_reason": "tool_use", "safeguard_results": [_SAFEGUARDS], "new_field": 1},
                "usage": {"input_tokens": 12, "output_tokens": 9, "unknown_count": 3},
            },
        ),
        stop,
    ]


def _tool_input(index: int, value: object) -> list[bytes]:
    text = json.dumps(value, ensure_ascii=False)
    return [
        event("content_block_delta", {"index": index, "delta": {"type": "input_json_delta", "partial_json": part}})
        for part in (text[start : start + 3] for start in range(0, len(text), 3))
    ]


async def _everything(lab: Lab) -> None:
    await _same(lab, "rich", _rich(lab.model))


async def _odd_chunks(lab: Lab) -> None:
    whole = b"".join(_rich(lab.model))
    parts: list[bytes] = []
    for size in cycle((1, 2, 3, 1, 5, 2, 7, 3)):
        if not whole:
            break
        parts.append(whole[:size])
        whole = whole[size:]
    await _same(lab, "odd", parts)


async def _odd_spelling(lab: Lab) -> None:
    begin, *rest, stop = events(lab.model, ["Hello"])
    crlf = [part.replace(b"\n", b"\r\n") for part in rest]
    spaced = b'id: 7\nretry: 1000\nevent:ping\ndata:{ "type" :\ndata:  "ping" }\n\n'
    await _same(lab, "spelling", [begin, *crlf, spaced, stop.rstrip(b"\n") + b"\n"])


async def _long(lab: Lab) -> None:
    texts = [f"word {number} é " for number in range(2_000)]
    await _same(lab, "long", events(lab.model, texts))


async def _as_it_comes(lab: Lab) -> None:
    """The texts end with a space: a gateway that inspects may hold back the word it is in the middle of."""
    begin, opening, first, second, *rest = events(lab.model, ["one two ", "three four "])
    await _step_by_step(lab, "unbuffered", [begin, PING, opening, first, PING, second, *rest])


async def _ping_in_word(lab: Lab) -> None:
    """A held-back half word must not hold back the ping behind it; the ping may overtake the word."""
    begin, opening, first, second, *rest = events(lab.model, ["one tw", "o three "])
    ping = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.send(stream_head() + b"".join(map(chunk, (begin, opening, first, PING))))
        await ping.wait()
        await conversation.send(b"".join(map(chunk, (second, *rest, b""))))

    got = b""
    async with _streaming(lab, lab.marker("ping-in-word"), script) as exchange:
        while b"event: ping" not in got:
            got += await _soon(lab, exchange, "a ping behind half a word was held back: a pause there looks dead")
        ping.set()
        got += (await exchange.rest()).raw
    wanted = b"".join((begin, opening, first, second, *rest))
    same_bytes("the stream without its ping", wanted, got.replace(PING, b""))


async def _step_by_step(lab: Lab, name: str, parts: list[bytes]) -> None:
    """Send each part only when the client has the one before."""
    seen = [asyncio.Event() for _ in parts]

    async def script(conversation: Conversation) -> None:
        await conversation.send(stream_head())
        for part, received in zip(parts, seen, strict=True):
            await conversation.send(chunk(part))
            await received.wait()
        await conversation.send(chunk(b""))

    got = b""
    async with _streaming(lab, lab.marker(name), script) as exchange:
        for number, received in enumerate(seen):
            wanted = sum(map(len, parts[: number + 1]))
            held = f"event {number + 1} ({text_of(parts[number])}) was held back until later events came"
            while len(got) < wanted:
                got += await _soon(lab, exchange, held)
            received.set()
    same_bytes("the stream", b"".join(parts), got)


async def _soon(lab: Lab, exchange: Exchange, otherwise: str) -> bytes:
    try:
        async with asyncio.timeout(lab.target.seconds / 4):
            more = await exchange.read()
    except TimeoutError as error:
        raise Mismatch(otherwise) from error
    expect(bool(more), "the stream ended too early")
    return more


def text_of(part: bytes) -> str:
    return part.split(b"\n", 1)[0].decode()


async def _error_later(lab: Lab) -> None:
    error = {"error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_conformance0001"}
    await _same(lab, "error-later", [*events(lab.model, ["Hello"])[:3], event("error", error)])


async def _error_first(lab: Lab) -> None:
    error = {"error": {"type": "api_error", "message": "Internal server error"}}
    await _same(lab, "error-first", [event("error", error)])


async def _cut(lab: Lab) -> None:
    parts = events(lab.model, ["Hello", " there"])[:4]

    async def script(conversation: Conversation) -> None:
        await conversation.send(stream_head() + b"".join(chunk(part) for part in parts))
        conversation.cut()

    marker = lab.marker("cut")
    async with _streaming(lab, marker, script) as exchange:
        got = await exchange.rest()
    lab.arrived(marker, got)
    if got.status >= 500:
        return  # it had not passed anything on yet and says that the upstream broke: seen as well
    expect_status(got, 200)
    expect(b"message_stop" not in got.content, "the gateway made up the end of a stream that was cut")
    announced = b"event: error" in got.content
    expect(not got.complete or announced, "a cut stream ended as if it were whole: the client takes half an answer")
    if not announced:
        expect(b"".join(parts).startswith(got.content), "the part before the cut was changed")


async def _silent_pings(lab: Lab) -> None:
    begin, *rest = events(lab.model, ["Done"])
    await _same(lab, "pings", [begin, *([PING, COMMENT] * 25), *rest])


async def _claude_code_stream(lab: Lab) -> None:
    marker = lab.marker("turn-stream")
    parts = _rich(lab.model)
    request = post(compact(turn(lab.model, marker)), lab.fields())
    got, _ = await lab.through(marker, request, streaming(parts))
    same_bytes("the stream", b"".join(parts), got.content)


async def _concurrent(lab: Lab) -> None:
    async def one(number: int) -> None:
        texts = [f"stream {number} piece {piece} " for piece in range(30)]
        await _same(lab, f"mix{number}", events(lab.model, texts))

    for outcome in await asyncio.gather(*map(one, range(20)), return_exceptions=True):
        if outcome is not None:
            raise outcome


STREAMS: tuple[Case, ...] = (
    Case(
        id="stream-bytes",
        title="Pings, comments, unknown events and safeguard_results arrive byte for byte",
        why="Without safeguard_results auto mode tells the developer that the gateway is broken.",
        source=_PROTOCOL,
        check=_everything,
        weight=3,
    ),
    Case(
        id="stream-as-it-comes",
        title="Each event arrives before the next one is sent",
        why="A buffered stream looks frozen; after 300 s of silence Claude Code gives up.",
        source=_PROTOCOL,
        check=_as_it_comes,
        weight=3,
    ),
    Case(
        id="stream-ping-in-word",
        title="A ping in the middle of a word arrives at once",
        why="A gateway that inspects may hold half a word back, but a pause without pings ends the session.",
        source=_PROTOCOL,
        check=_ping_in_word,
        weight=3,
    ),
    Case(
        id="stream-odd-chunks",
        title="Chunk borders inside lines and characters do no harm",
        why="TCP cuts where it likes; a parser that trusts chunks loses events.",
        source="WHATWG HTML 9.2: event streams",
        check=_odd_chunks,
        weight=3,
    ),
    Case(
        id="stream-odd-spelling",
        title="CRLF, missing spaces, id, retry and split data lines arrive byte for byte",
        why="They are valid; rewriting them is where events get lost.",
        source="WHATWG HTML 9.2: event streams",
        check=_odd_spelling,
        weight=1,
    ),
    Case(
        id="stream-pings",
        title="Pings and comments between events are kept",
        why="They are what keeps a thinking model's connection alive.",
        source=_PROTOCOL,
        check=_silent_pings,
    ),
    Case(
        id="stream-long",
        title="2,000 events arrive complete and in order",
        why="Long answers are the ordinary case.",
        source=_MEASURED,
        check=_long,
    ),
    Case(
        id="stream-claude-code-turn",
        title="A 60 KB turn is answered with the upstream's stream",
        why="The whole path at once, as in a session.",
        source=_MEASURED,
        check=_claude_code_stream,
        weight=3,
    ),
    Case(
        id="stream-error-later",
        title="An error event in mid-stream arrives verbatim",
        why="overloaded_error is retried, others are shown: the type and text decide.",
        source=_MEASURED,
        check=_error_later,
        weight=3,
    ),
    Case(
        id="stream-error-first",
        title="An error as the first event arrives verbatim",
        why="Claude Code then asks again without streaming.",
        source=_MEASURED,
        check=_error_first,
    ),
    Case(
        id="stream-cut",
        title="A stream cut upstream is seen as cut",
        why="Claude Code resumes a cut answer; a faked end makes it act on half a tool call.",
        source=_MEASURED,
        check=_cut,
        weight=3,
    ),
    Case(
        id="stream-concurrent",
        title="Twenty streams at once do not mix",
        why="Sub-agents stream side by side.",
        source=_MEASURED,
        check=_concurrent,
        weight=3,
    ),
)
