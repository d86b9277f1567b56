"""kill -9 at any instant: what was acknowledged is in the log, the log verifies, the money is right."""

import json
import threading
from pathlib import Path

import httpx2
import pytest

from platform_process import PlatformProcess, ask, running

MODEL = "claude-sonnet-5-5"
SLOW = "simulator: {events_per_second: 20}\n"


def start_stream(platform: PlatformProcess, seen: threading.Event) -> threading.Thread:
    """A long streamed call; `seen` is set when its first text has arrived."""

    def stream() -> None:
        body = {
            "model": MODEL,
            "max_tokens": 4000,
            "stream": True,
            "messages": [{"role": "user", "content": "[[long:400]]"}],
        }
        try:
            with platform.http() as http, http.stream("POST", "/v1/messages", json=body) as answer:
                for line in answer.iter_lines():
                    if "content_block_delta" in line:
                        seen.set()
        except httpx2.TransportError:
            seen.set()

    thread = threading.Thread(target=stream)
    thread.start()
    return thread


@pytest.mark.requirement("AU-2", "SP-3", "SP-2")
def test_kill_9_in_mid_stream_loses_nothing_and_settles_the_call(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "slow.yaml"
    config.write_text(SLOW)
    with running(data, "--config", str(config)) as platform:
        done = [ask(platform, f"call {number}").headers["x-ai-platform-call-id"] for number in range(5)]
        before = platform.json("usage", "--by", "model")
        seen = threading.Event()
        threads = [start_stream(platform, seen) for _ in range(3)]
        assert seen.wait(30)
        platform.kill()
        for thread in threads:
            thread.join(30)
    with running(data, "--config", str(config)) as platform:
        report = platform.json("audit", "verify")
        assert report["intact"] is True
        lines = [json.loads(line) for line in platform.run("audit", "export").splitlines()]
        finished = {line["call_id"] for line in lines if line["event_type"] == "claude_chat_response"}
        begun = {line["call_id"] for line in lines if line["event_type"] == "claude_chat_request"}
        assert set(done) <= finished
        assert begun == finished, "an intent is left without an outcome"
        after = platform.json("usage", "--by", "model")
        assert total(after, "requests") == total(before, "requests") + 3
        assert total(after, "micros") > total(before, "micros")
        with platform.http() as http:
            standing = http.get("/admin/usage/standing").json()["limits"]
        assert standing
        assert all(float(row["held"]) == 0 for row in standing)


def total(report: object, field: str) -> int:
    rows = report["rows"] if isinstance(report, dict) else report
    return sum(int(row[field]) for row in rows)


@pytest.mark.requirement("AU-2")
def test_acknowledged_calls_survive_kill_9_under_load(data: Path) -> None:
    acknowledged: list[str] = []
    with running(data) as platform:
        stop = threading.Event()

        def load() -> None:
            with platform.http() as http:
                while not stop.is_set():
                    body = {"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}
                    try:
                        answer = http.post("/v1/messages", json=body)
                    except httpx2.TransportError:
                        return
                    if answer.status_code == 200:
                        acknowledged.append(answer.headers["x-ai-platform-call-id"])

        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        while len(acknowledged) < 200:
            ask(platform, "more")
        platform.kill()
        stop.set()
        for thread in threads:
            thread.join(30)
    with running(data) as platform:
        assert platform.json("audit", "verify")["intact"] is True
        lines = [json.loads(line) for line in platform.run("audit", "export").splitlines()]
        finished = {line["call_id"] for line in lines if line["event_type"] == "claude_chat_response"}
        assert set(acknowledged) <= finished
