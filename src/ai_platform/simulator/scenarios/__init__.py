"""What the simulated model says: one function per scenario, chosen by tag, then by what the request demands or asks.

A scenario reads the conversation and returns one reply; it keeps nothing. The list for people is docs/simulator.md.
"""

import re
from collections.abc import Callable

import msgspec

from ai_platform.simulator.reply import Reply, Text, Thinking
from ai_platform.simulator.scenarios import explore, talk, toolcall
from ai_platform.simulator.scenarios.conversation import Conversation
from ai_platform.simulator.scenarios.fix import fix

__all__ = ["Conversation", "answer"]

SCENARIOS: dict[str, Callable[[Conversation], Reply]] = {
    "fix": fix,
    "read": explore.read,
    "text": talk.text,
    "big": explore.big,
    "agent": explore.agent,
    "mcp": toolcall.mcp,
    "secret": talk.secret,
}

_TAG = re.compile(r"\[\[scenario:(\w+)\]\]")
_DIRECT = re.compile(r"\A(echo|long|tool):(.*)", re.DOTALL)
# A tool's JSON may contain "]]" itself, so its tag ends at the last one.
_DIRECT_TAG = re.compile(r"\[\[(?:(echo|long):(.*?)|(tool):(.*))\]\]", re.DOTALL)
_NUMBER = re.compile(r"\s*(\d{1,9})")

_KEYWORDS: tuple[tuple[re.Pattern[str], str, tuple[str, ...]], ...] = (
    (re.compile(r"\b(bug|fix)\b", re.IGNORECASE), "fix", ("Bash", "Read", "Edit")),
    (re.compile(r"\bsub-?agents?\b|\bdelegate\b", re.IGNORECASE), "agent", ()),
    (re.compile(r"\b(every|all) (the )?files?\b|\bwhole (repo|code)", re.IGNORECASE), "big", ("Bash", "Read")),
    (re.compile(r"\bmcp\b", re.IGNORECASE), "mcp", ()),
    (
        re.compile(r"\b(read|summari[sz]e|explain|describe)\b.*\b(files?|repo\w*|code\w*|project)\b", re.IGNORECASE),
        "read",
        ("Bash", "Read"),
    ),
)


def answer(conversation: Conversation) -> Reply:
    """The next reply, with a thinking block in front when the request asks for thinking."""
    reply = _choose(conversation)
    if not conversation.prompt.thinking:
        return reply
    steps = len(conversation.steps)
    thought = Thinking(f"Simulated thinking for the scenario {reply.scenario}, {steps} tool call(s) done so far.")
    return msgspec.structs.replace(reply, parts=(thought, *reply.parts))


def _choose(conversation: Conversation) -> Reply:
    demanded = talk.formatted(conversation) or toolcall.forced(conversation)
    if demanded is not None:
        return demanded
    tag = _TAG.search(conversation.ask)
    if tag is not None:
        scenario = SCENARIOS.get(tag.group(1))
        return scenario(conversation) if scenario is not None else _unknown(tag.group(1))
    direct = _DIRECT.match(conversation.ask) or _DIRECT_TAG.search(conversation.ask)
    if direct is not None:
        kind, argument = [group for group in direct.groups() if group is not None]
        return _direct(conversation, kind, argument)
    for pattern, name, needed in _KEYWORDS:
        if pattern.search(conversation.ask) and all(tool in conversation.tools for tool in needed):
            # agent and mcp without their tools would only say so: a plain answer is more use.
            if name == "agent" and conversation.first_tool("Agent", "Task") is None:
                continue
            if name == "mcp" and not any(tool.startswith("mcp__") for tool in conversation.tools):
                continue
            return SCENARIOS[name](conversation)
    return toolcall.mentioned(conversation) or talk.plain(conversation)


def _unknown(name: str) -> Reply:
    text = f"Simulated: there is no scenario {name!r}; known are {', '.join(sorted(SCENARIOS))}."
    return Reply((Text((text,)),), "unknown")


def _direct(conversation: Conversation, kind: str, argument: str) -> Reply:
    if kind == "tool":
        return toolcall.named(conversation, argument)
    if kind == "echo":
        return talk.echo(argument)
    number = _NUMBER.match(argument)
    return talk.long(number.group(1)) if number else talk.plain(conversation)
