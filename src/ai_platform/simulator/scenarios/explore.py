"""Scenarios that only read: `read` (a few files), `big` (many, two at a time), `agent` (a sub-agent reads)."""

from ai_platform.simulator.reply import Reply, ToolUse, call, say
from ai_platform.simulator.scenarios import files
from ai_platform.simulator.scenarios.conversation import Conversation
from ai_platform.simulator.scenarios.sample import properties_of, sample_object
from ai_platform.simulator.scenarios.toolcall import summary

_FEW = 3
_MANY = 24
_AT_ONCE = 2
_AGENT_TOOLS = ("Agent", "Task")


def read(conversation: Conversation) -> Reply:
    """Lists the repository, reads the files the prompt names (else the first three), tells what they are."""
    first = files.look(conversation, "read")
    step = files.looked(conversation)
    if first is not None or step is None:
        return first or say("Simulated.")
    if step.failed:
        return files.stopped(step, "read")
    folder, names = files.repository(step)
    wanted = (files.asked_files(conversation, names) or names)[:_FEW]
    done = conversation.done("Read")
    if "Read" in conversation.tools and wanted and not done:
        return call(files.reads(folder, wanted), saying="Reading them now (simulated). ", scenario="read")
    return _report(conversation, "read")


def _report(conversation: Conversation, scenario: str) -> Reply:
    lines = [f"Simulated report on {len(conversation.done('Read'))} file(s):"]
    for step in conversation.done("Read"):
        name = str(step.input.get("file_path", "")).rpartition("/")[2]
        size = f"{len(files.shown(step).splitlines())} lines" if not step.failed else "could not be read"
        lines.append(f"- {name}: {size}")
    return say("\n".join(lines), scenario=scenario)


def big(conversation: Conversation) -> Reply:
    """Reads up to 24 files, two at a time, so that the conversation grows turn by turn."""
    first = files.look(conversation, "big")
    step = files.looked(conversation)
    if first is not None or step is None:
        return first or say("Simulated.")
    folder, names = files.repository(step)
    done = {str(read.input.get("file_path")) for read in conversation.done("Read")}
    left = [name for name in names if files.absolute(folder, name) not in done]
    if "Read" in conversation.tools and left and len(done) < _MANY:
        return call(files.reads(folder, left[:_AT_ONCE]), saying="Reading on (simulated). ", scenario="big")
    return _report(conversation, "big")


def agent(conversation: Conversation) -> Reply:
    """Gives the reading to a sub-agent and repeats its report."""
    done = conversation.done(*_AGENT_TOOLS)
    if done:
        return summary(done[-1], "agent")
    name = conversation.first_tool(*_AGENT_TOOLS)
    if name is None:
        return say("Simulated: no Agent tool is declared in this request.", scenario="agent")
    schema = conversation.tools[name].get("input_schema")
    arguments = sample_object(schema)
    arguments["description"] = "Read the repository"
    arguments["prompt"] = "Read the files of this repository and report what they are. [[scenario:read]]"
    known = properties_of(schema)
    if "subagent_type" in known:
        arguments["subagent_type"] = "general-purpose"
    if "run_in_background" in known:
        arguments["run_in_background"] = False
    return call([ToolUse(name, arguments)], saying="A sub-agent will read it (simulated). ", scenario="agent")
