"""Thinking blocks are signed when they leave and checked when they come back."""

import copy
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator_asking import ask, body, stream

from ai_platform.simulator.thinking import Signer

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UP-4")]

THINK = {"thinking": {"type": "adaptive"}}


async def conversation(http: httpx2.AsyncClient, **fields: Any) -> list[dict[str, Any]]:
    answered = await ask(http, "Hello", **{**THINK, **fields})
    return [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": answered["content"]},
        {"role": "user", "content": "And now?"},
    ]


async def test_an_unchanged_block_is_accepted(http: httpx2.AsyncClient) -> None:
    messages = await conversation(http)
    assert messages[1]["content"][0]["type"] == "thinking"
    assert (await http.post("/v1/messages", json=body(messages=messages, **THINK))).status_code == 200
    assert (await http.post("/v1/messages", json=body(messages=messages))).status_code == 200


@pytest.mark.parametrize("field", ["thinking", "signature"])
async def test_a_changed_block_is_refused_with_the_apis_words(http: httpx2.AsyncClient, field: str) -> None:
    messages = copy.deepcopy(await conversation(http))
    block = messages[1]["content"][0]
    block[field] = block[field].replace(block[field][5], "#", 1)
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        response = await http.post(path, json=body(messages=messages, **THINK))
        assert response.status_code == 400
        assert response.json()["error"] == {
            "type": "invalid_request_error",
            "message": "messages.1.content.0: Invalid `signature` in `thinking` block",
        }


async def test_omitted_thinking_keeps_its_signature_and_its_price(http: httpx2.AsyncClient) -> None:
    hidden = {"thinking": {"type": "adaptive", "display": "omitted"}}
    messages = await conversation(http, **hidden)
    block = messages[1]["content"][0]
    assert block["thinking"] == ""
    assert block["signature"]
    assert (await http.post("/v1/messages", json=body(messages=messages, **hidden))).status_code == 200
    shown = await ask(http, "Hello", **THINK)
    omitted = await ask(http, "Hello", **hidden)
    assert shown["usage"]["output_tokens"] == omitted["usage"]["output_tokens"]


async def test_no_thinking_is_given_when_none_is_asked_for(http: httpx2.AsyncClient) -> None:
    assert [block["type"] for block in (await ask(http))["content"]] == ["text"]
    disabled = await ask(http, thinking={"type": "disabled"})
    assert [block["type"] for block in disabled["content"]] == ["text"]


async def test_redacted_thinking_of_another_origin_is_refused(http: httpx2.AsyncClient) -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "AAAA"}]},
        {"role": "user", "content": "b"},
    ]
    response = await http.post("/v1/messages", json=body(messages=messages))
    assert response.json()["error"]["message"].endswith("Invalid `data` in `redacted_thinking` block")


async def test_the_streamed_signature_verifies_the_streamed_text(http: httpx2.AsyncClient) -> None:
    found = await stream(http, **THINK)
    deltas = [data["delta"] for name, data in found if name == "content_block_delta" and data["index"] == 0]
    block = {
        "type": "thinking",
        "thinking": "".join(delta.get("thinking", "") for delta in deltas),
        "signature": "".join(delta.get("signature", "") for delta in deltas),
    }
    messages = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": [block, {"type": "text", "text": "x"}]},
        {"role": "user", "content": "b"},
    ]
    assert (await http.post("/v1/messages", json=body(messages=messages))).status_code == 200


@given(text=st.text(), other=st.text(), garbage=st.text())
def test_a_signature_holds_for_its_text_and_key_only(text: str, other: str, garbage: str) -> None:
    signer = Signer(b"key")
    signature = signer.sign(text)
    assert signer.valid(text, signature)
    assert signer.valid(other, signature) == (other == text)
    assert not signer.valid(text, garbage)
    assert Signer(b"key").valid(text, signature)
    assert not Signer().valid(text, signature)
