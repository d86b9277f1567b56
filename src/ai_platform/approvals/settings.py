"""Settings of the approvals room."""

from typing import Annotated

import msgspec

Minutes = Annotated[float, msgspec.Meta(gt=0, le=60 * 24 * 30)]
Interval = Annotated[float, msgspec.Meta(gt=0, le=3600)]


class ApprovalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How long requests for consent live, and how they are looked at.

    pending_minutes: how long a request waits for a decision.
    valid_minutes: how long consent to one call is good for, from the decision.
    session_minutes: the same of consent that covers a session.
    wait_seconds: how long a tool call itself waits before the client is told to come again; stay below its time-out.
    progress_seconds: how often a waiting client is told that it waits.
    poll_seconds: how often this process looks for decisions made elsewhere.
    most_pending: requests of one person that may wait at once.
    keep_days: how long what was shown to approvers is kept after the request.
    require_sign_in: only who signed in with a provider may decide; a platform key cannot.
    """

    pending_minutes: Minutes = 60.0
    valid_minutes: Minutes = 15.0
    session_minutes: Minutes = 480.0
    wait_seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 240.0
    progress_seconds: Interval = 5.0
    poll_seconds: Interval = 1.0
    most_pending: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    keep_days: Annotated[float, msgspec.Meta(gt=0, le=3650)] = 30.0
    require_sign_in: bool = False
