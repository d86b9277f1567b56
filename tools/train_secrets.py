"""Train the second stage of the generic secret rules: `src/ai_platform/protection/secret_model.json`.

    python tools/train_secrets.py --labels DIR --text DIR [--text DIR ...] [--folds]

--labels: folder with creddata_subset.dev.jsonl, gitleaks_cases.jsonl, hard_negatives.dev.jsonl (for the format see
bench/protection_data.py). --text: source code and documents, taken as free of secrets; the letter statistics come from
them too: do not measure false flags on the same. --folds: also print precision and recall of the whole scanner with
each labelled repository held out once. Standard library and the product only; deterministic for the same input.
"""

import argparse
import json
import math
import random
import re
import zlib
from base64 import b85encode
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hyperscan
import msgspec

from ai_platform.domain.finding import ProtectionPlan
from ai_platform.protection import assigned as place
from ai_platform.protection.assigned import Candidate
from ai_platform.protection.judge import ALPHABET, LEVEL, Model, features, trained
from ai_platform.protection.plausible import plausible
from ai_platform.protection.scanner import Scanner
from ai_platform.protection.view import View

OUT = Path(__file__).parents[1] / "src/ai_platform/protection/secret_model.json"
THRESHOLD = 0.5
RARE = 12
"""A feature seen less often says nothing about the next repository."""

IGNORED = {"UUID", "AWS S3 Bucket", "Firebase Domain", "Nonce", "Salt", "WeChat App ID", "Twilio Credentials"}
SUFFIXES = {
    ".py",
    ".js",
    ".ts",
    ".json",
    ".md",
    ".txt",
    ".mjs",
    ".cjs",
    ".yml",
    ".yaml",
    ".html",
    ".css",
    ".pyi",
    ".go",
    ".java",
    ".rb",
}
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


READERS = (
    (place.ASSIGNED, place.assigned),
    (place.SCHEME, place.scheme),
    (place.HEADER, place.scheme),
    (place.FLAG, place.flag),
    (place.CURL_USER, place.curl_user),
    (place.CURL_KEY, place.curl_key),
    (place.SQL, place.spoken),
    (place.SECURE_STRING, place.spoken),
    (place.ONE_TIME, place.one_time),
    (place.URL, place.url_password),
)


