"""Canaries: every control of data protection fires on every route of a running platform, and leaves its record."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from platform_process import PlatformProcess, running, until
from upstream_process import UpstreamProcess, simulated_upstream, webhook

SSN, CARD, EMAIL, IBAN = "536-22-8491", "4111 1111 1111 1111", "jane@acme.io", "DE89370400440532013000"
AWS = "AKIAY3T6Q5B7C2D4WXYZ"
MODEL = "claude-sonnet-5-5"
SECRETS = (SSN, CARD, EMAIL, AWS)

POLICY = """\
version: "1"
protection:
  actions:
    - {action: tokenise, type: EMAIL_ADDRESS, direction: input}
    - {action: mask, type: CREDIT_CARD}
    - {action: redact, type: AWS_ACCESS_KEY}
    - {action: alert, type: IBAN_CODE}
    - {action: log, type: PHONE_NUMBER}
  restore_in_tools: ["Write"]
"""
ANSWERS = """\
version: "1"
security: {pii_detection: {alert_security_team: true}}
policies: [{name: PII Detection, scan_input: false, scan_output: true}]
protection:
  actions:
    - {action: block, type: US_ITIN}
    - {action: mask, type: CREDIT_CARD}
    - {action: alert, type: IBAN_CODE}
"""


class Site(NamedTuple):
    """A platform whose upstream and alerts can be looked at."""

    platform: PlatformProcess
    upstream: UpstreamProcess
    alerts: list[dict[str, Any]]

    def send(self, path: str, key: str, session: str | None = None, **sent: Any) -> httpx2.Response:
        return self._ask("POST", path, key, session, **sent)

    def fetch(self, path: str, key: str, session: str | None = None) -> httpx2.Response:
        return self._ask("GET", path, key, session)

    def _ask(self, method: str, path: str, key: str, session: str | None, **sent: Any) -> httpx2.Response:
        headers = {"anthropic-beta": "files-api-2025-04-14"} | (
            {"x-claude-code-session-id": session} if session else {}
        )
        with self.platform.http(key) as http:
            return http.request(method, path, headers=headers, **sent)

    def admin(self, method: str, path: str, **sent: Any) -> Any:
        with self.platform.http() as http:
            return http.request(method, path, **sent).raise_for_status().json()

    def key(self, name: str) -> str:
        return self.admin("POST", "/admin/keys", json={"name": name})["key"]

    def incidents(self, **wanted: str) -> list[dict[str, Any]]:
        return self.admin("GET", "/admin/incidents", params=wanted)["incidents"]

    def events(self, call: httpx2.Response) -> dict[str, dict[str, Any]]:
        """The audit events of a call by type."""
        call_id = call.headers.get("x-ai-platform-call-id") or call.headers["request-id"]
        found = self.admin("GET", "/admin/audit/events", params={"call_id": call_id})["events"]
        return {event["event_type"]: event for event in found}


def site(folder: Path, policy: str) -> Iterator[Site]:
    (folder / "policy.yaml").write_text(policy)
    with simulated_upstream(folder) as upstream, webhook() as (address, alerts):
        config = {"alerts": {"webhooks": [{"name": "security", "url": address}]}}
        (folder / "config.yaml").write_text(json.dumps(config))
        options = ["--upstream", upstream.url, "--policy", str(folder / "policy.yaml")]
        options += ["--config", str(folder / "config.yaml")]
        with running(folder / "data", *options, environ={"ANTHROPIC_API_KEY": "sim"}) as platform:
            yield Site(platform, upstream, alerts)


@pytest.fixture(scope="module")
def inward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Everything that is sent is inspected."""
    yield from site(tmp_path_factory.mktemp("inward"), POLICY)


@pytest.fixture(scope="module")
def outward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What is sent is not inspected, so that the upstream can repeat it; answers are."""
    yield from site(tmp_path_factory.mktemp("outward"), ANSWERS)


def message(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 300, "messages": [{"role": "user", "content": text}], **fields}


class Route(NamedTuple):
    """A way in. options: what is posted for a text; of: which of the upstream's paths it reaches."""

    path: str
    options: Callable[[str], dict[str, Any]]


def batch(text: str) -> dict[str, Any]:
    return {"requests": [{"custom_id": "one", "params": message(text)}]}


WAYS_IN = {
    "messages": Route("/v1/messages", lambda text: {"json": message(text)}),
    "messages, streamed": Route("/v1/messages", lambda text: {"json": message(text, stream=True)}),
    "count_tokens": Route(
        "/v1/messages/count_tokens",
        lambda text: {"json": {"model": MODEL, "messages": [{"role": "user", "content": text}]}},
    ),
    "batches": Route("/v1/messages/batches", lambda text: {"json": batch(text)}),
    "files": Route("/v1/files", lambda text: {"files": {"file": ("notes.txt", text.encode(), "text/plain")}}),
}


