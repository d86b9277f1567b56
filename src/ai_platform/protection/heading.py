"""What stands in a request beside its body and travels with it: its address and its header fields.

They cannot be changed without meaning something else, so a value that must not leave refuses the call.
Above: guard.py. Below: body.py, scanner.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from ai_platform.domain.call import Call
from ai_platform.domain.finding import Direction
from ai_platform.protection.body import BodyInspector
from ai_platform.protection.fixed import Fixed
from ai_platform.protection.literals import shown_key
from ai_platform.protection.located import Located

_NOT_READ = re.compile(
    rb"authorization|x-api-key|proxy-authorization|cookie|host|content-(?:type|length)"
    rb"|[a-z0-9-]*(?:trace|span|baggage|datadog|-b3-|request-id|correlation|idempotency)[a-z0-9-]*"
)
"""Credentials for this platform, which stay here; what HTTP itself writes; and names of traces and requests, which are
random numbers: one in thousands would pass for the number of a card.
"""

_MOST_KNOWN = 2048
_LONG = 256


def inspect_heading(inspector: BodyInspector, call: Call, team: str | None) -> list[Located]:
    """Findings in the address and the header fields, in places that cannot be changed."""
    known = inspector.harmless
    address = call.path.replace("/", " ").encode("latin-1", "replace") + (b"?" + call.query if call.query else b"")
    unknown = [line for line in [(b"", address), *call.headers] if line not in known and _is_read(line[0])]
    return [item for line in unknown for item in _findings(inspector, line, team)]


@lru_cache(maxsize=1024)
def _is_read(name: bytes) -> bool:
    return _NOT_READ.fullmatch(name) is None


def _findings(inspector: BodyInspector, line: tuple[bytes, bytes], team: str | None) -> Iterator[Located]:
    name, value = (part.decode("utf-8", "surrogateescape") for part in line)
    place = f"header {shown_key(name)}" if name else "address"
    text = f"{name}: {value}" if name else value
    scanner = inspector.scanner
    hits = [hit for slot, found in scanner.sweep([text], len(text)) if slot >= 0 for hit in found]
    if not hits and len(value) < _LONG:
        if len(inspector.harmless) >= _MOST_KNOWN:
            inspector.harmless.clear()
        inspector.harmless.add(line)
    for hit in scanner.settle(hits, Direction.INPUT, team):
        finding = scanner.finding(text, hit, Direction.INPUT, team, place)
        yield Located(finding, 0, 0, text[hit.start : hit.end], Fixed.NAME, quoted=True, index=-1)
