"""The upstream of the gateway benchmark: answers at once, streams at a set pace, costs as little as possible.

    python bench/gateway_origin.py        # prints {"url": ...} and serves until it is ended

`POST /_mode {"events": 21, "pace": 0.02}` sets what a streamed answer looks like; a body that holds `"stream":true`
gets one, any other gets a message of about 1 KB. Usage figures are in both, so that a gateway can price them.
"""

import asyncio
import json
import sys
from typing import Any

import httptools
import uvloop

COMMON = (
    b"Date: Sun, 22 Nov 2026 12:00:00 GMT\r\nrequest-id: req_011CPABCDEFGHIJKLMNOPQRS\r\n"
    b"anthropic-organization-id: 00000000-0000-4000-8000-000000000000\r\nserver: bench\r\n"
    b"anthropic-ratelimit-requests-limit: 4000\r\nanthropic-ratelimit-requests-remaining: 3999\r\n"
    b"anthropic-ratelimit-requests-reset: 2026-11-22T12:00:00Z\r\n"
)
TEXT = "the plan names every step in order before any file is changed so that a reader can follow it "
USAGE = {
    "input_tokens": 12,
    "cache_creation_input_tokens": 500,
    "cache_read_input_tokens": 70_000,
    "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 180,
    "service_tier": "standard",
}
MESSAGE = {
    "id": "msg_bench",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5-5",
    "content": [{"type": "text", "text": TEXT * 8}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": USAGE,
}


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def event(name: str, data: dict[str, Any]) -> bytes:
    payload = b"event: %s\ndata: %s\n\n" % (name.encode(), compact({"type": name, **data}))
    return b"%x\r\n%s\r\n" % (len(payload), payload)


BODY = compact(MESSAGE)
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n%s" % (
    COMMON,
    len(BODY),
    BODY,
)
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n%stransfer-encoding: chunked\r\n\r\n" % COMMON
START = event("message_start", {"message": {**MESSAGE, "content": [], "stop_reason": None}})
OPEN = event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
DELTA = event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "every step in order "}})
TAIL = (
    event("content_block_stop", {"index": 0})
    + event("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 180}})
    + event("message_stop", {})
    + b"0\r\n\r\n"
)
FIXED_EVENTS = 5


class Mode:
    """How streams look: `events` in all, `pace` seconds apart (0 = as fast as the socket takes them)."""

    events = 21
    pace = 0.0


class Origin(asyncio.Protocol):
    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        self._next()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        url = self._url
        self._next()
        if url == b"/_mode":
            mode = json.loads(body)
            self._mode.events, self._mode.pace = mode["events"], mode["pace"]
            self._transport.write(PLAIN)
        elif b'"stream":true' in body[-400:] or b'"stream":true' in body[:400] or b'"stream": true' in body:
            self._stream()
        else:
            self._transport.write(PLAIN)

    def _next(self) -> None:
        self._url = b""
        self._body: list[bytes] = []

    def _stream(self) -> None:
        self._transport.write(STREAM + START)
        left = self._mode.events - FIXED_EVENTS
        if not self._mode.pace:
            self._transport.write(OPEN)
            for _ in range(left):
                self._transport.write(DELTA)
            self._transport.write(TAIL)
            return
        self._due = self._loop.time() + self._mode.pace
        self._loop.call_at(self._due, self._piece, OPEN, left)

    def _piece(self, piece: bytes, left: int) -> None:
        """One event a timer tick, on a fixed grid so that lateness does not add up."""
        if self._transport is None:
            return
        self._transport.write(piece)
        self._due += self._mode.pace
        if left:
            self._loop.call_at(self._due, self._piece, DELTA, left - 1)
        elif piece is not TAIL:
            self._loop.call_at(self._due, self._piece, TAIL, 0)


async def main() -> None:
    mode = Mode()
    server = await asyncio.get_running_loop().create_server(lambda: Origin(mode), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}) + "\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