@pytest.mark.requirement("DP-8", "DP-2", "DP-5")
@pytest.mark.parametrize("name", WAYS_IN)
def test_every_control_fires_on_every_way_in(name: str, inward: Site):
    path, options = WAYS_IN[name]
    key = inward.key(f"in {name}")
    text = f"ssn {SSN}, card {CARD}, mail {EMAIL}, key {AWS}, iban {IBAN}, phone +1 415 555 0132."
    arrived = len(inward.upstream.received(path))
    told = len(inward.alerts)

    refused = inward.send(path, key, **options(text))
    assert refused.status_code == 451
    assert "US Social Security number" in refused.json()["error"]["message"]
    assert all(value not in refused.text for value in SECRETS)
    events = inward.events(refused)
    assert events["call_refused"]["bytes_inspected"] >= len(text)
    assert events["security_incident"]["sensitive_data_types"] == ["AWS_ACCESS_KEY", "CREDIT_CARD", "US_SSN"]
    alert = until(lambda: [each for each in inward.alerts[told:] if each["severity"] == "critical"], within=10)[0]
    assert "US_SSN" in alert["facts"]["types"]
    assert all(value not in json.dumps(inward.alerts) for value in (*SECRETS, IBAN))
    assert len(inward.upstream.received(path)) == arrived, "nothing of a refused call reached the upstream"

    passed = inward.send(path, key, **options(text))
    assert passed.status_code == 200, passed.text
    sent = inward.upstream.received(path)[arrived].decode()
    assert all(value not in sent for value in SECRETS)
    assert "[REDACTED:US_SSN:" in sent
    assert "[REDACTED:AWS_ACCESS_KEY:" in sent
    assert "**** **** **** 1111" in sent
    assert "EMAIL_ADDRESS_" in sent
    assert IBAN in sent
    assert "+1 415 555 0132" in sent
    intent = inward.events(passed)["claude_chat_request"]
    assert intent["bytes_inspected"] >= len(text)
    assert intent["bytes_unchecked"] == 0
    assert intent["redacted"] is True
    assert intent["sensitive_data_counts"] == {
        "AWS_ACCESS_KEY:redact": 1,
        "CREDIT_CARD:mask": 1,
        "EMAIL_ADDRESS:tokenise": 1,
        "IBAN_CODE:alert": 1,
        "PHONE_NUMBER:log": 1,
        "US_SSN:redact": 1,
    }
    assert until(lambda: [each for each in inward.alerts[told:] if each["facts"]["types"] == ["IBAN_CODE"]], within=10)
    with inward.platform.http() as http:
        assert f'aip_inspected_bytes_total{{operation="{intent["operation"]}"}}' in http.get("/metrics").text


ECHO = f"echo: card {CARD} iban {IBAN} ssn {SSN} end"
CLEAN = ("card **** **** **** 1111", "[REDACTED:US_SSN:", "iban " + IBAN)


def said_by_stream(answer: httpx2.Response) -> str:
    said = ""
    for line in answer.text.splitlines():
        if line.startswith("data:") and '"text_delta"' in line:
            said += json.loads(line[5:])["delta"]["text"]
    return said


def results_of_batch(site: Site, key: str, text: str) -> httpx2.Response:
    made = site.send("/v1/messages/batches", key, json=batch(text)).json()
    path = f"/v1/messages/batches/{made['id']}"
    until(lambda: site.fetch(path, key).json()["processing_status"] == "ended")
    return site.fetch(f"{path}/results", key)


def download(site: Site, key: str, text: str, kind: str = "text/plain") -> httpx2.Response:
    made = site.send("/v1/files", key, files={"file": ("notes", text.encode(), kind)}).json()
    return site.fetch(f"/v1/files/{made['id']}/content", key)


WAYS_OUT: dict[str, Callable[[Site, str, str], httpx2.Response]] = {
    "messages": lambda site, key, text: site.send("/v1/messages", key, json=message(text)),
    "messages, streamed": lambda site, key, text: site.send("/v1/messages", key, json=message(text, stream=True)),
    "batch results": results_of_batch,
    "file content": download,
    "file content of a kind nobody knows": lambda site, key, text: download(
        site, key, f"[settings]\n{text}", "application/octet-stream"
    ),
}


