"""Where a call goes: an ordered list of targets, tried in order until one answers."""

import msgspec


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream that may serve the call.

    name: the upstream's name in the configuration (its breaker, pool and credential hang on it).
    platform: whose price list applies: `anthropic`, `bedrock`, `vertex`, `foundry`.
    model: the model id to ask this upstream for; equal to the caller's unless mapped.
    region: where inference runs, `""` when not stated.
    """

    name: str
    platform: str = "anthropic"
    model: str | None = None
    region: str = ""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The decision where to go. model: what the caller asked for. reason: one sentence for the record."""

    model: str | None
    targets: tuple[Target, ...]
    reason: str = ""
