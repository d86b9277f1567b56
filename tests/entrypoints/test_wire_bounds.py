"""Floods, slow clients and clients that take nothing: every wait ends, every buffer is bounded, others are served."""

import os
import select
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from attack_gate import Gate
from attack_kit import JSON, STREAM_HEAD, Line, Wire, chunked, delta, eventually, message, request, stream

pytestmark = pytest.mark.requirement("CC-6")

MIB = 1 << 20
EXPECT = "expect: 100-continue"
HEAD = b"GET /healthz HTTP/1.1\r\nhost: gateway.test\r\n"


def resident(gate: Gate) -> int:
    """Bytes of memory the platform's process holds."""
    pages = int(Path(f"/proc/{gate.platform.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def send_while_it_lasts(line: Line, piece: bytes, most: int) -> None:
    """Write until the gateway has had enough of it, or `most` bytes are written."""
    try:
        for _ in range(most // len(piece)):
            line.send(piece)
    except ConnectionError:
        return


def test_a_head_of_too_many_fields_is_refused(gate: Gate) -> None:
    with gate.line() as line:
        line.send(HEAD + b"a: b\r\n" * 250 + b"\r\n")
        answer = line.answer()
        assert answer.status == 431
        assert b"200 fields" in answer.text
        assert line.is_closed()


@pytest.mark.parametrize("start", [HEAD + b"x: ", HEAD + b"x", b"GET /"], ids=["value", "name", "address"])
def test_a_field_without_end_is_refused_before_it_fills_the_memory(gate: Gate, start: bytes) -> None:
    before = resident(gate)
    with gate.line() as line:
        line.send(start)
        send_while_it_lasts(line, b"a" * 65536, 64 * MIB)
        assert b"HTTP/1.1 431 " in line.rest()
    assert resident(gate) - before < 16 * MIB


@pytest.mark.parametrize("start", [b"0\r\nx: ", b"1;x="], ids=["trailer", "chunk extension"])
def test_a_trailer_or_extension_without_end_is_refused(gate: Gate, start: bytes) -> None:
    before = resident(gate)
    with gate.line() as line:
        line.send(request("POST", "/v1/messages", start, "transfer-encoding: chunked", key=gate.key, length=False))
        send_while_it_lasts(line, b"a" * 65536, 64 * MIB)
        assert b"HTTP/1.1 400 " in line.rest()
    assert resident(gate) - before < 16 * MIB


def test_a_head_that_trickles_in_is_given_up(gate: Gate) -> None:
    with gate.line() as line:
        line.send(HEAD)
        assert line.answer().status == 408
        assert line.is_closed()


def test_a_connection_that_says_nothing_is_closed_without_a_word(gate: Gate) -> None:
    with gate.line() as line:
        assert line.rest() == b""


def test_empty_lines_do_not_keep_a_connection_open(gate: Gate) -> None:
    with gate.line() as line:
        line.send(request("GET", "/healthz"))
        assert line.answer().status == 200
        line.send(b"\r\n")
        assert line.is_closed()


@pytest.mark.parametrize("some", [b"", b'{"model"'], ids=["nothing", "a little"])
def test_a_body_that_does_not_come_is_given_up(gate: Gate, some: bytes) -> None:
    with gate.line() as line:
        head = request("POST", "/v1/messages", b"", JSON, "content-length: 100", key=gate.key)
        line.send(head + some)
        answer = line.answer()
        assert answer.status == 400
        assert "did not arrive within 1.5 seconds" in answer.says
        assert answer.field("connection") == "close"
        assert line.is_closed()


def test_a_body_that_trickles_in_is_given_up(gate: Gate) -> None:
    stop = threading.Event()
    with gate.line() as line:
        line.send(request("POST", "/v1/messages", b"", JSON, "transfer-encoding: chunked", key=gate.key))

        def trickle() -> None:
            while not stop.wait(0.1):
                try:
                    line.send(b"1\r\n \r\n")
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert line.answer().status == 400
        finally:
            stop.set()
            thread.join()


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(gate: Gate) -> None:
    with gate.line() as line:
        line.send(request("POST", "/v1/messages", b"", JSON, "content-length: 34603008", EXPECT, key=gate.key))
        answer = line.answer()
    assert answer.status == 413
    assert "server.max_body_bytes" in answer.says


def test_a_client_that_sends_a_body_too_large_all_the_same_can_read_why(gate: Gate) -> None:
    """Closing on a client that still sends would destroy the answer."""
    answer = gate.json(b" " * (33 * MIB))
    assert answer.status == 413
    assert "32 MiB" in answer.says


def test_a_chunked_body_is_cut_off_where_it_becomes_too_large(gate: Gate) -> None:
    piece = b"%x\r\n%b\r\n" % (MIB, b" " * MIB)
    with gate.line() as line:
        line.send(request("POST", "/v1/messages", b"", JSON, "transfer-encoding: chunked", key=gate.key))
        send_while_it_lasts(line, piece, 40 * MIB)
        assert line.answer().status == 413


@pytest.mark.requirement("ID-3")
def test_who_has_no_key_cannot_fill_the_memory_with_bodies(gate: Gate) -> None:
    before = resident(gate)
    with ExitStack() as stack:
        for _ in range(30):
            line = stack.enter_context(gate.line())
            line.send(request("POST", "/v1/messages", b"", JSON, f"content-length: {8 * MIB}", key="aip_guess"))
            line.send(b" " * (4 * MIB))
            assert line.answer().status == 401
    assert resident(gate) - before < 32 * MIB


def test_bodies_of_all_calls_together_are_bounded(gate: Gate) -> None:
    turned_away = gate.metric("aip_calls_turned_away_total")
    with ExitStack() as stack:
        for _ in range(2):
            line = stack.enter_context(gate.line())
            line.send(request("POST", "/v1/messages", b"", JSON, f"content-length: {30 * MIB}", key=gate.key))
        eventually(lambda: gate.metric("aip_request_bytes_held") == 60 * MIB)
        answer = gate.json(b" " * (8 * MIB))
        assert answer.status == 503
        assert "server.max_held_bytes" in answer.says
        assert gate.json().status == 200, "a small call still finds its place"
    gate.settled()
    assert gate.metric("aip_request_bytes_held") == 0
    assert gate.metric("aip_calls_turned_away_total") == turned_away + 1


@pytest.mark.requirement("UP-3")
def test_calls_beyond_the_bound_are_told_to_come_back_and_the_others_go_on(gate: Gate) -> None:
    release = threading.Event()

    def late(wire: Wire) -> None:
        release.wait(20)
        wire.send(STREAM_HEAD, chunked(stream("late")))

    gate.upstream.usual = late
    with ExitStack() as stack:
        lines = [stack.enter_context(gate.line()) for _ in range(40)]
        for line in lines:
            line.send(request("POST", "/v1/messages", message(stream=True), JSON, key=gate.key))
        eventually(lambda: gate.metric("aip_calls_open") == 40)
        refused = gate.json()
        assert refused.status == 503
        assert refused.json["error"]["type"] == "overloaded_error"
        assert refused.field("retry-after") == "1"
        assert refused.field("x-should-retry") == "true"
        assert "server.max_calls" in refused.says
        assert gate.get("/healthz").status == 200
        release.set()
        assert [line.answer().status for line in lines] == [200] * 40
    gate.upstream.reset()
    assert gate.json().status == 200


@pytest.mark.requirement("CC-5")
def test_a_client_that_never_reads_is_hung_up_on_and_the_upstream_is_not_read_ahead(gate: Gate) -> None:
    """200 MB are on offer; what is taken is what fits into sockets, and the call ends."""
    sent = [0]
    refused = threading.Event()
    piece = chunked(delta("x" * 60_000), last=False)

    def endless(wire: Wire) -> None:
        wire.send(STREAM_HEAD, chunked(stream(end=b""), last=False))
        try:
            while sent[0] < 200 * MIB:
                wire.send(piece)
                sent[0] += len(piece)
        except OSError:
            refused.set()

    gate.upstream.next(endless)
    stalled, before = gate.metric("aip_clients_stalled_total"), resident(gate)
    with gate.line(receive_buffer=4096) as line:
        line.send(request("POST", "/v1/messages", message(stream=True), JSON, key=gate.key))
        eventually(lambda: gate.metric("aip_clients_stalled_total") > stalled)
        assert refused.wait(20), "the upstream was hung up on"
        assert resident(gate) - before < 24 * MIB
    assert sent[0] < 32 * MIB
    gate.settled()
    assert gate.events(limit="1", what="claude_chat_response")[0]["result"] == "client_gone"


def test_a_client_that_does_not_read_a_whole_answer_does_not_keep_its_connection(gate: Gate) -> None:
    gate.upstream.next(page(8 * MIB))
    stalled = gate.metric("aip_clients_stalled_total")
    with gate.line(receive_buffer=4096) as line:
        line.send(request("POST", "/v1/messages", message(), JSON, key=gate.key))
        eventually(lambda: gate.metric("aip_clients_stalled_total") > stalled)


def page(size: int) -> bytes:
    head = b"HTTP/1.1 400 No\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % size
    return head + b"x" * size


def test_a_client_that_reads_slowly_but_steadily_gets_everything(gate: Gate) -> None:
    """It takes longer than the patience with one that takes nothing."""
    gate.upstream.next(page(12 * MIB))
    pause, got = select.poll(), 0
    with gate.line(receive_buffer=65536) as line:
        line.send(request("POST", "/v1/messages", message(), JSON, "connection: close", key=gate.key))
        while chunk := line.socket.recv(300_000):
            got += len(chunk)
            pause.poll(40)
    assert got > 12 * MIB


def test_answers_to_a_client_that_reads_none_do_not_pile_up(gate: Gate) -> None:
    gate.upstream.usual = page(8 * MIB)
    ask = request("POST", "/v1/messages", message(), JSON, key=gate.key)
    with gate.line(receive_buffer=4096) as line:
        line.send(ask * 6)
        eventually(lambda: gate.metric("claude_requests_total") and len(gate.upstream.asked) >= 1)
        assert [gate.get("/healthz").status for _ in range(40)] == [200] * 40
        assert len(gate.upstream.asked) <= 2
        answers = [line.answer() for _ in range(6)]
    assert [len(answer.text) for answer in answers] == [8 * MIB] * 6


def test_what_is_sent_ahead_of_its_turn_is_bounded_and_hanging_up_is_still_noticed(gate: Gate) -> None:
    gone = threading.Event()

    def silent(wire: Wire) -> None:
        if wire.hung_up():
            gone.set()

    gate.upstream.next(silent)
    before = resident(gate)
    with gate.line() as line:
        line.send(request("POST", "/v1/messages", message(), JSON, key=gate.key))
        send_while_it_lasts(line, request("GET", "/healthz") * 1000, 16 * MIB)
        eventually(lambda: len(gate.upstream.asked) == 1)
        assert resident(gate) - before < 16 * MIB
    assert gone.wait(20)


def test_a_thousand_idle_connections_disturb_nobody_and_are_closed(gate: Gate) -> None:
    with ExitStack() as stack:
        lines = [stack.enter_context(gate.line()) for _ in range(1000)]
        assert gate.json().status == 200
        assert all(line.is_closed() for line in lines)


def test_connections_beyond_the_bound_are_refused_at_once(gate: Gate) -> None:
    with ExitStack() as stack:
        lines = [stack.enter_context(gate.line()) for _ in range(1510)]
        assert b"HTTP/1.1 503 " in lines[-1].rest()
    eventually(lambda: gate.get("/healthz").status == 200)
    assert gate.metric("aip_connections_refused_total") >= 1


def test_thousands_of_connections_with_garbage_leave_nothing_behind(gate: Gate) -> None:
    files = Path(f"/proc/{gate.platform.pid}/fd")
    gate.json()
    before, at_first = len(list(files.iterdir())), gate.metric("aip_requests_malformed_total")
    log = len(gate.log())
    for number in range(2000):
        with gate.line() as line:
            line.send(b"\x16\x03garbage\r\n\r\n" if number % 2 else b"POST / HTTP/9.9\r\n\r\n")
    eventually(lambda: gate.metric("aip_requests_malformed_total") - at_first > 1000)
    assert gate.json().status == 200
    eventually(lambda: len(list(files.iterdir())) <= before + 4)
    assert len(gate.log()) - log < 4000, "garbage is counted, not logged line by line"
