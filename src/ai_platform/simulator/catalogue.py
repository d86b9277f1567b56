"""The models the simulator knows: ids, limits, tokenizer factor, smallest prompt that is cached.

Not a price list. Sources: the anthropic SDK 2.12 (`types/model.py`), platform.claude.com model overviews and "Prompt
caching" (minimum prefix). Nothing is published about the minimum prefix of the 5.5 and 5.2 models: the value of their
predecessor is assumed.
"""

import msgspec

EPOCH = "1970-01-01T00:00:00Z"
"""The API's own value for an unknown release date."""

OLD_TOKENIZER = 10
NEW_TOKENIZER = 13
"""Tenths: Claude 4.7 and later models count about 30 % more tokens for the same text."""


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """min_cache_tokens: shortest prefix that is cached. geo: accepts `inference_geo`. fast: accepts `speed: fast`.

    prefill: a conversation may end with an assistant message. always_thinks: thinking cannot be disabled.
    """

    id: str
    name: str
    line: str
    created_at: str = EPOCH
    context: int = 1_000_000
    max_output: int = 128_000
    min_cache_tokens: int = 1024
    tokenizer: int = NEW_TOKENIZER
    geo: bool = True
    fast: bool = False
    prefill: bool = False
    always_thinks: bool = False
    retires_at: str | None = None


def _top(model: str, name: str, line: str, created_at: str = EPOCH, *, fast: bool = False) -> ModelCard:
    return ModelCard(
        id=model, name=name, line=line, created_at=created_at, min_cache_tokens=512, fast=fast, always_thinks=True
    )


def _claude_45(
    model: str, line: str, created_at: str, *, min_cache: int = 4096, retires_at: str | None = None
) -> ModelCard:
    return ModelCard(
        id=model,
        name=f"Claude {line.capitalize()} 4.5",
        line=line,
        created_at=created_at,
        context=200_000,
        max_output=64_000,
        min_cache_tokens=min_cache,
        tokenizer=OLD_TOKENIZER,
        geo=False,
        prefill=True,
        retires_at=retires_at,
    )


_SONNET_45_RETIRES = "2026-11-30T00:00:00Z"

CARDS: tuple[ModelCard, ...] = (
    _top("claude-fable-5-2", "Claude Fable 5.2", "fable", fast=True),
    _top("claude-mythos-5-2", "Claude Mythos 5.2", "mythos"),
    ModelCard(
        id="claude-haiku-5-5",
        name="Claude Haiku 5.5",
        line="haiku",
        created_at="2026-10-07T00:00:00Z",
        min_cache_tokens=4096,
    ),
    ModelCard(id="claude-sonnet-5-5", name="Claude Sonnet 5.5", line="sonnet", created_at="2026-09-28T00:00:00Z"),
    _top("claude-fable-5-1", "Claude Fable 5.1", "fable", "2026-09-01T00:00:00Z"),
    _top("claude-opus-5-5", "Claude Opus 5.5", "opus", fast=True),
    _top("claude-mythos-5-1", "Claude Mythos 5.1", "mythos", "2026-09-01T00:00:00Z"),
    ModelCard(id="claude-sonnet-5", name="Claude Sonnet 5", line="sonnet"),
    _top("claude-fable-5", "Claude Fable 5", "fable"),
    _top("claude-mythos-5", "Claude Mythos 5", "mythos"),
    ModelCard(
        id="claude-opus-5",
        name="Claude Opus 5",
        line="opus",
        created_at="2026-07-24T00:00:00Z",
        min_cache_tokens=512,
        fast=True,
    ),
    ModelCard(id="claude-opus-4-8", name="Claude Opus 4.8", line="opus", fast=True),
    ModelCard(id="claude-opus-4-7", name="Claude Opus 4.7", line="opus", min_cache_tokens=2048),
    ModelCard(
        id="claude-opus-4-6", name="Claude Opus 4.6", line="opus", min_cache_tokens=4096, tokenizer=OLD_TOKENIZER
    ),
    ModelCard(id="claude-sonnet-4-6", name="Claude Sonnet 4.6", line="sonnet", tokenizer=OLD_TOKENIZER),
    _claude_45("claude-haiku-4-5", "haiku", "2025-10-01T00:00:00Z"),
    _claude_45("claude-haiku-4-5-20251001", "haiku", "2025-10-01T00:00:00Z"),
    _claude_45("claude-opus-4-5", "opus", "2025-11-01T00:00:00Z"),
    _claude_45("claude-opus-4-5-20251101", "opus", "2025-11-01T00:00:00Z"),
    _claude_45("claude-sonnet-4-5", "sonnet", "2025-09-29T00:00:00Z", min_cache=1024, retires_at=_SONNET_45_RETIRES),
    _claude_45(
        "claude-sonnet-4-5-20250929", "sonnet", "2025-09-29T00:00:00Z", min_cache=1024, retires_at=_SONNET_45_RETIRES
    ),
)
"""Newest first, the order of GET /v1/models."""

BY_ID: dict[str, ModelCard] = {card.id: card for card in CARDS}
