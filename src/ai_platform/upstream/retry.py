"""What a failing answer or a lost one leaves to do: wait and repeat, go elsewhere, or hand it on. Pure decisions.

Sources: RFC 9110 10.2.3 (retry-after), 9.2.2 (idempotent methods); Anthropic's API errors page (529, x-should-retry).
"""

import math
from email.utils import parsedate_to_datetime

from ai_platform.domain.call import Call, Headers, Operation
from ai_platform.upstream.errors import Next
from ai_platform.upstream.settings import RetrySettings

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_NO_SIDE_EFFECT = frozenset({Operation.MESSAGES_CREATE, Operation.COUNT_TOKENS})
_REFUSED_UNDONE = frozenset({503, 529})
_MAY_BE_DONE = frozenset({500, 502, 504})

MAYBE_EXECUTED = frozenset({502, 504})
"""Said by something between us and the model: behind it the call may have run, and been billed."""


class Verdict:
    """then: what to do; delay: seconds to wait first when it is SAME."""

    __slots__ = ("delay", "then")

    def __init__(self, then: Next, delay: float = 0.0) -> None:
        self.then = then
        self.delay = delay


HAND_ON = Verdict(Next.NOTHING)
ELSEWHERE = Verdict(Next.OTHER)


def repeatable(call: Call, settings: RetrySettings) -> bool:
    """Whether a call that may have been executed may be sent again."""
    if call.method in _IDEMPOTENT:
        return True
    return settings.retry_sent and call.operation in _NO_SIDE_EFFECT


def backoff(tries: int, settings: RetrySettings, jitter: float) -> float:
    """Full jitter. tries: how many were made (1 = the first failed). jitter: uniform in [0, 1)."""
    return jitter * min(settings.cap, settings.base * 2 ** (tries - 1))


def judge(
    status: int,
    headers: Headers,
    call: Call,
    settings: RetrySettings,
    *,
    tries: int,
    most: int,
    now: float,
    jitter: float,
) -> Verdict:
    """What to do about an answer with a status of 400 or more.

    tries: how many were made at this upstream, of at most `most`. now: wall time, for a `retry-after` that is a date.
    """
    if status == 429:
        wanted = ELSEWHERE if settings.rate_limit_failover else HAND_ON
    elif status in _REFUSED_UNDONE or (status in _MAY_BE_DONE and repeatable(call, settings)):
        wanted = ELSEWHERE
    else:
        return HAND_ON
    if any(name == b"x-should-retry" and value.lower() == b"false" for name, value in headers):
        return HAND_ON
    asked = retry_after(headers, now)
    if tries >= most or (asked is None and status == 429):
        return wanted
    if asked is None:
        return Verdict(Next.SAME, backoff(tries, settings, jitter))
    if asked > settings.max_retry_after:
        return wanted
    # Never sooner than asked; the jitter on top keeps callers that were refused together from coming back together.
    return Verdict(Next.SAME, asked + jitter * settings.base)


def retry_after(headers: Headers, now: float) -> float | None:
    """Seconds from now, None when the answer does not say (or says it unreadably). Never negative."""
    found = dict(headers)
    milliseconds = _number(found.get(b"retry-after-ms", b""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = found.get(b"retry-after", b"").strip()
    seconds = _number(value)
    if seconds is not None or not value:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value.decode("ascii")).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _number(text: bytes) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
