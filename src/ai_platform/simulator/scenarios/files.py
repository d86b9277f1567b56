"""What the repository scenarios share: where the repository is, which files it has, what a Read has shown."""

import posixpath
import re

from ai_platform.simulator.reply import Reply, ToolUse, call, say
from ai_platform.simulator.scenarios.conversation import Conversation, Step

LOOK = "pwd && git ls-files 2>/dev/null | head -200"
_NUMBERED = re.compile(r"^\s*\d+(?:→|\t)(.*)$")
_FILE_NAME = re.compile(r"[\w./-]+\.\w{1,5}")


def look(conversation: Conversation, scenario: str) -> Reply | None:
    """The first step of every repository scenario; None once it is done."""
    if looked(conversation) is not None:
        return None
    if "Bash" not in conversation.tools:
        return say("Simulated: this scenario needs the Bash and Read tools, which are not declared.", scenario=scenario)
    step = ToolUse("Bash", {"command": LOOK, "description": "List the files of the repository"})
    return call([step], saying="I will look at the repository first (simulated). ", scenario=scenario)


def looked(conversation: Conversation) -> Step | None:
    return next((step for step in conversation.done("Bash") if step.input.get("command") == LOOK), None)


def repository(step: Step) -> tuple[str, list[str]]:
    """(folder, files) from the answer to LOOK."""
    lines = [line.strip() for line in step.result.splitlines() if line.strip()]
    return (lines[0], lines[1:]) if lines else ("", [])


def absolute(folder: str, name: str) -> str:
    return name if name.startswith("/") else posixpath.join(folder, name)


def asked_files(conversation: Conversation, files: list[str]) -> list[str]:
    """The files of the repository that the prompt names."""
    wanted = {posixpath.basename(name) for name in _FILE_NAME.findall(conversation.ask)}
    return [name for name in files if posixpath.basename(name) in wanted]


def reads(folder: str, names: list[str]) -> list[ToolUse]:
    return [ToolUse("Read", {"file_path": absolute(folder, name)}) for name in names]


def shown(step: Step) -> str:
    """The file's text from the numbered lines of a Read result."""
    lines: list[str] = []
    for line in step.result.splitlines():
        found = _NUMBERED.match(line)
        if found:
            lines.append(found.group(1))
    return "\n".join(lines)


def read_of(conversation: Conversation, path: str) -> Step | None:
    """The newest successful Read of a path."""
    steps = [step for step in conversation.done("Read") if step.input.get("file_path") == path and not step.failed]
    return steps[-1] if steps else None


def stopped(step: Step, scenario: str) -> Reply:
    """The end of a session whose tool failed or was refused."""
    reason = " ".join(step.result.split())[:300]
    return say(f"The simulated session stops here: {step.name} did not work: {reason}", scenario=scenario)
