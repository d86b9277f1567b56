"""A Messages request after parsing: the decoded body and the few fields every part of the simulator asks for.

Only shapes are checked here (types, required fields, known model); the rules between blocks are in `rules`.
Unknown fields and block types are accepted, as the real API accepts what its betas add.
"""

from typing import Any

import msgspec

from ai_platform.simulator.catalogue import BY_ID, ModelCard
from ai_platform.simulator.errors import invalid, not_found

Json = dict[str, Any]

NEW_VERSION = "2026-10-21"


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """body: the decoded request. messages, system, tools: lists of objects, string shorthands expanded to text blocks.

    thinking: the client asked for thinking (enabled, adaptive or between_tools). raw_size: bytes of the body.
    """

    body: Json
    card: ModelCard
    version: str
    messages: list[Json]
    system: list[Json]
    tools: list[Json]
    max_tokens: int
    stream: bool
    thinking: bool
    hidden_thinking: bool
    speed: str
    geo: str
    marked: bool

    @property
    def model(self) -> str:
        return self.card.id


def decode(raw: bytes) -> Json:
    """The JSON object in a request body.

    Raises:
        ApiError: 400, the body is not JSON or not an object.

    """
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(f"The request body is not valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object")
    return body


def parse(body: Json, *, version: str, counting: bool = False, marked: bool = True) -> Prompt:
    """Check the shapes of a Messages (or count_tokens, when `counting`) request.

    marked: False when the caller knows that no cache_control occurs in the body.

    Raises:
        ApiError: 400 with the API's wording, 404 for an unknown model.

    """
    model = _required(body, "model", str, "string")
    messages = _required(body, "messages", list, "list")
    max_tokens = 0 if counting else _max_tokens(body)
    card = BY_ID.get(model)
    if card is None:
        raise not_found(f"model: {model}")
    if max_tokens > card.max_output:
        raise invalid(
            f"max_tokens: {max_tokens} > {card.max_output}, which is the maximum allowed number of output tokens "
            f"for {model}"
        )
    thinking = body.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    return Prompt(
        body=body,
        card=card,
        version=version,
        messages=[_message(index, message) for index, message in enumerate(messages)],
        system=_system(body.get("system")),
        tools=_objects(body.get("tools"), "tools"),
        max_tokens=max_tokens,
        stream=_flag(body, "stream"),
        thinking=kind in ("enabled", "adaptive", "between_tools"),
        hidden_thinking=isinstance(thinking, dict) and thinking.get("display") == "omitted",
        speed=_speed(body, card),
        geo=_geo(body, card),
        marked=marked,
    )


def _required(body: Json, field: str, kind: type[Any], name: str) -> Any:
    value = body.get(field)
    if field not in body:
        raise invalid(f"{field}: Field required")
    if not isinstance(value, kind):
        raise invalid(f"{field}: Input should be a valid {name}")
    return value


def _max_tokens(body: Json) -> int:
    value = _required(body, "max_tokens", int, "integer")
    if isinstance(value, bool) or value < 0:
        raise invalid("max_tokens: Input should be greater than or equal to 0")
    return value


def _flag(body: Json, field: str) -> bool:
    value = body.get(field, False)
    if not isinstance(value, bool) and value is not None:
        raise invalid(f"{field}: Input should be a valid boolean")
    return bool(value)


def _speed(body: Json, card: ModelCard) -> str:
    speed = body.get("speed") or "standard"
    if speed not in ("standard", "fast"):
        raise invalid("speed: Input should be 'standard' or 'fast'")
    if speed == "fast" and not card.fast:
        raise invalid(f"speed: fast mode is not supported for {card.id}")
    return speed


def _geo(body: Json, card: ModelCard) -> str:
    geo = body.get("inference_geo")
    if geo is None:
        return "global" if card.geo else "not_available"
    if not card.geo:
        raise invalid(f"inference_geo: {card.id} does not support inference_geo")
    if geo not in ("global", "us"):
        raise invalid("inference_geo: Input should be 'global' or 'us'")
    return geo


def _objects(value: Any, path: str) -> list[Json]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid(f"{path}: Input should be a valid list")
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise invalid(f"{path}.{index}: Input should be an object")
    return value


def _text_block(text: str) -> Json:
    return {"type": "text", "text": text}


def _system(value: Any) -> list[Json]:
    if isinstance(value, str):
        return [_text_block(value)] if value else []
    return _objects(value, "system")


def _message(index: int, message: Any) -> Json:
    """The message with `content` as a list of block objects."""
    if not isinstance(message, dict):
        raise invalid(f"messages.{index}: Input should be an object")
    role = message.get("role")
    if role not in ("user", "assistant", "system"):
        raise invalid(f"messages.{index}.role: Input should be 'user', 'assistant' or 'system'")
    if "content" not in message:
        raise invalid(f"messages.{index}.content: Field required")
    content = message["content"]
    if isinstance(content, str):
        return {"role": role, "content": [_text_block(content)]}
    blocks = _objects(content, f"messages.{index}.content")
    for position, block in enumerate(blocks):
        if not isinstance(block.get("type"), str):
            raise invalid(f"messages.{index}.content.{position}.type: Field required")
    return {"role": role, "content": blocks}
