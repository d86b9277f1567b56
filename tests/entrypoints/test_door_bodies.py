"""Bodies made to be read in two ways, to cost more than they weigh, or not to be inspected."""

import asyncio
import gzip
import json

import pytest
from attack_gate import Gate
from attack_kit import MODEL, message

from ai_platform.domain.call import Operation
from ai_platform.domain.errors import InvalidCall
from ai_platform.entrypoints.body import MOST_MODELS, read_head, read_head_in_turns

pytestmark = pytest.mark.requirement("CC-6")

SSN = "536-22-8491"
PRETTY = json.dumps({"model": MODEL, "max_tokens": 5, "messages": []}, indent=2).encode()


def with_extra(text: str) -> bytes:
    return b'{"model":"%b",%b,"max_tokens":5,"messages":[]}' % (MODEL.encode(), text.encode())


TWICE = {
    "the model": b'{"model":"claude-opus-5-5","model":"claude-haiku-5-5","max_tokens":5,"messages":[]}',
    "the model, the same": b'{"model":"claude-opus-5-5","model":"claude-opus-5-5","max_tokens":5,"messages":[]}',
    "the model, once escaped": b'{"model":"claude-opus-5-5","\\u006dodel":"claude-haiku-5-5","messages":[]}',
    "the model, far apart": b'{"model":"a","messages":[{"role":"user","content":"model"}],"x":{"model":1},"model":"b"}',
    "the messages": b'{"model":"m","messages":[{"role":"user","content":"a"}],"messages":[]}',
    "the messages, with spaces": b'{ "model" : "m" , "messages" : [ 1 ] , "messages" : [ ] }',
    "a number and its beginning": b'{"model":"m","max_tokens":12,"max_tokens":1,"messages":[]}',
    "a field nobody knows": b'{"model":"m","messages":[],"x":1,"x":2}',
    "an empty name": b'{"":1,"model":"m","messages":[],"":2}',
    "a name beyond ASCII": '{"é":1,"model":"m","messages":[],"é":2}'.encode(),
}


@pytest.mark.requirement("PO-1")
@pytest.mark.parametrize("body", TWICE.values(), ids=TWICE.keys())
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_a_key_that_stands_twice_is_refused_because_nobody_knows_which_counts(
    gate: Gate, body: bytes, path: str
) -> None:
    answer = gate.json(body, path=path)
    assert answer.status == 400
    assert "stands twice" in answer.says
    assert gate.upstream.asked == []


@pytest.mark.parametrize(
    "body",
    [
        PRETTY,
        PRETTY.replace(b"\n", b"\r\n"),
        b"  " + PRETTY + b"\n",
        b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"\\"model\\":"}],"x":{"model":{"model":1}}}',
        '{"model":"m","é":{"é":1},"\\u0061":1,"b":[{"b":[]}],"messages":[]}'.encode(),
        b'{"a":"\\"","b":"\\\\","c":"\\\\\\"","model":"m","messages":[] }',
        b"{}",
        b" { } ",
    ],
)
def test_a_body_in_which_every_key_stands_once_goes_on_byte_for_byte(gate: Gate, body: bytes) -> None:
    assert gate.json(body).status == 200
    assert [asked.body for asked in gate.upstream.asked] == [body]


BATCH_TWICE = {
    "requests": b'{"requests":[],"requests":[]}',
    "the model of one": b'{"requests":[{"custom_id":"a","params":{"model":"x","model":"y"}}]}',
    "the params of one": b'{"requests":[{"custom_id":"a","params":{"model":"x"},"params":{"model":"y"}}]}',
}


@pytest.mark.parametrize("body", BATCH_TWICE.values(), ids=BATCH_TWICE.keys())
def test_the_same_holds_within_a_batch(gate: Gate, body: bytes) -> None:
    answer = gate.json(body, path="/v1/messages/batches")
    assert answer.status == 400
    assert "stands twice in" in answer.says
    assert gate.upstream.asked == []


