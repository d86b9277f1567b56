"""How answers are framed and ordered on the wire, whatever the client's version, haste or departure."""

import socket
import threading

import pytest
from attack_gate import Gate
from attack_kit import (
    END,
    JSON,
    STREAM_HEAD,
    Wire,
    answer_body,
    chunked,
    delta,
    message,
    reply,
    request,
    stream,
)

STREAM = message(stream=True)


def slowly(release: threading.Event, started: threading.Event | None = None):
    """A stream whose second half waits for `release`."""

    def script(wire: Wire) -> None:
        wire.send(STREAM_HEAD, chunked(stream("one ", end=b""), last=False))
        if started is not None:
            started.set()
        release.wait(20)
        wire.send(chunked(delta("two"), END))

    return script


def test_pipelined_requests_are_answered_in_their_order(gate: Gate) -> None:
    gate.upstream.next(reply(answer_body("first")), reply(answer_body("third")))
    ask = request("POST", "/v1/messages", message(), JSON, key=gate.key)
    with gate.line() as line:
        line.send(ask + request("GET", "/healthz") + ask + request("GET", "/nothing"))
        answers = [line.answer() for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 404]
    assert answers[0].json["content"][0]["text"] == "first"
    assert answers[1].json["status"] == "ok"
    assert answers[2].json["content"][0]["text"] == "third"


def test_a_pipelined_request_may_arrive_in_pieces_while_another_is_answered(gate: Gate) -> None:
    release = threading.Event()
    gate.upstream.next(slowly(release), reply(answer_body("second")))
    ask = request("POST", "/v1/messages", message(), JSON, key=gate.key)
    with gate.line() as line:
        line.send(request("POST", "/v1/messages", STREAM, JSON, key=gate.key) + ask[:30])
        line.until(b"one ")
        line.send(ask[30:-20])
        line.send(ask[-20:])
        release.set()
        assert b"two" in line.answer().text
        assert line.answer().json["content"][0]["text"] == "second"


@pytest.mark.parametrize("nonsense", [b"GARBAGE\r\n\r\n", request("GET", "/", b"", "x: " + "a" * 70_000)])
@pytest.mark.parametrize("at_once", [True, False], ids=["in one piece", "later"])
def test_nonsense_behind_a_request_is_refused_behind_its_answer_never_in_it(
    gate: Gate, nonsense: bytes, *, at_once: bool
) -> None:
    release = threading.Event()
    gate.upstream.next(slowly(release))
    ask = request("POST", "/v1/messages", STREAM, JSON, key=gate.key)
    with gate.line() as line:
        line.send(ask + nonsense if at_once else ask)
        line.until(b"one ")
        if not at_once:
            line.send(nonsense)
        release.set()
        answer = line.answer()
        assert answer.status == 200
        assert answer.text.endswith(b'{"type": "message_stop"}\n\n')
        assert line.answer().status in {400, 431}
        assert line.is_closed()


@pytest.mark.requirement("CC-5")
@pytest.mark.parametrize("ahead", [b"", request("GET", "/healthz"), b"GET /heal"], ids=["none", "one", "half"])
def test_a_hang_up_ends_the_upstream_call_whatever_was_sent_ahead(gate: Gate, ahead: bytes) -> None:
    gone = threading.Event()

    def silent(wire: Wire) -> None:
        wire.send(STREAM_HEAD, chunked(stream("one ", end=b""), last=False))
        if wire.hung_up():
            gone.set()

    gate.upstream.next(silent)
    with gate.line() as line:
        line.send(request("POST", "/v1/messages", STREAM, JSON, key=gate.key) + ahead)
        line.until(b"one ")
    assert gone.wait(20)


@pytest.mark.requirement("CC-5")
def test_a_client_that_says_it_will_send_no_more_is_taken_for_one_that_left(gate: Gate) -> None:
    """As nginx does: at the server the two look the same. The record says so, and the upstream is not paid for more."""
    gone = threading.Event()

    def silent(wire: Wire) -> None:
        wire.send(STREAM_HEAD, chunked(stream("one ", end=b""), last=False))
        if wire.hung_up():
            gone.set()

    gate.upstream.next(silent)
    with gate.line() as line:
        line.send(request("POST", "/v1/messages", message(model="claude-half-close", stream=True), JSON, key=gate.key))
        line.until(b"one ")
        line.socket.shutdown(socket.SHUT_WR)
        assert gone.wait(20)
        assert line.is_closed()
    gate.settled()
    assert [event["result"] for event in gate.outcomes("claude-half-close")] == ["client_gone"]


