"""What looking for names of people costs: how fast prose is read, how long others wait, what a further turn takes.

Run: python bench/protection_names.py [MODEL] [--kilobytes N] [--labelled FILE.jsonl] [--code FOLDER]
MODEL: the folder of a spaCy model; without it a recogniser of the usual small size is trained for a second (its answers
are nonsense, its speed is not). Needs the extra `names`. Also prints which share of this project's files is prose.
--labelled: texts, one JSON object with "text" and "spans" (start, end, type) a line: precision and recall of PERSON.
--code: the first 2 MB of its source files, in random order: how much is read, how many names are found, which.
"""

import argparse
import asyncio
import json
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import spacy

from ai_platform.domain.call import Call, Client, Door, Operation
from ai_platform.domain.clock import SystemClock
from ai_platform.domain.finding import ProtectionPlan
from ai_platform.domain.principal import Principal
from ai_platform.protection import Guard, ProtectionSettings
from ai_platform.protection.language import NameModel, load_model
from ai_platform.protection.people import People
from ai_platform.protection.prose import pieces

ROOT = Path(__file__).parent.parent
SECRET = b"s" * 32
PLAN = ProtectionPlan(block_on_match=False)
PERSON = Principal(id="p", name="n")
SOURCES = {".py", ".js", ".ts", ".tsx", ".go", ".java", ".kt", ".php", ".rb", ".c", ".md", ".rst"}
MOST_CODE = 2_000_000
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


async def measure(model: NameModel, size: int) -> None:
    clock, settings = SystemClock(), ProtectionSettings(time_budget=600)
    people = People(model, clock, most_characters=10**9, remembered=50_000, secret=SECRET)
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


Spans = list[tuple[int, int]]
Finder = Callable[[str], Spans]


def finders(place: Path, model: NameModel) -> dict[str, Finder]:
    """What the model says of whole texts, of their prose, and what the platform makes of that."""
    pipeline = spacy.load(place)

    def alone(text: str) -> Spans:
        return [(one.start_char, one.end_char) for one in pipeline(text).ents if one.label_ in {"PERSON", "PER"}]

    def prose(find: Finder) -> Finder:
        return lambda text: [
            (begin + start, begin + stop) for begin, end in pieces(text) for start, stop in find(text[begin:end])
        ]

    return {"the model alone": alone, "in prose": prose(alone), "as shipped": prose(model.spans)}


def accuracy(name: str, find: Finder, path: Path) -> None:
    """A name counts as found when half of it is; what touches no name is false."""
    right = false = missed = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        persons = [(span["start"], span["end"]) for span in row["spans"] if span["type"] == "PERSON"]
        found = find(row["text"])
        for start, end in persons:
            half = any(2 * (min(end, stop) - max(start, begin)) >= end - start for begin, stop in found)
            right += half
            missed += not half
        false += sum(not any(start < stop and begin < end for start, end in persons) for begin, stop in found)
    precision, recall = right / max(1, right + false), right / max(1, right + missed)
    print(f"{path.name}, {name}: precision {precision:.2f}, recall {recall:.2f} of {right + missed:,} names")


def in_code(name: str, find: Finder, folder: Path) -> None:
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in SOURCES and path.is_file()]
    random.Random(1).shuffle(paths)
    size = read = 0
    names: Counter[str] = Counter()
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        size += len(text)
        read += sum(end - start for start, end in pieces(text))
        names.update(text[start:end].strip() for start, end in find(text))
        if size > MOST_CODE:
            break
    print(f"source code: {size / 1e6:.1f} MB, {read / 1e3:.0f} KB of it prose; {name}: {names.total()} names found")
    print("the commonest:", ", ".join(f"{name} {count}" for name, count in names.most_common(12)))


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
    parser.add_argument("--labelled", type=Path)
    parser.add_argument("--code", type=Path)
    arguments = parser.parse_args()
    random.seed(1)
    shares()
    with tempfile.TemporaryDirectory() as folder:
        place = arguments.model or trained(Path(folder) / "model")
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        model = load_model(place, what="MODEL")
        took = time.perf_counter() - started
        ways = finders(place, model) if arguments.labelled or arguments.code else {}
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"loaded in {took:.1f} s with {more:.0f} MB more, spaCy itself not counted")
    asyncio.run(measure(model, arguments.kilobytes * 1000))
    for name, find in ways.items():
        if arguments.labelled:
            accuracy(name, find, arguments.labelled)
        if arguments.code and name != "the model alone":
            in_code(name, find, arguments.code)


if __name__ == "__main__":
    main()
