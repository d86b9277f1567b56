"""Is an assigned value a secret? A logistic model over readable features; its weights are data (`secret_model.json`).

Second stage of the generic rules: candidates come from `assigned.py`. Trained by tools/train_secrets.py. Nothing here
knows a vendor. Above: rules/secrets_generic.py. Below: assigned.py.
"""

import re
from base64 import b85decode
from collections import Counter
from importlib import resources
from math import exp, log2
from zlib import decompress

import msgspec

from ai_platform.protection.assigned import Candidate

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
    r"(?i)x{4}|\*{3}|\.{3}|#{4}|(.)\1{5}|^<.*>$|[<\[{](?:your|my|the|insert|put|some|redacted)|\$\{|\{\{|\$\(|%\(|^%[sdv]$|^\$\w+$|^\{\w*\}$|^@\w+@$"
    r"|your[_ -]?|example|sample|placeholder|redacted|change_?me|replace|insert|todo|dummy|fixme|foobar|lorem|abcdef"
    r"|^(?:none|null|nil|true|false|undefined|string|str|int|integer|bool|boolean|object|array|number|default|required|optional"
    r"|void|any|self|this|env|text|password|passwd|secret|token|key|value|test|admin|root|guest|user|username|pass|pwd|auth|bearer|basic|await|async|function|new|return|lambda|typeof|raise|import|from)$"
    r"|\\x[0-9a-f]{2}|&#\d|&[lg]t;|\?=$|^=\?|^u[0-9a-f]{4}|^0x[0-9a-f]{1,16}$"
)
_SECRET_WORDS = frozenset(
    ["password", "passwords", "passwd", "pass", "pwd", "psw", "pw", "passphrase", "passcode", "passwort", "kennwort", "contrasena", "senha", "mdp", "secret", "secrets", "token", "tokens", "key", "keys", "apikey", "apikeys", "auth", "authorization", "authorisation", "authentication", "cred", "creds", "credential", "credentials", "bearer", "session", "cookie", "cookies", "otp", "totp", "hotp", "seed", "webhook", "jwt", "pin", "connstr", "login"]
)
_SECRET_ENDINGS = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "tokens",
    "key",
    "keys",
    "pass",
    "pwd",
    "pw",
    "auth",
    "cred",
)
_LAST = frozenset(
    ["id", "ids", "name", "names", "file", "filename", "path", "dir", "url", "uri", "urls", "type", "types", "length", "len", "size", "sizes", "count", "field", "fields", "label", "prefix", "suffix", "format", "version", "versions", "class", "method", "methods", "endpoint", "host", "port", "expiry", "expires", "expiration", "expire", "timeout", "ttl", "limit", "limits", "usage", "regex", "pattern", "error", "errors", "msg", "message", "title", "text", "hint", "help", "description", "desc", "column", "table", "provider", "manager", "service", "services", "store", "storage", "request", "response", "policy", "rule", "rules", "mode", "enabled", "required", "header", "headers", "algorithm", "alg", "fingerprint", "hash", "hashes", "checksum", "digest", "index", "list", "map", "dict", "set", "group", "ref", "user", "username", "usernames", "email", "domain", "region", "zone", "wrap", "ring", "word", "words", "board", "down", "up", "press", "code", "codes", "vault", "pair", "pairs", "input", "output", "form", "page", "view", "controller", "handler", "parser", "event", "events", "status", "state", "action", "callback", "function", "func", "char", "chars", "size", "bits", "curve", "point", "points", "info", "data", "source", "scope", "scopes", "schema", "spec", "model", "signature", "sig", "nonce", "salt", "iv", "tag", "tags", "date", "time", "timestamp", "at", "by", "count", "number", "num", "func", "test", "tests", "op", "kind"]
)
_PASSWORD_WORDS = frozenset(
    ["password", "passwords", "passwd", "pass", "pwd", "psw", "pw", "passphrase", "passwort", "kennwort", "contrasena", "senha", "mdp", "auth", "pin"]
)
_DERIVED = frozenset(
    ["public", "pub", "hash", "hashed", "sha", "sha1", "sha2", "sha256", "sha512", "md5", "bcrypt", "encrypted", "otpauth", "fingerprint", "monkey", "monkeys", "turkey", "donkey", "hockey", "whiskey", "jockey"]
)
_COUNTED = frozenset(
    ["max", "min", "num", "total", "input", "output", "prompt", "completion", "cached", "used", "budget", "next", "prev", "previous", "left", "right", "open", "close", "stop", "special", "start", "end", "begin", "eos", "bos", "pad", "sep", "unk", "mask", "syntax", "lexer", "parser"]
)
_BEFORE_KEY = frozenset(
    ["foreign", "primary", "sort", "range", "partition", "cache", "sub", "row", "query", "routing", "lookup", "field", "column", "index", "object", "dict", "map", "json", "composite", "unique", "hot", "arrow", "shift", "control", "ctrl", "alt", "meta", "enter", "escape"]
)
_KEY_ID = (["access", "key", "id"], ["accesskey", "id"])


