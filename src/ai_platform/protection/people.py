"""Names of people in the strings of a JSON body, beside what the engine found. Off unless a model is configured.

A model reads 0.04 MB/s: each text is read once, in a thread of its own, and what cannot be read in time refuses the
call (fails closed). Above: guard.py. Below: language.py, located.py.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import blake2b

from ai_platform.domain.clock import Clock
from ai_platform.domain.finding import Direction
from ai_platform.protection.fixed import Fixed, fixed_at
from ai_platform.protection.language import NameModel
from ai_platform.protection.literals import Places, byte_offsets, decode
from ai_platform.protection.located import Inspected, Located, with_weaker
from ai_platform.protection.prose import pieces
from ai_platform.protection.rule import Hit, Span
from ai_platform.protection.rules.people import PERSON
from ai_platform.protection.scanner import Scanner

_FEWEST_SPACES = 2
"""Prose has three words."""

_DEFINITION = re.compile(r"(?:requests\[\d+\]\.params\.)?tools\[\d+\]\.")
"""What tools are is no message. It is large, and the same in every call."""


class OutOfTime(Exception):
    """The texts could not be read until the deadline; those that were are remembered."""


class TooMuchProse(Exception):
    """A call brings more new prose than is read in one."""


class People:
    """most_characters: new prose of one call. remembered: how many texts. secret: keys their digests."""

    def __init__(self, model: NameModel, clock: Clock, *, most_characters: int, remembered: int, secret: bytes) -> None:
        self._model = model
        self._clock = clock
        self._most = most_characters
        self._limit = remembered
        self._secret = secret[:64]
        self._known: OrderedDict[bytes, tuple[Span, ...]] = OrderedDict()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="names")  # a model takes one at a time

    def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def beside(
        self, result: Inspected, scanner: Scanner, direction: Direction, team: str | None, deadline: float
    ) -> Inspected:
        """`result` of a JSON body with the names as well; itself stays as it is.

        deadline: on the monotonic clock. Raises OutOfTime and TooMuchProse.
        """
        if not scanner.looks_for(PERSON):
            return result
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._worker, lambda: list(self._located(result, scanner, direction, team, deadline))
        )
        return replace(result, located=with_weaker(result.located, found)) if found else result

    def _located(
        self, result: Inspected, scanner: Scanner, direction: Direction, team: str | None, deadline: float
    ) -> Iterator[Located]:
        starts = result.starts.plain()
        texts = {index: (raw, key) for index, raw, key in self._texts(result.body, starts)}
        # what is known to hold no name needs no place
        wanted = [index for index, (_, key) in texts.items() if self._recall(key) != ()]
        places = Places(result.body, starts, wanted, list(result.trail))
        left = self._most
        for index in wanted:
            raw, key = texts[index]
            path = places.path(index)
            if places.is_key(index) or not (result.free or _is_message(path, raw)):
                continue
            spans = self._known.get(key)
            text = decode(raw) if spans != () else ""
            if spans is None:
                left -= sum(end - start for start, end in pieces(text))
                if left < 0:
                    raise TooMuchProse
                spans = self._read(text, deadline)
            self._remember(key, spans)
            spans = tuple(span for span in spans if scanner.accepts(PERSON, text, *span))
            offsets = byte_offsets(raw, [place for span in spans for place in span]) if spans else []
            for (start, end), begin, stop in zip(spans, offsets[::2], offsets[1::2], strict=True):
                finding = scanner.finding(text, Hit(start, end, PERSON), direction, team, path)
                place = (starts[index] + begin, starts[index] + stop)
                yield Located(finding, *place, text[start:end], Fixed.FREE, quoted=True, index=index)

    def _texts(self, body: bytes, starts: Sequence[int]) -> Iterator[tuple[int, bytes, bytes]]:
        """(segment, what stands in the body, its digest) of strings that may be prose."""
        for index in range(1, len(starts), 2):
            stop = starts[index + 1] - 1 if index + 1 < len(starts) else len(body)
            if body.count(b" ", starts[index], stop) >= _FEWEST_SPACES:
                raw = body[starts[index] : stop]
                yield index, raw, blake2b(raw, digest_size=16, key=self._secret).digest()

    def _read(self, text: str, deadline: float) -> tuple[Span, ...]:
        spans: list[Span] = []
        for begin, end in pieces(text):
            if self._clock.monotonic() > deadline:
                raise OutOfTime
            spans += [(begin + start, begin + stop) for start, stop in self._model.spans(text[begin:end])]
        return tuple(spans)

    def _recall(self, key: bytes) -> tuple[Span, ...] | None:
        """What is known of a text; None for nothing yet."""
        spans = self._known.get(key)
        if spans is not None:
            self._known.move_to_end(key)
        return spans

    def _remember(self, key: bytes, spans: tuple[Span, ...]) -> None:
        self._known[key] = spans
        self._known.move_to_end(key)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)


def _is_message(path: str, raw: bytes) -> bool:
    """May it be changed, and is it no definition? Signed thinking holds what the model wrote, and stays."""
    return fixed_at(path, raw) is Fixed.FREE and _DEFINITION.match(path) is None
