"""The anthropic SDK 2.x as a client: sync and async, every endpoint it has for messages, models, batches and files."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from ai_platform.simulator import SimulatorSettings, serve
from ai_platform.simulator.catalogue import CARDS
from ai_platform.simulator.server import Running
from ai_platform.testing import FakeClock

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UP-4")]

MODEL = "claude-opus-5-5"
HELLO: list[Any] = [{"role": "user", "content": "Hello there"}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="session")
async def session_sdk(shared: Running) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=shared.url, api_key="sk-sdk", max_retries=0) as client:
        yield client


@pytest.fixture
def sdk(session_sdk: anthropic.AsyncAnthropic, running: Running) -> anthropic.AsyncAnthropic:
    return session_sdk


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
async def test_a_message_is_created_in_both_api_versions(sdk: anthropic.AsyncAnthropic, version: str) -> None:
    message = await sdk.messages.create(
        model=MODEL, max_tokens=100, messages=HELLO, extra_headers={"anthropic-version": version}
    )
    assert message.id.startswith("msg_01")
    assert (message.role, message.model, message.stop_reason) == ("assistant", MODEL, "end_turn")
    assert message.content[0].type == "text"
    assert message.content[0].text == 'This is a simulated answer: no model was called. You asked: "Hello there"'
    assert message.usage.service_tier == "standard"
    assert message.usage.inference_geo == "global"
    assert message.usage.cache_creation is not None
    counted = await sdk.messages.count_tokens(model=MODEL, messages=HELLO)
    assert message.usage.input_tokens == counted.input_tokens == 4


async def test_the_sync_client_works_from_a_thread(running: Running) -> None:
    def work() -> tuple[str, str, list[str]]:
        with anthropic.Anthropic(base_url=running.url, api_key="sk-sync") as client:
            message = client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)
            with client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream:
                streamed = "".join(stream.text_stream)
            models = [model.id for model in client.models.list(limit=7)]
        assert message.content[0].type == "text"
        return message.content[0].text, streamed, models

    whole, streamed, models = await asyncio.to_thread(work)
    assert whole == streamed
    assert models == [card.id for card in CARDS], "the SDK walks all pages"


async def test_a_stream_adds_up_to_the_whole_message(sdk: anthropic.AsyncAnthropic) -> None:
    async with sdk.messages.stream(
        model=MODEL, max_tokens=500, messages=HELLO, thinking={"type": "adaptive", "display": "summarized"}
    ) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert final.usage.output_tokens_details is not None
    assert 0 < final.usage.output_tokens_details.thinking_tokens < final.usage.output_tokens


async def test_a_tool_loop_runs_to_its_summary_with_thinking_sent_back(sdk: anthropic.AsyncAnthropic) -> None:
    conversation: list[Any] = [{"role": "user", "content": 'tool:get_weather {"city": "Bern"}'}]
    first = await sdk.messages.create(
        model=MODEL, max_tokens=500, messages=conversation, tools=[WEATHER], thinking={"type": "adaptive"}
    )
    assert first.stop_reason == "tool_use"
    use = first.content[-1]
    assert use.type == "tool_use"
    assert use.input == {"city": "Bern"}
    conversation += [
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "rain, 7 °C"}]},
    ]
    second = await sdk.messages.create(
        model=MODEL, max_tokens=500, messages=conversation, tools=[WEATHER], thinking={"type": "adaptive"}
    )
    assert second.stop_reason == "end_turn"
    assert second.content[-1].type == "text"
    assert second.content[-1].text == "Simulated summary: get_weather returned: rain, 7 °C"


async def test_errors_arrive_as_the_sdks_classes(sdk: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        await sdk.messages.create(model="claude-9", max_tokens=1, messages=HELLO)
    assert missing.value.type == "not_found_error"
    assert missing.value.request_id == missing.value.response.headers["request-id"]
    with pytest.raises(anthropic.BadRequestError, match="at least one message"):
        await sdk.messages.create(model=MODEL, max_tokens=1, messages=[])
    for fault, kind in (
        ("401", anthropic.AuthenticationError),
        ("403", anthropic.PermissionDeniedError),
        ("429;retry_after=1", anthropic.RateLimitError),
        ("500", anthropic.InternalServerError),
        ("529", anthropic.InternalServerError),
    ):
        with pytest.raises(kind):
            await sdk.messages.create(
                model=MODEL, max_tokens=1, messages=HELLO, extra_headers={"x-simulate-fault": fault}
            )


async def test_an_error_inside_a_stream_is_raised_with_its_type(sdk: anthropic.AsyncAnthropic) -> None:
    fault = {"x-simulate-fault": "sse_error;after_events=4"}
    async with sdk.messages.stream(model=MODEL, max_tokens=100, messages=HELLO, extra_headers=fault) as stream:
        with pytest.raises(anthropic.APIStatusError) as raised:
            await stream.until_done()
    assert raised.value.type == "overloaded_error"


async def test_the_sdk_retries_a_429_and_succeeds(running: Running) -> None:
    async with anthropic.AsyncAnthropic(base_url=running.url, api_key="sk-retry", max_retries=2) as client:
        await client.post(
            "/_sim/faults", cast_to=object, body={"status": 429, "retry_after": 0.01, "match": {"path": "/v1/messages"}}
        )
        message = await client.messages.create(model=MODEL, max_tokens=10, messages=HELLO)
    assert message.stop_reason == "max_tokens"
    assert running.simulator.faults.counts["status"] >= 1


async def test_a_model_is_described_by_id(sdk: anthropic.AsyncAnthropic) -> None:
    model = await sdk.models.retrieve("claude-haiku-5-5")
    assert (model.display_name, model.max_input_tokens, model.lifecycle) == ("Claude Haiku 5.5", 1_000_000, "active")
    assert (await sdk.models.retrieve("claude-sonnet-4-5")).lifecycle == "deprecated"
    with pytest.raises(anthropic.NotFoundError):
        await sdk.models.retrieve("claude-9")


async def test_a_batch_runs_to_its_results(sdk: anthropic.AsyncAnthropic, clock: FakeClock) -> None:
    good: Any = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "echo:one"}]}
    batch = await sdk.messages.batches.create(
        requests=[{"custom_id": "a", "params": good}, {"custom_id": "b", "params": {**good, "model": "claude-9"}}]
    )
    assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", 2)
    clock.advance(1)
    ended = await sdk.messages.batches.retrieve(batch.id)
    assert ended.processing_status == "ended"
    assert (ended.request_counts.succeeded, ended.request_counts.errored) == (1, 1)
    results = {line.custom_id: line.result async for line in await sdk.messages.batches.results(batch.id)}
    assert results["a"].type == "succeeded"
    assert results["a"].message.content[0].text == "one"  # type: ignore[union-attr]
    assert results["a"].message.usage.service_tier == "batch"
    assert results["b"].type == "errored"
    assert results["b"].error.error.type == "not_found_error"
    assert [listed.id async for listed in sdk.messages.batches.list()] == [batch.id]
    deleted = await sdk.messages.batches.delete(batch.id)
    assert deleted.type == "message_batch_deleted"


async def test_a_cancelled_batch_runs_nothing_and_costs_nothing(
    sdk: anthropic.AsyncAnthropic, clock: FakeClock, running: Running
) -> None:
    batch = await sdk.messages.batches.create(
        requests=[{"custom_id": "a", "params": {"model": MODEL, "max_tokens": 100, "messages": HELLO}}]
    )
    cancelled = await sdk.messages.batches.cancel(batch.id)
    assert cancelled.processing_status == "canceling"
    clock.advance(1)
    results = [line.result.type async for line in await sdk.messages.batches.results(batch.id)]
    assert results == ["canceled"]
    assert running.simulator.ledger.totals() == []


async def test_a_file_goes_up_is_listed_comes_back_and_is_deleted(sdk: anthropic.AsyncAnthropic) -> None:
    content = b"line one\r\n--not a boundary\r\n\x00\xff"
    uploaded = [await sdk.files.upload(file=(f"dir/{name}.bin", content, "text/x-test")) for name in ("a", "b", "c")]
    first = uploaded[0]
    assert (first.filename, first.mime_type, first.size_bytes) == ("a.bin", "text/x-test", len(content))
    assert [file.id async for file in sdk.files.list(limit=2)] == [file.id for file in reversed(uploaded)]
    downloaded = await sdk.files.download(first.id)
    assert await downloaded.read() == content
    assert (await sdk.files.retrieve_metadata(first.id)).id == first.id
    assert (await sdk.files.delete(first.id)).type == "file_deleted"
    with pytest.raises(anthropic.NotFoundError):
        await sdk.files.retrieve_metadata(first.id)


async def test_another_key_does_not_see_the_files_and_batches(sdk: anthropic.AsyncAnthropic) -> None:
    file = await sdk.files.upload(file=("a.txt", b"x", "text/plain"))
    other = sdk.with_options(api_key="sk-somebody-else")
    assert [entry async for entry in other.files.list()] == []
    with pytest.raises(anthropic.NotFoundError):
        await other.files.download(file.id)


async def test_file_storage_is_bounded() -> None:
    async with (
        serve(SimulatorSettings(max_files_bytes=10)) as upstream,
        anthropic.AsyncAnthropic(base_url=upstream.url, api_key="k", max_retries=0) as client,
    ):
        await client.files.upload(file=("a.txt", b"12345678", "text/plain"))
        with pytest.raises(anthropic.PermissionDeniedError, match="quota"):
            await client.files.upload(file=("b.txt", b"12345678", "text/plain"))


async def test_beta_messages_work_too(sdk: anthropic.AsyncAnthropic) -> None:
    message = await sdk.beta.messages.create(
        model=MODEL,
        max_tokens=100,
        messages=HELLO,
        betas=["context-management-2025-06-27"],
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
    )
    assert message.context_management is not None
    assert message.context_management.applied_edits == []


async def test_a_structured_output_fits_its_schema(sdk: anthropic.AsyncAnthropic) -> None:
    schema: Any = {
        "type": "object",
        "properties": {"title": {"type": "string"}, "kind": {"enum": ["x", "y"]}, "n": {"type": "integer"}},
        "required": ["title", "kind", "n"],
    }
    message = await sdk.messages.create(
        model=MODEL,
        max_tokens=100,
        messages=HELLO,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert message.content[0].type == "text"
    assert message.content[0].text == '{"title":"simulated title","kind":"x","n":1}'
