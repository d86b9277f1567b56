"""The conversation as a scenario sees it: what was asked last, which tools exist, which tool calls are done since.

The simulator keeps no session: everything is read from the request, as a model would.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from ai_platform.simulator.prompt import Json, Prompt
from ai_platform.simulator.rules import references

_SERVER_TOOLS = ("web_search_", "web_fetch_", "code_execution_", "tool_search_")
_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>\s*", re.DOTALL)
# What Claude Code says by itself after a broken answer: the question asked before still stands.
_CONTINUE = re.compile(r"Your response above was cut off|\[Your previous response|\[Request interrupted")


class Step(msgspec.Struct, frozen=True):
    """A tool call of this turn and its result. result None = not answered yet."""

    name: str
    input: dict[str, Any]
    result: str
    failed: bool


class Conversation:
    """ask: the latest human text. tools: what may be called now. steps: tool calls since then, in order.

    context: every text that is not the assistant's.
    """

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        loaded = {name for message in prompt.messages for block in message["content"] for name in references(block)}
        self.tools: dict[str, Json] = {
            tool["name"]: tool
            for tool in prompt.tools
            if isinstance(tool.get("name"), str)
            and not str(tool.get("type")).startswith(_SERVER_TOOLS)
            and (not tool.get("defer_loading") or tool["name"] in loaded)
        }
        index, self.ask = _last_ask(prompt.messages)
        self.steps = list(_steps(prompt.messages[index + 1 :]))

    @property
    def context(self) -> str:
        texts = [str(block.get("text", "")) for block in self.prompt.system]
        for message in self.prompt.messages:
            if message["role"] != "assistant":
                texts.extend(str(block.get("text", "")) for block in message["content"] if block["type"] == "text")
        return "\n".join(texts)

    def done(self, *names: str) -> list[Step]:
        """The finished calls of the named tools."""
        return [step for step in self.steps if step.name in names]

    def first_tool(self, *names: str) -> str | None:
        """The first of these tools that the request declares."""
        return next((name for name in names if name in self.tools), None)


def _last_ask(messages: list[Json]) -> tuple[int, str]:
    """(index, text) of the newest user message that a person (or a parent agent) wrote."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if message["role"] != "user" or any(block["type"] == "tool_result" for block in message["content"]):
            continue
        texts = [str(block.get("text", "")) for block in message["content"] if block["type"] == "text"]
        text = _REMINDER.sub("", "\n".join(texts)).strip()
        if text and not _CONTINUE.match(text):
            return index, text
    return -1, ""


def _steps(messages: list[Json]) -> Iterator[Step]:
    results: dict[str, Json] = {}
    for message in messages:
        for block in message["content"]:
            if block["type"] == "tool_result":
                results[str(block.get("tool_use_id"))] = block
    for message in messages:
        for block in message["content"]:
            result = results.get(str(block.get("id")))
            if message["role"] == "assistant" and block["type"] == "tool_use" and result is not None:
                arguments = block.get("input")
                yield Step(
                    name=str(block.get("name")),
                    input=arguments if isinstance(arguments, dict) else {},
                    result=result_text(result.get("content")),
                    failed=bool(result.get("is_error")),
                )


def result_text(content: Any) -> str:
    """The text of a tool_result's content; a tool_reference shows as its tool's name."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [part for part in content if isinstance(part, dict)]
    return "\n".join(str(part.get("text") or part.get("tool_name") or "") for part in parts)
