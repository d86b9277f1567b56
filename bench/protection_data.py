"""Texts for bench/protection.py: labelled ones from a folder, and what the benchmark makes itself.

Labelled (docs/benchmarks.md tells how to bring data): JSON lines `{"id", "source", "text", "spans": [{"start", "end",
"type"}]}`; offsets in code points, end exclusive. What else a line holds says what it is a sample of:
  negative_for (list)         a catalogue of secrets: a line with spans must be found, one without must not be flagged;
                              `whole: true` = any overlap counts
  negatives (list of spans)   a snippet of a repository: spans are true secrets, negatives what looks like one
  kind                        a hard negative: it looks sensitive and is not
  none of these               personal and payment data in prose
Everything made here is made from a fixed seed.
"""

import json
import random
import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from ai_platform.protection.checkdigits import luhn
from ai_platform.protection.rules import ALL

Span = tuple[int, int, str]
MB = 1_000_000


class Sample(Enum):
    STRUCTURED = "structured"
    CATALOGUE = "catalogue"
    REPOSITORY = "repository"
    HARD = "hard negatives"


class Text(NamedTuple):
    """kind: what the line says it is. negatives: what looks like a secret. whole: any overlap counts."""

    text: str
    spans: list[Span]
    negatives: list[Span]
    whole: bool
    kind: str
    source: str


STRUCTURED = (
    "CREDIT_CARD",
    "US_SSN",
    "IBAN_CODE",
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "IP_ADDRESS",
    "US_DRIVER_LICENSE",
)
NOT_SECRET = {"UUID", "AWS S3 Bucket", "Firebase Domain", "Nonce", "Salt", "WeChat App ID", "Twilio Credentials"}
"""Labels of CredData for what is no secret on its own."""


def read(folder: Path) -> Iterator[tuple[str, Sample, list[Text]]]:
    """(file, what it is a sample of, its lines)."""
    for file in sorted(folder.glob("*.jsonl")):
        with file.open(encoding="utf-8") as lines:
            records = [json.loads(line) for line in lines]
        if records:
            yield file.stem, _sample(records[0]), [_text(record) for record in records]


def _sample(record: dict[str, Any]) -> Sample:
    for name, sample in (("negative_for", Sample.CATALOGUE), ("negatives", Sample.REPOSITORY), ("kind", Sample.HARD)):
        if name in record:
            return sample
    return Sample.STRUCTURED


def _text(record: dict[str, Any]) -> Text:
    spans, negatives = (
        [(span["start"], span["end"], span["type"]) for span in record.get(name, ())] for name in ("spans", "negatives")
    )
    source = str(record.get("source", ""))
    return Text(
        record["text"],
        spans,
        negatives,
        bool(record.get("whole")),
        str(record.get("kind", "")),
        source.partition("@")[0],
    )


def own_examples() -> list[Text]:
    """The rules' examples (one span over all of each) and counter-examples (no span)."""
    found: list[Text] = []
    for rule in ALL:
        kind = "SECRET" if rule.data_class == "SECRET" else rule.type
        found += [Text(text, [(0, len(text), kind)], [], True, "", rule.id) for text in rule.examples]
        found += [Text(text, [], [], True, "", rule.id) for text in rule.counter_examples]
    return found


NOUNS = re.findall(
    r"\w+",
    """
    account batch cache client config cursor delta event file frame graph handle index item job key layer line
    list model node order page parser path plan point pool query queue record report request result row rule
    scope session shard signal slot source span stage state store stream table task token trace tree user value
    view window worker
    """,
)
VERBS = re.findall(
    r"\w+",
    """
    apply build check clear close collect compare convert copy count create decode drop emit encode fetch filter
    find flush format group handle insert join limit load lock map match merge move open parse pick probe push
    read reduce release render replace reset resolve retry run save scan seek select send settle shift sort
    split start stop store swap sync trim update validate visit wait walk watch write
    """,
)


def _function(random_: random.Random) -> str:
    verb, noun, other, third = random_.choice(VERBS), *random_.sample(NOUNS, 3)
    number = random_.randint(0, 4096)
    return (
        f"def {verb}_{noun}({noun}: {noun.title()}, {other}: int = {number}, *, {third}: str | None = None) -> bool:\n"
        f'    """{verb.title()} the {noun} of a {other}; the {third} decides when there are more than {number}."""\n'
        f"    if {third} is None or len({noun}.{other}s) > {number}:\n"
        f'        logger.debug("no %s for %s\\n", {third}, {noun}.id)\n'
        f"        return {noun}.{verb}({other}, default={number * 7})\n"
        f"    for index, {other} in enumerate({noun}.{other}s):\n"
        f"        {noun}.{third}s[index] = self._{random_.choice(VERBS)}_{other}({other}, timeout={number % 60}.5)\n"
        f"    # {random_.choice(NOUNS)} {random_.choice(VERBS)}s before the next {other}: see {other}s.{verb}\n"
        f"    return {noun}.{verb}ed and {third} != '{random_.choice(NOUNS)}-{number}'\n\n"
    )


