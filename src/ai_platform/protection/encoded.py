"""Values hidden in one level of base64: a token that decodes to text is read as that text.

Only for what goes to the model: a stream cannot know that the letters it passes on will turn out to be an encoding.
Above: scanner.py. Below: nothing.
"""

import re
from base64 import b64decode
from binascii import Error

TRIGGER = r"(?:^|[^A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{20}"
"""A run of twenty characters of base64; the trigger ends with its twentieth."""

LEAD = 20
LONGEST = 4096

_RUN = re.compile(rf"[A-Za-z0-9+/_-]{{20,{LONGEST}}}(?![A-Za-z0-9+/_-])={{0,2}}")
_URL_SAFE = str.maketrans("-_", "+/")


def decoded_at(text: str, end: int) -> tuple[int, int, str] | None:
    """(start, end, plain text) of the encoded run whose twentieth character ends at `end`."""
    match = _RUN.match(text, end - LEAD)
    if match is None:
        return None
    run = match.group().rstrip("=")
    if len(run) % 4 == 1 or run.islower() or run.isdigit() or run.isupper():
        return None
    try:
        plain = b64decode(run.translate(_URL_SAFE) + "=" * (-len(run) % 4), validate=True)
        shown = plain.decode("utf-8")
    except (Error, ValueError):
        return None
    return (*match.span(), shown) if _is_text(shown) else None


def _is_text(shown: str) -> bool:
    return shown.isprintable() or "".join(shown.split()).isprintable()
