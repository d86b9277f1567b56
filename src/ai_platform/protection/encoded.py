"""Values hidden in one level of base64: a token that decodes to text is read as that text.

Only for what goes to the model: a stream cannot know that the letters it passes on will turn out to be an encoding.
Above: scanner.py. Below: nothing.
"""

import re
from base64 import b64decode
from binascii import Error

_ASCII = r"[A-Za-f][A-HQ-Xg-nw-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]"
"""Four characters of base64 that stand for three of ASCII: the highest bit of each is nought."""

TRIGGER = rf"(?:^|[^A-Za-z0-9+])(?:{_ASCII}){{5}}"
"""A run that begins with the encoding of fifteen characters of ASCII; what else looks so is one in thirty thousand."""

LEAD = 20
LONGEST = 256 * 1024

_ANY, _STANDARD, _URL_SAFE_ONLY = (
    re.compile(rf"[A-Za-z0-9{more}]{{20,{LONGEST}}}+(?![A-Za-z0-9{more}])={{0,2}}") for more in ("+/_-", "+/", "_-")
)
"""A run goes to what stands before it, so that no character is read more than twice however many runs there are."""

_URL_SAFE = str.maketrans("-_", "+/")


def decoded_at(text: str, end: int) -> tuple[int, int, str] | None:
    """(start, end, plain text) of the encoded run whose twentieth character ends at `end`."""
    before = text[end - LEAD - 1 : end - LEAD]
    run_of = _STANDARD if before in {"-", "_"} else _URL_SAFE_ONLY if before == "/" else _ANY
    match = run_of.match(text, end - LEAD)
    if match is None:
        return None
    run = match.group().rstrip("=")
    if len(run) % 4 == 1 or run.islower() or run.isdigit() or run.isupper():
        return None
    try:
        plain = b64decode(run.translate(_URL_SAFE) + "=" * (-len(run) % 4), validate=True)
        shown = plain.decode("utf-16-le" if plain[1:2] == b"\0" else "utf-8")
    except (Error, ValueError):
        return None
    return (*match.span(), shown) if _is_text(shown) else None


def _is_text(shown: str) -> bool:
    return shown.isprintable() or "".join(shown.split()).isprintable()
