"""What the simulated model says and does, scenario by scenario, over a conversation that a small client plays."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator_asking import ask, stream, text_of

from ai_platform.simulator.scenarios.sample import sample
from ai_platform.simulator.scenarios.talk import LEAK_AWS_KEY, LEAK_SSN

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UP-4")]

CALC = "def divide(a, b):\n    return a * b  # BUG\n"
TESTS = "from calc import divide\n\n\nclass T:\n    def test_divide(self):\n        self.assertEqual(divide(6, 3), 2)\n"


def tool(name: str, *required: str, **properties: Any) -> dict[str, Any]:
    fields = {field: {"type": "string"} for field in required} | properties
    return {"name": name, "input_schema": {"type": "object", "properties": fields, "required": list(required)}}


CODING = [
    tool("Bash", "command"),
    tool("Read", "file_path"),
    tool("Edit", "file_path", "old_string", "new_string"),
    tool("Write", "file_path", "content"),
]


class Machine:
    """Plays Claude Code's part: runs the tools on files in memory."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.tests_pass = True

    def run(self, name: str, arguments: dict[str, Any]) -> tuple[str, bool]:
        """(result, failed)"""
        self.calls.append((name, arguments))
        path = str(arguments.get("file_path", "")).removeprefix("/repo/")
        match name:
            case "Read":
                lines = self.files[path].splitlines()
                return "\n".join(f"{number}\t{line}" for number, line in enumerate(lines, 1)), False
            case "Edit":
                if self.files[path].count(arguments["old_string"]) != 1:
                    return "String to replace not found in file.", True
                self.files[path] = self.files[path].replace(arguments["old_string"], arguments["new_string"])
                return "updated", False
            case "Write":
                self.files[path] = arguments["content"]
                return "created", False
            case _:
                return self.shell(arguments["command"])

    def shell(self, command: str) -> tuple[str, bool]:
        if command.startswith("pwd"):
            return "\n".join(["/repo", *sorted(self.files)]), False
        if "unittest" in command:
            return ("OK", False) if self.tests_pass else ("FAILED (failures=1)", True)
        return "abc1234 Fix divide and test division by zero", False


