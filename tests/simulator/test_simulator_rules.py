"""The API's refusals: status, type and the wording that clients match on."""

import json
from typing import Any

import httpx2
import pytest
from simulator_asking import ask, body

from ai_platform.simulator import SimulatorSettings, serve

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UP-4")]

MARK = {"cache_control": {"type": "ephemeral"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
NEW = {"anthropic-version": "2026-10-21"}


def said(role: str, *blocks: Any) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": b} if isinstance(b, str) else b for b in blocks]}


def use(identifier: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": identifier, "name": "x", "input": {}}


def result(identifier: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": identifier, "content": "ok"}


def marked(*marks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": "t", **mark} for mark in marks]


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "no model": (body(model=None), "model: Field required"),
    "no messages": (body(messages=None), "messages: Field required"),
    "no max_tokens": (body(max_tokens=None), "max_tokens: Field required"),
    "max_tokens as text": (body(max_tokens="many"), "max_tokens: Input should be a valid integer"),
    "too many output tokens": (body(max_tokens=500_000), "max_tokens: 500000 > 128000, which is the maximum"),
    "empty conversation": (body(messages=[]), "messages: at least one message is required"),
    "unknown role": (body(messages=[said("robot", "hi")]), "messages.0.role: Input should be"),
    "empty user message": (body(messages=[said("user")]), "messages.0: user messages must have non-empty content"),
    "empty text": (body(messages=[said("user", "")]), "messages: text content blocks must be non-empty"),
    "prefill on a new model": (
        body(messages=[said("user", "a"), said("assistant", "b")]),
        "This model does not support assistant message prefill",
    ),
    "tool_use without result": (
        body(messages=[said("user", "a"), said("assistant", use("t1"), use("t2")), said("user", result("t1"))]),
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t2. Each `tool_use`",
    ),
    "tool_use at the end": (
        body(model="claude-sonnet-4-5", messages=[said("user", "a"), said("assistant", use("t1"))]),
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1",
    ),
    "result without tool_use": (
        body(messages=[said("user", result("t9"))]),
        "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t9. Each `tool_result` block",
    ),
    "result a turn late": (
        body(
            messages=[
                said("user", "a"),
                said("assistant", use("t1")),
                said("user", result("t1")),
                said("assistant", "b"),
                said("user", result("t1")),
            ]
        ),
        "messages.4.content.0: unexpected `tool_use_id`",
    ),
    "two results": (
        body(messages=[said("user", "a"), said("assistant", use("t1")), said("user", result("t1"), result("t1"))]),
        "messages.2.content.1: each tool_use must have a single result",
    ),
    "repeated id": (
        body(model="claude-sonnet-4-5", messages=[said("user", "a"), said("assistant", use("t1"), use("t1"))]),
        "messages.1: `tool_use` ids must be unique",
    ),
    "unknown tool reference": (
        body(
            messages=[
                said("user", "a"),
                said("assistant", use("t1")),
                said("user", {**result("t1"), "content": [{"type": "tool_reference", "tool_name": "nope"}]}),
            ]
        ),
        "Tool reference 'nope' not found in available tools",
    ),
    "five markers": (
        body(system=marked(MARK, MARK, MARK, MARK), messages=[said("user", *marked(MARK))]),
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    "four markers and the automatic one": (
        body(system=marked(MARK, MARK, MARK, MARK), **MARK),
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    "hour after five minutes": (
        body(system=marked(MARK), messages=[said("user", *marked(HOUR))]),
        "messages.0.content.0.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m'",
    ),
    "unknown lifetime": (
        body(system=marked({"cache_control": {"type": "ephemeral", "ttl": "2h"}})),
        "system.0.cache_control.ttl: Input should be '5m' or '1h'",
    ),
    "marked empty text": (
        body(system=[{"type": "text", "text": "", **MARK}]),
        "system.0.text: cache_control cannot be set for empty text blocks",
    ),
    "thinking never signed": (
        body(messages=[said("user", "a"), said("assistant", {"type": "thinking", "thinking": "x"}), said("user", "b")]),
        "messages.1.content.0.thinking.signature: Field required",
    ),
    "small thinking budget": (
        body(thinking={"type": "enabled", "budget_tokens": 10}),
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    "forced tool with thinking": (
        body(
            thinking={"type": "adaptive"},
            tools=[{"name": "x", "input_schema": {"type": "object"}}],
            tool_choice={"type": "any"},
        ),
        "Thinking may not be enabled when tool_choice forces tool use.",
    ),
    "thinking switched off where it is always on": (
        body(model="claude-opus-5-5", thinking={"type": "disabled"}),
        "thinking.type: thinking cannot be disabled for claude-opus-5-5",
    ),
    "tool without schema": (body(tools=[{"name": "x"}]), "tools.0.custom.input_schema: Field required"),
    "two tools of one name": (
        body(tools=[{"name": "x", "input_schema": {}}, {"name": "x", "input_schema": {}}]),
        "tools: Tool names must be unique.",
    ),
    "fast mode on a model without it": (body(speed="fast"), "speed: fast mode is not supported"),
    "region on a model without it": (
        body(model="claude-haiku-4-5", inference_geo="us"),
        "inference_geo: claude-haiku-4-5 does not support inference_geo",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_broken_rule_is_a_400_with_the_apis_wording(http: httpx2.AsyncClient, name: str) -> None:
    request, wording = REFUSALS[name]
    response = await http.post("/v1/messages", json=request)
    assert response.status_code == 400, response.text
    answer = response.json()
    assert answer["type"] == "error"
    assert answer["error"]["type"] == "invalid_request_error"
    assert wording in answer["error"]["message"]
    assert answer["request_id"] == response.headers["request-id"]


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k"])
async def test_sampling_parameters_are_refused_in_the_new_version_only(http: httpx2.AsyncClient, field: str) -> None:
    request = body(**{field: 1})
    assert (await http.post("/v1/messages", json=request)).status_code == 200
    refused = await http.post("/v1/messages", json=request, headers=NEW)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == f"{field}: Extra inputs are not permitted"


async def test_documents_of_the_assistant_and_citations_of_the_user_are_refused_in_the_new_version_only(
    http: httpx2.AsyncClient,
) -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}}
    cited = {"type": "text", "text": "t", "citations": [{"type": "char_location"}]}
    for message in (said("assistant", document), said("user", cited)):
        request = body(messages=[said("user", "a"), message, said("user", "b")])
        assert (await http.post("/v1/messages", json=request)).status_code == 200
        assert (await http.post("/v1/messages", json=request, headers=NEW)).status_code == 400


async def test_what_claude_code_sends_and_schemas_do_not_know_is_accepted(http: httpx2.AsyncClient) -> None:
    request = body(
        messages=[
            said("user", "hi"),
            {"role": "system", "content": []},
            {"role": "system", "content": [{"type": "text", "text": "environment"}]},
            said("assistant", use("t1")),
            {"role": "system", "content": "in between"},
            said("user", {**result("t1"), "content": [{"type": "tool_reference", "tool_name": "late"}]}),
            said("user", "Tool loaded."),
        ],
        tools=[
            {"name": "late", "input_schema": {"type": "object"}, "defer_loading": True},
            {"type": "web_search_20250305", "name": "web_search"},
        ],
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        output_config={"effort": "medium"},
        metadata={"user_id": "{}"},
        a_field_of_tomorrow={"x": 1},
        safeguards=[{"type": "dangerous_tool_use"}],
    )
    response = await http.post(
        "/v1/messages?beta=true", json=request, headers={"anthropic-beta": "unknown-2027-01-01,other"}
    )
    assert response.status_code == 200, response.text
    assert response.json()["context_management"] == {"applied_edits": []}


async def test_a_prompt_over_the_window_is_refused_with_its_token_counts(http: httpx2.AsyncClient) -> None:
    response = await http.post("/v1/messages", json=body("x" * 720_004, model="claude-haiku-4-5"))
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "prompt is too long: 200002 tokens > 200000 maximum"


async def test_an_unknown_model_is_not_found(http: httpx2.AsyncClient) -> None:
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        response = await http.post(path, json=body(model="claude-9"))
        assert response.status_code == 404
        assert response.json()["error"] == {"type": "not_found_error", "message": "model: claude-9"}


async def test_a_body_that_is_not_a_json_object_is_refused(http: httpx2.AsyncClient) -> None:
    for raw in (b"", b'{"model": ', b"[]", b"\xff\xfe"):
        response = await http.post("/v1/messages", content=raw)
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"


async def test_a_body_over_32_megabytes_is_too_large(http: httpx2.AsyncClient) -> None:
    response = await http.post("/v1/messages", content=b" " * (32 * 1024 * 1024 + 1))
    assert response.status_code == 413
    assert response.json()["error"] == {"type": "request_too_large", "message": "Request exceeds the maximum size"}
    assert (await http.post("/v1/messages", json=body())).status_code == 200, "the connection or a new one works on"


async def test_a_chunked_body_without_a_length_is_limited_too() -> None:
    async def endless() -> Any:
        for _ in range(100):
            yield b" " * 1000

    async with serve(SimulatorSettings(max_body_bytes=50_000)) as upstream, httpx2.AsyncClient() as client:
        headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
        response = await client.post(f"{upstream.url}/v1/messages", content=endless(), headers=headers)
    assert response.status_code == 413


async def test_the_version_header_is_required_and_any_value_is_accepted(http: httpx2.AsyncClient) -> None:
    assert (await http.post("/v1/messages", json=body(), headers={"anthropic-version": "2031-01-01"})).is_success
    refused = await http.post("/v1/messages", json=body(), headers={"anthropic-version": ""})
    assert refused.json()["error"]["message"] == "anthropic-version: header is required"


async def test_a_key_is_needed_in_either_header_and_x_api_key_wins() -> None:
    settings = SimulatorSettings(require_keys=("sk-good",))
    async with serve(settings) as upstream, httpx2.AsyncClient(base_url=upstream.url) as client:

        async def status(**headers: str) -> tuple[int, str]:
            sent = {"anthropic-version": "2023-06-01", **{name.replace("_", "-"): v for name, v in headers.items()}}
            response = await client.post("/v1/messages", json=body(), headers=sent)
            return response.status_code, response.json().get("error", {}).get("message", "")

        assert (await status())[0] == 401
        assert (await status(x_api_key="sk-good"))[0] == 200
        assert (await status(authorization="Bearer sk-good"))[0] == 200
        assert await status(x_api_key="sk-bad") == (401, "invalid x-api-key")
        assert await status(authorization="Bearer sk-bad") == (401, "invalid bearer token")
        assert (await status(x_api_key="sk-good", authorization="Bearer sk-bad"))[0] == 200
        assert (await status(authorization="Basic c2s6"))[0] == 401


async def test_unknown_paths_and_methods_are_refused_in_the_envelope(http: httpx2.AsyncClient) -> None:
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/messages", 405),
        ("DELETE", "/v1/models/claude-opus-5", 405),
        ("POST", "/v1/messages/batches/x/y/z", 404),
    ):
        response = await http.request(method, path)
        assert response.status_code == status, (method, path)
        assert json.loads(response.content)["type"] == "error"


async def test_every_answer_says_that_it_is_simulated(http: httpx2.AsyncClient) -> None:
    for method, path in (("HEAD", "/"), ("GET", "/"), ("GET", "/api/hello"), ("HEAD", "/api/hello"), ("GET", "/v1/x")):
        response = await http.request(method, path)
        assert response.headers["x-ai-platform-simulated"] == "true"
        assert response.headers["request-id"].startswith("req_")
        assert len(response.headers["request-id"]) == len("req_") + 24
    response = await http.post("/v1/messages", json=body())
    assert response.headers["anthropic-ratelimit-requests-limit"] == "4000"
    assert response.headers["anthropic-organization-id"]
    assert "simulated" in (await ask(http))["content"][0]["text"]
