"""The API's rules between the parts of a request: cache markers, tool pairing, thinking signatures, versions, length.

Each check raises the real API's 400 with its wording (clients match on it). Nothing here changes the request.
"""

from collections.abc import Iterator
from typing import Any

from ai_platform.simulator.errors import invalid
from ai_platform.simulator.prompt import NEW_VERSION, Json, Prompt
from ai_platform.simulator.thinking import Signer

MAX_MARKERS = 4
_NOT_CACHEABLE = ("thinking", "redacted_thinking")


def check(prompt: Prompt, signer: Signer) -> None:
    """Every rule that does not need token counts.

    Raises:
        ApiError: 400 invalid_request_error.

    """
    _check_messages(prompt)
    _check_tools(prompt)
    _check_references(prompt)
    _check_markers(prompt)
    _check_pairing(prompt)
    _check_thinking(prompt, signer)
    if prompt.version == NEW_VERSION:
        _check_new_version(prompt)


def check_length(prompt: Prompt, input_tokens: int) -> None:
    if input_tokens > prompt.card.context:
        raise invalid(f"prompt is too long: {input_tokens} tokens > {prompt.card.context} maximum")


def _check_messages(prompt: Prompt) -> None:
    if not prompt.messages:
        raise invalid("messages: at least one message is required")
    turns = [message for message in prompt.messages if message["role"] != "system"]
    if not turns:
        raise invalid("messages: at least one user message is required")
    last = turns[-1]
    for index, message in enumerate(prompt.messages):
        if message["role"] == "system":
            continue
        optional = message is last and message["role"] == "assistant"
        if not message["content"] and not optional:
            raise invalid(f"messages.{index}: {message['role']} messages must have non-empty content")
        for block in message["content"]:
            if block["type"] == "text" and not block.get("text"):
                raise invalid("messages: text content blocks must be non-empty")
    if last["role"] == "assistant" and not prompt.card.prefill:
        raise invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def _check_tools(prompt: Prompt) -> None:
    names: set[str] = set()
    for index, tool in enumerate(prompt.tools):
        name = tool.get("name")
        if tool.get("type", "custom") == "custom":
            if not isinstance(name, str) or not name:
                raise invalid(f"tools.{index}.custom.name: Field required")
            if not isinstance(tool.get("input_schema"), dict):
                raise invalid(f"tools.{index}.custom.input_schema: Field required")
        if isinstance(name, str):
            if name in names:
                raise invalid("tools: Tool names must be unique.")
            names.add(name)
    choice = prompt.body.get("tool_choice")
    if not isinstance(choice, dict):
        return
    if choice.get("type") == "tool" and choice.get("name") not in names:
        raise invalid(f"tool_choice: Tool '{choice.get('name')}' not found in provided tools")
    if choice.get("type") in ("any", "tool") and (prompt.thinking or prompt.card.always_thinks):
        raise invalid("Thinking may not be enabled when tool_choice forces tool use.")


def references(block: Json) -> Iterator[str]:
    """Names of the tools that a tool_result (a tool search) loads by tool_reference blocks."""
    content: Any = block.get("content")
    if block["type"] == "tool_result" and isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and part.get("type") == "tool_reference":
                yield str(part.get("tool_name"))


def _check_references(prompt: Prompt) -> None:
    names = {str(tool.get("name")) for tool in prompt.tools}
    for index, message in enumerate(prompt.messages):
        for position, block in enumerate(message["content"]):
            for name in references(block):
                if name not in names:
                    raise invalid(
                        f"messages.{index}.content.{position}: Tool reference '{name}' not found in available tools"
                    )


def markers(prompt: Prompt) -> Iterator[tuple[str, Json]]:
    """(path, block) of every block that carries cache_control, in prefix order; nested tool_result content included."""
    for section, blocks in (("tools", prompt.tools), ("system", prompt.system)):
        for index, block in enumerate(blocks):
            if block.get("cache_control") is not None:
                yield f"{section}.{index}", block
    for index, message in enumerate(prompt.messages):
        for position, block in enumerate(message["content"]):
            path = f"messages.{index}.content.{position}"
            inner: Any = block.get("content")
            if isinstance(inner, list):
                for nested, part in enumerate(inner):
                    if isinstance(part, dict) and part.get("cache_control") is not None:
                        yield f"{path}.content.{nested}", part
            if block.get("cache_control") is not None:
                yield path, block


def ttl_of(control: Any, path: str) -> str:
    """`5m` or `1h`.

    Raises:
        ApiError: 400, not an ephemeral cache_control.

    """
    if not isinstance(control, dict) or control.get("type") != "ephemeral":
        raise invalid(f"{path}.cache_control.type: Input should be 'ephemeral'")
    ttl = control.get("ttl") or "5m"
    if ttl not in ("5m", "1h"):
        raise invalid(f"{path}.cache_control.ttl: Input should be '5m' or '1h'")
    return ttl


