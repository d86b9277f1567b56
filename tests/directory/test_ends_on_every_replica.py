"""Two platforms on one database, as processes: an end in one holds in the other, also for an answer under way."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_platform.testing.postgres import FreshDatabase
from platform_process import PlatformProcess, until
from replicas import Admin, message, replicas

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("ID-3")]

PROMPT = [{"role": "user", "content": "[[long:100000]] [[pace:20]]"}]


class Answer(threading.Thread):
    """A streamed answer being read. events: how many came. rest: the last of them."""

    def __init__(self, platform: PlatformProcess, key: str) -> None:
        super().__init__(daemon=True)
        self._platform = platform
        self._key = key
        self.events = 0
        self.rest = ""
        self.enough = False

    def run(self) -> None:
        body = {"model": "claude-sonnet-5-5", "max_tokens": 64000, "stream": True, "messages": PROMPT}
        with self._platform.http(self._key) as client, client.stream("POST", "/v1/messages", json=body) as answer:
            for line in answer.iter_lines():
                self.events += line.startswith("data:")
                self.rest = line if line.startswith("data:") else self.rest
                if self.enough:
                    return


@pytest.fixture
def two(own_database: FreshDatabase, tmp_path: Path) -> Iterator[list[PlatformProcess]]:
    with replicas(tmp_path, own_database) as platforms:
        yield platforms


def test_removing_a_person_cuts_their_answers_and_refuses_their_keys_on_every_replica(two: list[PlatformProcess]):
    first, second = two
    key = first.key("laptop", "--email", "ann@example.com")
    other = first.key("neighbour", "--email", "bob@example.com")
    for platform in two:
        assert message(platform, key).status_code == 200
    answers = [Answer(platform, key) for platform in two]
    untouched = Answer(second, other)
    for answer in (*answers, untouched):
        answer.start()
    until(lambda: all(answer.events > 5 for answer in (*answers, untouched)))

    assert "ann@example.com" in first.run("people", "remove", "ann@example.com")
    began = time.monotonic()
    for answer in answers:
        answer.join(timeout=20)
        assert not answer.is_alive()
        error = json.loads(answer.rest.removeprefix("data:"))
        assert error["type"] == "error", error
        assert "your access to this platform was ended" in error["error"]["message"]
    assert time.monotonic() - began < 20
    for platform in two:
        until(lambda platform=platform: message(platform, key).status_code == 401)
        assert message(platform, other).status_code == 200
    assert untouched.is_alive(), "nobody else's answer is cut"
    untouched.enough = True
    untouched.join(timeout=20)
    cut = Admin(first).get("/admin/audit/events", what="claude_chat_response", who="ann@example.com")["events"]
    assert {event["result"] for event in cut} >= {"stopped"}


@pytest.mark.requirement("ID-5")
def test_disabling_a_tenant_reaches_every_replica(two: list[PlatformProcess]):
    first, second = two
    key = first.run("tenants", "create", "acme", "--quiet").strip()
    assert message(second, key).status_code == 200
    answer = Answer(second, key)
    answer.start()
    until(lambda: answer.events > 5)
    first.run("tenants", "disable", "acme")
    answer.join(timeout=20)
    assert not answer.is_alive()
    until(lambda: message(second, key).status_code == 401)
    assert "is disabled" in message(second, key).text
