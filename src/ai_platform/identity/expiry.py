"""When a key ends, as people write it: `90d`, `12h`, `2w`, `2027-01-31`, or an ISO date and time."""

import datetime as dt
import re

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall

LONGEST = dt.timedelta(days=3650)

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"(\d{1,6})([mhdw])")


def parse_expiry(text: str, now: float) -> dt.datetime:
    """The moment, in UTC; a date alone means the end of that day (UTC).

    Raises:
        InvalidCall: not understood, in the past, or more than ten years away.

    """
    started = dt.datetime.fromtimestamp(now, dt.UTC)
    moment = _moment(text.strip(), started)
    if moment is None:
        message = f"'{text[:40]}' is not an expiry. Write a span (30m, 12h, 90d, 2w) or a date (2027-01-31)."
        raise InvalidCall(Refusal.INVALID_REQUEST, message)
    if moment <= started:
        raise InvalidCall(Refusal.INVALID_REQUEST, f"The expiry {text[:40]} is in the past.")
    if moment - started > LONGEST:
        raise InvalidCall(Refusal.INVALID_REQUEST, f"The expiry {text[:40]} is more than ten years away.")
    return moment


def _moment(text: str, now: dt.datetime) -> dt.datetime | None:
    if span := _SPAN.fullmatch(text.lower()):
        return now + min(dt.timedelta(**{_UNITS[span[2]]: int(span[1])}), 2 * LONGEST)
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        pass
    else:
        return dt.datetime.combine(day, dt.time.max, dt.UTC)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