def name_tokens(name: str) -> list[str]:
    """The words of an identifier, lower case: `AWS_secretKey` -> aws, secret, key."""
    return [token.lower() for token in _WORDS.findall(name)]


def _says_password(tokens: list[str]) -> bool:
    return any(
        token in _PASSWORD_WORDS or token.endswith(("password", "passwd", "pass", "pwd")) for token in tokens[-4:]
    )


def may_name_a_secret(tokens: list[str]) -> bool:
    """Does one of the last words stand for a secret itself, not for something about or derived from it?"""
    if not tokens:
        return False
    if tokens[-3:] in _KEY_ID or tokens[-2:] in _KEY_ID:
        return True
    last = tokens[-1]
    if (
        last in _LAST
        or not _DERIVED.isdisjoint(tokens[-4:])
        or (last in {"key", "keys"} and len(tokens) > 1 and tokens[-2] in _BEFORE_KEY)
    ):
        return False
    if last in {"tokens", "token"} and not _COUNTED.isdisjoint(tokens[:-1]):
        return False
    return any(token in _SECRET_WORDS or token.endswith(_SECRET_ENDINGS) for token in tokens[-4:])


_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|->)[A-Za-z_$][\w$]*)*\Z")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_HEX = re.compile(r"(?:0x)?(?:[0-9a-f]+|[0-9A-F]+)\Z")
_UUID = re.compile(r"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_FILE = re.compile(
    r"(?i)\.(?:py|js|json|ya?ml|txt|pem|crt|cer|key|p12|pfx|jks|html?|php|rb|go|java|png|jpg|csv|xml|toml|cfg|conf|md|com|org|net|io)\Z"
)
_SHAPES = (
    ("url", re.compile(r"\w+://|^www\.")),
    ("path", re.compile(r"^[./~\\]|/\w+/|\\\w+\\|^[A-Z]:\\")),
    ("hash", re.compile(r"^\$(?:2[aby]|1|5|6|argon2\w*|pbkdf2)\$|^\{SSHA\}|^sha\d+[-=:]|^md5[-=:]")),
    ("date", re.compile(r"^\d{4}-\d\d-\d\d|^\d\d:\d\d")),
    ("version", re.compile(r"^v?\d+(?:\.\d+)+")),
    ("email", re.compile(r"^[^@\s]+@[^@\s]+\.[a-z]+$")),
    ("arn", re.compile(r"^arn:|^urn:|^[a-z]+:[a-z]+:")),
    ("space", re.compile(r"\s")),
    ("template", re.compile(r"[{}$%<>]")),
    ("comma", re.compile(r",")),
    ("snake", re.compile(r"^[A-Za-z]+(?:[_-][A-Za-z]+)+\d{0,2}$")),
    ("camel", re.compile(r"^[a-z]+(?:[A-Z][a-z]+)+\d{0,2}$|^(?:[A-Z][a-z]+){2,}\d{0,2}$")),
    ("caps", re.compile(r"^[A-Z]+(?:_[A-Z]+)*$")),
    ("number", re.compile(r"^[\d.,:+-]+$")),
    ("base32", re.compile(r"^[A-Z2-7]{16,}={0,6}$")),
    ("long64", re.compile(r"^[A-Za-z0-9+/_-]{20,}={0,2}$")),
)


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
    """Cheap refusals: stand-ins, expressions, names that never hold a secret."""
    value = candidate.value
    if _STAND_IN.search(value) is not None or (len(value) < 12 and value.isdigit()):
        return False
    tokens = name_tokens(candidate.name)
    if not may_name_a_secret(tokens) or (len(value) < 8 and not _says_password(tokens)):
        return False
    if candidate.op == "(":  # a call: named after a secret as often as given one
        return bool(candidate.quote) and len(value) >= 12 and any(map(str.isdigit, value))
    if candidate.quote or candidate.op in {"url", "scheme", "flag", "user"}:
        return True
    if candidate.op == "," or candidate.after[:1] in {"(", "[", "{"}:
        return False
    return "." not in value or _IDENTIFIER.match(value) is None or sum(map(str.isdigit, value)) > 2


