"""Settings of the identity room."""

from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Interval = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class IdentitySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Times are seconds.

    cache_seconds: how long a checked key is taken without asking PostgreSQL again.
    outage_seconds: how long, counted from the last check, it is taken while PostgreSQL does not answer.
    watch_seconds: how often this process looks for keys that another one revoked.
    flush_seconds: how often "last used" is written.
    cached_keys: keys remembered at most.
    failures_per_minute: wrong keys from one address before its unknown keys have to queue.
    key_help: the sentence of a 401 that says how to get a key; "" = the command that makes one.
    """

    cache_seconds: Seconds = 30.0
    outage_seconds: Seconds = 300.0
    watch_seconds: Interval = 0.5
    flush_seconds: Seconds = 30.0
    cached_keys: Count = 50_000
    failures_per_minute: Count = 20
    key_help: str = ""
