"""What a log line must hold: a plain text, or a regular expression that is matched in linear time (Hyperscan).

Whoever asks chooses the expression, so what takes the compiler long is refused: counted repeats, and long ones.
"""

from collections.abc import Callable

import hyperscan

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall

LONGEST_EXPRESSION = 200
_FLAGS = (
    hyperscan.HS_FLAG_UTF8 | hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_MULTILINE
)
_REFUSED = ("{", "\\p", "\\P", "(*", "\0")

Finds = Callable[[str], bool]


def plain(text: str) -> Finds:
    """Upper and lower case are the same."""
    wanted = text.casefold()
    return lambda entry: wanted in entry.casefold()


def expression(text: str) -> Finds:
    """Matched within a line; upper and lower case are the same.

    Raises:
        InvalidCall: it cannot be used; the message says why.

    """
    if len(text) > LONGEST_EXPRESSION or any(sign in text for sign in _REFUSED):
        raise InvalidCall(
            Refusal.INVALID_REQUEST,
            f"A regular expression may have {LONGEST_EXPRESSION} characters, no counted repeats such as x{{1,9}}, no"
            " \\p and no NUL. Write it shorter, or search for a plain text.",
        )
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(expressions=[text.encode("utf-8", "replace")], ids=[0], elements=1, flags=[_FLAGS])
    except hyperscan.error as error:
        raise InvalidCall(
            Refusal.INVALID_REQUEST, f"The regular expression cannot be used: {str(error)[:200]}"
        ) from error

    def finds(entry: str) -> bool:
        found: list[bool] = []

        def on_match(*_: object) -> None:
            found.append(True)

        database.scan(entry.encode("utf-8", "replace"), match_event_handler=on_match)
        return bool(found)

    return finds
