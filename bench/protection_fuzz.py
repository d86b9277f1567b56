"""Search for texts that cost the most: units of fragments the detectors react to, changed at random, the dearest kept.

Run: python bench/protection_fuzz.py [--minutes 2] [--size 100000] [--seed 1] [--least 5]
Prints the dearest units found, with megabytes a second when each is repeated to `size`; exit code 1 when one is slower
than `least`. What it found is kept in FLOODS of protection_data.py and tests/protection/test_work.py.
"""

import argparse
import random
import sys
import time

from protection_data import MB, body
from protection_speed import PLAN, SECRET, inspect

from ai_platform.protection import ProtectionSettings, Scanner
from ai_platform.protection.rules import ALL

PIECES = (
    *"0123456789abcdefABCDEF \n\t\"'`=:,;.@/\\%-_+#$&*()[]{}<>|~^?!",
    *("\u200b", "\u0664", "\uff14", "\u2013", "é", "\\u0034", "%34", "\\n"),
    *("password=", "token: ", "api_key = ", "Bearer ", "Basic ", "://u:", "-----BEGIN ", "eyJ", "AKIA", "ghp_", "DE89"),
    *("ssn ", "card ", "iban ", "phone ", "account number ", "+1", "4111", "192.168.", "==", "QUJD", "Zm9v"),
)
WORDS = tuple(piece for rule in ALL for piece in (*rule.starts, *rule.examples) if len(piece) < 60)


def unit(random_: random.Random) -> str:
    return "".join(random_.choice(random_.choice((PIECES, PIECES, WORDS))) for _ in range(random_.randint(1, 8)))


def changed(random_: random.Random, text: str) -> str:
    place = random_.randint(0, len(text))
    kind = random_.randrange(3)
    if kind == 0:
        return text[:place] + random_.choice(random_.choice((PIECES, WORDS))) + text[place:]
    if kind == 1 and len(text) > 1:
        return text[:place] + text[place + random_.randint(1, 4) :]
    return text[:place] + random_.choice(PIECES) + text[place + 1 :]


def speed(scanner: Scanner, text: str, size: int) -> float:
    """Megabytes a second of `text` repeated to `size`."""
    raw = body([{"role": "user", "content": (text * (size // len(text) + 1))[:size]}])
    started = time.process_time()
    inspect(scanner, raw)
    return len(raw) / MB / (time.process_time() - started)


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
    slow = {text: min(speed(scanner, text, arguments.size * 10) for _ in range(2)) for text in kept}
    print(f"{tried} units tried; the dearest, repeated to {arguments.size * 10:,} characters:")
    for text in sorted(slow, key=lambda each: slow[each])[:12]:
        print(f"  {slow[text]:7.2f} MB/s  {text!r}")
    return 1 if min(slow.values()) < arguments.least else 0


if __name__ == "__main__":
    sys.exit(main())
