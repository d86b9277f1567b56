"""What a call will probably use, before it runs (for the hold) and when its stream was cut (for the settlement).

Learns from every finished call: tokens per byte of each model's requests and streams, and per caller the output
length and the share of the prompt that comes from the cache. Errs upwards. Memory only; a restart learns anew.
"""

from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TypeVar

import msgspec

from ai_platform.domain.call import Head
from ai_platform.domain.usage import Usage
from ai_platform.pricing.meter import total_usage
from ai_platform.pricing.names import canonical

K = TypeVar("K")
T = TypeVar("T")

CALLERS = 4096
MODELS = 256
RECENT = 64
ENOUGH = 8
"""Below this many calls a history says too little and the next wider one is asked."""

FIRST_OUTPUT = 8192
"""Output tokens assumed while nobody's history is known: above the 99th percentile of agent turns, far below the
max_tokens that clients send as a matter of course."""

FIRST_PER_BYTE = 0.40
FIRST_PER_STREAMED_BYTE = 0.08
CONTEXT = 1_000_000
WEIGHT = 0.1
MARGIN = 2.0


class Ratio:
    """A running mean and mean deviation; `upper` lies MARGIN deviations above the mean."""

    __slots__ = ("_deviation", "_first", "_mean", "seen")

    def __init__(self, first: float) -> None:
        self._first = first
        self._mean = first
        self._deviation = 0.0
        self.seen = 0

    def add(self, value: float) -> None:
        if self.seen == 0:
            self._mean, self._deviation = value, value / 2
        else:
            self._deviation += WEIGHT * (abs(value - self._mean) - self._deviation)
            self._mean += WEIGHT * (value - self._mean)
        self.seen += 1

    @property
    def upper(self) -> float:
        if self.seen < ENOUGH:
            return max(self._first, self._mean + MARGIN * self._deviation)
        return self._mean + MARGIN * self._deviation


