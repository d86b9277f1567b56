"""Puts values back for the tokens in a complete JSON answer (or lines of them), where the caller may see them.

In text, and in the input of tools where the policy allows; never in a signed thinking block.
Above: guard.py. Below: exchange.py, tokens.py, literals.py.
"""

import re
from bisect import bisect_right
from itertools import accumulate
from typing import Any

import msgspec

from ai_platform.protection.exchange import Exchange
from ai_platform.protection.literals import Places, segments
from ai_platform.protection.located import splice
from ai_platform.protection.replace import as_json
from ai_platform.protection.tokens import SAID, TooManyTokensError, tokens_in

_PLACE = re.compile(r"(result\.message\.)?content\[(\d+)\]\.(?:text|(input)(?:[.\[].*)?)")

_BLOCK = re.compile(r"(result\.message\.)?content\[(\d+)\]")


def restore_body(body: bytes, exchange: Exchange) -> bytes:
    """The same object when there is nothing to restore."""
    try:
        if not tokens_in(body):
            return body
    except TooManyTokensError:
        return body
    document = _decoded(body)
    if document is not None:
        return _restored(body, document, exchange)
    lines = body.split(b"\n")
    done = [_restored(line, found, exchange) if (found := _decoded(line)) else line for line in lines]
    return body if all(one is two for one, two in zip(lines, done, strict=True)) else b"\n".join(done)


def _decoded(body: bytes) -> dict[str, Any] | None:
    try:
        document = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _restored(body: bytes, document: dict[str, Any], exchange: Exchange) -> bytes:
    found = tokens_in(body)
    if not found:
        return body
    parts = segments(body)
    starts = list(accumulate((len(part) + 1 for part in parts), initial=0))[:-1]
    indices = [bisect_right(starts, offset) - 1 for offset, _ in found]
    places = Places(body, starts, indices, [])
    exchange.brought(
        token for (_, token), index in zip(found, indices, strict=True) if _is_shown(document, places.path(index))
    )
    edits: list[tuple[int, int, bytes]] = []
    for (offset, token), index in zip(found, indices, strict=True):
        place = _PLACE.fullmatch(places.path(index)) if index & 1 and not places.is_key(index) else None
        if place is None:
            continue
        tool = _tool(document, int(place[2]), nested=bool(place[1])) if place[3] else None
        value = exchange.restore(token, tool)
        if value is not None:
            edits.append((offset, offset + len(token), as_json(value).encode()))
    return splice(body, edits) if edits else body


def _is_shown(document: dict[str, Any], path: str) -> bool:
    """Does it stand in a block that the model did not write (see SAID)?"""
    place = _BLOCK.match(path)
    if place is None:
        return False
    try:
        return (document["result"]["message"] if place[1] else document)["content"][int(place[2])]["type"] not in SAID
    except (LookupError, TypeError):
        return True


def _tool(document: dict[str, Any], index: int, *, nested: bool) -> str:
    """The name of the tool that block `index` calls; empty for what the caller does not run itself."""
    try:
        block = (document["result"]["message"] if nested else document)["content"][index]
        return block["name"] if block["type"] == "tool_use" else ""
    except (LookupError, TypeError):
        return ""