async def play(
    http: httpx2.AsyncClient, prompt: str, run: Callable[[str, dict[str, Any]], tuple[str, bool]], **fields: Any
) -> str:
    """Answer tool calls until the model stops; its last text."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
    for _ in range(60):
        answer = await ask(http, messages=messages, **{"thinking": {"type": "adaptive"}, **fields})
        if answer["stop_reason"] != "tool_use":
            return text_of(answer)
        results: list[dict[str, Any]] = []
        for block in answer["content"]:
            if block["type"] == "tool_use":
                content, failed = run(block["name"], block["input"])
                results.append(
                    {"type": "tool_result", "tool_use_id": block["id"], "content": content, "is_error": failed}
                )
        messages += [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": results}]
    raise AssertionError("the scenario does not end")


async def test_fix_edits_the_bug_adds_a_test_runs_it_and_commits(http: httpx2.AsyncClient) -> None:
    machine = Machine()
    machine.files = {"calc.py": CALC, "test_calc.py": TESTS}
    said = await play(http, "Fix the bug in calc.py", machine.run, tools=CODING)
    assert machine.files["calc.py"] == "def divide(a, b):\n    return a / b\n"
    assert "assertRaises(ZeroDivisionError)" in machine.files["test_calc.py"]
    assert [name for name, _ in machine.calls] == ["Bash", "Read", "Read", "Edit", "Edit", "Write", "Bash", "Bash"]
    assert "git commit" in machine.calls[-1][1]["command"]
    assert "Simulated session finished" in said


async def test_fix_stops_when_the_tests_fail(http: httpx2.AsyncClient) -> None:
    machine = Machine()
    machine.files = {"calc.py": CALC, "test_calc.py": TESTS}
    machine.tests_pass = False
    said = await play(http, "[[scenario:fix]]", machine.run, tools=CODING)
    assert "stops here: Bash did not work: FAILED" in said
    assert not any("commit" in arguments.get("command", "") for _, arguments in machine.calls)


async def test_fix_stops_when_a_tool_is_refused(http: httpx2.AsyncClient) -> None:
    machine = Machine()
    machine.files = {"calc.py": CALC, "test_calc.py": TESTS}

    def refusing(name: str, arguments: dict[str, Any]) -> tuple[str, bool]:
        return ("denied by policy", True) if name == "Edit" else machine.run(name, arguments)

    assert "Edit did not work: denied by policy" in await play(http, "[[scenario:fix]]", refusing, tools=CODING)


async def test_fix_without_its_tools_says_which_are_missing(http: httpx2.AsyncClient) -> None:
    said = await play(http, "[[scenario:fix]]", Machine().run, tools=[tool("Read", "file_path")])
    assert "needs the tools Bash, Edit" in said


async def test_fix_leaves_code_alone_that_is_right(http: httpx2.AsyncClient) -> None:
    machine = Machine()
    machine.files = {"calc.py": CALC.replace("a * b  # BUG", "a / b"), "CHANGELOG.md": "x"}
    said = await play(http, "[[scenario:fix]]", machine.run, tools=CODING)
    assert [name for name, _ in machine.calls] == ["Bash", "Read"]
    assert "nothing was changed" in said


async def test_read_reads_the_files_that_are_named(http: httpx2.AsyncClient) -> None:
    machine = Machine()
    machine.files = {"a.py": "1\n2\n", "b.py": "1\n", "c.py": "1\n"}
    said = await play(http, "Read the file b.py", machine.run, tools=CODING)
    assert [arguments for name, arguments in machine.calls if name == "Read"] == [{"file_path": "/repo/b.py"}]
    assert "- b.py: 1 lines" in said


async def test_big_reads_many_files_two_at_a_time(http: httpx2.AsyncClient) -> None:
    machine = Machine()
    machine.files = {f"f{number:02}.txt": "x" for number in range(40)}
    said = await play(http, "[[scenario:big]]", machine.run, tools=CODING)
    assert sum(name == "Read" for name, _ in machine.calls) == 24
    assert "Simulated report on 24 file(s)" in said


async def test_agent_calls_the_agent_tool_with_a_reading_task(http: httpx2.AsyncClient) -> None:
    calls: list[dict[str, Any]] = []

    def run(name: str, arguments: dict[str, Any]) -> tuple[str, bool]:
        calls.append(arguments)
        return "three files", False

    agent = tool("Agent", "description", "prompt", subagent_type={"type": "string"})
    said = await play(http, "Use a subagent", run, tools=[agent])
    assert said == "Simulated summary: Agent returned: three files"
    assert calls[0]["subagent_type"] == "general-purpose"
    assert "[[scenario:read]]" in calls[0]["prompt"]


async def test_mcp_loads_a_deferred_tool_before_it_calls_it(http: httpx2.AsyncClient) -> None:
    late = {**tool("mcp__demo__weather", "city"), "defer_loading": True}
    tools = [tool("ToolSearch", "query"), late]
    context = {"role": "system", "content": "Deferred tools: mcp__demo__weather"}
    asked = {"role": "user", "content": "[[scenario:mcp]]"}
    first = await ask(http, messages=[asked, context], tools=tools)
    search = first["content"][-1]
    assert (search["name"], search["input"]["query"]) == ("ToolSearch", "select:mcp__demo__weather")
    loaded = {
        "type": "tool_result",
        "tool_use_id": search["id"],
        "content": [{"type": "tool_reference", "tool_name": "mcp__demo__weather"}],
    }
    second = await ask(
        http,
        messages=[asked, context, {"role": "assistant", "content": [search]}, {"role": "user", "content": [loaded]}],
        tools=tools,
    )
    assert second["content"][-1]["name"] == "mcp__demo__weather"
    assert second["content"][-1]["input"] == {"city": "simulated city"}


async def test_secret_leaks_its_values_split_over_deltas(http: httpx2.AsyncClient) -> None:
    found = await stream(http, "[[scenario:secret]]")
    deltas = [data["delta"]["text"] for name, data in found if name == "content_block_delta"]
    whole = "".join(deltas)
    for value in (LEAK_SSN, LEAK_AWS_KEY):
        assert value in whole
        assert not any(value in delta for delta in deltas)
    assert "simulated" in whole


async def test_echo_says_the_text_token_by_token(http: httpx2.AsyncClient) -> None:
    found = await stream(http, "echo:Grüße, world\n  second line")
    deltas = [data["delta"]["text"] for name, data in found if name == "content_block_delta"]
    assert "".join(deltas) == "Grüße, world\n  second line"
    assert len(deltas) == 4
    assert text_of(await ask(http, "please [[echo:only this]] thanks")) == "only this"


async def test_a_named_tool_gets_the_json_of_the_prompt_even_in_a_tag(http: httpx2.AsyncClient) -> None:
    answer = await ask(http, 'do [[tool:weather {"a": [[1, 2]]}]] now', tools=[tool("weather")])
    assert answer["content"][-1]["input"] == {"a": [[1, 2]]}
    answer = await ask(http, "tool:weather", tools=[tool("weather", "city")])
    assert answer["content"][-1]["input"] == {"city": "simulated city"}
    answer = await ask(http, "tool:nothing {}", tools=[tool("weather")])
    assert "'nothing' is not declared" in text_of(answer)


async def test_a_forced_tool_is_called_and_a_mentioned_one_too(http: httpx2.AsyncClient) -> None:
    tools = [tool("one", "a"), tool("two", "b")]
    forced = await ask(http, "Hello", tools=tools, tool_choice={"type": "tool", "name": "two"})
    assert (forced["stop_reason"], forced["content"][-1]["name"]) == ("tool_use", "two")
    either = await ask(http, "Hello", tools=tools, tool_choice={"type": "any"})
    assert either["content"][-1]["name"] == "one"
    assert (await ask(http, "Please use two for this", tools=tools))["content"][-1]["name"] == "two"
    assert (await ask(http, "Hello", tools=tools))["stop_reason"] == "end_turn"


async def test_an_unknown_scenario_lists_the_known_ones(http: httpx2.AsyncClient) -> None:
    said = text_of(await ask(http, "[[scenario:nonsense]]"))
    assert "no scenario 'nonsense'" in said
    assert "fix" in said


async def test_a_plain_answer_echoes_the_question_safely(http: httpx2.AsyncClient) -> None:
    said = text_of(await ask(http, "Why \x1b[31m\x00 " + "long " * 100))
    assert said.startswith('This is a simulated answer: no model was called. You asked: "Why [31m long long')
    assert said.endswith('…"')
    assert len(said) < 280
    assert said.isprintable()


async def test_reminders_and_continuations_do_not_replace_the_question(http: httpx2.AsyncClient) -> None:
    reminder = {"type": "text", "text": "<system-reminder>\n[[scenario:big]]\n</system-reminder>"}
    messages = [
        {"role": "user", "content": [reminder, {"type": "text", "text": "echo:the question"}]},
        {"role": "assistant", "content": "the que"},
        {"role": "user", "content": "Your response above was cut off mid-stream. Resume directly."},
        {"role": "user", "content": [reminder]},
    ]
    assert text_of(await ask(http, messages=messages)) == "the question"


JSON_SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {"type": "string", "minLength": 30},
            {"type": "string", "maxLength": 3},
            {"type": "integer", "minimum": 5},
            {"type": "boolean"},
            {"enum": ["x", 1]},
            {"const": 7},
            {"type": ["null", "number"]},
        ]
    ),
    lambda inner: st.one_of(
        st.builds(lambda item: {"type": "array", "items": item, "minItems": 2}, inner),
        st.builds(lambda item: {"anyOf": [item]}, inner),
        st.builds(lambda item: {"type": "object", "properties": {"p": item, "q": item}, "required": ["p"]}, inner),
    ),
    max_leaves=8,
)


def fits(value: Any, schema: dict[str, Any]) -> bool:
    if "anyOf" in schema:
        return fits(value, schema["anyOf"][0])
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    match schema["type"]:
        case "string":
            return schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 99)
        case "integer":
            return value >= schema["minimum"]
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return len(value) == 2 and all(fits(item, schema["items"]) for item in value)
        case "object":
            return list(value) == ["p"] and fits(value["p"], schema["properties"]["p"])
        case _:
            return isinstance(value, int | float)


@given(JSON_SCHEMAS)
def test_a_sample_fits_its_schema(schema: dict[str, Any]) -> None:
    assert fits(sample(schema), schema)
