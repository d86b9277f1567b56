"""What inspection costs, as a ratio to work on the same text in the same run. Run by bench/protection.py.

CPU time of one thread, best of several rounds. Baselines: the mission's six patterns on the decoded text, json.loads
of the body, a copy of its bytes. Peers are slow: they get a tenth.
"""

import argparse
import asyncio
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import protection_accuracy as accuracy
from protection_data import BODIES, FLOODS, MB, body, code, conversation, crowd, flood
from protection_peer import six

from ai_platform.domain.call import Call, Client, Door, Operation
from ai_platform.domain.clock import SystemClock
from ai_platform.domain.finding import Direction, ProtectionPlan
from ai_platform.domain.principal import Principal
from ai_platform.protection import Guard, ProtectionSettings, Scanner, StreamGuard
from ai_platform.protection.body import BodyInspector, Memo
from ai_platform.protection.judge import trained
from ai_platform.protection.scanner import TooManyValues

SECRET = b"s" * 32
PERSON = Principal(id="person_1", name="Ada")
PLAN = ProtectionPlan()
BASELINES = {"six": "the six patterns", "json": "json.loads", "copy": "a copy"}
NEW = 20_000
ms = 1000.0


def best(work: Callable[[], object], rounds: int) -> float:
    """Seconds of CPU."""
    least = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        work()
        least = min(least, time.process_time() - started)
    return least


def inspector(scanner: Scanner) -> BodyInspector:
    """One that remembers nothing yet."""
    return BodyInspector(scanner, Memo(50_000, SECRET))


def inspect(scanner: Scanner, raw: bytes) -> float:
    """Inspect a body that was never seen; the longest step without a pause, in seconds."""
    longest = 0.0
    last = time.process_time()
    try:
        for _ in inspector(scanner).whole(raw, Direction.INPUT, None):
            now = time.process_time()
            longest = max(longest, now - last)
            last = now
    except TooManyValues:  # refused at this point
        pass
    return longest


def _call(raw: bytes) -> Call:
    return Call(
        id="call_1",
        door=Door.MESSAGES,
        operation=Operation.MESSAGES_CREATE,
        method="POST",
        path="/v1/messages",
        headers=[],
        body=raw,
        client=Client(session_id="session_1"),
    )