class History:
    """The last RECENT calls of somebody: how long the answers were, how much of the prompts was read from the cache."""

    __slots__ = ("_last", "_order", "_outputs", "_read_shares")

    def __init__(self) -> None:
        self._order: deque[int] = deque()
        self._outputs: list[int] = []
        self._read_shares: deque[float] = deque(maxlen=16)
        self._last = Usage()

    def add(self, usage: Usage) -> None:
        if len(self._order) == RECENT:
            self._outputs.remove(self._order.popleft())
        self._order.append(usage.output_tokens)
        insort(self._outputs, usage.output_tokens)
        prompt = usage.prompt_tokens
        self._read_shares.append(usage.cache_read_tokens / prompt if prompt else 0.0)
        self._last = usage

    @property
    def enough(self) -> bool:
        return len(self._outputs) >= ENOUGH

    @property
    def output_p95(self) -> int:
        return self._outputs[(len(self._outputs) * 95) // 100] if self._outputs else FIRST_OUTPUT

    def divide(self, prompt: int) -> Usage:
        """The smallest share that the last calls read from the cache is read again; the rest is written, for as long
        as the last call wrote (for 5 minutes by a new caller: dearer than not to write it).
        """
        read = int(prompt * min(self._read_shares)) if self.enough else 0
        rest = prompt - read
        if self._last.cache_write_1h_tokens:
            return Usage(cache_read_tokens=read, cache_write_1h_tokens=rest)
        if self._last.cache_write_5m_tokens or not self.enough:
            return Usage(cache_read_tokens=read, cache_write_5m_tokens=rest)
        return Usage(cache_read_tokens=read, input_tokens=rest)


class Estimator:
    """One per process. who: what the histories are kept by, e.g. the principal's id ("" = everybody's)."""

    def __init__(self) -> None:
        self._per_byte: OrderedDict[str, Ratio] = OrderedDict()
        self._per_streamed_byte: OrderedDict[str, Ratio] = OrderedDict()
        self._histories: OrderedDict[tuple[str, str], History] = OrderedDict()

    def estimate(self, head: Head, body_bytes: int, *, model: str | None = None, who: str = "") -> Usage:
        """What the call will use at most, as a rule.

        Prompt: bytes of the body x the model's upper tokens/byte. Output: the 95th percentile of the caller's last
        calls of this model (of everybody's, when the caller is new), never more than max_tokens: reserving max_tokens
        itself would leave a twentieth of every budget unusable, and a call that exceeds its hold is stopped in
        mid-stream at the cap.
        """
        name = canonical(model or head.model or "").id
        prompt = min(CONTEXT, int(body_bytes * self._upper(self._per_byte, name, FIRST_PER_BYTE)) + 1)
        history = self._history(name, who)
        output = history.output_p95
        if head.max_tokens is not None:
            output = min(output, max(0, head.max_tokens))
        return msgspec.structs.replace(
            history.divide(prompt),
            output_tokens=output,
            speed=head.speed or "standard",
            geo=head.inference_geo or "",
            estimated=True,
        )

    def observe(
        self, model: str | None, body_bytes: int, usage: Usage, *, streamed_bytes: int = 0, who: str = ""
    ) -> None:
        """Learn from a call that ended with the upstream's own counts.

        streamed_bytes: bytes of the content_block_delta events, 0 for an answer that was not streamed.
        """
        if usage.estimated:
            return
        name = canonical(model or "").id
        total = total_usage(usage)
        if body_bytes > 0 and usage.prompt_tokens:
            _recent(self._per_byte, name, MODELS, lambda: Ratio(FIRST_PER_BYTE)).add(usage.prompt_tokens / body_bytes)
        if streamed_bytes > 0 and usage.output_tokens:
            ratio = _recent(self._per_streamed_byte, name, MODELS, lambda: Ratio(FIRST_PER_STREAMED_BYTE))
            ratio.add(usage.output_tokens / streamed_bytes)
        _recent(self._histories, (name, ""), CALLERS, History).add(total)
        if who:
            _recent(self._histories, (name, who), CALLERS, History).add(total)

    def settle_estimate(
        self,
        seen: Usage,
        *,
        started: bool,
        model: str | None,
        body_bytes: int,
        streamed_bytes: int,
        max_tokens: int | None = None,
    ) -> Usage:
        """The bill of a stream that ended before its last counts: what the upstream said so far, plus the output that
        the streamed bytes stand for at the model's upper tokens/byte (hidden thinking included, as it is in every
        observed call). Without message_start the prompt is estimated from the body. Marked estimated.
        """
        name = canonical(model or "").id
        per_byte = self._upper(self._per_streamed_byte, name, FIRST_PER_STREAMED_BYTE)
        output = int(streamed_bytes * per_byte) + (1 if streamed_bytes else 0)
        if max_tokens is not None:
            output = min(output, max_tokens)
        prompt = 0 if started else min(CONTEXT, int(body_bytes * self._upper(self._per_byte, name, FIRST_PER_BYTE)) + 1)
        return msgspec.structs.replace(
            seen,
            input_tokens=seen.input_tokens + prompt,
            output_tokens=max(seen.output_tokens, output),
            estimated=True,
        )

    def _history(self, name: str, who: str) -> History:
        own = self._histories.get((name, who))
        if own is not None and own.enough:
            return own
        everybody = self._histories.get((name, ""))
        return everybody if everybody is not None and everybody.enough else History()

    @staticmethod
    def _upper(ratios: OrderedDict[str, Ratio], name: str, first: float) -> float:
        ratio = ratios.get(name)
        return first if ratio is None else ratio.upper


def _recent(store: OrderedDict[K, T], key: K, most: int, make: Callable[[], T]) -> T:
    """The entry of `key`, made when absent; the store keeps the most recently used ones."""
    entry = store.get(key)
    if entry is None:
        if len(store) >= most:
            store.popitem(last=False)
        entry = store[key] = make()
    else:
        store.move_to_end(key)
    return entry
