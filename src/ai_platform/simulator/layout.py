"""The rendered prompt as the prompt cache sees it: blocks in order tools, system, messages.

What changes a prefix is published ("Prompt caching", what invalidates the cache): tools change everything; system and
the web-search and citations switches change system and messages; tool_choice, thinking, effort and images change
messages. Deferred tools are outside the prefix until a tool_reference loads them.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from ai_platform.simulator.prompt import Json, Prompt
from ai_platform.simulator.rules import references, ttl_of
from ai_platform.simulator.tokens import json_weight, weigh, without_marks

_DIGEST_BYTES = 16


class Block(msgspec.Struct, frozen=True):
    """end: weight of the prefix that ends with this block. digest: hash of that prefix. ttl: its marker or None."""

    end: int
    digest: bytes
    ttl: str | None


def total_weight(prompt: Prompt) -> int:
    """Bytes of the whole prompt; equal to the last block's `end` in `blocks`."""
    return sum(weight for weight, *_ in _walk(prompt, _loaded(prompt)))


def blocks(prompt: Prompt) -> list[Block]:
    """Every block with its prefix hash; the top-level (automatic) cache_control marks the last one."""
    found: list[Block] = []
    digest, end, section = b"", 0, ""
    entries = list(_walk(prompt, _loaded(prompt)))
    automatic = prompt.body.get("cache_control")
    for number, (weight, name, block, marked) in enumerate(entries):
        if name != section:
            digest, section = _start(prompt, name, digest), name
        end += weight
        digest = hashlib.blake2b(digest + msgspec.json.encode(block), digest_size=_DIGEST_BYTES).digest()
        last = number == len(entries) - 1
        ttl = ttl_of(automatic, "cache_control") if last and marked is None and automatic is not None else marked
        found.append(Block(end, digest, ttl))
    return found


def _loaded(prompt: Prompt) -> dict[str, Json]:
    """Deferred tools by name: outside the prefix, expanded where a tool_reference names them."""
    return {str(tool.get("name")): tool for tool in prompt.tools if tool.get("defer_loading")}


def _walk(prompt: Prompt, deferred: dict[str, Json]) -> Iterator[tuple[int, str, Json, str | None]]:
    """(weight, section, block without markers, ttl of its marker)."""
    for tool in prompt.tools:
        if not tool.get("defer_loading") and not _web_search(tool):
            yield _entry("tools", tool)
    for block in prompt.system:
        yield _entry("system", block)
    for message in prompt.messages:
        for block in message["content"]:
            weight, section, bare, ttl = _entry("messages", block)
            for name in references(block):
                weight += json_weight(deferred.get(name, {}))
            # The role is part of the rendered prefix; the same text said by the other side is another prompt.
            yield weight, section, {"role": message["role"], "block": bare}, ttl


def _entry(section: str, block: Json) -> tuple[int, str, Json, str | None]:
    bare = without_marks(block)
    control: Any = block.get("cache_control")
    if control is None and bare is not block:
        inner: Any = block.get("content")
        parts = [part for part in inner if isinstance(part, dict)] if isinstance(inner, list) else []
        marks = [part["cache_control"] for part in parts if part.get("cache_control") is not None]
        control = marks[-1] if marks else None
    return weigh(block), section, bare, None if control is None else ttl_of(control, section)


def _web_search(tool: Json) -> bool:
    return str(tool.get("type", "")).startswith("web_search_")


def _start(prompt: Prompt, section: str, digest: bytes) -> bytes:
    """The digest a section starts from: the one before it and the settings that invalidate from here on."""
    body = prompt.body
    if section == "system":
        seed: Any = _system_seed(prompt)
    elif section == "messages":
        output = body.get("output_config")
        effort = output.get("effort") if isinstance(output, dict) else None
        thinking = body.get("thinking")
        kind = thinking.get("type") if isinstance(thinking, dict) else None
        seed = [_system_seed(prompt), body.get("tool_choice"), kind, effort, _has(prompt, "image")]
    else:
        seed = []
    return hashlib.blake2b(digest + msgspec.json.encode([section, seed]), digest_size=_DIGEST_BYTES).digest()


def _system_seed(prompt: Prompt) -> list[Any]:
    searching = [tool for tool in prompt.tools if _web_search(tool)]
    citing = any(
        isinstance(block.get("citations"), dict) and block["citations"].get("enabled")
        for message in prompt.messages
        for block in message["content"]
    )
    return [searching, citing]


def _has(prompt: Prompt, kind: str) -> bool:
    return any(block["type"] == kind for message in prompt.messages for block in message["content"])
