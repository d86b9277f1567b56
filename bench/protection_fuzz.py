"""Search for texts that cost the most: units of fragments the detectors react to, changed at random, the dearest kept.

Run: python bench/protection_fuzz.py [--minutes 2] [--size 100000] [--seed 1] [--least 5]
Prints the dearest units found, with megabytes a second when each is repeated to `size` and to ten times that; exit code
1 when one is slower than `least`. In a unit \\x01 stands for a digit, \\x02 for a letter or digit, \\x03 for a small
hexadecimal one and \\x04 for a small letter: another one at random each time, so that no value comes twice.
What it found is kept in FLOODS of protection_data.py and tests/protection/test_work.py.
"""

import argparse
import random
import re
import sys
import time

from protection_data import ALNUM, DIGITS, LOWER, MB, body
from protection_speed import PLAN, SECRET, inspect

from ai_platform.protection import ProtectionSettings, Scanner
from ai_platform.protection.judge import trained
from ai_platform.protection.rules import ALL

PIECES = (
    *"0123456789abcdefABCDEF \n\t\"'`=:,;.@/\\%-_+#$&*()[]{}<>|~^?!",
    *("\u200b", "\u0664", "\uff14", "\u2013", "é", "\\u0034", "%34", "\\n"),
    *("password=", "token: ", "api_key = ", "Bearer ", "Basic ", "://u:", "-----BEGIN ", "eyJ", "AKIA", "ghp_", "DE89"),
    *("ssn ", "card ", "iban ", "phone ", "account number ", "+1", "4111", "192.168.", "==", "QUJD", "Zm9v"),
)
WORDS = tuple(piece for rule in ALL for piece in (*rule.starts, *rule.examples) if len(piece) < 60)
KINDS = {"\1": DIGITS, "\2": ALNUM, "\3": DIGITS + "abcdef", "\4": LOWER}
_KIND = re.compile("[\1-\4]")
_TAIL = re.compile(r"[A-Za-z0-9]{4,}\W*\Z")


def unit(random_: random.Random) -> str:
    return "".join(random_.choice(random_.choice((PIECES, PIECES, WORDS))) for _ in range(random_.randint(1, 8)))


def changed(random_: random.Random, text: str) -> str:
    place = random_.randint(0, len(text))
    kind = random_.randrange(5)
    if kind == 3:
        return text[:place] + random_.choice(list(KINDS)) * random_.choice((4, 10, 16, 24, 40, 64)) + text[place:]
    if kind == 4:
        return loosened(random_, text)
    if kind == 0:
        return text[:place] + random_.choice(random_.choice((PIECES, WORDS))) + text[place:]
    if kind == 1 and len(text) > 1:
        return text[:place] + text[place + random_.randint(1, 4) :]
    return text[:place] + random_.choice(PIECES) + text[place + 1 :]


def loosened(random_: random.Random, text: str) -> str:
    """`text` with the digits, or the letters and digits, from some place on at random each time."""
    place = random_.randint(0, len(text))
    if random_.random() < 0.5:
        return text[:place] + re.sub("[0-9]", "\1", text[place:])
    return text[:place] + _TAIL.sub(lambda tail: re.sub("[A-Za-z0-9]", "\2", tail.group()), text[place:])


def repeated(text: str, size: int) -> str:
    """`text` repeated to `size` characters."""
    random_ = random.Random(5)
    whole = (text * (size // len(text) + 1))[:size]
    return _KIND.sub(lambda kind: random_.choice(KINDS[kind.group()]), whole)


def speed(scanner: Scanner, text: str, size: int, rounds: int = 1) -> float:
    """Megabytes a second of `text` repeated to `size`."""
    raw = body([{"role": "user", "content": repeated(text, size)}])
    least = float("inf")
    for _ in range(rounds):
        trained().known.clear()
        started = time.process_time()
        inspect(scanner, raw)
        least = min(least, time.process_time() - started)
    return len(raw) / MB / least


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=float, default=5, help="megabytes a second")
    arguments = parser.parse_args()
    random_ = random.Random(arguments.seed)
    scanner = Scanner(PLAN, secret=SECRET, most_values=ProtectionSettings().most_values)
    kept: dict[str, float] = {}
    until = time.monotonic() + arguments.minutes * 60
    tried = 0
    while time.monotonic() < until:
        text = unit(random_) if not kept or random_.random() < 0.3 else changed(random_, random_.choice(list(kept)))
        if not text or text in kept:
            continue
        tried += 1
        kept[text] = speed(scanner, text, arguments.size)
        if len(kept) > 24:
            del kept[max(kept, key=lambda each: kept[each])]
    small, large = (
        {text: speed(scanner, text, size, 3) for text in kept} for size in (arguments.size, arguments.size * 10)
    )
    print(f"{tried} units tried; the dearest, MB/s when repeated to {arguments.size:,} and {arguments.size * 10:,}:")
    for text in sorted(kept, key=lambda each: min(small[each], large[each]))[:12]:
        print(f"  {small[text]:7.2f} {large[text]:7.2f}  {text!r}")
    return 1 if min(*small.values(), *large.values()) < arguments.least else 0


if __name__ == "__main__":
    sys.exit(main())
