"""Requests shaped as Claude Code 2.1.330 sends them, and answers shaped as the API gives them. All text is made up.

Sizes, field names, header order and body layout follow what that version was seen to send; its prompts are not used.
"""

import hashlib
import json
from typing import Any

from ai_platform.conformance.client import Request
from ai_platform.conformance.upstream import Conversation, Script
from ai_platform.conformance.wire import Fields, chunk, render_head

BETAS = (
    "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,per-turn-control-2026-07-01,"
    "mid-conversation-tool-changes-2026-07-01,thinking-token-count-2026-05-13,advanced-tool-use-2025-11-20,"
    "effort-2025-11-24,thinking-display-updates-2026-08-18,dangerous-tool-use-2026-09-03,afk-mode-2026-01-31"
)
SESSION = b"0b6f1c1e-6f0e-4f55-9f0a-3d6f8f1f2a11"
VERSION = b"2023-06-01"
MESSAGES = "/v1/messages?beta=true"
COUNT = "/v1/messages/count_tokens?beta=true"

_TEXT = (
    "the build reads each module once and writes a plan that names every step in order before any file is changed "
    "so that a reader can follow what happened and why a test was run twice when the first result was not clear"
)
_WORDS = tuple(_TEXT.split())


def prose(size: int, seed: int = 0) -> str:
    """About `size` characters of harmless made-up English."""
    words: list[str] = []
    length, state = 0, seed * 7919 + 17
    while length < size:
        state = (state * 1103515245 + 12345) % 2**31
        word = _WORDS[state // 65536 % len(_WORDS)]
        words.append(word)
        length += len(word) + 1
    return " ".join(words)


def compact(value: Any) -> bytes:
    """JSON as JavaScript's JSON.stringify writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def fields(credential: Fields, *, betas: str = BETAS, extra: Fields | None = None) -> Fields:
    """The header of a Claude Code request, in its order."""
    return [
        (b"Accept", b"application/json"),
        (b"Content-Type", b"application/json"),
        (b"User-Agent", b"claude-cli/2.1.330 (external, cli)"),
        (b"X-Claude-Code-Session-Id", SESSION),
        (b"X-Stainless-Arch", b"x64"),
        (b"X-Stainless-Lang", b"js"),
        (b"X-Stainless-OS", b"Linux"),
        (b"X-Stainless-Package-Version", b"0.128.0"),
        (b"X-Stainless-Retry-Count", b"0"),
        (b"X-Stainless-Runtime", b"node"),
        (b"X-Stainless-Runtime-Version", b"v24.3.0"),
        (b"X-Stainless-Timeout", b"600"),
        (b"anthropic-beta", betas.encode()),
        (b"anthropic-dangerous-direct-browser-access", b"true"),
        (b"anthropic-version", VERSION),
        *credential,
        (b"x-app", b"cli"),
        *(extra or []),
        (b"Connection", b"keep-alive"),
        (b"Accept-Encoding", b"gzip, deflate, br, zstd"),
    ]


def bearer(key: str) -> Fields:
    return [(b"Authorization", b"Bearer " + key.encode())]


def api_key(key: str) -> Fields:
    return [(b"x-api-key", key.encode())]


def small(model: str, marker: str, **more: Any) -> dict[str, Any]:
    """The least a request needs."""
    return {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": f"Say hello. {marker}"}], **more}


def turn(model: str, marker: str, *, size: int = 60_000, stream: bool = True) -> dict[str, Any]:
    """A turn in the middle of a Claude Code session, about `size` bytes, with every field seen in one."""
    device = hashlib.sha256(b"conformance").hexdigest()
    user = {"device_id": device, "account_uuid": "", "session_id": SESSION.decode()}
    return {
        "model": model,
        "messages": _conversation(marker, max(size - 46_000, 2_000)),
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=0.0.0.0; cc_entrypoint=conformance;"},
            {"type": "text", "text": "You are a made-up assistant.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": prose(7_000, 1), "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "tools": [*(_tool(number) for number in range(14)), {"name": "DeferredToolPlaceholder", "defer_loading": True}],
        "metadata": {"user_id": json.dumps(user, separators=(",", ":"))},
        "max_tokens": 128_000,
        "thinking": {"type": "adaptive", "display": "updates"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "medium"},
        "safeguards": [{"type": "dangerous_tool_use", "mode": "report", "threshold": 0.50}],
        "stream": stream,
        "x_unknown_field": {"kept": True, "nested": [1, 2.0, None, {"deep": "value"}]},
    }


def _conversation(marker: str, size: int) -> list[dict[str, Any]]:
    signature = hashlib.sha512(b"signature").hexdigest()
    return [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": f"<system-reminder>\n{prose(1_500, 2)}\n</system-reminder>"},
                {"type": "text", "text": f"Rename the helper and run the tests. {marker}"},
            ],
        },
        {"role": "system", "content": [{"type": "text", "text": prose(4_000, 3)}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": prose(300, 4), "signature": signature},
                {"type": "redacted_thinking", "data": signature[:64]},
                {"type": "text", "text": "I look for the helper first."},
                {"type": "tool_use", "id": "toolu_conformance01", "name": "ToolSearch", "input": {"query": "grep"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_conformance01",
                    "content": [{"type": "tool_reference", "tool_name": "Grep"}],
                }
            ],
        },
        {"role": "system", "content": [], "output_config": {"effort": "high"}},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "toolu_conformance02", "name": "Grep", "input": {"pattern": "def helper"}}
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_conformance02",
                    "content": prose(size, 5),
                    "cache_control": {"type": "ephemeral"},
                }
            ],
        },
    ]


def _tool(number: int) -> dict[str, Any]:
    return {
        "name": ("Bash", "Read", "Edit", "Write", "Glob", "Grep")[number] if number < 6 else f"Tool{number}",
        "description": prose(2_000, 10 + number),
        "input_schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": prose(120, 40 + number)},
                "limit": {"type": "number", "default": 1.0, "exclusiveMinimum": 0},
            },
            "required": ["path"],
            "additionalProperties": False,
        },
    }


def post(body: bytes, header: Fields, *, path: str = MESSAGES, chunked: bool = False, expect: bool = False) -> Request:
    return Request(path=path, fields=header, body=body, chunked=chunked, expect=expect)


ANSWER_FIELDS: Fields = [
    (b"Date", b"Sun, 22 Nov 2026 12:00:00 GMT"),
    (b"request-id", b"req_conformance0001"),
    (b"anthropic-organization-id", b"00000000-0000-4000-8000-000000000001"),
    (b"anthropic-ratelimit-requests-limit", b"4000"),
    (b"anthropic-ratelimit-requests-remaining", b"3999"),
    (b"anthropic-ratelimit-input-tokens-remaining", b"2000000"),
    (b"anthropic-ratelimit-unknown-new-field", b"kept"),
]

MESSAGE = (
    b'{"id":"msg_conformance01","type":"message","role":"assistant","model":"%s","content":[{"type":"text",'
    b'"text":"Hello \\u2014 caf\xc3\xa9 \\/ \xf0\x9f\x99\x82"}],"stop_reason":"end_turn","stop_sequence":null, "usage":'
    b'{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":7,'
    b'"service_tier":"standard","inference_geo":"global","unknown_count":1.0},"context_management":'
    b'{"applied_edits":[]}}\n'
)
"""With escapes, a space and a float that a re-serialisation would change."""

COUNTED = b'{"input_tokens": 4321, "context_management":{"original_input_tokens":4321}}'
MODEL_LIST = (
    b'{"data":[{"type":"model","id":"%s","display_name":"Conformance","created_at":"2026-10-07T00:00:00Z"}],'
    b'"has_more":false,"first_id":"%s","last_id":"%s"}'
)


def answer(status: int, body: bytes, more: Fields | None = None, *, kind: bytes = b"application/json") -> bytes:
    """A whole answer with a length."""
    head = [(b"Content-Type", kind), (b"Content-Length", b"%d" % len(body)), *ANSWER_FIELDS, *(more or [])]
    return render_head(b"HTTP/1.1 %d Conformance" % status, head) + body


def stream_head(more: Fields | None = None) -> bytes:
    """The head of a streamed answer."""
    head = [
        (b"Content-Type", b"text/event-stream; charset=utf-8"),
        (b"Cache-Control", b"no-cache"),
        (b"Transfer-Encoding", b"chunked"),
        *ANSWER_FIELDS,
        *(more or []),
    ]
    return render_head(b"HTTP/1.1 200 OK", head)


def event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: ".encode() + compact({"type": name, **data}) + b"\n\n"


def events(model: str, texts: list[str]) -> list[bytes]:
    """A correct text stream, one element an event."""
    usage = {"input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}
    message = {"id": "msg_conformance02", "type": "message", "role": "assistant", "model": model, "content": []}
    begin = {**message, "stop_reason": None, "stop_sequence": None, "usage": usage}
    return [
        event("message_start", {"message": begin}),
        event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        *(event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}}) for text in texts),
        event("content_block_stop", {"index": 0}),
        event("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": len(texts)}}),
        event("message_stop", {}),
    ]


def replying(data: bytes) -> Script:
    """Answer with these bytes."""

    async def script(conversation: Conversation) -> None:
        await conversation.send(data)

    return script


def streaming(parts: list[bytes], more: Fields | None = None) -> Script:
    """Answer with a stream, one transfer chunk a part."""

    async def script(conversation: Conversation) -> None:
        await conversation.send(stream_head(more))
        for part in parts:
            await conversation.send(chunk(part))
        await conversation.send(chunk(b""))

    return script


def ordinary(model: str) -> Script:
    """What a request without a script of its own gets: a correct answer for its path."""

    async def script(conversation: Conversation) -> None:
        request = conversation.request
        name = model.encode()
        if request.method == "HEAD":
            await conversation.send(render_head(b"HTTP/1.1 200 OK", [(b"Content-Length", b"0")]))
        elif request.path.startswith("/v1/models"):
            await conversation.send(answer(200, MODEL_LIST % (name, name, name)))
        elif "/count_tokens" in request.path:
            await conversation.send(answer(200, COUNTED))
        elif b'"stream":true' in request.body.replace(b" ", b""):
            await streaming(events(model, ["Hello", " there"]))(conversation)
        else:
            await conversation.send(answer(200, MESSAGE % name))

    return script