def cold(scanner: Scanner, rounds: int) -> dict[str, float]:
    raw = body(conversation(MB))
    text = raw.decode()
    longest = min(inspect(scanner, raw) for _ in range(rounds))
    return {
        "MB": len(raw) / MB,
        "inspect": best(lambda: inspect(scanner, raw), rounds),
        "six": best(lambda: six([text]), max(1, rounds // 3)),
        "json": best(lambda: json.loads(raw), rounds),
        "copy": best(lambda: bytearray(raw), rounds),
        "longest": longest,
    }


async def warm(turns: int) -> dict[str, float]:
    """A conversation of a megabyte that grows by 20 KB each turn."""
    guard = Guard(ProtectionSettings(session_bytes=256 * MB), SystemClock(), secret=SECRET)
    guard.prepare(PLAN)
    messages = conversation(MB + turns * NEW)
    sizes = [len(json.dumps(message)) for message in messages]
    count, size = 0, 0
    while size < MB:
        size += sizes[count]
        count += 1
    await guard.inspect(PERSON, _call(body(messages[:count])), PLAN)
    spent: list[float] = []
    new: list[int] = []
    parsed: list[float] = []
    while len(spent) < turns and count < len(messages) - 1:
        grown = 0
        while grown < NEW and count < len(messages) - 1:
            grown += sizes[count]
            count += 1
        raw = body(messages[:count])
        call = _call(raw)
        started = time.process_time()
        await guard.inspect(PERSON, call, PLAN)
        spent.append(time.process_time() - started)
        parsed.append(best(lambda raw=raw: json.loads(raw), 1))
        new.append(grown)
    spent.sort()
    return {
        "p50": statistics.median(spent),
        "p99": spent[int(len(spent) * 0.99)],
        "json": statistics.median(parsed),
        "turns": len(spent),
        "new": statistics.mean(new),
    }


def streamed(scanner: Scanner, rounds: int) -> dict[str, float]:
    """Per delta of sixteen characters, of code."""
    text = code(40_000)
    events = [_delta(text[place : place + 16]) for place in range(0, len(text), 16)]
    kept = inspector(scanner)

    def run() -> None:
        guard = StreamGuard(kept, None)
        for event in events:
            guard.feed(event)
        guard.close()

    run()
    return {
        "delta": best(run, rounds) / len(events),
        "json": best(lambda: [json.loads(event[event.index(b"{") :]) for event in events], rounds) / len(events),
    }


def _delta(text: str) -> bytes:
    told = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return f"event: content_block_delta\ndata: {json.dumps(told)}\n\n".encode()


def floods(scanner: Scanner, size: int, rounds: int) -> Iterator[tuple[str, dict[str, float]]]:
    texts = {name: flood(name, size) for name in FLOODS}
    bodies = {name: body([{"role": "user", "content": text}]) for name, text in texts.items()}
    bodies |= {f"a list of {name}": crowd(name, size) for name in BODIES}
    for name, raw in bodies.items():
        text = texts.get(name) or raw.decode()
        trained().known.clear()
        yield (
            name,
            {
                "bytes": len(raw),
                "inspect": best(lambda raw=raw: inspect(scanner, raw), rounds),
                "six": best(lambda text=text: six([text]), 1),
                "longest": min(inspect(scanner, raw) for _ in range(2)),
            },
        )


def peers(arguments: argparse.Namespace) -> Iterator[tuple[str, float]]:
    """(name, megabytes a second) over a tenth of the cold body."""
    text = body(conversation(MB // 10)).decode()
    for each in accuracy.contestants(arguments.peers):
        if each.name not in {"ai-platform", "six patterns"}:
            seconds = each.scan([text]).seconds
            yield f"{each.name} {each.version}", len(text) / MB / seconds if seconds else 0.0


def measure(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[tuple[str, float, str, float]]]:
    quick = arguments.quick
    rounds = 3 if quick else 9
    scanner = Scanner(PLAN, secret=SECRET, most_values=ProtectionSettings().most_values)
    gc.collect()  # as `ai-platform up` does, so that what stays is not gone through again and again
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    first = cold(scanner, rounds)
    later = asyncio.run(warm(20 if quick else 60))
    stream = streamed(scanner, rounds)
    size = MB // 4 if quick else MB
    worst = dict(floods(scanner, size, 2))
    others = dict(peers(arguments))
    _print(first, later, stream, others)
    _print_worst(worst, size)
    rates = {name: told["bytes"] / MB / told["inspect"] for name, told in worst.items()}
    slowest = min(rates, key=lambda name: rates[name])
    pause = max(told["longest"] for told in worst.values())
    figures = {"cold": first, "warm": later, "stream": stream, "floods": worst, "peers": others}
    return figures, [
        ("cold, ms a MB", first["inspect"] * ms / first["MB"], "<=", 15),
        ("a turn of 1 MB with 20 KB new, p50 ms", later["p50"] * ms, "<=", 1),
        (f"worst input ({slowest}), MB/s", rates[slowest], ">=", 5),
        ("a streamed delta, us", stream["delta"] * 1e6, "<=", 20),
        ("longest step of 1 MB without a pause, ms", max(pause, first["longest"]) * ms, "<=", 10),
    ]


def _print(
    first: dict[str, float],
    later: dict[str, float],
    stream: dict[str, float],
    others: dict[str, float],
) -> None:
    print("\nSpeed (CPU of one thread)\n\n| what | time | against |\n|---|---|---|")
    inspect_ms = first["inspect"] * ms / first["MB"]
    against = ", ".join(f"{first['inspect'] / first[name]:.2f} x {said}" for name, said in BASELINES.items())
    print(f"| cold body, {first['MB']:.2f} MB | {inspect_ms:.1f} ms a MB | {against} |")
    spent = f"p50 {later['p50'] * ms:.2f} ms, p99 {later['p99'] * ms:.2f} ms"
    turns = f"turn of 1 MB, {later['new'] / 1000:.0f} KB new, {later['turns']:.0f} turns"
    print(f"| {turns} | {spent} | {later['p50'] / later['json']:.2f} x json.loads of the body |")
    delta = stream["delta"]
    against = f"{delta / stream['json']:.1f} x json.loads of the event"
    print(f"| streamed delta, 16 characters | {delta * 1e6:.1f} us | {against} |")
    for name, rate in others.items():
        ours = f"{inspect_ms * rate / 1000:.4f} of our speed"
        print(f"| {name}, 100 KB | {1000 / rate if rate else 0:.0f} ms a MB | {ours} |")


def _print_worst(worst: dict[str, dict[str, float]], size: int) -> None:
    print(f"\n| worst inputs, {size / MB:g} MB each | MB/s | the six patterns, MB/s | longest step, ms |")
    print("|---|---|---|---|")
    for name, told in sorted(worst.items(), key=lambda item: item[1]["bytes"] / item[1]["inspect"]):
        rate, theirs = told["bytes"] / MB / told["inspect"], told["bytes"] / MB / max(told["six"], 1e-9)
        print(f"| {name} | {rate:.1f} | {theirs:.1f} | {told['longest'] * ms:.1f} |")
