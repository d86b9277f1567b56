"""Many calls and many hang-ups leave no memory, no file and no thread behind."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attack_gate import Gate
from attack_kit import JSON, STREAM_HEAD, Wire, chunked, eventually, message, request, stream

pytestmark = [pytest.mark.requirement("CC-5", "OP-7"), pytest.mark.timeout(1200)]

CALLS = int(os.environ.get("AI_PLATFORM_TEST_CALLS", "800"))
"""20,000 for a soak; a fifth as many hang-ups."""

MIB = 1 << 20


class State:
    """What the process holds, by the kernel's account."""

    def __init__(self, gate: Gate) -> None:
        process = Path(f"/proc/{gate.platform.pid}")
        self.files = len(list((process / "fd").iterdir()))
        self.threads = len(list((process / "task").iterdir()))
        pages = int((process / "statm").read_text().split()[1])
        self.resident = pages * os.sysconf("SC_PAGE_SIZE")


def calls(gate: Gate, number: int) -> None:
    ask = request("POST", "/v1/messages", message("x" * 2000), JSON, key=gate.key)
    with gate.line() as line:
        for _ in range(number):
            line.send(ask)
            assert line.answer().status == 200


def hang_ups(gate: Gate, number: int) -> None:
    ask = request("POST", "/v1/messages", message(stream=True), JSON, key=gate.key)
    for _ in range(number):
        with gate.line() as line:
            line.send(ask)
            line.until(b"content_block_start")


def together(work: object, gate: Gate, number: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, gate, number // 4) for _ in range(4)]:  # type: ignore[arg-type]
            done.result()
    gate.settled()


def test_the_process_is_afterwards_what_it_was_before(gate: Gate) -> None:
    def waits(wire: Wire) -> None:
        wire.send(STREAM_HEAD, chunked(stream(end=b""), last=False))
        wire.hung_up()

    def round_of(number: int) -> None:
        gate.upstream.reset()
        together(calls, gate, number)
        gate.upstream.usual = waits
        together(hang_ups, gate, number // 5)
        gate.upstream.reset()

    round_of(400)  # whatever is kept for speed is kept now
    before = State(gate)
    round_of(CALLS)
    eventually(lambda: State(gate).files <= before.files + 8)
    after = State(gate)
    assert after.threads <= before.threads + 4
    assert after.resident - before.resident < 24 * MIB
    print(f"{CALLS} calls, {CALLS // 5} hang-ups: {(after.resident - before.resident) / MIB:+.1f} MiB")  # noqa: T201 - the figure of a soak
