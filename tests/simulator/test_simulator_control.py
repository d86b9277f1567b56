"""What the control routes show: requests received, usage billed; and who may ask."""

import base64
import hashlib
import json
from pathlib import Path

import httpx2
import pytest
from simulator_asking import ask, body

from ai_platform.simulator import SimulatorSettings, create_app, serve
from ai_platform.simulator.control import is_loopback
from ai_platform.simulator.ledger import key_label
from ai_platform.simulator.server import Running
from ai_platform.testing import FakeClock

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UP-4")]

LABEL = hashlib.sha256(b"sk-test").hexdigest()[:16]


async def test_a_request_is_shown_with_its_hash_and_without_its_key(http: httpx2.AsyncClient) -> None:
    sent = json.dumps(body()).encode()
    response = await http.post("/v1/messages?beta=true", content=sent, headers={"authorization": "Bearer sk-secret"})
    shown = (await http.get("/_sim/requests", params={"path": "/v1/messages"})).json()["requests"]
    (line,) = shown
    assert line["id"] == response.headers["request-id"]
    assert (line["method"], line["path"], line["query"]) == ("POST", "/v1/messages", "beta=true")
    assert (line["body_size"], line["body_sha256"]) == (len(sent), hashlib.sha256(sent).hexdigest())
    assert (line["status"], line["model"], line["scenario"]) == (200, "claude-sonnet-4-6", "plain")
    headers = dict(map(tuple, line["headers"]))
    assert headers["x-api-key"] == f"***{LABEL}"
    assert headers["authorization"] == f"Bearer ***{key_label('sk-secret')}"
    assert "sk-" not in json.dumps(shown)
    assert "body_base64" not in line
    with_body = (await http.get("/_sim/requests", params={"body": "1"})).json()["requests"]
    assert base64.b64decode(with_body[-1]["body_base64"]) == sent


async def test_refused_requests_are_shown_too(http: httpx2.AsyncClient) -> None:
    await http.post("/v1/messages", content=b"nonsense")
    (line,) = (await http.get("/_sim/requests")).json()["requests"]
    assert line["status"] == 400


async def test_the_journal_and_its_bodies_are_bounded() -> None:
    settings = SimulatorSettings(journal_size=3, keep_bodies=True, journal_bytes=150)
    async with serve(settings) as upstream, httpx2.AsyncClient(base_url=upstream.url) as client:
        for number in range(5):
            await client.post("/v1/messages", content=b"%d" % number * 100)
        lines = (await client.get("/_sim/requests", params={"body": "1"})).json()["requests"]
    assert [base64.b64decode(line.get("body_base64", ""))[:1] for line in lines] == [b"", b"", b"4"]
    assert len(lines) == 3


async def test_usage_is_summed_by_key_and_model_and_listed_in_detail(
    http: httpx2.AsyncClient, running: Running, clock: FakeClock
) -> None:
    first = await ask(http, "echo:one")
    second = await ask(http, "echo:two", model="claude-opus-5-5", speed="fast", inference_geo="us")
    params = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    await http.post("/v1/messages/batches", json={"requests": [{"custom_id": "a", "params": params}]})
    clock.advance(1)
    usage = (await http.get("/_sim/usage", params={"detail": "1"})).json()
    named = {(t["model"], t["service_tier"], t["speed"], t["inference_geo"]): t for t in usage["totals"]}
    assert set(named) == {
        ("claude-sonnet-4-6", "standard", "standard", "global"),
        ("claude-opus-5-5", "standard", "fast", "us"),
        ("claude-opus-5-5", "batch", "standard", "global"),
    }
    assert {total["key"] for total in usage["totals"]} == {LABEL}
    total = named["claude-sonnet-4-6", "standard", "standard", "global"]
    assert (total["input_tokens"], total["output_tokens"]) == (3, 1)
    assert (total["requests"], total["complete"]) == (1, 1)
    assert [bill["message_id"] for bill in usage["bills"][:2]] == [first["id"], second["id"]]
    assert "bills" not in (await http.get("/_sim/usage")).json()


async def test_count_tokens_and_refusals_cost_nothing(http: httpx2.AsyncClient) -> None:
    await http.post("/v1/messages/count_tokens", json=body(max_tokens=None))
    await http.post("/v1/messages", json=body(messages=[]))
    await http.post("/v1/messages", json=body(), headers={"x-simulate-fault": "500"})
    assert (await http.get("/_sim/usage")).json() == {"totals": []}


async def test_reset_empties_everything(http: httpx2.AsyncClient, running: Running) -> None:
    marked = [{"type": "text", "text": "s" * 9000, "cache_control": {"type": "ephemeral"}}]
    await ask(http, system=marked)
    await http.post("/_sim/faults", json={"status": 500})
    assert (await http.post("/_sim/reset")).json() == {"reset": True}
    assert (await http.get("/_sim/requests")).json() == {"requests": []}
    assert (await http.get("/_sim/usage")).json() == {"totals": []}
    assert (await ask(http, system=marked))["usage"]["cache_read_input_tokens"] == 0


async def test_the_control_routes_refuse_other_names_and_addresses(http: httpx2.AsyncClient) -> None:
    refused = await http.get("/_sim/requests", headers={"host": "attacker.example"})
    assert refused.status_code == 403
    assert (await http.get("/_sim/requests", headers={"host": "localhost:1"})).status_code == 200
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/_sim/usage",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("192.0.2.7", 4711),
    }
    await create_app()(scope, receive, send)
    assert sent[0]["status"] == 403


async def test_an_unknown_control_route_lists_the_known_ones(http: httpx2.AsyncClient) -> None:
    response = await http.get("/_sim/help")
    assert response.status_code == 404
    assert "/_sim/faults" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:80", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]:80", True),
        ("[::1]", True),
        ("localhost", True),
        ("localhost:9", True),
        ("192.168.0.1", False),
        ("example.com", False),
        ("localhost.example.com", False),
        ("", False),
        ("127.0.0.1.example.com:80", False),
    ],
)
def test_loopback_names_are_told_from_others(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected


async def test_recorded_requests_are_files_that_only_the_owner_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    async with serve(SimulatorSettings(record_dir=str(folder))) as upstream, httpx2.AsyncClient() as client:
        await client.post(f"{upstream.url}/v1/messages", content=b'{"secret": 1}', headers={"x-api-key": "sk-x"})
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    line = json.loads(file.read_bytes())
    assert line["body"] == '{"secret": 1}'
    assert "sk-x" not in file.read_text(encoding="utf-8")