def _check_markers(prompt: Prompt) -> None:
    if not prompt.marked:
        return
    found = list(markers(prompt))
    automatic = prompt.body.get("cache_control")
    count = len(found)
    if automatic is not None:
        ttl_of(automatic, "")
        blocks = [block for message in prompt.messages for block in message["content"]]
        count += not (blocks and blocks[-1].get("cache_control") is not None)
    if count > MAX_MARKERS:
        raise invalid(f"A maximum of {MAX_MARKERS} blocks with cache_control may be provided. Found {count}.")
    short_seen = False
    for path, block in found:
        kind = block.get("type")
        if kind in _NOT_CACHEABLE:
            raise invalid(f"{path}.{kind}.cache_control: Extra inputs are not permitted")
        if kind == "text" and not block.get("text"):
            raise invalid(f"{path}.text: cache_control cannot be set for empty text blocks")
        ttl = ttl_of(block["cache_control"], path)
        if ttl == "1h" and short_seen:
            raise invalid(
                f"{path}.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' "
                "cache_control block. Note that blocks are processed in the following order: `tools`, `system`, "
                "`messages`."
            )
        short_seen = short_seen or ttl == "5m"


def _check_pairing(prompt: Prompt) -> None:
    """Every tool_use is answered in the next user turn and every tool_result answers the turn before it.

    Consecutive messages of one role are one turn; system messages in between do not end a turn.
    """
    open_ids: list[str] = []
    open_index = 0
    seen: set[str] = set()
    answered: set[str] = set()
    previous = ""
    for index, message in enumerate(prompt.messages):
        role = message["role"]
        if role == "system":
            continue
        if role == "assistant":
            if previous == "user" or not previous:
                _require_answers(open_ids, answered, open_index)
                open_ids, answered, open_index = [], set(), index
            for block in message["content"]:
                if block["type"] == "tool_use":
                    identifier = _identifier(block, "id", index)
                    if identifier in seen:
                        raise invalid(f"messages.{index}: `tool_use` ids must be unique")
                    seen.add(identifier)
                    open_ids.append(identifier)
        else:
            _collect_results(message, index, open_ids, answered)
        previous = role
    _require_answers(open_ids, answered, open_index)


def _collect_results(message: Json, index: int, open_ids: list[str], answered: set[str]) -> None:
    for position, block in enumerate(message["content"]):
        if block["type"] != "tool_result":
            continue
        identifier = _identifier(block, "tool_use_id", index)
        if identifier not in open_ids:
            raise invalid(
                f"messages.{index}.content.{position}: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{identifier}. Each `tool_result` block must have a corresponding `tool_use` block in the previous "
                "message."
            )
        if identifier in answered:
            raise invalid(
                f"messages.{index}.content.{position}: each tool_use must have a single result. Found multiple "
                f"`tool_result` blocks with id: {identifier}"
            )
        answered.add(identifier)


def _require_answers(open_ids: list[str], answered: set[str], index: int) -> None:
    missing = [identifier for identifier in open_ids if identifier not in answered]
    if missing:
        raise invalid(
            f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
            "message."
        )


def _identifier(block: Json, field: str, index: int) -> str:
    value = block.get(field)
    if not isinstance(value, str) or not value:
        raise invalid(f"messages.{index}.content: {block['type']}.{field}: Field required")
    return value


def _check_thinking(prompt: Prompt, signer: Signer) -> None:
    thinking = prompt.body.get("thinking")
    if isinstance(thinking, dict):
        if thinking.get("type") == "disabled" and prompt.card.always_thinks:
            raise invalid(f"thinking.type: thinking cannot be disabled for {prompt.model}")
        budget = thinking.get("budget_tokens")
        if thinking.get("type") == "enabled" and prompt.max_tokens and isinstance(budget, int):
            if budget < 1024:
                raise invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
            if budget >= prompt.max_tokens:
                raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")
    for index, message in enumerate(prompt.messages):
        if message["role"] != "assistant":
            continue
        for position, block in enumerate(message["content"]):
            if block["type"] == "thinking":
                _check_signature(block, f"messages.{index}.content.{position}", signer)
            elif block["type"] == "redacted_thinking":
                # The simulator never hands out redacted thinking, so whatever comes back is not its own.
                raise invalid(f"messages.{index}.content.{position}: Invalid `data` in `redacted_thinking` block")


def _check_signature(block: Json, path: str, signer: Signer) -> None:
    text, signature = block.get("thinking"), block.get("signature")
    if not isinstance(text, str):
        raise invalid(f"{path}.thinking.thinking: Field required")
    if not isinstance(signature, str):
        raise invalid(f"{path}.thinking.signature: Field required")
    if not signer.valid(text, signature):
        raise invalid(f"{path}: Invalid `signature` in `thinking` block")


def _check_new_version(prompt: Prompt) -> None:
    """What API version 2026-10-21 refuses (platform.claude.com, "Migrating to API version 2026-10-21")."""
    for field in ("temperature", "top_p", "top_k"):
        if field in prompt.body:
            raise invalid(f"{field}: Extra inputs are not permitted")
    for index, message in enumerate(prompt.messages):
        for position, block in enumerate(message["content"]):
            path = f"messages.{index}.content.{position}"
            if message["role"] == "assistant" and block["type"] == "document":
                raise invalid(f"{path}: `document` blocks are not permitted in assistant messages")
            if message["role"] == "user" and block["type"] == "text" and block.get("citations"):
                raise invalid(f"{path}.text.citations: Extra inputs are not permitted")
