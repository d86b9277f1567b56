"""Tokens that stand in a request as text: the session's client has values, so somebody else wrote them there.

A tool's result or a document may hold a token it was shown or guessed, to have it put back where it can read it.
Above: guard.py. Below: exchange.py, tokens.py, literals.py.
"""

import re
from bisect import bisect_right
from itertools import accumulate
from typing import Any

from ai_platform.protection import sse
from ai_platform.protection.exchange import Exchange
from ai_platform.protection.literals import Places, segments
from ai_platform.protection.tokens import SAID, TooManyTokensError, tokens_in

_MESSAGE = re.compile(r"(?:requests\[(\d+)\]\.params\.)?messages\[(\d+)\]\.content(?:\[(\d+)\])?")


async def note_tokens(body: bytes, exchange: Exchange) -> None:
    """Tell the exchange which tokens the request holds, and read back what it may restore of them."""
    try:
        found = tokens_in(body)
    except TooManyTokensError:
        exchange.restore_nothing()
        return
    if not found:
        return
    await exchange.recall({token for _, token in found})
    parts = segments(body)
    starts = list(accumulate((len(part) + 1 for part in parts), initial=0))[:-1]
    indices = [bisect_right(starts, offset) - 1 for offset, _ in found]
    places = Places(body, starts, indices, [])
    document = sse.read(body)
    exchange.injected(
        token
        for (_, token), index in zip(found, indices, strict=True)
        if document is None or not _is_assistants(places.path(index), document)
    )


async def note_earlier(answer: bytes, exchange: Exchange) -> None:
    """The same for results of a batch, whose requests came in an earlier call."""
    try:
        await exchange.recall_injected({token for _, token in tokens_in(answer)})
    except TooManyTokensError:
        exchange.restore_nothing()


def _is_assistants(path: str, document: dict[str, Any]) -> bool:
    """What the assistant said holds tokens rightly, where they were not restored; results in its messages are not said."""
    place = _MESSAGE.match(path)
    if place is None:
        return False
    try:
        body = document["requests"][int(place[1])]["params"] if place[1] else document
        message = body["messages"][int(place[2])]
        said = place[3] is None or message["content"][int(place[3])]["type"] in SAID
        return said and message["role"] == "assistant"
    except (LookupError, TypeError):
        return False
