"""How right the detectors are, beside other scanners on the same texts. Run by bench/protection.py.

A finding counts for a gold span when it covers at least half of it (any of it where the sample says `whole`) and, in
prose, has its type. Precision and recall of repositories count labelled spans only; what is flagged elsewhere in a
snippet is told apart.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from protection_data import NOT_SECRET, STRUCTURED, Sample, Span, Text
from protection_peer import SECRET, six

from ai_platform.domain.finding import Action, ProtectionPlan
from ai_platform.protection import Scanner

HERE = Path(__file__).parent
PEERS = ("presidio", "detect_secrets", "gitleaks")
TEXT = {".py", ".js", ".ts", ".mjs", ".cjs", ".json", ".md", ".txt", ".yml", ".yaml", ".html", ".css", ".go", ".java"}
MORE_TEXT = {
    ".rb",
    ".php",
    ".c",
    ".h",
    ".sh",
    ".rs",
    ".ex",
    ".exs",
    ".swift",
    ".kt",
    ".cs",
    ".tsx",
    ".jsx",
    ".xml",
    ".toml",
    ".sql",
}
MORE_TEXT |= {
    ".properties",
    ".vue",
    ".svelte",
    ".ini",
    ".cfg",
    ".rst",
    ".conf",
    ".gradle",
    ".scala",
    ".cpp",
    ".pl",
    ".tf",
    ".adoc",
}
BATCH = 400


class Answer(NamedTuple):
    """findings of each text; seconds of CPU for all."""

    findings: list[list[Span]]
    seconds: float


class Contestant(NamedTuple):
    name: str
    version: str
    scan: Callable[[list[str]], Answer]


def ours(plan: ProtectionPlan | None = None) -> Scanner:
    return Scanner(plan or ProtectionPlan())


def contestants(peers: Path | None, wanted: Iterable[str] = PEERS) -> Iterator[Contestant]:
    """This platform, the mission's six patterns, and the peers that are installed in the environment `peers`."""
    scanner = ours()

    def own(texts: list[str]) -> Answer:
        found = [[(each.start, each.end, _kind(each.data_class, each.type)) for each in scanner.scan(t)] for t in texts]
        return Answer(found, 0.0)

    yield Contestant("ai-platform", "", own)
    yield Contestant("six patterns", "", lambda texts: Answer(six(texts), 0.0))
    python = str(peers / "bin" / "python") if peers else sys.executable
    for name in wanted:
        peer = _started(python, name)
        if isinstance(peer, str):
            print(f"skipped {name.replace('_', '-')}: {peer}", file=sys.stderr)
        else:
            yield peer


def _kind(data_class: str, kind: str) -> str:
    return SECRET if data_class == "SECRET" else kind


