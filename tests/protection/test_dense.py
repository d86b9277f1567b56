"""Texts as full of values as anybody writes them are found whole; what is denser is refused, never let through."""

import json
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspecting import SECRET, inspect, new_guard, request, scanner

from ai_platform.domain.errors import Refused
from ai_platform.domain.finding import Direction
from ai_platform.protection import ProtectionSettings, Scanner
from ai_platform.protection.body import BodyInspector, Memo
from ai_platform.protection.checkdigits import luhn
from ai_platform.protection.literals import byte_offsets, decode
from ai_platform.protection.located import Located
from ai_platform.protection.overlaps import apart
from ai_platform.protection.rule import Hit
from ai_platform.protection.rules import ALL
from ai_platform.protection.scanner import TooManyValues

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
MOST = ProtectionSettings().most_values


def some(random_: random.Random, letters: str, count: int) -> str:
    return "".join(random_.choices(letters, k=count))


def card(random_: random.Random) -> str:
    start = "4" + some(random_, "0123456789", 14)
    return next(start + digit for digit in "0123456789" if luhn(start + digit))


def located(text: str) -> list[Located]:
    body = request(text)
    made = BodyInspector(Scanner(scanner().plan, secret=SECRET, most_values=MOST), Memo(100, SECRET))
    *_, result = made.whole(body, Direction.INPUT, None)
    assert made.scanner.cut_short == 0
    assert result is not None
    return result.located


def test_every_secret_of_an_env_file_is_found() -> None:
    random_ = random.Random(1)
    secrets = [some(random_, LETTERS, 32) for _ in range(60)]
    text = "".join(f"SERVICE_{number}_SECRET={secret}\n" for number, secret in enumerate(secrets))
    assert {item.value for item in located(text)} == set(secrets)


def test_every_key_of_a_dump_of_api_keys_is_found() -> None:
    random_ = random.Random(2)
    keys = [some(random_, LETTERS, 40) for _ in range(500)]
    alone = {key for key in keys if scanner().scan(f'"api_key": "{key}"')}
    assert len(alone) > 490  # a few read like something else
    rows = [{"id": number, "owner": f"team {number}", "api_key": key} for number, key in enumerate(keys)]
    assert {item.value for item in located(json.dumps(rows, indent=1))} == alone


def test_every_card_and_number_of_a_table_of_customers_is_found() -> None:
    random_ = random.Random(3)
    rows = [
        (card(random_), f"{random_.randint(101, 665)}-{random_.randint(10, 99)}-{random_.randint(1000, 9999)}")
        for _ in range(2_000)
    ]
    table = "name;city;card;ssn\n" + "".join(f"Ada Ames;Oslo;{number};{ssn}\n" for number, ssn in rows)
    assert {value for row in rows for value in row} <= {item.value for item in located(table)}


def test_a_text_that_is_nothing_but_values_is_refused() -> None:
    random_ = random.Random(4)
    text = " ".join(card(random_) for _ in range(4_100))
    guard = new_guard()
    with pytest.raises(Refused):
        inspect(request(text), guard=guard)
    assert guard.refused_unfinished == 1
    with pytest.raises(TooManyValues, match="10,000"):
        located(text)


def test_hits_that_all_overlap_are_settled_in_steps_as_they_would_be_at_once() -> None:
    random_ = random.Random(5)
    hits = [Hit(begin, begin + random_.randint(1, 900), random_.choice(ALL)) for begin in range(0, 3_000, 3)]

    def rank(hit: Hit) -> tuple[bool, int, int, int, str]:
        return False, 0, hit.start - hit.end, hit.start, hit.rule.id

    steps, pauses = apart(hits, rank), 0
    while True:
        try:
            next(steps)
            pauses += 1
        except StopIteration as end:
            taken = end.value
            break
    assert pauses >= 3
    assert all(one.end <= two.start for one, two in pairwise(taken))
    for hit in hits:
        beside = [other for other in taken if other.start < hit.end and hit.start < other.end]
        assert beside
        assert min(map(rank, beside)) <= rank(hit)


PIECES = st.sampled_from(
    [
        b"a",
        b"4111",
        b"\\n",
        b'\\"',
        b"\\\\",
        b"\\u0034",
        b"\\ud83d\\ude00",
        b"\\ud83d",
        "é４😀".encode(),
        b"\xff",
        b"\xe0\x80",
    ]
)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=12), st.integers(1, 4_000))
def test_places_in_the_text_are_those_in_its_bytes_however_it_is_written(pieces: list[bytes], times: int) -> None:
    raw = b"".join(pieces) * (times if len(pieces) < 4 else 1)
    text = decode(raw)
    wanted = sorted({0, len(text) // 3, len(text) // 2, max(0, len(text) - 1), len(text)})
    found = byte_offsets(raw, wanted)
    assert found[-1] == len(raw)
    for (one, two), (begin, end) in zip(pairwise(wanted), pairwise(found), strict=True):
        assert decode(raw[begin:end]) == text[one:two]
