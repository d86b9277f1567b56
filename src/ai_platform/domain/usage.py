"""What a call consumed, in the shape the Messages API reports it (platform.claude.com, "Usage").

`message_start` and `message_delta` each carry a part and counts are cumulative: merge, never overwrite.
"""

import msgspec


class Usage(msgspec.Struct, kw_only=True, frozen=True):
    """Token counts of one model pass. input_tokens is the uncached rest only (the API's meaning).

    cache_write_5m + cache_write_1h are the two parts of cache_creation_input_tokens.
    tier: `standard`, `batch` or `priority`; speed: `standard` or `fast`; geo: `global`, `us` or "" when unknown.
    estimated: the upstream never said; the counts are the platform's estimate.
    iterations: further passes whose counts are not in the top-level counts (compaction, fallback).
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    thinking_tokens: int = 0
    web_search_requests: int = 0
    web_fetch_requests: int = 0
    tier: str = "standard"
    speed: str = "standard"
    geo: str = ""
    estimated: bool = False
    iterations: tuple["Iteration", ...] = ()

    @property
    def prompt_tokens(self) -> int:
        """Everything the model read: uncached + cache read + cache written."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_5m_tokens + self.cache_write_1h_tokens

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.output_tokens


class Iteration(msgspec.Struct, kw_only=True, frozen=True):
    """One entry of `usage.iterations` that is billed beside the top-level counts."""

    kind: str
    model: str | None = None
    usage: Usage = Usage()
