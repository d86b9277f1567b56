"""Is an assigned value a secret? A logistic model over readable features; its weights are data (`secret_model.json`).

Second stage of the generic rules: candidates come from `assigned.py`. Trained by tools/train_secrets.py. Nothing here
knows a vendor. Above: rules/secrets_generic.py. Below: assigned.py.
"""

import re
from base64 import b85decode
from collections import Counter
from functools import cache, lru_cache
from importlib import resources
from math import exp, log2
from zlib import decompress

import msgspec

from ai_platform.protection.assigned import LONGEST_VALUE, Candidate
from ai_platform.protection.names import read_name
from ai_platform.protection.plausible import IDENTIFIER, encoded_text, plausible

ALPHABET = "abcdefghijklmnopqrstuvwxyz^"
LEVEL = 2
"""Letter statistics are stored as minus log2 of the probability, times LEVEL, at most 63."""


class Model(msgspec.Struct, frozen=True):
    """letters: base85 of the deflated table, one byte for each (letter before last, last letter, letter).

    weights: feature -> weight; `bias` is one of them. threshold: the score from which a value counts as a secret.
    """

    letters: str
    weights: dict[str, float]
    threshold: float


def load_model() -> Model:
    source = resources.files("ai_platform.protection") / "secret_model.json"
    return msgspec.json.decode(source.read_bytes(), type=Model)


_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_HEX = re.compile(r"(?:0x)?(?:[0-9a-f]+|[0-9A-F]+)\Z")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.IGNORECASE)
_FILE = re.compile(
    r"\.(?:py|js|json|ya?ml|txt|pem|crt|cer|key|p12|pfx|jks|html?|php|rb|go|java|png|jpg|csv|xml|toml|cfg|conf|md|com|org"
    r"|net|io)\Z",
    re.IGNORECASE,
)
_PATH = re.compile(r"[./~\\]|[^/\\]*/\w+/|.*\\\w+\\|[A-Z]:\\")
_HASH = re.compile(r"\$(?:2[aby]|1|5|6|argon2\w*|pbkdf2)\$|\{SSHA\}|sha\d+[-=:]|md5[-=:]")
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d\d:\d\d")
_VERSION = re.compile(r"v?\d+(?:\.\d+)+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[a-z]+\Z")
_URN = re.compile(r"arn:|urn:|[a-z]+:[a-z]+:")
_SPACE = re.compile(r"\s")
_TEMPLATE = re.compile(r"[{}$%<>]")
_SNAKE = re.compile(r"[A-Za-z]+(?:[_-][A-Za-z]+)+\d{0,2}\Z")
_CAMEL = re.compile(r"[a-z]+(?:[A-Z][a-z]+)+\d{0,2}\Z|(?:[A-Z][a-z]+){2,}\d{0,2}\Z")
_CAPS = re.compile(r"[A-Z]+(?:_[A-Z]+)*\Z")
_NUMBER = re.compile(r"[\d.,:+-]+\Z")
_BASE32 = re.compile(r"[A-Z2-7]{16,}={0,6}\Z")
_LONG = re.compile(r"[A-Za-z0-9+/_-]{20,}={0,2}\Z")
_OPERATORS = frozenset({"=", ":", "==", ":=", "=>", ",", "(", ">"})
_KINDS = (
    bytes(
        ord("l" if chr(code).islower() else "u" if chr(code).isupper() else "d" if chr(code).isdigit() else "s")
        for code in range(128)
    )
    + b"s" * 128
)
_DIGIT_OR_NOT = bytes.maketrans(b"us", b"ll")
_COSTS = [0.0, *(count * log2(count) for count in range(1, 256))]


_MOST_KNOWN = 256
_TELLING = slice(2, None)
"""What of a candidate matters: all but where it stands."""