@pytest.mark.requirement("DP-8", "DP-2", "DP-5")
@pytest.mark.parametrize("name", WAYS_OUT)
def test_every_control_fires_on_every_way_out(name: str, outward: Site):
    key = outward.key(f"out {name}")
    told = len(outward.alerts)
    answer = WAYS_OUT[name](outward, key, ECHO)
    assert answer.status_code == 200, answer.text
    said = said_by_stream(answer) if "streamed" in name else answer.text
    assert SSN not in said
    assert CARD not in said
    assert all(part in said for part in CLEAN), said
    outcome = outward.events(answer)["claude_chat_response"]
    assert outcome["bytes_inspected"] >= len(ECHO) - 6
    assert outcome["bytes_unchecked"] == 0
    counts = {"CREDIT_CARD:mask": 1, "IBAN_CODE:alert": 1, "US_SSN:redact": 1}
    assert outcome["sensitive_data_counts"].items() >= counts.items()
    assert outward.events(answer)["security_incident"]["direction"] == "output"
    assert until(lambda: [each for each in outward.alerts[told:] if "US_SSN" in each["facts"]["types"]], within=10)
    assert until(lambda: [each for each in outward.alerts[told:] if each["facts"]["types"] == ["IBAN_CODE"]], within=10)
    assert SSN not in json.dumps(outward.alerts)

    stopped = WAYS_OUT[name](outward, key, "echo: the itin is 912-73-4567 indeed")
    assert "912-73" not in stopped.text
    assert "data-protection policy" in stopped.text
    assert (stopped.status_code == 200) is ("streamed" in name)
    found = outward.incidents(type="US_ITIN", person=f"out {name}")
    assert [(each["sent"], each["action"]) for each in found] == [(False, "block")]


@pytest.mark.requirement("DP-8")
def test_a_stream_that_breaks_off_and_is_resumed_leaves_a_record_of_both_calls(outward: Site):
    key = outward.key("resumed")
    outward.upstream.fault(kind="cut", after_events=6, match={"path": "/v1/messages"})
    with outward.platform.http(key) as http:
        text = "echo: one two three ssn 536-22-8491 four"
        with http.stream("POST", "/v1/messages", json=message(text, stream=True)) as answer:
            call = answer
            seen = b""
            try:
                for chunk in answer.iter_bytes():
                    seen += chunk
            except httpx2.TransportError:
                pass
    assert SSN.encode() not in seen
    assert outward.events(call)["claude_chat_response"]["bytes_inspected"] > 0
    again = message(text, stream=True)
    again["messages"] += [
        {"role": "assistant", "content": "one two"},
        {"role": "user", "content": f"Resume directly. {text}"},
    ]
    resumed = outward.send("/v1/messages", key, json=again)
    assert SSN not in resumed.text
    assert outward.events(resumed)["claude_chat_response"]["bytes_inspected"] > 0


def test_what_cannot_be_read_is_counted_as_unchecked(inward: Site):
    key = inward.key("binary")
    image = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
    made = inward.send("/v1/files", key, files={"file": ("shot.png", image, "image/png")})
    assert made.status_code == 200
    intent = inward.events(made)["claude_chat_request"]
    assert intent["bytes_unchecked"] >= len(image)
    content = inward.fetch(f"/v1/files/{made.json()['id']}/content", key)
    assert content.content == image
    assert inward.events(content)["claude_chat_response"]["bytes_unchecked"] == len(image)


@pytest.mark.requirement("DP-5")
def test_an_incident_is_one_for_each_person_and_value(inward: Site):
    people = [inward.key(name) for name in ("ann", "ben")]
    body = message(f"my ssn is {SSN}")
    for key in people:
        codes = [inward.send("/v1/messages", key, json=body).status_code for _ in range(4)]
        assert codes == [451, 200, 200, 200]
    (found,), (other,) = inward.incidents(person="ann"), inward.incidents(person="ben")
    assert (found["type"], found["sent"], found["count"], found["action"]) == ("US_SSN", True, 1, "block")
    assert found["value_hash"] == other["value_hash"]
    shown = inward.platform.run("incidents", "show", found["id"])
    assert found["call_id"] in shown
    assert SSN not in shown + json.dumps(found)
    assert "US_SSN" in inward.platform.run("incidents", "list", "--person", "ann")
    assert inward.platform.json("incidents", "mark", found["id"], "closed")["status"] == "closed"
    assert inward.incidents(person="ann", status="open") == []


