"""The domain's upstream errors, split by what may be done next. Only `sent` decides whether a repeat is safe.

UpstreamUnreachable: ConnectFailed, Misconfigured, Busy, BreakerOpen, Rejected, Closing
UpstreamTimeout:     ConnectTimeout, AnswerTimeout, CallerStalled
UpstreamBroken:      ConnectionDied, NotUnderstood, AnswerTooLarge, Left
"""

from enum import Enum, auto

import msgspec

from ai_platform.domain.errors import UpstreamBroken, UpstreamError, UpstreamTimeout, UpstreamUnreachable


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try at one upstream.

    status: the answer's, None when there was none; then `error` is a class name and `detail` a sentence.
    seconds: from asking for a connection to the answer's head or the failure.
    maybe_billed: it may have been executed although nobody got the answer.
    """

    target: str
    status: int | None = None
    error: str = ""
    detail: str = ""
    seconds: float = 0.0
    reused: bool = False
    maybe_billed: bool = False


class Next(Enum):
    """What a failure leaves to try."""

    SAME = auto()
    OTHER = auto()
    NOTHING = auto()


class Failure(UpstreamError):
    """Base of this room's errors.

    then: what may be tried next. health: it says something about the upstream's, so the breaker hears of it.
    attempts: everything that was tried, when the call failed for good.
    """

    then = Next.OTHER
    health = True
    attempts: tuple[Attempt, ...] = ()


class ConnectFailed(Failure, UpstreamUnreachable):
    then = Next.SAME


class Misconfigured(Failure, UpstreamUnreachable):
    """A certificate that does not verify, a proxy that refuses: the same again gives the same."""


class Busy(Failure, UpstreamUnreachable):
    """Every connection is in use and the queue is full or too slow; the platform's own limit, not a failure there."""

    health = False


class BreakerOpen(Failure, UpstreamUnreachable):
    health = False


class Rejected(Failure, UpstreamUnreachable):
    """It answered, and the answer says try again: never raised, the answer itself is what the caller gets."""


class Closing(Failure, UpstreamUnreachable):
    then = Next.NOTHING
    health = False


class ConnectTimeout(Failure, UpstreamTimeout):
    pass


class AnswerTimeout(Failure, UpstreamTimeout):
    """First byte, idle or total."""


class CallerStalled(Failure, UpstreamTimeout):
    """The caller took nothing for too long."""

    then = Next.NOTHING
    health = False


class ConnectionDied(Failure, UpstreamBroken):
    """silent: not one byte of an answer had come."""

    then = Next.SAME
    silent = False


class NotUnderstood(Failure, UpstreamBroken):
    """Not HTTP, or HTTP that two readers could read differently."""


class AnswerTooLarge(Failure, UpstreamBroken):
    then = Next.NOTHING
    health = False


class Left(Failure, UpstreamBroken):
    """The body was read after the call was left."""

    then = Next.NOTHING
    health = False