class Judge:
    """score(candidate): probability that it is a secret; 0 for what cannot be one. weights, letters: see Model."""

    def __init__(self, model: Model) -> None:
        self.threshold = model.threshold
        self.weights = model.weights
        self.letters = decompress(b85decode(model.letters))
        self.known: dict[tuple[object, ...], float] = {}

    def score(self, candidate: Candidate) -> float:
        told = msgspec.structs.astuple(candidate)[_TELLING]
        known = self.known.get(told)
        if known is None:
            if len(self.known) >= _MOST_KNOWN:
                self.known.clear()
            known = self.known[told] = self._score(candidate)
        return known

    def _score(self, candidate: Candidate) -> float:
        if not plausible(candidate):
            return 0.0
        plain = encoded_text(candidate.value)
        if plain is not None and not self._likely_text(plain):
            return 0.0
        known = self.weights.get
        total = known("bias", 0.0) + sum(filter(None, map(known, features(candidate, self.letters))))
        return 1 / (1 + exp(-max(-30.0, min(30.0, total))))

    def _likely_text(self, plain: str) -> bool:
        """May what was encoded be a secret? Of a name and a password the password decides (RFC 7617)."""
        user, _, password = plain.rstrip().partition(":")
        value = password or user
        if " " in value or "\n" in value or len(value) < 3:
            return False
        shown = value[:LONGEST_VALUE]
        return self.score(Candidate(0, len(shown), shown, "password", "spoken", "'", "'")) >= self.threshold


@cache
def trained() -> Judge:
    """The judge of the model that comes with the package."""
    return Judge(load_model())


def likely_password(value: str) -> bool:
    """Is a word that stands where a password does likely one, and no stand-in?"""
    judge = trained()
    shown = value[:LONGEST_VALUE]
    return judge.score(Candidate(0, len(shown), shown, "password", "spoken", "'", "'")) >= judge.threshold


@lru_cache(maxsize=1024)
def _place(op: str, quote: str, after: str) -> tuple[str, ...]:
    """What the model knows of where a value stands; there are few such places."""
    op = op if len(op) > 2 or op in _OPERATORS else "other"
    quoted = "q" if quote else "b"
    return f"op:{op}", f"quote:{quote or 'none'}", f"{op}{quoted}", f"after:{'q' if quote else after}"


def features(candidate: Candidate, letters: bytes) -> list[str]:
    """What the model knows about a candidate, as the names of its weights."""
    value = candidate.value
    name = read_name(candidate.name)
    quoted = "q" if candidate.quote else "b"
    found = [*name.features, *_place(candidate.op, candidate.quote, candidate.after[:1])]
    lowered = value.lower()
    if len(candidate.name) > 3 and (
        candidate.name.lower() in lowered or any(len(token) > 3 and token in lowered for token in name.tokens)
    ):
        found.append("echo")
    return found + _texture(value, quoted, letters)


_ENOUGH = 64
"""So much of a value tells how it is made."""


def _length(size: int) -> int:
    return size if size < 12 else 16 if size < 20 else 24 if size < 32 else 40 if size < 64 else 64


_MASKS = ["".join(kind for bit, kind in enumerate("luds") if number >> bit & 1) for number in range(16)]
# the names of features are looked up, as they are needed for every candidate
_LENGTH_NAMES = [f"len:{_length(size)}" for size in range(_ENOUGH + 1)]
_MASK_NAMES = [{quoted: f"mask:{mask}:{quoted}" for quoted in "qb"} for mask in _MASKS]
_ENTROPY_NAMES = [f"entropy:{steps}" for steps in range(11)]
_DIGIT_NAMES = [f"digits:{quarter}" for quarter in range(5)]
_ALTERNATION_NAMES = [f"alternations:{count}" for count in range(9)]
_LETTER_NAMES = [f"letters:{count}" for count in range(13)]
_WORD_NAMES = [f"words:{quarter}" for quarter in range(5)]
_BIT_NAMES = [f"bits:{steps}" for steps in range(19)]
_BIT_MASK_NAMES = [[f"bits{steps}:{mask}" for mask in _MASKS] for steps in range(19)]
_NO_BITS = [f"bitsnone:{mask}" for mask in _MASKS]


