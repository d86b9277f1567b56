"""Settings of the identity room."""

import msgspec


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

    cache_seconds: float = 30.0
    outage_seconds: float = 300.0
    watch_seconds: float = 0.5
    flush_seconds: float = 30.0
    cached_keys: int = 50_000
    failures_per_minute: int = 20
    key_help: str = ""