@contextmanager
def started_again(tmp_path: Path, upstream: UpstreamProcess) -> Iterator[Site]:
    """The platform on the same data folder and upstream."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    options = ["--upstream", upstream.url, "--policy", str(tmp_path / "policy.yaml")]
    with running(tmp_path / "data", *options, environ={"ANTHROPIC_API_KEY": "sim"}) as platform:
        yield Site(platform, upstream, [])


@pytest.mark.requirement("DP-2", "DP-4", "DP-5")
def test_a_restart_changes_nothing_for_the_model_and_nothing_for_the_caller(tmp_path: Path):
    """Twenty turns of a session, ten in each process; and tokens of the first that come back in the second."""
    with simulated_upstream(tmp_path) as upstream:
        turns: list[dict[str, Any]] = []
        codes: list[int] = []
        with started_again(tmp_path, upstream) as here:
            ann, ben = here.key("ann"), here.key("ben")
            codes += [talk(here, ann, turns, number) for number in range(10)]
            made = [
                here.send("/v1/messages/batches", key, session, json=batch(f"echo: to {EMAIL} now")).json()["id"]
                for key, session in ((ann, "s1"), (ann, "s1"), (ben, "s1"))
            ]
        with started_again(tmp_path, upstream) as here:
            results = [f"/v1/messages/batches/{each}/results" for each in made]
            token = "EMAIL_ADDRESS_"
            mine = here.fetch(results[0], ann, "s1")
            assert f"to {EMAIL} now" in mine.text
            assert here.events(mine)["claude_chat_response"]["tokens_restored"] == {"EMAIL_ADDRESS": 1}
            assert EMAIL not in here.fetch(results[1], ann, "s2").text
            assert token in here.fetch(results[1], ann, None).text
            assert token in here.fetch(results[0], ben, "s1").text
            codes += [talk(here, ann, turns, number) for number in range(10, 20)]
            assert len(here.incidents(person="ann")) == 3
        assert codes.count(451) == 1, "the number was refused once, also over the restart"
        sent = [body for body in upstream.received("/v1/messages") if b"turn 0:" in body]
        assert len(sent) == 20
        for before, after in pairwise(sent):
            assert after.startswith(before[: before.rindex(b"}]")]), "what was sent before is sent again, byte for byte"
        assert all(value.encode() not in sent[-1] for value in SECRETS)
        folder = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
        assert all(value.encode() not in folder for value in SECRETS), "no value is written to disk"


def talk(site: Site, key: str, turns: list[dict[str, Any]], number: int) -> int:
    """One more turn; the status of the first try."""
    value = (EMAIL, f"ssn {SSN}", CARD, "nothing", AWS)[number % 5]
    turns.append({"role": "user", "content": f"turn {number}: {value}"})
    body = {"model": MODEL, "max_tokens": 50, "messages": turns}
    first = site.send("/v1/messages", key, "s1", json=body)
    if first.status_code == 451:
        assert site.send("/v1/messages", key, "s1", json=body).status_code == 200
    turns.append({"role": "assistant", "content": "noted"})
    return first.status_code


@pytest.mark.requirement("DP-2")
def test_tokens_come_back_in_answers_streams_and_allowed_tools(inward: Site):
    ann, ben = inward.key("token ann"), inward.key("token ben")

    def said(text: str, key: str = ann, session: str | None = "s1", **fields: Any) -> httpx2.Response:
        return inward.send("/v1/messages", key, session, json=message(text, **fields))

    answer = said(f"echo: write to {EMAIL} now")
    assert answer.json()["content"][0]["text"].strip() == f"write to {EMAIL} now"
    sent = inward.upstream.received("/v1/messages")[-1].decode()
    assert EMAIL not in sent
    token = "EMAIL_ADDRESS_" + sent.split("EMAIL_ADDRESS_")[1][:9]
    streamed = said(f"echo: to {EMAIL}", stream=True)
    assert said_by_stream(streamed).strip() == f"to {EMAIL}"
    events = inward.events(streamed)
    assert events["claude_chat_response"]["tokens_restored"] == {"EMAIL_ADDRESS": 1}
    assert events["claude_chat_request"]["tokens_minted"] == {"EMAIL_ADDRESS": 1}
    for tool, shown in (("Write", EMAIL), ("Bash", token)):
        tools = [{"name": tool, "input_schema": {"type": "object"}}]
        for stream in (False, True):
            asked = said(f'tool:{tool} {{"text": "{EMAIL}"}}', tools=tools, stream=stream)
            assert shown in (arguments_of(asked) if stream else asked.text)
    for key, session in ((ann, "s1"), (ann, "s2"), (ann, None), (ben, "s1")):
        guessed = said(f"echo: {token}", key, session)
        assert guessed.json()["content"][0]["text"].strip() == token, "what is injected as text stays text"


def arguments_of(answer: httpx2.Response) -> str:
    """The arguments of a streamed tool call, put together."""
    parts = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:")]
    return "".join(part["delta"].get("partial_json", "") for part in parts if part["type"] == "content_block_delta")