def _texture(value: str, quoted: str, letters: bytes) -> list[str]:
    value = value[:_ENOUGH]
    size = len(value)
    kinds = value.encode("ascii", "replace").translate(_KINDS)
    digits, upper, lower = kinds.count(b"d"), kinds.count(b"u"), kinds.count(b"l")
    number = (lower > 0) + 2 * (upper > 0) + 4 * (digits > 0) + 8 * (digits + upper + lower < size)
    mask = _MASKS[number]
    entropy = log2(size) - sum(map(_COSTS.__getitem__, Counter(value).values())) / size
    bits, wordy, total = likeness(value, letters)
    steps = min(18, int(bits * 2))
    alike = kinds.translate(_DIGIT_OR_NOT)
    return [
        _LENGTH_NAMES[size],
        f"mask:{mask}",
        _MASK_NAMES[number][quoted],
        _ENTROPY_NAMES[min(10, int(entropy * 2))],
        _DIGIT_NAMES[digits * 4 // size],
        _ALTERNATION_NAMES[min(alike.count(b"dl") + alike.count(b"ld"), 8)],
        _BIT_NAMES[steps] if total else "bits:none",
        _WORD_NAMES[wordy * 4 // total] if total else "words:none",
        _LETTER_NAMES[min(total, 12)],
        _BIT_MASK_NAMES[steps][number] if total > 2 else _NO_BITS[number],
        *_shapes(value, quoted, mask),
    ]


def _shapes(value: str, quoted: str, mask: str) -> list[str]:
    """Shapes a value may have. mask: which kinds of characters it holds; spares most of the tests."""
    found: list[str] = []
    if "s" in mask:
        found += [name for name, mark, shape in _MARKED if mark in value and shape.match(value) is not None]
        found += [name for name, shape in _SPOTTED if shape.search(value) is not None]
    if "d" in mask:
        found += [name for name, shape in _NUMBERED if shape.match(value) is not None]
        if _HEX.match(value) is not None:
            found.append(f"hex{len(value)}" if len(value) in {16, 32, 40, 64, 128} else "hex")
    elif _CAPS.match(value) is not None:
        found.append("caps")
    if "l" in mask and "u" in mask and _CAMEL.match(value) is not None:
        found.append("camel")
    if len(value) >= 16 and _BASE32.match(value) is not None:
        found.append("base32")
    if len(value) >= 20 and _LONG.match(value) is not None:
        found.append("long64")
    if not value[0].isdigit() and IDENTIFIER.match(value) is not None:
        found.append(f"identifier:{quoted}")
    return found


_MARKED = (
    ("url", "://", re.compile("")),
    ("path", "/", _PATH),
    ("path", "\\", _PATH),
    ("hash", "$", _HASH),
    ("hash", "{", _HASH),
    ("hash", ":", _HASH),
    ("email", "@", _EMAIL),
    ("arn", ":", _URN),
    ("comma", ",", re.compile("")),
    ("snake", "_", _SNAKE),
    ("snake", "-", _SNAKE),
    ("uuid", "-", _UUID),
)
_SPOTTED = (("space", _SPACE), ("template", _TEMPLATE), ("file", _FILE))
_NUMBERED = (("date", _DATE), ("version", _VERSION), ("number", _NUMBER))


_LETTER_CODES = bytes(
    26 if chr(code) == "^" else (code | 32) - 97 if chr(code).isalpha() else 0 for code in range(128)
) + bytes(128)
"""ASCII letter or `^` -> its place in ALPHABET."""

_CODE_BITS, _LANE_BITS = 5, 16


@lru_cache(maxsize=4)
def _spread(letters: bytes) -> tuple[int, ...]:
    """`letters` with five bits for each of the three; nothing for the end of one word before the next."""
    spread = [0] * (1 << 3 * _CODE_BITS)
    for number, cost in enumerate(letters):
        first, second, third = number // 729, number // 27 % 27, number % 27
        if (second, third) != (26, 26):
            spread[first << 2 * _CODE_BITS | second << _CODE_BITS | third] = cost
    return tuple(spread)


def likeness(value: str, letters: bytes) -> tuple[float, int, int]:
    """(bits per letter under the statistics of words, letters in word-like runs, letters). Few bits = reads like words."""
    runs = _WORDS.findall(value)
    total = len("".join(runs))
    longer = [run for run in runs if len(run) > 1]
    single = len(runs) - len(longer)
    # all runs at once: sixteen bits for each letter, with those of the two behind it
    codes = f"^^{'^^'.join(longer)}^".encode().translate(_LETTER_CODES)
    lanes = int.from_bytes(codes.decode("latin-1").encode("utf-16-le"), "little")
    triples = lanes << 2 * _CODE_BITS | lanes >> _LANE_BITS - _CODE_BITS | lanes >> 2 * _LANE_BITS
    keys = memoryview((triples & (1 << _LANE_BITS * len(codes)) - 1).to_bytes(2 * len(codes), "little")).cast("H")[:-2]
    spread = _spread(letters)
    costs = [spread[key] for key in keys]
    steps = single + sum(map(len, longer)) + len(longer)
    cost = 7 * LEVEL * single + sum(costs)
    wordy, at = 0, 0
    for run in longer:
        size = len(run)
        if size >= 3 and sum(costs[at : at + size + 1]) < 5.0 * LEVEL * (size + 1):
            wordy += size
        at += size + 2
    return (cost / steps / LEVEL if steps else 0.0), wordy, total
