"""What the other scanners of bench/protection.py share: each runs in a process, and perhaps an environment, of its own.

Lines {"texts": [...]} on standard input; on standard output {"version"} first, then {"findings", "seconds", "wall"} for
each line. seconds: CPU time, that of child processes included. Standard library only.
"""

import importlib.metadata
import json
import os
import re
import sys
import time
from collections.abc import Callable

Found = list[tuple[int, int, str]]
"""(start, end, type): code points, end exclusive."""

Scan = Callable[[list[str]], list[Found]]

SECRET = "SECRET"

SIX = (
    ("US_SSN", re.compile(r"\b\d{3}-\d{2}-\d{4}\b")),
    ("CREDIT_CARD", re.compile(r"\b\d{4}[\s-]?\d{4}[\s-]?\d{4}[\s-]?\d{4}\b")),
    ("EMAIL_ADDRESS", re.compile(r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}\b")),
    (SECRET, re.compile(r"(?:api[_-]?key|apikey)['\"]?\s*[:=]\s*['\"]?[A-Za-z0-9_\-]{20,}", re.IGNORECASE)),
    (SECRET, re.compile(r"AKIA[0-9A-Z]{16}")),
    (SECRET, re.compile(r"-----BEGIN (?:RSA |EC |DSA |OPENSSH )?PRIVATE KEY-----")),
)
"""The six patterns of the mission: names, and what each is said to look for."""


def six(texts: list[str]) -> list[Found]:
    return [
        [(match.start(), match.end(), kind) for kind, pattern in SIX for match in pattern.finditer(text)]
        for text in texts
    ]


def cpu() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def serve(package: str, scan: Scan) -> None:
    """Answer until the input ends. Whatever the scanner itself prints goes to standard error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    scan(["warm up: nothing to find here"])
    print(json.dumps({"version": importlib.metadata.version(package)}), file=out, flush=True)
    for line in sys.stdin:
        started, wall = cpu(), time.perf_counter()
        found = scan(json.loads(line)["texts"])
        told = {"findings": found, "seconds": cpu() - started, "wall": time.perf_counter() - wall}
        print(json.dumps(told), file=out, flush=True)