def test_an_older_client_gets_no_chunks(gate: Gate) -> None:
    gate.upstream.next(STREAM_HEAD + chunked(stream("fine")))
    answer = gate.json(STREAM, version="1.0")
    assert answer.status == 200
    assert answer.field("transfer-encoding") is None
    assert answer.field("connection") == "close"
    assert answer.text == stream("fine")


def test_a_stream_cut_off_for_an_older_client_does_not_look_complete(gate: Gate) -> None:
    """Without chunks only a reset connection says that something is missing."""

    def breaks(wire: Wire) -> None:
        wire.send(STREAM_HEAD, chunked(stream("one ", end=b""), last=False))

    gate.upstream.next(breaks)
    with gate.line() as line:
        line.send(request("POST", "/v1/messages", STREAM, JSON, key=gate.key, version="1.0"))
        line.until(b"\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            line.to_the_end()


def test_a_stream_that_breaks_off_has_no_last_chunk(gate: Gate) -> None:
    def breaks(wire: Wire) -> None:
        wire.send(STREAM_HEAD, chunked(stream("one ", end=b""), last=False))

    gate.upstream.next(breaks)
    with gate.line() as line:
        line.send(request("POST", "/v1/messages", STREAM, JSON, key=gate.key))
        got = line.rest()
    assert b"200 OK" in got
    assert not got.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/api/hello"])
def test_head_is_answered_without_content(gate: Gate, path: str) -> None:
    with gate.line() as line:
        line.send(request("HEAD", path) + request("GET", "/healthz"))
        assert line.answer("HEAD").status == 200
        assert line.answer().json["status"] == "ok"


def test_a_client_that_waits_for_leave_to_send_gets_it(gate: Gate) -> None:
    body = message()
    with gate.line() as line:
        head = request(
            "POST", "/v1/messages", b"", JSON, f"content-length: {len(body)}", "expect: 100-continue", key=gate.key
        )
        line.send(head)
        line.until(b"HTTP/1.1 100 Continue\r\n\r\n")
        line.send(body)
        assert line.answer().status == 200


def test_a_client_that_will_be_refused_is_not_told_to_send_its_body(gate: Gate) -> None:
    with gate.line() as line:
        line.send(request("POST", "/v1/messages", b"", JSON, "content-length: 1000000", "expect: 100-continue"))
        got = line.rest()
    assert got.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.9:80", "http://127.0.0.9:80"),
        ("localhost", "http://localhost"),
        ("gateway.evil.test", None),
        ('"><script>alert(1)</script>', None),
        ("", None),
    ],
)
def test_the_front_page_shows_no_name_that_a_link_chose(gate: Gate, host: str, shown: str | None) -> None:
    """Keys would follow a name to wherever it leads tomorrow."""
    page = gate.get("/", host=host).text.decode()
    assert f"export ANTHROPIC_BASE_URL={shown or gate.platform.url}\n" in page
    assert "evil.test" not in page
    assert "<script" not in page


@pytest.mark.parametrize(
    "found", ["https://api.upstream.test", "https://up.test/prefix", "https:\\/\\/up.test", "//up.test", ""]
)
def test_links_of_a_batch_lead_back_here_so_that_no_key_goes_to_the_upstream(gate: Gate, found: str) -> None:
    url = f'"{found}/v1/messages/batches/b_1/results"'
    gate.upstream.next(reply(b'{"id":"b_1","results_url" : %b,"x":1}' % url.encode()))
    batch = gate.get("/v1/messages/batches/b_1", host="gateway.test:8080").json
    assert batch == {"id": "b_1", "results_url": "http://gateway.test:8080/v1/messages/batches/b_1/results", "x": 1}


@pytest.mark.parametrize("url", ["https://up.test/somewhere/else", "ftp:x"])
def test_a_link_of_a_batch_that_is_not_understood_is_left_out(gate: Gate, url: str) -> None:
    gate.upstream.next(reply(b'{"results_url":"%b"}' % url.encode()))
    assert gate.get("/v1/messages/batches/b_1").json == {"results_url": None}