def _started(python: str, name: str) -> Contestant | str:
    errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lives as long as the process
    command = [python, str(HERE / f"protection_peer_{name}.py")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    hello = process.stdout.readline()
    if not hello:
        errors.seek(0)
        lines = errors.read().strip().splitlines()
        return f"not installed ({lines[-1] if lines else 'no answer'}); see docs/benchmarks.md"
    stdin, stdout = process.stdin, process.stdout

    def scan(texts: list[str]) -> Answer:
        found: list[list[Span]] = []
        seconds = 0.0
        for start in range(0, len(texts), BATCH):
            stdin.write(json.dumps({"texts": texts[start : start + BATCH]}) + "\n")
            stdin.flush()
            told = json.loads(stdout.readline())
            found += [[(begin, end, kind) for begin, end, kind in each] for each in told["findings"]]
            seconds += told["seconds"]
        return Answer(found, seconds)

    return Contestant(name.replace("_", "-"), json.loads(hello)["version"], scan)


def covers(found: Span, gold: Span, *, whole: bool = False) -> bool:
    shared = min(found[1], gold[1]) - max(found[0], gold[0])
    return shared > 0 if whole else 2 * shared >= gold[1] - gold[0] > 0


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def f1(precision: float, recall: float) -> float:
    return ratio(2 * precision * recall, precision + recall)


class Score(NamedTuple):
    right: int
    false: int
    missed: int

    @property
    def precision(self) -> float:
        return ratio(self.right, self.right + self.false)

    @property
    def recall(self) -> float:
        return ratio(self.right, self.right + self.missed)

    @property
    def f1(self) -> float:
        return f1(self.precision, self.recall)


def structured(texts: Sequence[Text], findings: Sequence[list[Span]]) -> dict[str, Score]:
    """Per type, and `all`."""
    right: Counter[str] = Counter()
    false: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for text, found in zip(texts, findings, strict=True):
        used: set[int] = set()
        for gold in text.spans:
            if gold[2] not in STRUCTURED:
                continue
            hits = [place for place, each in enumerate(found) if each[2] == gold[2] and covers(each, gold)]
            used.update(hits)
            (right if hits else missed)[gold[2]] += 1
        false.update(each[2] for place, each in enumerate(found) if place not in used and each[2] in STRUCTURED)
    scores = {kind: Score(right[kind], false[kind], missed[kind]) for kind in STRUCTURED if right[kind] + missed[kind]}
    return scores | {"all": Score(*(sum(each) for each in zip(*scores.values(), strict=True)))}


def catalogue(texts: Sequence[Text], findings: Sequence[list[Span]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for text, found in zip(texts, findings, strict=True):
        secrets = [each for each in found if each[2] == SECRET]
        if text.spans:
            counts["positives"] += 1
            counts["found"] += all(any(covers(each, gold, whole=text.whole) for each in secrets) for gold in text.spans)
        else:
            counts["negatives"] += 1
            counts["flagged"] += bool(secrets)
    return counts


def repositories(texts: Sequence[Text], findings: Sequence[list[Span]]) -> dict[str, Score]:
    """Per repository, and `all`; `elsewhere`: what is flagged and not labelled (as `false`)."""
    counts: dict[str, Counter[str]] = {}
    elsewhere = 0
    for text, found in zip(texts, findings, strict=True):
        own = counts.setdefault(text.source, Counter())
        secrets = [each for each in found if each[2] == SECRET]
        for gold in text.spans:
            if not set(gold[2].split(":")) <= NOT_SECRET:
                own["right" if any(covers(each, gold) for each in secrets) else "missed"] += 1
        true = [each for each in secrets if any(covers(each, gold, whole=True) for gold in text.spans)]
        for gold in text.negatives:
            own["false"] += any(each not in true and covers(each, gold, whole=True) for each in secrets)
        labelled = text.spans + text.negatives
        elsewhere += sum(not any(covers(each, gold, whole=True) for gold in labelled) for each in secrets)
    scores = {name: Score(own["right"], own["false"], own["missed"]) for name, own in sorted(counts.items())}
    total = Score(*(sum(each) for each in zip(*scores.values(), strict=True)))
    return scores | {"all": total, "elsewhere": Score(0, elsewhere, 0)}


def hard(texts: Sequence[Text], findings: Sequence[list[Span]]) -> int:
    """How many texts are flagged; ours does not count what is only logged (see `hard_actions`)."""
    return sum(bool(found) for _, found in zip(texts, findings, strict=True))


def hard_actions(texts: Sequence[Text]) -> Counter[str]:
    """What this platform would do about each finding, by default."""
    scanner = ours()
    return Counter(found.action.value for text in texts for found in scanner.scan(text.text))


def code_files(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in TEXT | MORE_TEXT and path.is_file() and "site-packages" not in path.parts:
                yield path.read_text(encoding="utf-8", errors="ignore")


def density(texts: Iterable[str]) -> dict[str, float]:
    """Findings a megabyte in code that is taken as free of secrets; block = what would be blocked by default."""
    scanner = ours()
    counts: Counter[str] = Counter()
    size = files = 0
    for text in texts:
        size += len(text)
        files += 1
        for found in scanner.scan(text):
            loud = found.action is not Action.LOG
            counts["secrets"] += found.data_class == SECRET and loud
            counts["block"] += found.action in {Action.BLOCK, Action.REDACT}
    return {"files": files, "MB": size / 1e6, **counts}


TASKS = {Sample.STRUCTURED: structured, Sample.CATALOGUE: catalogue, Sample.REPOSITORY: repositories}