def features(candidate: Candidate, letters: bytes) -> list[str]:
    value, name = candidate.value, candidate.name
    tokens = name_tokens(name)[-4:]
    found = [f"n:{token}" for token in tokens]
    if tokens:
        found.append(f"last:{tokens[-1]}")
    op = (
        candidate.op
        if len(candidate.op) > 2 or candidate.op in {"=", ":", "==", ":=", "=>", ",", "(", ">"}
        else "other"
    )
    quoted = "q" if candidate.quote else "b"
    found += [
        f"op:{op}",
        f"quote:{candidate.quote or 'none'}",
        f"{op}{quoted}",
        f"after:{candidate.after[:1] if not candidate.quote else 'q'}",
    ]
    found += [shape for shape, pattern in _SHAPES if pattern.search(value) is not None]
    if _IDENTIFIER.match(value) is not None:
        found.append(f"identifier:{quoted}")
    if _FILE.search(value) is not None:
        found.append("file")
    if _HEX.match(value) is not None and any(map(str.isdigit, value)):
        found.append(f"hex{len(value)}" if len(value) in (16, 32, 40, 64, 128) else "hex")
    if _UUID.match(value) is not None:
        found.append("uuid")
    lowered = value.lower()
    if len(name) > 3 and (name.lower() in lowered or any(len(token) > 3 and token in lowered for token in tokens)):
        found.append("echo")
    return found + _texture(value, quoted, letters)


def _texture(value: str, quoted: str, letters: bytes) -> list[str]:
    size = len(value)
    digits = sum(map(str.isdigit, value))
    upper, lower = sum(map(str.isupper, value)), sum(map(str.islower, value))
    mask = ("l" if lower else "") + ("u" if upper else "") + ("d" if digits else "")
    mask += "s" if digits + upper + lower < size else ""
    counts = Counter(value)
    entropy = -sum(n / size * log2(n / size) for n in counts.values())
    bits, wordy, total = likeness(value, letters)
    length = min(size, 12) if size < 12 else 16 if size < 20 else 24 if size < 32 else 40 if size < 64 else 64
    alternations = sum(value[i].isdigit() != value[i + 1].isdigit() for i in range(size - 1))
    return [
        f"len:{length}",
        f"mask:{mask}",
        f"mask:{mask}:{quoted}",
        f"entropy:{min(10, int(entropy * 2))}",
        f"digits:{digits * 4 // size}",
        f"alternations:{min(alternations, 8)}",
        f"bits:{min(18, int(bits * 2))}" if total else "bits:none",
        f"words:{wordy * 4 // total if total else 'none'}",
        f"letters:{min(total, 12)}",
        f"bits{min(18, int(bits * 2)) if total > 2 else 'none'}:{mask}",
    ]


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
