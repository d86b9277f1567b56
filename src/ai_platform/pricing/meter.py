"""Reads what a call used out of the upstream's answer, whole or streamed, into one domain Usage.

Counts in a stream are cumulative: a later event raises a count, it never lowers or forgets one. Only message_start
carries the 5-minute/1-hour split, the tier, the speed and the geography.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from ai_platform.domain.usage import Iteration, Usage
from ai_platform.pricing.names import canonical
from ai_platform.pricing.wire import (
    Creation,
    Message,
    MessageDelta,
    MessageStart,
    OutputDetails,
    PassUsage,
    ServerTools,
    WireUsage,
    convert,
    decode,
)


class Counts(NamedTuple):
    input: int = 0
    output: int = 0
    cache_read: int = 0
    write_5m: int = 0
    write_1h: int = 0


SEPARATE = frozenset({"compaction", "advisor_message"})
"""Iterations whose tokens the top-level counts never include; the other kinds they do, in part."""


class UsageMeter:
    """Fed with the data of message_start and message_delta, or with a whole message; one per call.

    model: the model that answers, as the upstream names it (price with it), None until known.
    started, final: the first counts were seen; the last counts were seen (else `usage` is what was seen so far).
    odd: bodies and events in which something was missing or had a wrong type.
    """

    __slots__ = ("_usage", "_wire", "final", "model", "odd", "started")

    def __init__(self) -> None:
        self.model: str | None = None
        self.started = False
        self.final = False
        self.odd = 0
        self._wire = WireUsage()
        self._usage: Usage | None = None

    def feed_start(self, data: bytes) -> None:
        """data: the JSON of a message_start event."""
        event, clean = decode(data, MessageStart)
        self._take(event.message, clean=clean)

    def feed_delta(self, data: bytes) -> None:
        """data: the JSON of a message_delta event."""
        event, clean = decode(data, MessageDelta)
        self.odd += not clean
        if event.usage is None:
            return
        self._wire = merge(self._wire, event.usage)
        self._usage = None
        if event.delta.stop_reason is not None and event.usage.output_tokens is not None:
            self.final = True

    def feed_message(self, data: bytes) -> None:
        """data: the JSON body of a non-streamed answer."""
        message, clean = decode(data, Message)
        self._take(message, clean=clean)
        self.final = message.usage is not None and message.usage.output_tokens is not None

    @property
    def usage(self) -> Usage:
        if self._usage is None:
            self._usage = to_usage(self._wire, self.model)
        return self._usage

    def _take(self, message: Message, *, clean: bool) -> None:
        self.odd += not clean
        self.model = message.model or self.model
        if message.usage is not None:
            self.started = True
            self._wire = merge(self._wire, message.usage)
            self._usage = None


def usage_from_message(message: bytes | dict[str, Any]) -> Usage:
    """The usage of a whole answer (its JSON, or that decoded); zero counts where it says nothing."""
    value, _ = decode(message, Message) if isinstance(message, bytes) else convert(message, Message)
    return to_usage(value.usage or WireUsage(), value.model)


def merge(start: WireUsage, delta: WireUsage) -> WireUsage:
    """Both together: counts are cumulative, so the larger holds; words and lists only when delta has them."""
    return WireUsage(
        input_tokens=_most(start.input_tokens, delta.input_tokens),
        output_tokens=_most(start.output_tokens, delta.output_tokens),
        cache_read_input_tokens=_most(start.cache_read_input_tokens, delta.cache_read_input_tokens),
        cache_creation_input_tokens=_most(start.cache_creation_input_tokens, delta.cache_creation_input_tokens),
        cache_creation=_merge_creation(start.cache_creation, delta.cache_creation),
        output_tokens_details=_merge_details(start.output_tokens_details, delta.output_tokens_details),
        server_tool_use=_merge_tools(start.server_tool_use, delta.server_tool_use),
        service_tier=delta.service_tier or start.service_tier,
        speed=delta.speed or start.speed,
        inference_geo=delta.inference_geo or start.inference_geo,
        iterations=start.iterations if delta.iterations is None else delta.iterations,
    )


def to_usage(wire: WireUsage, model: str | None = None) -> Usage:
    """The domain's form. The bill is the sum of the iterations where there are any (compaction and advisor passes
    are in no top-level count, and of a server-side loop or a fallback only some are), and never less than the
    top-level counts. The first pass of `model` becomes the top-level counts, every other pass an Iteration.
    """
    details = wire.output_tokens_details or OutputDetails()
    tools = wire.server_tool_use or ServerTools()
    counts = _counts(wire)
    iterations: tuple[Iteration, ...] = ()
    if wire.iterations:
        counts, iterations = _passes(wire.iterations, counts, model)
    return Usage(
        input_tokens=counts.input,
        output_tokens=counts.output,
        cache_read_tokens=counts.cache_read,
        cache_write_5m_tokens=counts.write_5m,
        cache_write_1h_tokens=counts.write_1h,
        thinking_tokens=details.thinking_tokens or 0,
        web_search_requests=tools.web_search_requests or 0,
        web_fetch_requests=tools.web_fetch_requests or 0,
        tier=wire.service_tier or "standard",
        speed=wire.speed or "standard",
        geo=_geo(wire.inference_geo),
        iterations=iterations,
    )


def total_usage(usage: Usage) -> Usage:
    """The counts of every pass together, without iterations: what limits, the ledger and statistics count."""
    if not usage.iterations:
        return usage
    parts = (usage, *(extra.usage for extra in usage.iterations))
    return msgspec.structs.replace(
        usage,
        input_tokens=sum(part.input_tokens for part in parts),
        output_tokens=sum(part.output_tokens for part in parts),
        cache_read_tokens=sum(part.cache_read_tokens for part in parts),
        cache_write_5m_tokens=sum(part.cache_write_5m_tokens for part in parts),
        cache_write_1h_tokens=sum(part.cache_write_1h_tokens for part in parts),
        iterations=(),
    )


def _counts(usage: WireUsage | PassUsage, unsplit_1h: int = 0) -> Counts:
    """Cache writes that the split does not cover were written for 5 minutes (the API's default), but for up to
    unsplit_1h tokens of a pass that has no split of its own.
    """
    total = usage.cache_creation_input_tokens or 0
    split = usage.cache_creation
    if split is None:
        write_1h = min(total, unsplit_1h)
        write_5m = total - write_1h
    else:
        write_1h = split.ephemeral_1h_input_tokens or 0
        write_5m = max(total - write_1h, split.ephemeral_5m_input_tokens or 0)
    return Counts(
        usage.input_tokens or 0, usage.output_tokens or 0, usage.cache_read_input_tokens or 0, write_5m, write_1h
    )


def _passes(entries: Sequence[PassUsage], top: Counts, model: str | None) -> tuple[Counts, tuple[Iteration, ...]]:
    own: Counts | None = None
    included = [0] * len(top)
    iterations: list[Iteration] = []
    free_1h = top.write_1h
    for entry in entries:
        separate = entry.type in SEPARATE
        counts = _counts(entry, 0 if separate else free_1h)
        if not separate:
            free_1h = max(0, free_1h - counts.write_1h)
            included = [so_far + count for so_far, count in zip(included, counts, strict=True)]
            if own is None and _same_model(entry.model, model):
                own = counts
                continue
        if any(counts):
            iterations.append(_iteration(entry, counts))
    missing = [max(0, count - seen) for count, seen in zip(top, included, strict=True)]
    first = own or Counts()
    return Counts(*(count + rest for count, rest in zip(first, missing, strict=True))), tuple(iterations)


def _iteration(entry: PassUsage, counts: Counts) -> Iteration:
    usage = Usage(
        input_tokens=counts.input,
        output_tokens=counts.output,
        cache_read_tokens=counts.cache_read,
        cache_write_5m_tokens=counts.write_5m,
        cache_write_1h_tokens=counts.write_1h,
    )
    return Iteration(kind=entry.type or "message", model=entry.model, usage=usage)


def _same_model(named: str | None, model: str | None) -> bool:
    return named is None or model is None or canonical(named).id == canonical(model).id


def _geo(value: str | None) -> str:
    """`us` and `global` are geographies; `not_available` and the like are none."""
    return value if value in ("us", "global") else ""


def _most(first: int | None, second: int | None) -> int | None:
    if first is None or second is None:
        return second if first is None else first
    return max(first, second)


def _merge_creation(start: Creation | None, delta: Creation | None) -> Creation | None:
    if start is None or delta is None:
        return delta if start is None else start
    return Creation(
        _most(start.ephemeral_5m_input_tokens, delta.ephemeral_5m_input_tokens),
        _most(start.ephemeral_1h_input_tokens, delta.ephemeral_1h_input_tokens),
    )


def _merge_details(start: OutputDetails | None, delta: OutputDetails | None) -> OutputDetails | None:
    if start is None or delta is None:
        return delta if start is None else start
    return OutputDetails(_most(start.thinking_tokens, delta.thinking_tokens))


def _merge_tools(start: ServerTools | None, delta: ServerTools | None) -> ServerTools | None:
    if start is None or delta is None:
        return delta if start is None else start
    return ServerTools(
        _most(start.web_search_requests, delta.web_search_requests),
        _most(start.web_fetch_requests, delta.web_fetch_requests),
    )
