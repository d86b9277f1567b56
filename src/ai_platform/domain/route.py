"""Where a call goes: an ordered list of targets, tried in order until one answers."""

import msgspec

from ai_platform.domain.money import Micros


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream that may serve the call.

    name: the upstream's name in the configuration (its breaker, pool and credential hang on it).
    platform: whose price list applies: `anthropic`, `bedrock`, `vertex`, `foundry`; `mcp` for a tool's server.
    model: the model id to ask this upstream for; equal to the caller's unless mapped.
    region: where inference runs, `""` when not stated.
    price: what one call costs that is not priced by tokens.
    """

    name: str
    platform: str = "anthropic"
    model: str | None = None
    region: str = ""
    price: Micros = Micros(0)


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The decision where to go. model: what the caller asked for. reason: one sentence for the record."""

    model: str | None
    targets: tuple[Target, ...]
    reason: str = ""
