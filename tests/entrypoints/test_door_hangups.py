"""A client that leaves at any moment: the upstream call ends, the hold is settled, exactly one outcome is recorded."""

import contextlib
import itertools
import threading
from collections.abc import Callable

import pytest
from attack_gate import Gate
from attack_kit import END, JSON, STREAM_HEAD, Line, Wire, chunked, delta, eventually, message, reply, request, stream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = [pytest.mark.requirement("CC-5", "AU-2", "SP-3"), pytest.mark.timeout(240)]

NUMBERS = itertools.count()
FIVE = [delta(f"word {number} ") for number in range(5)]


class Scene:
    """One call of a model's name of its own, whose upstream waits, after what it `sends`, until it is hung up on."""

    def __init__(self, gate: Gate, *sends: bytes) -> None:
        self.gate = gate
        self.model = f"claude-left-{next(NUMBERS)}"
        self.asked = threading.Event()
        self.sent = threading.Event()
        self.left = threading.Event()

        def script(wire: Wire) -> None:
            self.asked.set()
            with contextlib.suppress(ConnectionError):
                wire.send(*sends)
            self.sent.set()
            if wire.hung_up():
                self.left.set()

        gate.upstream.next(script)

    def request(self, **fields: object) -> bytes:
        return request("POST", "/v1/messages", message(model=self.model, **fields), JSON, key=self.gate.key)

    def ends(self, *results: str, upstream_left: bool = True) -> None:
        """The upstream was hung up on, and the call was recorded once, with one of these results."""
        if upstream_left:
            assert self.left.wait(20), "the upstream call goes on"
        self.gate.settled()
        recorded = eventually(lambda: self.gate.outcomes(self.model))  # what is queued is written after a hang-up too
        assert len(recorded) == 1
        assert recorded[0]["result"] in results
        assert self.gate.held() == 0


def test_before_the_request_is_complete_there_is_no_call(gate: Gate) -> None:
    scene = Scene(gate)
    gate.upstream.scripts.clear()
    with gate.line() as line:
        line.send(scene.request()[:-5])
        eventually(lambda: gate.metric("aip_calls_open") == 1)
    gate.settled()
    assert gate.outcomes(scene.model) == []
    assert gate.upstream.asked == []


@pytest.mark.parametrize("stream_it", [True, False], ids=["stream", "document"])
def test_while_the_upstream_has_not_answered(gate: Gate, *, stream_it: bool) -> None:
    scene = Scene(gate)
    with gate.line() as line:
        line.send(scene.request(stream=stream_it))
        assert scene.asked.wait(20)
        assert gate.held() > 0
    scene.ends("client_gone")


def test_between_the_upstreams_head_and_its_first_event(gate: Gate) -> None:
    scene = Scene(gate, STREAM_HEAD)
    with gate.line() as line:
        line.send(scene.request(stream=True))
        assert scene.sent.wait(20)
    scene.ends("client_gone")


@pytest.mark.parametrize("events", range(6))
def test_after_some_events(gate: Gate, events: int) -> None:
    scene = Scene(gate, STREAM_HEAD, chunked(stream(end=b""), *FIVE[:events], last=False))
    with gate.line() as line:
        line.send(scene.request(stream=True))
        line.until(b"content_block_start")
    scene.ends("client_gone")
    assert gate.outcomes(scene.model)[0]["estimated"] is True


def test_within_a_document(gate: Gate) -> None:
    scene = Scene(gate, reply(b"{" + b" " * 9999 + b"}")[:-5000])
    with gate.line() as line:
        line.send(scene.request())
        assert scene.sent.wait(20)
    scene.ends("client_gone")


def test_at_the_last_byte_the_outcome_is_that_of_the_whole_answer(gate: Gate) -> None:
    scene = Scene(gate, STREAM_HEAD, chunked(stream("all of it")))
    with gate.line() as line:
        line.send(scene.request(stream=True))
        line.until(b"message_stop")
    scene.ends("ok", upstream_left=False)
    assert gate.outcomes(scene.model)[0]["output_tokens"] == 2


def test_with_a_reset_instead_of_a_farewell(gate: Gate) -> None:
    scene = Scene(gate, STREAM_HEAD, chunked(stream(end=b""), last=False))
    with gate.line() as line:
        line.send(scene.request(stream=True))
        line.until(b"content_block_start")
        line.reset()
    scene.ends("client_gone")


def test_while_a_call_is_refused_nothing_is_left_behind(gate: Gate) -> None:
    for _ in range(50):
        with gate.line() as line:
            line.send(request("POST", "/v1/messages", b'{"model":', JSON, key=gate.key))
    gate.settled()
    assert gate.upstream.asked == []


MOMENTS: dict[str, Callable[[Line], object]] = {
    "at once": lambda _: None,
    "after the head": lambda line: line.until(b"\r\n\r\n"),
    "after the first event": lambda line: line.until(b"message_start"),
    "after a word": lambda line: line.until(b"word 2"),
    "at the end": lambda line: line.until(b"message_stop"),
    "after the end": lambda line: line.until(b"\r\n0\r\n\r\n"),
}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moment=st.sampled_from(sorted(MOMENTS)),
    sizes=st.lists(st.integers(1, 400), max_size=12),
    rough=st.booleans(),
    sent=st.sampled_from(["whole", "half", "nothing"]),
)
def test_at_any_moment_whatever_the_pieces(gate: Gate, moment: str, sizes: list[int], rough: bool, sent: str) -> None:  # noqa: FBT001 - drawn
    whole = stream(end=b"") + b"".join(FIVE) + END
    text = {"whole": whole, "half": whole[: len(whole) // 2], "nothing": b""}[sent]
    pieces, at = [], 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size
    pieces.append(text[at:])
    done = sent == "whole"
    scene = Scene(
        gate, STREAM_HEAD, *(chunked(piece, last=False) for piece in pieces if piece), b"0\r\n\r\n" if done else b""
    )
    with gate.line() as line:
        line.send(scene.request(stream=True))
        assert scene.asked.wait(20)
        if done or (sent == "half" and moment in {"after the head", "after the first event"}):
            MOMENTS[moment](line)
        if rough:
            line.reset()
    scene.ends("client_gone", "ok", upstream_left=not done)


def test_many_at_once_leave_no_call_no_connection_and_no_record_missing(gate: Gate) -> None:
    """Thirty leave in mid-stream together."""
    gate.upstream.usual = lambda wire: (wire.send(STREAM_HEAD, chunked(stream(end=b""), last=False)), wire.hung_up())  # type: ignore[assignment,return-value]
    models = [f"claude-together-{number}" for number in range(30)]
    lines = [gate.line() for _ in models]
    for line, model in zip(lines, models, strict=True):
        line.send(request("POST", "/v1/messages", message(model=model, stream=True), JSON, key=gate.key))
    for line in lines:
        line.until(b"content_block_start")
    for line in lines:
        line.socket.close()
    gate.settled()
    eventually(lambda: gate.metric("aip_upstream_connections") == 0)
    recorded = [event["model"] for event in gate.events(what="claude_chat_response")]
    assert sorted(model for model in recorded if model in models) == sorted(models)
