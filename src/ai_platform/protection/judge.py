"""Is an assigned value a secret? A logistic model over readable features; its weights are data (`secret_model.json`).

Second stage of the generic rules: candidates come from `assigned.py`. Trained by tools/train_secrets.py. Nothing here
knows a vendor. Above: rules/secrets_generic.py. Below: assigned.py.
"""

import re
from base64 import b85decode
from importlib import resources
from math import exp, log2
from zlib import decompress

import msgspec

from ai_platform.protection.assigned import Candidate
from ai_platform.protection.names import WORDS, read_name
from ai_platform.protection.tokens import TOKEN

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


_STAND_IN = re.compile(
    r"([^\W_])\1{5}|^<.*>$|[<\[{](?:your|my|the|insert|put|some|redacted)|^%[sdv]$|^\$\w+$|^\{\w*\}$|^@\w+@$|^your"
    r"|\\x[0-9a-f]{2}|&#\d|&[lg]t;|\?=$|^=\?|^u[0-9a-f]{4}|^0x[0-9a-f]{1,16}$"
)
"""Over lower case: what no real value looks like."""

_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|->)[A-Za-z_$][\w$]*)*\Z")
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
_UNQUOTED = frozenset({"url", "scheme", "flag", "user"})
_KINDS = {
    code: "l" if chr(code).islower() else "u" if chr(code).isupper() else "d" if chr(code).isdigit() else "s"
    for code in range(128)
}
_COSTS = [0.0, *(count * log2(count) for count in range(1, 256))]


class Judge:
    """score(candidate): probability that it is a secret; 0 for what cannot be one."""

    def __init__(self, model: Model) -> None:
        self.threshold = model.threshold
        self._weights = model.weights
        self._letters = decompress(b85decode(model.letters))

    def score(self, candidate: Candidate) -> float:
        if not plausible(candidate):
            return 0.0
        weights = self._weights
        total = weights.get("bias", 0.0)
        for feature in features(candidate, self._letters):
            total += weights.get(feature, 0.0)
        return 1 / (1 + exp(-max(-30.0, min(30.0, total))))


def plausible(candidate: Candidate) -> bool:
    """Cheap refusals: names that never hold a secret, stand-ins, expressions."""
    value = candidate.value
    name = read_name(candidate.name)
    if not name.secret or (len(value) < 12 and (value.isdigit() or (len(value) < 8 and not name.password))):
        return False
    if candidate.op == "(":  # a call: named after a secret as often as given one
        return bool(candidate.quote) and len(value) >= 12 and any(map(str.isdigit, value)) and not _stands_in(value)
    if not candidate.quote and candidate.op not in _UNQUOTED:
        if candidate.op == "," or candidate.after[:1] in {"(", "[", "{"}:
            return False
        if "." in value and _IDENTIFIER.match(value) is not None and sum(map(str.isdigit, value)) <= 2:
            return False
    return not _stands_in(value)


def _stands_in(value: str) -> bool:
    lowered = value.lower()
    return TOKEN.fullmatch(value) is not None or (
        lowered in WORDS.stand_ins
        or any(map(lowered.__contains__, WORDS.stand_in_parts))
        or _STAND_IN.search(lowered) is not None
    )


def features(candidate: Candidate, letters: bytes) -> list[str]:
    """What the model knows about a candidate, as the names of its weights."""
    value = candidate.value
    name = read_name(candidate.name)
    op = candidate.op if len(candidate.op) > 2 or candidate.op in _OPERATORS else "other"
    quoted = "q" if candidate.quote else "b"
    found = [
        *name.features,
        f"op:{op}",
        f"quote:{candidate.quote or 'none'}",
        f"{op}{quoted}",
        f"after:{'q' if candidate.quote else candidate.after[:1]}",
    ]
    lowered = value.lower()
    if len(candidate.name) > 3 and (
        candidate.name.lower() in lowered or any(len(token) > 3 and token in lowered for token in name.tokens)
    ):
        found.append("echo")
    return found + _texture(value, quoted, letters)


def _texture(value: str, quoted: str, letters: bytes) -> list[str]:
    size = len(value)
    kinds = value.translate(_KINDS) if value.isascii() else "".join(_KINDS.get(ord(char), "s") for char in value)
    digits, upper, lower = kinds.count("d"), kinds.count("u"), kinds.count("l")
    mask = ("l" if lower else "") + ("u" if upper else "") + ("d" if digits else "")
    mask += "s" if digits + upper + lower < size else ""
    costs = sum([_COSTS[value.count(char)] for char in set(value)])
    entropy = log2(size) - costs / size
    bits, wordy, total = likeness(value, letters)
    length = min(size, 12) if size < 12 else 16 if size < 20 else 24 if size < 32 else 40 if size < 64 else 64
    alike = kinds.replace("u", "l").replace("s", "l")
    return [
        f"len:{length}",
        f"mask:{mask}",
        f"mask:{mask}:{quoted}",
        f"entropy:{min(10, int(entropy * 2))}",
        f"digits:{digits * 4 // size}",
        f"alternations:{min(alike.count('dl') + alike.count('ld'), 8)}",
        f"bits:{min(18, int(bits * 2))}" if total else "bits:none",
        f"words:{wordy * 4 // total if total else 'none'}",
        f"letters:{min(total, 12)}",
        f"bits{min(18, int(bits * 2)) if total > 2 else 'none'}:{mask}",
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
    if not value[0].isdigit() and _IDENTIFIER.match(value) is not None:
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


def likeness(value: str, letters: bytes) -> tuple[float, int, int]:
    """(bits per letter under the statistics of words, letters in word-like runs, letters). Few bits = reads like words."""
    cost = wordy = total = steps = 0
    for run in _WORDS.findall(value):
        size = len(run)
        total += size
        if size < 2:
            cost += 7 * LEVEL
            steps += 1
            continue
        first = second = 26
        spent = 0
        for char in run.lower():
            third = ord(char) - 97
            spent += letters[(first * 27 + second) * 27 + third]
            first, second = second, third
        spent += letters[(first * 27 + second) * 27 + 26]
        cost += spent
        steps += size + 1
        if size >= 3 and spent < 5.0 * LEVEL * (size + 1):
            wordy += size
    return (cost / steps / LEVEL if steps else 0.0), wordy, total