class Candidates:
    """Every place where a value of the generic rules may stand, each once."""

    def __init__(self) -> None:
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=[trigger.encode() for trigger, _ in READERS],
            ids=list(range(len(READERS))),
            elements=len(READERS),
            flags=[hyperscan.HS_FLAG_CASELESS] * len(READERS),
        )

    def of(self, text: str) -> Iterator[Candidate]:
        ends: set[tuple[int, int]] = set()

        def on_match(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            ends.add((end, number))

        self._database.scan(text.encode("latin-1", "replace"), match_event_handler=on_match)
        seen: set[tuple[int, int]] = set()
        for end, number in sorted(ends):
            found = READERS[number][1](text, end - 3, end)
            if found is not None and (found.start, found.end) not in seen:
                seen.add((found.start, found.end))
                yield found


class Row(NamedTuple):
    group: str
    label: int
    weight: float
    features: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--text", type=Path, action="append", required=True)
    parser.add_argument("--folds", action="store_true")
    arguments = parser.parse_args()
    texts = list(read_texts(arguments.text))
    letters = letter_costs(texts)
    engine = Candidates()
    rows = list(labelled(engine, arguments.labels, letters)) + list(unlabelled(engine, texts[:6000], letters))
    print(Counter((row.group if "/" not in row.group else "repositories", row.label) for row in rows))
    common = Counter(name for row in rows for name in row.features)
    rows = [row._replace(features=[name for name in row.features if common[name] >= RARE]) for row in rows]
    if arguments.folds:
        report_folds(rows, arguments.labels, letters)
    weights = fit(rows)
    packed = b85encode(zlib.compress(letters, 9)).decode()
    kept = {name: round(value, 2) for name, value in sorted(weights.items()) if abs(value) >= 0.1}
    OUT.write_bytes(msgspec.json.format(msgspec.json.encode(Model(packed, kept, THRESHOLD)), indent=0) + b"\n")
    print(f"{OUT}: {len(kept)} weights, {OUT.stat().st_size} bytes")


def read_texts(folders: Iterable[Path]) -> Iterator[str]:
    paths = [path for folder in folders for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file()]
    paths = sorted(path for path in paths if path.stat().st_size < 1_000_000 and ".min." not in path.name)
    random.Random(1).shuffle(paths)
    for path in paths[:9000]:
        yield path.read_text(encoding="utf-8", errors="ignore")[:150_000]


def letter_costs(texts: Iterable[str]) -> bytes:
    """Smoothed trigram statistics over the vocabulary of `texts`, as minus log2 times LEVEL."""
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update({word.lower() for word in WORDS.findall(text)})
    three: Counter[str] = Counter()
    for word, count in seen.items():
        if count >= 4 and 2 <= len(word) <= 20:
            padded = f"^^{word}^"
            for place in range(2, len(padded)):
                three[padded[place - 2 : place + 1]] += math.log2(1 + count)
    two: Counter[str] = Counter()
    one: Counter[str] = Counter()
    before: Counter[str] = Counter()
    context: Counter[str] = Counter()
    for gram, count in three.items():
        two[gram[1:]] += count
        before[gram[1]] += count
        context[gram[:2]] += count
        one[gram[2]] += count
    total = sum(one.values())

    def cost(a: str, b: str, c: str) -> int:
        single = (one[c] + 1) / (total + 27)
        pair = (two[b + c] + 20 * single) / (before[b] + 20)
        triple = (three[a + b + c] + 8 * pair) / (context[a + b] + 8)
        return max(0, min(63, round(-math.log2(triple) * LEVEL)))

    return bytes(cost(a, b, c) for a in ALPHABET for b in ALPHABET for c in ALPHABET)


def plain(text: str) -> str:
    view = View(text)
    return view.text if len(view.text) == len(text) else text


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def overlaps(start: int, end: int, spans: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    return [span for span in spans if start < span["end"] and span["start"] < end]  # type: ignore[operator]


def labelled(engine: Candidates, folder: Path, letters: bytes) -> Iterator[Row]:
    for record in lines(folder / "creddata_subset.dev.jsonl"):
        group = group_of(record)
        for found in engine.of(plain(str(record["text"]))):
            true = overlaps(found.start, found.end, record["spans"])  # type: ignore[arg-type]
            false = overlaps(found.start, found.end, record["negatives"])  # type: ignore[arg-type]
            if not plausible(found) or (true and all(set(str(span["type"]).split(":")) <= IGNORED for span in true)):
                continue
            yield Row(group, int(bool(true)), 1.0 if true or false else 0.3, features(found, letters))
    for record in lines(folder / "gitleaks_cases.jsonl"):
        for found in engine.of(plain(str(record["text"]))):
            hit = bool(overlaps(found.start, found.end, record["spans"]))  # type: ignore[arg-type]
            if plausible(found) and (hit or "generic-api-key" in record["negative_for"]):  # type: ignore[operator]
                yield Row("catalogue", int(hit), 0.3 if hit else 1.0, features(found, letters))
    for record in lines(folder / "hard_negatives.dev.jsonl"):
        for found in engine.of(plain(str(record["text"]))):
            if plausible(found):
                yield Row("hard negatives", 0, 1.0, features(found, letters))


def unlabelled(engine: Candidates, texts: Iterable[str], letters: bytes) -> Iterator[Row]:
    for text in texts:
        for found in engine.of(plain(text)):
            if plausible(found):
                yield Row("text", 0, 0.1, features(found, letters))


def fit(rows: list[Row], *, epochs: int = 60, penalty: float = 0.004, rate: float = 0.3) -> dict[str, float]:
    """Logistic regression by AdaGrad with an L2 penalty; the order of the rows is shuffled from a fixed seed."""
    weights: defaultdict[str, float] = defaultdict(float)
    squares: defaultdict[str, float] = defaultdict(lambda: 1e-6)
    order = list(rows)
    shuffle = random.Random(20261122).shuffle
    for _ in range(epochs):
        shuffle(order)
        for row in order:
            active = ["bias", *row.features]
            total = max(-30.0, min(30.0, sum(weights[name] for name in active)))
            slope = (1 / (1 + math.exp(-total)) - row.label) * row.weight
            for name in active:
                gradient = slope + penalty * weights[name] * row.weight
                squares[name] += gradient * gradient
                weights[name] -= rate * gradient / math.sqrt(squares[name])
    return dict(weights)


def report_folds(rows: list[Row], folder: Path, letters: bytes) -> None:
    """The whole scanner on each labelled repository, with a model that has not seen it; a span counts by its half."""
    records = list(lines(folder / "creddata_subset.dev.jsonl"))
    judge, scanner = trained(), Scanner(ProtectionPlan())
    kept = judge.weights, judge.letters, judge.threshold
    total: Counter[str] = Counter()
    for group in sorted({group_of(record) for record in records}):
        judge.weights, judge.letters, judge.threshold = (
            fit([row for row in rows if row.group != group]),
            letters,
            THRESHOLD,
        )
        judge.known.clear()
        counts: Counter[str] = Counter()
        for record in records:
            if group_of(record) == group:
                counts += scored(scanner, record)
        total += counts
        print(f"  {group}: {told(counts)}")
    judge.weights, judge.letters, judge.threshold = kept
    judge.known.clear()
    print(f"held out: {told(total)}")


def group_of(record: dict[str, Any]) -> str:
    return str(record["source"]).split()[1].partition("@")[0]


def scored(scanner: Scanner, record: dict[str, Any]) -> Counter[str]:
    found = [each for each in scanner.scan(record["text"]) if each.data_class == "SECRET"]
    counts: Counter[str] = Counter()
    for span in record["spans"]:
        if not set(span["type"].split(":")) <= IGNORED:
            half = (span["end"] - span["start"]) / 2
            hit = any(min(each.end, span["end"]) - max(each.start, span["start"]) >= half for each in found)
            counts["right" if hit else "missed"] += 1
    false = [each for each in found if not overlaps(each.start, each.end, record["spans"])]
    counts["false"] += sum(
        any(overlaps(each.start, each.end, [span]) for each in false) for span in record["negatives"]
    )
    return counts


def told(counts: Counter[str]) -> str:
    right, false, missed = counts["right"], counts["false"], counts["missed"]
    precision, recall = right / max(1, right + false), right / max(1, right + missed)
    f1 = 2 * precision * recall / max(1e-9, precision + recall)
    return f"{right} right, {false} false, {missed} missed: precision {precision:.3f} recall {recall:.3f} F1 {f1:.3f}"


if __name__ == "__main__":
    main()