def code(size: int, seed: int = 1) -> str:
    """Source code without secrets, `size` characters."""
    random_ = random.Random(seed)
    pieces: list[str] = []
    total = 0
    while total < size:
        pieces.append(_function(random_))
        total += len(pieces[-1])
    return "".join(pieces)[:size]


def conversation(size: int, seed: int = 1) -> list[dict[str, Any]]:
    """Messages as Claude Code sends them: files read, commands run, answers; about `size` bytes."""
    random_ = random.Random(seed)
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Please make the worker retry failed jobs."}]
    total = 0
    while total < size:
        number = len(messages)
        use = f"toolu_{random_.getrandbits(88):022x}"
        name, text = random_.choice([("Read", code(random_.randint(2_000, 9_000), number)), ("Bash", _log(random_))])
        asked = {
            "type": "tool_use",
            "id": use,
            "name": name,
            "input": {"file_path": f"/src/job{number}.py", "limit": 200},
        }
        said = {"type": "text", "text": f"I look at the {random_.choice(NOUNS)} first, then at the tests."}
        messages += [
            {"role": "assistant", "content": [said, asked]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use, "content": text}]},
        ]
        total += len(text) + 400
    return messages


def _log(random_: random.Random) -> str:
    lines = [
        f"2026-11-22T14:{random_.randint(10, 59)}:{random_.randint(10, 59)}.{random_.randint(0, 999999):06d}Z INFO"
        f" {random_.choice(NOUNS)}.{random_.choice(VERBS)} id={random_.getrandbits(64):016x} took"
        f" {random_.randint(1, 9999)} ms ({random_.randint(1, 99)}.{random_.randint(0, 9)} %)"
        for _ in range(random_.randint(20, 60))
    ]
    return "\n".join(lines)


def body(messages: list[dict[str, Any]]) -> bytes:
    """A request with a system prompt and tools as Claude Code sends them."""
    tool = {"name": "Read", "description": "Reads a file. " * 60, "input_schema": {"type": "object", "properties": {}}}
    told = {"model": "claude-opus-5-5", "max_tokens": 32_000, "stream": True, "tools": [tool] * 12}
    system = [{"type": "text", "text": "You are an agent that helps with software. " * 300}]
    return json.dumps({**told, "system": system, "messages": messages}, ensure_ascii=False).encode()


DIGITS, LOWER = "0123456789", "abcdefghijklmnopqrstuvwxyz"
ALNUM = LOWER.upper() + LOWER + DIGITS


def _some(random_: random.Random, letters: str, count: int) -> str:
    return "".join(random_.choices(letters, k=count))


def _valid_card(random_: random.Random) -> str:
    start = "4" + _some(random_, DIGITS, 14)
    return next(start + digit for digit in DIGITS if luhn(start + digit))


FLOODS: dict[str, str | Callable[[random.Random], str]] = {
    "one run of digits": lambda r: _some(r, DIGITS, 500),
    "table of 16-digit numbers": lambda r: _some(r, DIGITS, 16) + " ",
    "table of numbers": lambda r: _some(r, DIGITS, r.randint(1, 20)) + r.choice(" ,\t\n;"),
    "numbers that begin as cards": lambda r: "4" + _some(r, DIGITS, 15) + " ",
    "valid cards": lambda r: _valid_card(r) + " ",
    "numbers shaped as SSNs": lambda r: f"{_some(r, DIGITS, 3)}-{_some(r, DIGITS, 2)}-{_some(r, DIGITS, 4)} ",
    "numbers shaped as IBANs": lambda r: "DE" + _some(r, DIGITS, 20) + " ",
    "telephone numbers": lambda r: f"({r.randint(200, 999)}) {r.randint(100, 999)}-{r.randint(1000, 9999)} ",
    "floats": lambda r: f"{r.randint(0, 99)}.{_some(r, DIGITS, 12)},",
    "IP addresses": lambda r: ".".join(str(r.randint(1, 255)) for _ in range(4)) + " ",
    "base64, one run": lambda r: _some(r, ALNUM + "+/", 500),
    "base64, lines": lambda r: _some(r, ALNUM + "+/", 76) + "\n",
    "hex, table": lambda r: _some(r, "0123456789abcdef", 32) + " ",
    "UUIDs": lambda r: "-".join(_some(r, "0123456789abcdef", n) for n in (8, 4, 4, 4, 12)) + "\n",
    "separators": lambda r: _some(r, " -./,;:|_='\"()[]{}<>", 500),
    "minified JavaScript": lambda r: (
        f"function {_some(r, LOWER, 1)}({_some(r, LOWER, 1)}){{return {_some(r, LOWER, 4)}.{_some(r, LOWER, 3)}"
        f'?{r.randint(0, 99)}:"{_some(r, LOWER, 6)}"}};'
    ),
    "JSON in JSON in JSON": lambda r: json.dumps(
        json.dumps({_some(r, LOWER, 4): _some(r, LOWER, 9), "n": r.getrandbits(40)})
    ),
    "e-mail addresses": lambda r: f"{_some(r, LOWER, 5)}@{_some(r, LOWER, 5)}.com ",
    "a@b.a@b.": "a@b." * 100,
    "addresses with passwords": lambda r: f"https://{_some(r, LOWER, 4)}:{_some(r, ALNUM, 8)}@h.io ",
    "key=key=": "key=" * 100,
    "key=value": lambda r: f"{r.choice(('password', 'secret', 'token', 'api_key'))}={_some(r, ALNUM, 10)} ",
    "token token= token:": "token token_id token= token: ",
    "Bearer tokens": lambda r: f"Bearer {_some(r, ALNUM, 20)} ",
    "AWS keys": lambda r: f"AKIA{_some(r, LOWER.upper() + '234567', 16)} ",
    "eyJ...": lambda r: f"eyJ{_some(r, ALNUM, 60)}.",
    "PEM headers": "-----BEGIN RSA PRIVATE KEY-----\n",
    "other digits (Arabic)": lambda r: "".join(chr(0x660 + r.randint(0, 9)) for _ in range(16)) + " ",
    "zero-width characters": lambda r: "\u200b".join(_some(r, DIGITS, 200)),
    "percent encoding": lambda r: "%" + _some(r, "0123456789abcdef", 2),
    "backslashes": "\\" * 400,
    "values behind invisible characters": "\u200b_prod_ta6guOAeeyJpassword=sqp_ghp_",
    "tokens and passwords in one": "0*ramp_tok_PfCxLv4CXGWxOjXTuoLJb1rhQZAIAiq6cd8asqACpassword=",
    "service names": lambda r: (
        f"{r.choice(('datadog', 'twilio', 'heroku', 'algolia'))} key = {_some(r, '0123456789abcdef', 32)}\n"
    ),
    "API keys, each another one": lambda r: f'api_key: "{_some(r, ALNUM, 40)}"\n',
    "long values, one inside another": lambda r: f"ECAPI-fm2_n8{_some(r, ALNUM, 12)}api_9",
    "letters behind telephone numbers": lambda r: f"+{_some(r, DIGITS, 18)}{_some(r, ALNUM, 4)} ",
    "IBANs with a wrong check digit": lambda r: f"GR{_some(r, DIGITS, 7)} ",
}
"""Texts that were found to cost the most, and those anybody would try. Each is the one string of a body."""

