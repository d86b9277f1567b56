"""The real SDK and plain HTTP against a platform started as a user starts it."""

import json

import anthropic
import pytest

from platform_process import PlatformProcess, ask

MODEL = "claude-sonnet-5-5"


@pytest.fixture(scope="module")
def key(platform: PlatformProcess) -> str:
    return platform.key("sdk", "--role", "developer", "--team", "blue")


@pytest.fixture(params=["2023-06-01", "2026-10-21"])
def client(request: pytest.FixtureRequest, platform: PlatformProcess, key: str) -> anthropic.Anthropic:
    headers = {"anthropic-version": request.param}
    return anthropic.Anthropic(api_key=key, base_url=platform.url, max_retries=0, default_headers=headers)


@pytest.mark.requirement("CC-4")
def test_the_sdk_creates_a_message(client: anthropic.Anthropic) -> None:
    with client:
        message = client.messages.create(
            model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "hello there"}]
        )
    assert "simulated" in message.content[0].text
    assert message.usage.output_tokens > 0


@pytest.mark.requirement("CC-4", "CC-5")
def test_the_sdk_streams_a_message(client: anthropic.Anthropic) -> None:
    with (
        client,
        client.messages.stream(
            model=MODEL, max_tokens=2000, messages=[{"role": "user", "content": "[[scenario:text]]"}]
        ) as stream,
    ):
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text
    assert final.stop_reason == "end_turn"


@pytest.mark.requirement("CC-4")
def test_the_sdk_counts_tokens_and_lists_models(client: anthropic.Anthropic) -> None:
    with client:
        count = client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "hello there"}])
        models = [model.id for model in client.models.list()]
        one = client.models.retrieve(MODEL)
    assert count.input_tokens > 0
    assert MODEL in models
    assert one.id == MODEL


@pytest.mark.requirement("CC-4")
def test_the_sdk_runs_a_batch(client: anthropic.Anthropic) -> None:
    with client:
        batch = client.messages.batches.create(
            requests=[
                {
                    "custom_id": f"r{number}",
                    "params": {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]},
                }
                for number in range(2)
            ]
        )
        for _ in range(500):
            batch = client.messages.batches.retrieve(batch.id)
            if batch.processing_status == "ended":
                break
        results = list(client.messages.batches.results(batch.id))
    assert {result.custom_id for result in results} == {"r0", "r1"}


@pytest.mark.requirement("CC-4")
def test_the_sdk_uploads_and_reads_a_file(client: anthropic.Anthropic) -> None:
    with client:
        made = client.beta.files.upload(file=("notes.txt", b"nothing special", "text/plain"))
        found = client.beta.files.retrieve_metadata(made.id)
        client.beta.files.delete(made.id)
    assert found.filename == "notes.txt"


@pytest.mark.requirement("CC-6")
def test_malformed_json_is_answered_with_what_is_wrong(platform: PlatformProcess, key: str) -> None:
    with platform.http(key) as http:
        answer = http.post("/v1/messages", content=b'{"model": "x", ')
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "JSON" in answer.json()["error"]["message"]


@pytest.mark.requirement("CC-6")
def test_a_body_of_64_megabytes_is_refused_before_it_is_read(platform: PlatformProcess, key: str) -> None:
    with platform.http(key) as http:
        answer = http.post("/v1/messages", content=b" " * (64 << 20))
    assert answer.status_code == 413
    assert "32 MiB" in answer.json()["error"]["message"]


@pytest.mark.requirement("CC-6")
def test_an_unknown_model_is_answered_by_the_upstream_in_its_own_words(platform: PlatformProcess, key: str) -> None:
    answer = ask(platform, "hi", key=key, model="claude-nonsense-9")
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"


@pytest.mark.requirement("CC-6")
def test_without_a_key_the_answer_says_how_to_get_one_and_stops_retries(platform: PlatformProcess) -> None:
    with platform.http("sk-ant-something") as http:
        answer = http.post("/v1/messages", json={})
    assert answer.status_code == 401
    assert answer.headers["x-should-retry"] == "false"
    assert "ai-platform keys create" in answer.json()["error"]["message"]


@pytest.mark.requirement("DP-2", "DP-4", "CC-6")
def test_a_critical_value_is_refused_once_and_redacted_from_then_on(platform: PlatformProcess) -> None:
    key = platform.key("leaky")
    text = "please look up 536-22-8491 for me"
    first = ask(platform, text, key=key)
    assert first.status_code == 451
    assert first.headers["x-should-retry"] == "false"
    assert "Social Security" in first.json()["error"]["message"]
    assert "536-22-8491" not in first.text
    second, third = ask(platform, text, key=key), ask(platform, text, key=key)
    assert second.status_code == 200
    echoes = [answer.json()["content"][0]["text"] for answer in (second, third)]
    assert echoes[0] == echoes[1]
    assert "536-22-8491" not in echoes[0]
    assert "REDACTED" in echoes[0]


@pytest.mark.requirement("DP-3")
def test_a_value_in_the_streamed_answer_never_reaches_the_client(platform: PlatformProcess, key: str) -> None:
    with (
        platform.http(key) as http,
        http.stream(
            "POST",
            "/v1/messages",
            json={
                "model": MODEL,
                "max_tokens": 500,
                "stream": True,
                "messages": [{"role": "user", "content": "[[scenario:secret]]"}],
            },
        ) as answer,
    ):
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    text = "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
    assert "REDACTED" in text or events[-1]["type"] == "error"
    assert "AKIA" not in text


def test_what_does_not_exist_is_a_404_and_a_wrong_method_a_405(platform: PlatformProcess) -> None:
    with platform.http() as http:
        assert http.get("/v1/nothing").status_code == 404
        assert http.get("/v1/messages").status_code == 405
        assert http.get("/v1/models/../messages/batches").status_code in {200, 404}
        assert http.request("PUT", "/v1/messages/batches/x").status_code == 405


@pytest.mark.requirement("TE-1")
def test_the_simulated_upstream_is_announced_everywhere(platform: PlatformProcess, key: str) -> None:
    assert "SIMULATED" in platform.output
    answer = ask(platform, "hello", key=key)
    assert answer.headers["x-ai-platform-simulated"] == "true"
    with platform.http() as http:
        assert "Simulated upstream" in http.get("/").text
        assert http.get("/readyz").json()["simulated"] is True
        assert "claude_requests_total" in http.get("/metrics").text