UNREADABLE = {
    "nothing": (b"", "needs a body"),
    "half an object": (b'{"model": ', "truncated"),
    "a list": (b"[]", "Expected `object`"),
    "two objects": (b"{}{}", "trailing characters"),
    "100,000 open brackets": (with_extra('"x":' + "[" * 100_000 + "]" * 100_000), "nested too deeply"),
    "100,000 objects in objects": (with_extra('"x":' + '{"a":' * 100_000 + "1" + "}" * 100_000), "nested too deeply"),
    "messages as deep": (b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    "a number of 5,000 digits": (b'{"model":"m","max_tokens":%b,"messages":[]}' % (b"9" * 5000), "out of range"),
    "a number beyond all numbers": (b'{"model":"m","max_tokens":1e999,"messages":[]}', "out of range"),
    "NaN": (with_extra('"temperature":NaN'), "malformed"),
    "half a surrogate": (
        b'{"model":"m","messages":[{"role":"user","content":"\\ud83d"}]}',
        "half of a character (\\ud83d",
    ),
    "bytes that are not UTF-8": (b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}', "not UTF-8"),
    "UTF-8 longer than it needs": (
        b'{"model":"m","messages":[{"role":"user","content":"536\xc0\xad22"}]}',
        "not UTF-8",
    ),
    "a surrogate in UTF-8": (b'{"model":"m","messages":[{"role":"user","content":"\xed\xa0\x80"}]}', "not UTF-8"),
    "a raw control character": (b'{"model":"m","messages":[{"role":"user","content":"\x01"}]}', "malformed"),
    "a byte order mark": (b"\xef\xbb\xbf" + message(), "malformed"),
    "UTF-16": (message().decode().encode("utf-16"), "not UTF-8"),
    "UTF-16 without a mark": (message().decode().encode("utf-16-le"), "malformed"),
}


@pytest.mark.parametrize(("body", "says"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_read_is_refused_with_what_is_wrong(gate: Gate, body: bytes, says: str) -> None:
    answer = gate.json(body, "content-length: 0") if not body else gate.json(body)
    assert answer.status == 400
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert answer.field("x-should-retry") == "false"
    assert says in answer.says
    assert len(answer.says) < 400
    assert gate.upstream.asked == []


@pytest.mark.parametrize(
    "name", ["x" * 300, "a\\u0000b", "a\\nb", "\\u001b[31mred", "a\\u202eb", "a\\u2028b"], ids=lambda name: name[:12]
)
def test_a_models_name_must_be_one_because_it_is_recorded_and_shown(gate: Gate, name: str) -> None:
    answer = gate.json(f'{{"model":"{name}","max_tokens":1,"messages":[]}}'.encode())
    assert answer.status == 400
    assert "not the name of a model" in answer.says


@pytest.mark.requirement("SP-3")
@pytest.mark.parametrize("tokens", [-9_000_000_000, 0, 10**30, "5", 1.5, True, None, [1]])
def test_a_number_of_tokens_that_cannot_be_meant_is_left_to_the_upstream_and_not_reckoned_with(tokens: object) -> None:
    body = json.dumps({"model": "m", "max_tokens": tokens, "messages": []}).encode()
    assert read_head(Operation.MESSAGES_CREATE, body).max_tokens is None


CODED = {
    "gzip": (gzip.compress(message()), "gzip"),
    "br, said of plain JSON": (message(), "br"),
    "two codings": (message(), "identity, gzip"),
    "deflate in capitals": (message(), "DEFLATE"),
}


@pytest.mark.parametrize(("body", "coding"), CODED.values(), ids=CODED.keys())
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/messages/batches", "/v1/files"])
def test_a_compressed_body_is_refused_because_it_could_not_be_inspected(
    gate: Gate, body: bytes, coding: str, path: str
) -> None:
    answer = gate.json(body, f"content-encoding: {coding}", path=path)
    assert answer.status == 400
    assert "send the body uncompressed" in answer.says
    assert gate.upstream.asked == []


@pytest.mark.parametrize(
    "kind",
    [
        "application/json; charset=utf-16",
        "application/json; charset=utf-7",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "",
    ],
)
def test_what_was_read_as_json_in_utf8_is_sent_on_as_that_whatever_it_called_itself(gate: Gate, kind: str) -> None:
    assert gate.ask(message(), f"content-type: {kind}" if kind else "x-a: b").status == 200
    head = gate.upstream.asked[0].head.lower()
    assert head.count(b"content-type: ") == 1
    assert b"\r\ncontent-type: application/json\r\n" in head


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
def test_a_type_that_says_json_in_utf8_travels_as_it_came(gate: Gate, kind: str) -> None:
    assert gate.ask(message(), f"content-type: {kind}").status == 200
    assert f"content-type: {kind}".encode() in gate.upstream.asked[0].head


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/models/x"),
        ("GET", "/v1/files"),
        ("DELETE", "/v1/files/f_1"),
        ("GET", "/v1/messages/batches/b_1"),
        ("POST", "/v1/messages/batches/b_1/cancel"),
    ],
)
def test_a_body_where_none_belongs_is_refused_because_nobody_would_inspect_it(
    gate: Gate, method: str, path: str
) -> None:
    answer = gate.json(f'{{"note":"my ssn is {SSN}"}}'.encode(), method=method, path=path)
    assert answer.status == 400
    assert "takes no body" in answer.says
    assert gate.upstream.asked == []
    assert gate.ask(b"", method=method, path=path).status == 200


def test_a_batch_of_many_models_is_refused_before_each_is_decided_on(gate: Gate) -> None:
    requests = [{"custom_id": str(n), "params": {"model": f"m{n}", "messages": []}} for n in range(MOST_MODELS + 1)]
    answer = gate.json(json.dumps({"requests": requests}).encode(), path="/v1/messages/batches")
    assert answer.status == 400
    assert f"more than {MOST_MODELS} different models" in answer.says


def test_a_batch_of_too_many_requests_is_refused(gate: Gate) -> None:
    answer = gate.json(b'{"requests":[' + b"{}," * 100_000 + b"{}]}", path="/v1/messages/batches")
    assert answer.status == 400
    assert "at most 100000" in answer.says


def test_millions_of_tiny_values_are_refused_without_looking_at_each() -> None:
    body = b'{"x":[' + b'"",' * 600_000 + b'""]}'
    with pytest.raises(InvalidCall, match="more than 500000 texts"):
        read_head(Operation.MESSAGES_CREATE, body)


def test_a_body_of_thousands_of_keys_is_refused(gate: Gate) -> None:
    answer = gate.json(json.dumps({f"k{number}": number for number in range(3000)}).encode())
    assert answer.status == 400
    assert "more than 256 keys in the body" in answer.says


@pytest.mark.anyio
async def test_a_long_batch_leaves_others_their_turn() -> None:
    item = b'{"custom_id":"a","params":{"model":"m","max_tokens":5,"messages":[]}}'
    body = b'{"requests":[' + b",".join([item] * 10_000) + b"]}"
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    head = await read_head_in_turns(Operation.BATCHES_CREATE, body)
    task.cancel()
    assert head.models == ("m",)
    assert head.max_tokens == 50_000
    assert turns >= 10


@pytest.mark.requirement("AU-1", "TE-1")
def test_a_call_that_cannot_be_read_is_recorded_as_refused_with_who_sent_it(gate: Gate) -> None:
    before = gate.metric("claude_requests_total")
    request_id = gate.json(b"{").json["request_id"]
    events = gate.events(call_id=request_id)
    assert [event["event_type"] for event in events] == ["call_refused"]
    assert events[0]["reason"] == "invalid_request"
    assert events[0]["key_id"].startswith("key_")
    assert gate.metric("claude_requests_total") == before + 1
    assert gate.json(b"{", key=None).status == 401, "who is unknown hears that first"
