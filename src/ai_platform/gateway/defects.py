"""A defect of the platform's own, met on a call: told to the caller without details, to operators without content.

The exception's text may hold what a person wrote, so it goes nowhere; where it happened is enough to mend it.
"""

import traceback
from pathlib import Path

import structlog

from ai_platform.domain.errors import PlatformError

_log = structlog.get_logger(__name__)


class InternalFailure(PlatformError):
    """Answered with 500. The cause is in the log under the call's id."""


def defect(error: BaseException | None, call_id: str) -> InternalFailure:
    """Log where `error` came from (None: nothing answered the request) and return what the caller is told."""
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    _log.error(
        "defect",
        call=call_id,
        kind=type(error).__name__,
        places=[f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
    )
    return InternalFailure(
        "The gateway failed on this request through a defect of its own, not through your request. Try again; if it"
        f" stays so, tell whoever runs the gateway, who finds the cause in its log under {call_id}."
    )
