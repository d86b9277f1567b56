"""Connections: reuse, hanging up, waiting for permission to send, compressed answers."""

import asyncio
import zlib

from ai_platform.conformance.case import Case, Lab, Mismatch, expect, expect_status, same_bytes
from ai_platform.conformance.client import connected
from ai_platform.conformance.traffic import (
    MESSAGE,
    answer,
    compact,
    events,
    post,
    replying,
    small,
    stream_head,
    turn,
)
from ai_platform.conformance.upstream import Conversation
from ai_platform.conformance.wire import chunk

_MEASURED = "measured with Claude Code 2.1.330"
_STILL = "the upstream was still answering {:g} s after the client hung up"


async def _reuse(lab: Lab) -> None:
    async with connected(lab.target.url) as connection:
        for _ in range(3):
            body = compact(small(lab.model, lab.marker("reuse")))
            got = await (await connection.send(post(body, lab.fields()))).rest()
            expect_status(got, 200)
            expect((got.get(b"connection") or b"").lower() != b"close", "the gateway closes after each answer")


async def _reuse_after_stream(lab: Lab) -> None:
    async with connected(lab.target.url) as connection:
        for stream in (True, False):
            body = compact(small(lab.model, lab.marker("reuse-stream"), stream=stream))
            expect_status(await (await connection.send(post(body, lab.fields()))).rest(), 200)


async def _expect_continue(lab: Lab) -> None:
    body = compact(turn(lab.model, lab.marker("continue"), stream=False) | {"max_tokens": 64})
    async with connected(lab.target.url) as connection:
        exchange = await connection.send(post(body, lab.fields(), expect=True))
        expect_status(await exchange.rest(), 200)


async def _abort_in_stream(lab: Lab) -> None:
    marker = lab.marker("abort")
    noticed = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.send(stream_head() + b"".join(map(chunk, events(lab.model, ["Hello"])[:3])))
        await conversation.gone.wait()
        noticed.set()

    lab.upstream.expect(marker, script)
    async with connected(lab.target.url) as connection:
        exchange = await connection.send(post(compact(small(lab.model, marker, stream=True)), lab.fields()))
        await exchange.answer_head()
        expect(exchange.status == 200, f"status {exchange.status} instead of 200")
        expect(bool(await exchange.read()), "the stream never began")
        connection.abort()
    await _within(lab, noticed, _STILL)


async def _abort_before_answer(lab: Lab) -> None:
    marker = lab.marker("abort-early")
    asked, noticed = asyncio.Event(), asyncio.Event()

    async def script(conversation: Conversation) -> None:
        asked.set()
        await conversation.gone.wait()
        noticed.set()

    lab.upstream.expect(marker, script)
    async with connected(lab.target.url) as connection:
        await connection.send(post(compact(small(lab.model, marker)), lab.fields()))
        await _within(lab, asked, "the request had not reached the upstream {:g} s after it was sent")
        connection.abort()
    await _within(lab, noticed, _STILL)


async def _within(lab: Lab, happened: asyncio.Event, otherwise: str) -> None:
    seconds = lab.target.seconds / 5
    try:
        async with asyncio.timeout(seconds):
            await happened.wait()
    except TimeoutError as error:
        raise Mismatch(otherwise.format(seconds)) from error


async def _compressed(lab: Lab) -> None:
    marker = lab.marker("gzip")
    plain = MESSAGE % lab.model.encode()

    async def script(conversation: Conversation) -> None:
        accepted = conversation.request.get(b"accept-encoding") or b""
        if b"gzip" not in accepted:
            await replying(answer(200, plain))(conversation)
            return
        packer = zlib.compressobj(wbits=31)
        packed = packer.compress(plain) + packer.flush()
        await conversation.send(answer(200, packed, [(b"Content-Encoding", b"gzip")]))

    got, _ = await lab.through(marker, post(compact(small(lab.model, marker)), lab.fields()), script)
    expect_status(got, 200)
    same_bytes("the answer", plain, got.content)


async def _early_answer(lab: Lab) -> None:
    """The upstream answers and closes: the next call must not be sent into a dead connection."""
    for number in range(3):
        marker = lab.marker(f"closed-{number}")

        async def script(conversation: Conversation) -> None:
            await conversation.send(answer(200, MESSAGE % lab.model.encode()))
            conversation.cut()

        got, _ = await lab.through(marker, post(compact(small(lab.model, marker)), lab.fields()), script)
        expect_status(got, 200)


CONNECTIONS: tuple[Case, ...] = (
    Case(
        id="connection-reuse",
        title="A connection serves call after call",
        why="A new TLS handshake for each turn is felt.",
        source="RFC 9112 9.3",
        check=_reuse,
        weight=1,
        needs=(),
    ),
    Case(
        id="connection-reuse-stream",
        title="Also after a streamed answer",
        why="Every Claude Code answer is streamed.",
        source="RFC 9112 9.3",
        check=_reuse_after_stream,
        weight=1,
        needs=(),
    ),
    Case(
        id="connection-expect-continue",
        title="Expect: 100-continue works",
        why="curl and some proxies ask before they send a large body.",
        source="RFC 9110 10.1.1",
        check=_expect_continue,
        weight=1,
        needs=(),
    ),
    Case(
        id="connection-abort-stream",
        title="A client that hangs up stops the upstream's stream at once",
        why="Escape in Claude Code must stop the bill, too.",
        source=_MEASURED,
        check=_abort_in_stream,
        weight=3,
    ),
    Case(
        id="connection-abort-early",
        title="The same before the upstream has answered",
        why="The same.",
        source=_MEASURED,
        check=_abort_before_answer,
    ),
    Case(
        id="connection-gzip",
        title="A compressed upstream answer is readable",
        why="Claude Code asks for gzip, br and zstd; a body that does not match its encoding is garbage.",
        source="RFC 9110 8.4",
        check=_compressed,
    ),
    Case(
        id="connection-upstream-closes",
        title="An upstream that closes after each answer does no harm",
        why="A call sent into a dead connection fails although nothing is wrong.",
        source="RFC 9112 9.6",
        check=_early_answer,
    ),
)
