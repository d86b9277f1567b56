"""Streams cut at random: does any value leave, is the result the one of the whole text, how much is held back?

Run: python bench/protection_streams.py [--splits 1000000] [--processes 2] [--seed 1] [--texts FILE.jsonl ...]

Every example of every detector, plain and disguised, stands in a text, in a thinking block and in a tool's JSON
arguments; each is cut at random places, sent through a StreamGuard as server-sent events, and put together again as a
client does. Texts are also cut into several text blocks: no value may leave that two of them share.
--texts: further texts, one JSON object with "text" a line. Exit code 1 when anything differs.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path

import msgspec

from ai_platform.domain.call import Call, Door, Operation
from ai_platform.domain.clock import SystemClock
from ai_platform.domain.finding import Action, Direction, ProtectionPlan, RuleAction
from ai_platform.domain.principal import Principal
from ai_platform.protection import Guard, ProtectionSettings, Scanner
from ai_platform.protection.body import BodyInspector, Memo
from ai_platform.protection.replace import replacement
from ai_platform.protection.rules import ALL
from ai_platform.protection.stream import StreamGuard

PLANS = (
    ProtectionPlan(actions=(RuleAction(action=Action.REDACT),)),
    ProtectionPlan(),
    ProtectionPlan(actions=(RuleAction(action=Action.MASK, data_class="PII"),)),  # type: ignore[arg-type]
)
NAMES = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
SECRET = b"s" * 32
CALL = Call(id="call", door=Door.MESSAGES, operation=Operation.MESSAGES_CREATE, method="POST", path="/v1/messages")
AROUND = ("{}", "See {}, then go on.", "a\n{}\nb", "x={};", "Hello there, it is {} and that was all. Thanks!", '"{}"')


class Sample(msgspec.Struct, frozen=True):
    """What is streamed, and what must come out. values: what must not."""

    kind: str
    plan: int
    sent: str
    wanted: str
    values: tuple[str, ...]


class Counts(msgspec.Struct):
    streams: int = 0
    joined: int = 0
    deltas: int = 0
    leaks: list[str] = []
    differences: list[str] = []
    wrong: int = 0
    held: Counter[int] = msgspec.field(default_factory=Counter)
    words: Counter[int] = msgspec.field(default_factory=Counter)
    seconds: float = 0.0


def disguised(text: str, chance: random.Random) -> str:
    """The same for whoever reads it, written otherwise."""
    way = chance.randrange(9)
    if way == 7:
        return "".join(f"&#{ord(char)};" if chance.random() < 0.3 else char for char in text)
    if way == 8:
        return "".join(f"%25{ord(char):02X}" if char.isdigit() and chance.random() < 0.3 else char for char in text)
    if way == 6:
        cut = chance.randint(0, len(text))
        return f"{text[:cut]}\x1b[01;3{chance.randint(0, 7)}m{text[cut:]}\x1b[0m"
    if way == 0:
        return "".join(chr(ord(char) - 48 + 0xFF10) if char.isdigit() and char.isascii() else char for char in text)
    if way == 1:
        return "".join(char + ("\u200b" if chance.random() < 0.2 else "") for char in text)
    if way == 2:
        return text.replace("-", "\u2011").replace(" ", "\u00a0")
    if way == 3:
        return "".join(f"%{ord(char):02x}" if char.isdigit() and chance.random() < 0.3 else char for char in text)
    if way == 4:
        return json.dumps(text)[1:-1]
    return "".join(f"\\u{ord(char):04x}" if char.isdigit() and chance.random() < 0.3 else char for char in text)


def texts(extra: list[Path], chance: random.Random) -> Iterator[str]:
    for rule in ALL:
        for example in rule.examples:
            around = chance.choice(AROUND)
            yield around.replace("{}", example)
            yield around.replace("{}", disguised(example, chance))
            other = chance.choice(chance.choice(ALL).examples)
            yield f"{example} {other}"
    for path in extra:
        for line in path.read_text(encoding="utf-8").splitlines():
            if (text := json.loads(line).get("text")) and len(text) < 4000:
                yield text


def whole(scanner: Scanner, text: str, kind: str) -> tuple[str, tuple[str, ...]]:
    """What the whole text becomes, and the values that are no longer in it. In thinking a mask is a redaction."""
    pieces: list[str] = []
    values: list[str] = []
    position = 0
    for finding in scanner.scan(text, direction=Direction.OUTPUT):
        value = text[finding.start : finding.end]
        if kind == "thinking_delta" and finding.action is Action.MASK:
            finding = msgspec.structs.replace(finding, action=Action.REDACT)  # noqa: PLW2901
        new = replacement(finding, value)
        if new is not None:
            pieces += [text[position : finding.start], new]
            position = finding.end
            values.append(value)
    done = "".join([*pieces, text[position:]])
    return done, tuple(value for value in values if value not in done)


def samples(extra: list[Path], seed: int) -> list[Sample]:
    chance = random.Random(seed)
    guard = Guard(ProtectionSettings(), SystemClock(), secret=SECRET)
    scanners = [Scanner(plan, secret=SECRET) for plan in PLANS]
    found: list[Sample] = []
    for number, text in enumerate(dict.fromkeys(texts(extra, chance))):
        plan = number % 4 if number % 4 < len(PLANS) else 0
        for kind in ("text_delta", "thinking_delta"):
            done, values = whole(scanners[plan], text, kind)
            found.append(Sample(kind, plan, text, done, values))
        arguments = json.dumps({"path": "/a/b", chance.choice(("note", "password", "ssn")): text, "n": [1, 2]})
        raw = arguments.encode()
        answered = b'{"content":[{"type":"tool_use","name":"x","input":' + raw + b"}]}"
        told = asyncio.run(guard.inspect_answer(Principal(id="p", name="p"), CALL, PLANS[plan], answered))
        out = told.body.decode().removeprefix(answered.decode()[: answered.index(raw)]).removesuffix("}]}")
        gone = tuple(value for value in (json.dumps(value)[1:-1] for value in values) if value not in out)
        found.append(Sample("input_json_delta", plan, arguments, out, gone))
    return found


def pieces(text: str, chance: random.Random) -> Iterator[str]:
    way = chance.random()
    if way < 0.25:
        cut = chance.randint(0, len(text))
        yield from (text[:cut], text[cut:])
        return
    longest = 1 if way < 0.35 else chance.choice((2, 3, 5, 8, 13, 40))
    position = 0
    while position < len(text):
        size = chance.randint(1, longest)
        yield text[position : position + size]
        position += size


def event(kind: str, text: str, index: int = 0) -> bytes:
    data = {"type": "content_block_delta", "index": index, "delta": {"type": kind, NAMES[kind]: text}}
    return b"event: content_block_delta\ndata: " + msgspec.json.encode(data) + b"\n\n"


def read(raw: bytes, name: str) -> str:
    return "".join(
        json.loads(line[5:])["delta"][name]
        for line in raw.split(b"\n")
        if line.startswith(b"data:") and b"content_block_delta" in line
    )


def stream(sample: Sample, inspector: BodyInspector, chance: random.Random, counts: Counts) -> str:
    """What the client reads; also how much was held after each delta."""
    guard = StreamGuard(inspector, None)
    name = NAMES[sample.kind]
    out: list[bytes] = []
    fed = passed = 0
    started = time.perf_counter()
    for piece in pieces(sample.sent, chance):
        out.append(guard.feed(event(sample.kind, piece)))
        counts.deltas += 1
        fed += len(piece)
        if out[-1]:
            passed = fed
        counts.held[fed - passed] += 1
        counts.words[len(sample.sent[passed:fed].split())] += 1
    out.append(guard.feed(b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'))
    out.append(guard.close())
    counts.seconds += time.perf_counter() - started
    return read(b"".join(out), name)


def in_blocks(sample: Sample, inspector: BodyInspector, chance: random.Random) -> list[str]:
    """The text as several text blocks, which clients join: the values that two of them share and that leave whole."""
    text = sample.sent
    places = sorted(chance.sample(range(1, len(text)), min(chance.randint(1, 3), len(text) - 1)))
    guard = StreamGuard(inspector, None)
    out: list[bytes] = []
    for index, (begin, end) in enumerate(pairwise([0, *places, len(text)])):
        begun = {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}
        out.append(guard.feed(b"event: content_block_start\ndata: " + msgspec.json.encode(begun) + b"\n\n"))
        out += [guard.feed(event(sample.kind, piece, index)) for piece in pieces(text[begin:end], chance)]
        out.append(guard.feed(b'event: x\ndata: {"type":"content_block_stop","index":%d}\n\n' % index))
    out.append(guard.close())
    said = read(b"".join(out), NAMES[sample.kind])
    whole_ones = [value for value in sample.values if text.count(value) == 1 and value in said]
    return [value for value in whole_ones if any(0 < place - text.index(value) < len(value) for place in places)]


def run(seed: int, splits: int, extra: list[Path]) -> Counts:
    chance = random.Random(seed)
    every = samples(extra, 1)
    inspectors = [BodyInspector(Scanner(plan, secret=SECRET), Memo(1000, SECRET)) for plan in PLANS]
    counts = Counts()
    for number in range(splits):
        sample = every[number % len(every)] if splits > len(every) else chance.choice(every)
        if sample.kind == "text_delta" and len(sample.sent) > 1:
            counts.joined += 1
            counts.leaks += [
                f"blocks {value!r} of {sample.sent!r}" for value in in_blocks(sample, inspectors[sample.plan], chance)
            ]
        state = chance.getstate()
        said = stream(sample, inspectors[sample.plan], chance, counts)
        counts.streams += 1
        if said == sample.wanted:
            continue
        counts.wrong += 1
        if len(counts.differences) < 50:
            chance.setstate(state)
            cut = list(pieces(sample.sent, chance))
            counts.differences.append(
                f"{sample.kind} plan {sample.plan}\n  sent   {cut}\n  got    {said!r}\n  wanted {sample.wanted!r}"
            )
        if any(value in said for value in sample.values):
            counts.leaks.append(f"{sample.kind} {sample.sent!r}")
    return counts


def percentile(counter: Counter[int], share: float) -> int:
    wanted = sum(counter.values()) * share
    for value in sorted(counter):
        wanted -= counter[value]
        if wanted <= 0:
            return value
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--texts", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    share = -(-options.splits // options.processes)
    seeds = [options.seed + number for number in range(options.processes)]
    total = Counts()
    with ProcessPoolExecutor(options.processes) as pool:
        for counts in pool.map(run, seeds, [share] * len(seeds), [options.texts] * len(seeds)):
            total.streams += counts.streams
            total.joined += counts.joined
            total.deltas += counts.deltas
            total.leaks += counts.leaks
            total.differences += counts.differences
            total.wrong += counts.wrong
            total.held += counts.held
            total.words += counts.words
            total.seconds += counts.seconds
    for difference in total.differences[:20]:
        print(difference)
    print(f"{total.streams:,} streams in {total.deltas:,} deltas, seed {options.seed}")
    print(f"and {total.joined:,} answers of several text blocks")
    for leak in total.leaks[:20]:
        print(leak)
    print(f"leaks: {len(total.leaks)}; not identical with the whole text: {total.wrong}")
    held = ", ".join(f"p{round(share * 100)} {percentile(total.held, share)}" for share in (0.5, 0.9, 0.99))
    words = ", ".join(f"p{round(share * 100)} {percentile(total.words, share)}" for share in (0.5, 0.9, 0.99))
    print(f"held back after a delta, in the texts with values: characters {held}; words {words}")
    print(f"{total.seconds / max(1, total.deltas) * 1e6:.1f} us a delta, the making of its event included")
    sys.exit(1 if total.leaks or total.wrong else 0)


if __name__ == "__main__":
    main()