BODIES: dict[str, Callable[[random.Random], Any]] = {
    "numbers": lambda r: int("4" + _some(r, DIGITS, 15)),
    "short strings": lambda r: f"4{_some(r, DIGITS, 15)}",
    "short strings with escapes": lambda r: f"%4{r.randint(1, 9)}",
    "values under keys": lambda r: {"password": _some(r, ALNUM, 10)},
    "text blocks": lambda r: {"type": "text", "text": f"password={_some(r, ALNUM, 10)}"},
}
"""Bodies of a great many small things: what stands in their list."""


def crowd(name: str, size: int = MB, seed: int = 5) -> bytes:
    """About `size` bytes of one of BODIES."""
    random_, make = random.Random(seed), BODIES[name]
    count = size // len(json.dumps(make(random_), separators=(",", ":")))
    return json.dumps({"messages": [make(random_) for _ in range(count)]}, separators=(",", ":")).encode()


def flood(name: str, size: int = MB, seed: int = 5) -> str:
    random_, make = random.Random(seed), FLOODS[name]
    pieces: list[str] = []
    total = 0
    while total < size:
        pieces.append(make if isinstance(make, str) else make(random_))
        total += len(pieces[-1])
    return "".join(pieces)[:size]


def hard_negatives(count: int = 2_000, seed: int = 3) -> list[Text]:
    """Numbers and names of everyday systems that only look sensitive."""
    r = random.Random(seed)
    makers: dict[str, Callable[[], str]] = {
        "order number": lambda: f"order {r.randint(10**15, 10**16 - 1)} was shipped",
        "timestamp": lambda: f"ts={r.randint(1_700_000_000_000, 1_799_999_999_999)}",
        "commit": lambda: f"commit {r.getrandbits(160):040x}",
        "integrity": lambda: f'"integrity": "sha512-{_some(r, ALNUM + "+/", 86)}=="',
        "identifier": lambda: f'"id": {r.randint(10**11, 10**12)}',
        "UUID": lambda: f"trace {r.getrandbits(128):032x} done",
        "version": lambda: f"upgrade to {r.randint(1, 99)}.{r.randint(0, 99)}.{r.randint(0, 99)}.{r.randint(0, 9999)}",
        "part number": lambda: f"part {r.randint(100, 999)}-{r.randint(10, 99)}-{r.randint(1000, 9999)}",
        "password in code": lambda: f"password = self.{r.choice(NOUNS)}.get_{r.choice(NOUNS)}()",
        "token in code": lambda: f"token = tokens[{r.randint(0, 9)}].{r.choice(NOUNS)}  # {r.choice(VERBS)}",
        "template": lambda: f"api_key: ${{{r.choice(NOUNS).upper()}_API_KEY}}",
    }
    names = sorted(makers)
    kinds = [names[place % len(names)] for place in range(count)]
    return [Text(makers[kind](), [], [], False, kind, "made here") for kind in kinds]
