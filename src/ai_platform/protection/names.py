"""What the name of a value says: may it be a secret, and how sure is that name? Words are data (`secret_words.json`).

Above: judge.py, rules/secrets_generic.py. Below: nothing.
"""

import re
from functools import lru_cache
from importlib import resources

import msgspec


class Vocabulary(msgspec.Struct, frozen=True):
    """secret_words, secret_endings: name a secret. about_words: at the end of a name, say that it is only about one.

    weak_words: name many things that are no secrets too. derived_words: what can be made from a secret and shown. counted_words: before `token`, which is then no secret.
    stand_ins, stand_in_parts: values, and parts of values, that stand for one.
    """

    secret_words: frozenset[str]
    secret_endings: tuple[str, ...]
    about_words: frozenset[str]
    password_words: frozenset[str]
    weak_words: frozenset[str]
    derived_words: frozenset[str]
    counted_words: frozenset[str]
    words_before_key: frozenset[str]
    stand_ins: frozenset[str]
    stand_in_parts: tuple[str, ...]


def _load() -> Vocabulary:
    source = resources.files("ai_platform.protection") / "secret_words.json"
    return msgspec.json.decode(source.read_bytes(), type=Vocabulary)


WORDS = _load()
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_KEY_ID = (("access", "key", "id"), ("accesskey", "id"))
_PASSWORD_ENDINGS = ("password", "passwd", "pass", "pwd")


class Name(msgspec.Struct, frozen=True):
    """tokens: its last four words, lower case. secret: may it name one? password: does it say so? weak: barely so?

    features: what the model knows about the name.
    """

    tokens: tuple[str, ...]
    secret: bool
    password: bool
    weak: bool
    features: tuple[str, ...]


@lru_cache(maxsize=4096)
def read_name(name: str) -> Name:
    """The words of an identifier: `AWS_secretKey` -> aws, secret, key. Few names make up most texts, so it is cached."""
    words = tuple(word.lower() for word in _WORD.findall(name))
    tokens = words[-4:]
    password = any(token in WORDS.password_words or token.endswith(_PASSWORD_ENDINGS) for token in tokens)
    features = tuple(f"n:{token}" for token in tokens)
    if tokens:
        features += (f"last:{tokens[-1]}",)
    telling = [token for token in tokens if token in WORDS.secret_words or token.endswith(WORDS.secret_endings)]
    weak = WORDS.weak_words.issuperset(telling)
    return Name(tokens, _may_name_a_secret(words, tokens), password, weak, features)


def _may_name_a_secret(words: tuple[str, ...], tokens: tuple[str, ...]) -> bool:
    """Does one of the last words stand for a secret itself, not for something about or derived from it?"""
    if not tokens:
        return False
    if tokens[-3:] in _KEY_ID or tokens[-2:] in _KEY_ID:
        return True
    last = tokens[-1]
    if last in WORDS.about_words or not WORDS.derived_words.isdisjoint(tokens):
        return False
    if "encoded" in tokens and last in WORDS.password_words:
        return False  # a hash
    if last in {"key", "keys"} and len(tokens) > 1 and tokens[-2] in WORDS.words_before_key:
        return False
    if last in {"token", "tokens"} and not WORDS.counted_words.isdisjoint(words[:-1]):
        return False
    return any(token in WORDS.secret_words or token.endswith(WORDS.secret_endings) for token in tokens)
