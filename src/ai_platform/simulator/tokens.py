"""The token estimate: simple, deterministic and additive, the same for count_tokens, usage and the prompt cache.

tokens = ceil(weight / 3.6 x factor); factor 1.0 up to Claude 4.6 and 1.3 after it (`ModelCard.tokenizer`, tenths).
Weight is bytes: a text or thinking block counts its UTF-8 text; an image 5,760; a document its decoded size; a
tool_use its name and the compact JSON of its input; a tool_result its content; a tool definition (and anything
else) its compact JSON without cache_control. Nothing is added per message.
"""

from typing import Any

import msgspec

IMAGE_WEIGHT = 5760


def tokens(weight: int, tokenizer: int) -> int:
    """ceil(weight / 3.6 x tokenizer / 10), in integers. 0 bytes are 0 tokens."""
    return (weight * tokenizer + 35) // 36


def text_weight(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def json_weight(value: Any) -> int:
    return len(msgspec.json.encode(value))


def without_marks(block: dict[str, Any]) -> dict[str, Any]:
    """The block without cache_control, nested content blocks included; the block itself when it carries none."""
    content: Any = block.get("content")
    if isinstance(content, list) and any(isinstance(part, dict) and "cache_control" in part for part in content):
        parts = [without_marks(part) if isinstance(part, dict) else part for part in content]
        block = {**block, "content": parts}
    if "cache_control" in block:
        block = {key: value for key, value in block.items() if key != "cache_control"}
    return block


def weigh(block: dict[str, Any]) -> int:
    """Bytes of one content block or tool definition (see the module's rules)."""
    match block:
        case {"type": "text", "text": str() as text}:
            return text_weight(text)
        case {"type": "thinking", "thinking": str() as text}:
            return text_weight(text)
        case {"type": "image"}:
            return IMAGE_WEIGHT
        case {"type": "document", "source": {"data": str() as data, "type": "base64"}}:
            return len(data) * 3 // 4
        case {"type": "tool_use", "name": str() as name}:
            return text_weight(name) + json_weight(block.get("input", {}))
        case {"type": "tool_result"}:
            return weigh_content(block.get("content"))
        case _:
            return json_weight(without_marks(block))


def weigh_content(content: Any) -> int:
    """Bytes of a `content` value: a string, a list of blocks, or nothing."""
    if isinstance(content, str):
        return text_weight(content)
    if isinstance(content, list):
        return sum(weigh(part) for part in content if isinstance(part, dict))
    return 0
