"""The `fix` scenario: finds the wrong operator in a Python function, edits it, adds a test, runs the tests, commits.

Each turn is decided from the tool results so far, as a model would: paths come from `pwd`, edits quote the exact text
that Read showed, a failed test run or a refused tool ends the session.
"""

import posixpath
import re

from ai_platform.simulator.reply import Reply, ToolUse, call, say
from ai_platform.simulator.scenarios import files
from ai_platform.simulator.scenarios.conversation import Conversation, Step

TESTS = "python3 -m unittest -q"
COMMIT = 'git add -A && git commit -q -m "Fix divide and test division by zero" && git log --oneline -1'
CHANGELOG = "CHANGELOG.md"

_NEEDED = ("Bash", "Read", "Edit")
_OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_FUNCTION = re.compile(r"^def (\w+)\((\w+), (\w+)\)[^\n]*:\n(\s+return) \2 ([-+*/]) \3([^\n]*)$", re.MULTILINE)
_ASSERTION = re.compile(r"^ +self\.assert[^\n]+$", re.MULTILINE)

_ZERO_TEST = """

    def test_divide_by_zero(self):
        with self.assertRaises(ZeroDivisionError):
            divide(1, 0)"""


def fix(conversation: Conversation) -> Reply:
    """The next turn of the session."""
    missing = [name for name in _NEEDED if name not in conversation.tools]
    if missing:
        return say(f"Simulated: this scenario needs the tools {', '.join(missing)}.", scenario="fix")
    first = files.look(conversation, "fix")
    step = files.looked(conversation)
    if first is not None or step is None:
        return first or say("Simulated.")
    failed = next((done for done in conversation.steps if done.failed), None)
    if failed is not None:
        return files.stopped(failed, "fix")
    folder, names = files.repository(step)
    source, test = _choose(conversation, names)
    if source is None:
        return say("Simulated: there is no Python file to fix here.", scenario="fix")
    return _work(conversation, folder, source, test, names)


def _choose(conversation: Conversation, names: list[str]) -> tuple[str | None, str | None]:
    """(file to fix, its test file)."""
    python = [name for name in names if name.endswith(".py")]
    sources = [name for name in python if not posixpath.basename(name).startswith("test_")]
    named = [name for name in files.asked_files(conversation, sources) if name in sources]
    source = next(iter(named or sources), None)
    if source is None:
        return None, None
    test = f"test_{posixpath.basename(source)}"
    return source, next((name for name in python if posixpath.basename(name) == test), None)


def _work(conversation: Conversation, folder: str, source: str, test: str | None, names: list[str]) -> Reply:
    wanted = [name for name in (source, test) if name is not None]
    unread = [name for name in wanted if files.read_of(conversation, files.absolute(folder, name)) is None]
    if unread:
        return call(files.reads(folder, unread), saying="Reading the code and its test (simulated). ", scenario="fix")
    for edit in (_source_edit(conversation, folder, source), _test_edit(conversation, folder, test)):
        if edit is not None and not _edited(conversation, str(edit.input["file_path"])):
            return call([edit], saying="Now the edit (simulated). ", scenario="fix")
    if not conversation.done("Edit"):
        return say(f"Simulated: nothing to fix was found in {source}; nothing was changed.", scenario="fix")
    if "Write" in conversation.tools and CHANGELOG not in names and not conversation.done("Write"):
        note = ToolUse(
            "Write",
            {
                "file_path": files.absolute(folder, CHANGELOG),
                "content": "# Changes\n\n- `divide` divides; division by zero is tested.\n",
            },
        )
        return call([note], saying="A line in the change log (simulated). ", scenario="fix")
    return _test_and_commit(conversation)


def _test_and_commit(conversation: Conversation) -> Reply:
    ran = _command(conversation, TESTS)
    if ran is None:
        run = ToolUse("Bash", {"command": TESTS, "description": "Run the tests"})
        return call([run], saying="Running the tests (simulated). ", scenario="fix")
    if "FAILED" in ran.result or "Error" in ran.result:
        return files.stopped(ran, "fix")
    committed = _command(conversation, COMMIT)
    if committed is None:
        commit = ToolUse("Bash", {"command": COMMIT, "description": "Commit the fix"})
        return call([commit], saying="The tests pass; committing (simulated). ", scenario="fix")
    head = committed.result.strip().splitlines()[-1:] or ["nothing new"]
    return say(
        "Simulated session finished: the bug is fixed, division by zero has a test, the tests pass and the work is "
        f"committed ({head[0].strip()}).",
        scenario="fix",
    )


def _command(conversation: Conversation, command: str) -> Step | None:
    return next((step for step in conversation.done("Bash") if step.input.get("command") == command), None)


def _edited(conversation: Conversation, path: str) -> bool:
    return any(step.input.get("file_path") == path and not step.failed for step in conversation.done("Edit"))


def _source_edit(conversation: Conversation, folder: str, source: str) -> ToolUse | None:
    """The edit that gives a function the operator its name promises; None when there is nothing to correct."""
    path = files.absolute(folder, source)
    step = files.read_of(conversation, path)
    for found in _FUNCTION.finditer(files.shown(step) if step is not None else ""):
        name, left, right, start, operator, rest = found.groups()
        wanted = _OPERATORS.get(name, operator)
        if wanted != operator:
            old = f"{start.strip()} {left} {operator} {right}{rest}"
            new = f"{start.strip()} {left} {wanted} {right}"
            return ToolUse("Edit", {"file_path": path, "old_string": old, "new_string": new})
    return None


def _test_edit(conversation: Conversation, folder: str, test: str | None) -> ToolUse | None:
    """The edit that adds the test after the last assertion of the test file; None when it is there or impossible."""
    if test is None:
        return None
    path = files.absolute(folder, test)
    step = files.read_of(conversation, path)
    text = files.shown(step) if step is not None else ""
    assertions = [line for line in _ASSERTION.findall(text) if text.count(line) == 1]
    if not assertions or "ZeroDivisionError" in text or "divide" not in text:
        return None
    anchor = assertions[-1]
    return ToolUse("Edit", {"file_path": path, "old_string": anchor, "new_string": anchor + _ZERO_TEST})
