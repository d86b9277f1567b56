"""Scenarios of one tool call: `tool:NAME {json}`, a forced tool_choice, a tool the prompt names, an MCP tool."""

import json
import re

from ai_platform.simulator.reply import Reply, ToolUse, call, say
from ai_platform.simulator.scenarios.conversation import Conversation, Step
from ai_platform.simulator.scenarios.sample import sample_object

_SHOWN = 400
_MCP_NAME = re.compile(r"\bmcp__[A-Za-z0-9_-]+__[A-Za-z0-9_-]+")


def named(conversation: Conversation, argument: str) -> Reply:
    """`NAME {json}`: calls that tool once, then tells what it returned. Without json: a sample of its schema."""
    name, _, arguments = argument.strip().partition(" ")
    done = conversation.done(name)
    if done:
        return summary(done[-1], "tool")
    if name not in conversation.tools:
        declared = ", ".join(sorted(conversation.tools)) or "none"
        return say(f"Simulated: the tool {name!r} is not declared in this request (declared: {declared}).")
    return one(conversation, name, _arguments(arguments), scenario="tool")


def one(conversation: Conversation, name: str, arguments: dict[str, object] | None, *, scenario: str) -> Reply:
    if arguments is None:
        arguments = sample_object(conversation.tools[name].get("input_schema"))
    return call([ToolUse(name, arguments)], saying=f"Calling {name} (simulated). ", scenario=scenario)


def _arguments(text: str) -> dict[str, object] | None:
    """The JSON object at the start of the text, None when there is none."""
    try:
        found, _ = json.JSONDecoder().raw_decode(text.strip())
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def summary(step: Step, scenario: str) -> Reply:
    """What a tool returned, in one sentence."""
    verb = "failed with" if step.failed else "returned"
    result = " ".join(step.result.split())
    if len(result) > _SHOWN:
        result = result[:_SHOWN] + "…"
    return say(f"Simulated summary: {step.name} {verb}: {result}", scenario=scenario)


def forced(conversation: Conversation) -> Reply | None:
    """The call that tool_choice `any` or `tool` demands; None when it demands none."""
    choice = conversation.prompt.body.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "tool" and isinstance(choice, dict):
        return one(conversation, str(choice.get("name")), None, scenario="forced")
    if kind == "any" and conversation.tools:
        return one(conversation, next(iter(conversation.tools)), None, scenario="forced")
    return None


def mentioned(conversation: Conversation) -> Reply | None:
    """For "use get_weather ..." and "call X": the declared tool whose name the prompt contains, called once."""
    ask = conversation.ask
    if not re.search(r"\b(use|call|invoke|run)\b", ask, re.IGNORECASE):
        return None
    name = next((name for name in conversation.tools if re.search(rf"\b{re.escape(name)}\b", ask)), None)
    if name is None:
        return None
    done = conversation.done(name)
    return summary(done[-1], "tool") if done else one(conversation, name, None, scenario="tool")


def mcp(conversation: Conversation) -> Reply:
    """Loads an MCP tool with ToolSearch when it is deferred, calls it once and tells what it returned."""
    done = [step for step in conversation.steps if step.name.startswith("mcp__")]
    if done:
        return summary(done[-1], "mcp")
    name = next((name for name in _wanted(conversation) if name in conversation.tools), None)
    if name is None:
        name = next((name for name in conversation.tools if name.startswith("mcp__")), None)
    if name is not None:
        return one(conversation, name, None, scenario="mcp")
    known = _wanted(conversation) + _MCP_NAME.findall(conversation.context)
    if "ToolSearch" in conversation.tools and known and not conversation.done("ToolSearch"):
        search = ToolUse("ToolSearch", {"query": f"select:{known[0]}", "max_results": 5})
        return call([search], saying="Loading the MCP tool (simulated). ", scenario="mcp")
    return say("Simulated: no MCP tool is declared in this request.", scenario="mcp")


def _wanted(conversation: Conversation) -> list[str]:
    return _MCP_NAME.findall(conversation.ask)
