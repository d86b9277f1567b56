"""What looking for names of people costs: how fast prose is read, how long others wait, what a further turn takes.

Run: python bench/protection_names.py [MODEL] [--kilobytes N]
MODEL: the folder of a spaCy model; without it a recogniser of the usual small size is trained for a second (its answers
are nonsense, its speed is not). Needs the extra `names`. Also prints which share of this project's files is prose.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from pathlib import Path

import spacy

from ai_platform.domain.call import Call, Client, Door, Operation
from ai_platform.domain.clock import SystemClock
from ai_platform.domain.finding import ProtectionPlan
from ai_platform.domain.principal import Principal
from ai_platform.protection import Guard, ProtectionSettings
from ai_platform.protection.language import load_model
from ai_platform.protection.people import People
from ai_platform.protection.prose import pieces

ROOT = Path(__file__).parent.parent
SECRET = b"s" * 32
PLAN = ProtectionPlan(block_on_match=False)
PERSON = Principal(id="p", name="n")
GENERATED = {"cli.md", "configuration.md", "reference.md"}


def trained(folder: Path) -> Path:
    pipeline = spacy.blank("en")
    pipeline.add_pipe("ner").add_label("PERSON")
    said = [(f"We asked {name} about it.", {"entities": [(9, 9 + len(name), "PERSON")]}) for name in ("Ada", "Grace")]
    examples = [spacy.training.Example.from_dict(pipeline.make_doc(text), marks) for text, marks in said]
    optimizer = pipeline.initialize(lambda: examples)
    for _ in range(20):
        pipeline.update(examples, sgd=optimizer)
    pipeline.to_disk(folder)
    return folder


def body(size: int) -> bytes:
    paragraphs = (ROOT / "docs" / "data-protection.md").read_text(encoding="utf-8").split("\n\n")
    texts: list[str] = []
    while sum(map(len, texts)) < size:
        texts.append(f"{len(texts)} {random.choice(paragraphs)}")
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text} for text in texts]}).encode()


def call(raw: bytes) -> Call:
    operation = Operation.MESSAGES_CREATE
    client = Client(session_id="s")
    return Call(
        id="c", door=Door.MESSAGES, operation=operation, method="POST", path="/", headers=[], body=raw, client=client
    )


async def measure(folder: Path, size: int) -> None:
    clock, settings = SystemClock(), ProtectionSettings(time_budget=600)
    people = People(load_model(folder, what="MODEL"), clock, most_characters=10**9, remembered=50_000, secret=SECRET)
    guard, plain = (Guard(settings, clock, secret=SECRET, people=each) for each in (people, None))
    raw = body(size)
    await plain.inspect(PERSON, call(raw), PLAN)
    waits: list[float] = []

    async def others() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            waits.append(time.perf_counter() - before - 0.001)

    beside = asyncio.create_task(others())
    before = time.perf_counter()
    await guard.inspect(PERSON, call(raw), PLAN)
    took = time.perf_counter() - before
    beside.cancel()
    waits.sort()
    print(f"first look at {len(raw):,} bytes: {took:.2f} s, {len(raw) / took / 1e6:.3f} MB/s")
    print(f"others waited: p99 {waits[len(waits) * 99 // 100] * 1e3:.1f} ms, at most {waits[-1] * 1e3:.1f} ms")
    further = raw[:-2] + b', {"role": "user", "content": "and one more thing"}]}'
    for name, each in (("with names", guard), ("without", plain)):
        before = time.perf_counter()
        await each.inspect(PERSON, call(further), PLAN)
        print(f"a further turn {name}: {(time.perf_counter() - before) * 1e3:.1f} ms")
    people.close()


def shares() -> None:
    pages = [path for path in ROOT.glob("docs/*.md") if path.name not in GENERATED]
    for name, paths in (("src", list(ROOT.glob("src/**/*.py"))), ("docs", pages)):
        texts = [path.read_text(encoding="utf-8") for path in paths]
        read = sum(end - start for text in texts for start, end in pieces(text))
        print(f"prose in {name}: {read / sum(map(len, texts)):.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(description="What looking for names of people costs.")
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--kilobytes", type=int, default=500)
    arguments = parser.parse_args()
    random.seed(1)
    shares()
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or trained(Path(folder) / "model")
        asyncio.run(measure(model, arguments.kilobytes * 1000))


if __name__ == "__main__":
    main()
