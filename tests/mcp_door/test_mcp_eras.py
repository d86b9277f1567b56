"""Clients and servers of different protocol eras: questions in the middle of a call, progress, log messages."""

import asyncio
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from door_kit import EVERY_PAIR, LEGACY, MODERN, Arguments, Context, Result, Scripted, over, said, talking, words
from mcp import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ai_platform.domain.event import EventType
from ai_platform.testing.eventually import eventually

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
QUESTION = {"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": SCHEMA}}


async def ask(context: Context, question: Result = QUESTION, key: str = "who") -> Result:
    """The client's answer, asked as the era of this connection has it."""
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        answers = (context.params or {}).get("inputResponses") or {}
        if key not in answers:
            raise Asked(key, question)
        return answers[key]
    request = types.ElicitRequest.model_validate(question, by_name=False)
    metadata = ServerMessageMetadata(related_request_id=context.request_id)
    answer = await context.session.send_request(request, types.ElicitResult, metadata=metadata)
    return answer.model_dump(by_alias=True, mode="json", exclude_none=True)


class Asked(Exception):
    def __init__(self, key: str, question: Result) -> None:
        self.result = {"resultType": "input_required", "inputRequests": {key: question}, "requestState": "state"}


async def greet(context: Context, _arguments: Arguments) -> Result:
    try:
        answer = await ask(context)
    except Asked as question:
        return question.result
    return said(f"Hello, {answer.get('content', {}).get('name', answer['action'])}!")


async def twice(context: Context, _arguments: Arguments) -> Result:
    """In 2026-07-28 the first answer waits in the state that the client brings back."""
    params = context.params or {}
    try:
        if "requestState" in params and params["requestState"] != "state":
            first = params["requestState"]
        else:
            first = (await ask(context, key="one"))["content"]["name"]
        second = (await ask(context, key="two"))["content"]["name"]
    except Asked as question:
        has_first = "one" in (params.get("inputResponses") or {})
        return question.result | ({"requestState": first} if has_first else {})
    return said(first + second)


async def steps(context: Context, _arguments: Arguments) -> Result:
    for step in (1, 2, 3):
        await context.session.report_progress(step, 3, f"step {step}")
    return said("done")


async def loud(context: Context, _arguments: Arguments) -> Result:
    level = (context.meta or {}).get(types.LOG_LEVEL_META_KEY)
    if context.protocol_version not in MODERN_PROTOCOL_VERSIONS or level:
        for level, data in (("debug", "quiet"), ("warning", "loud")):
            message = types.LoggingMessageNotificationParams(level=level, data=data)
            notification = types.LoggingMessageNotification(params=message)
            await context.session.send_notification(notification, related_request_id=context.request_id)
    return said("said it")


class Person:
    """Answers with the next name, or with what a test wants."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, context: Any, params: Any) -> types.ElicitResult | types.ErrorData:
        del context
        self.asked.append(params.message)
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            return types.ElicitResult(action="accept", content={"name": answer})
        return answer


@EVERY_PAIR
@pytest.mark.requirement("MC-1")
async def test_a_question_of_the_server_reaches_the_client_and_the_answer_comes_back(
    tmp_path: Path, client_era: str, server_era: str
):
    person = Person("Ada")
    pair = talking(tmp_path, Scripted(greet=greet), client_era, server_era, elicitation_callback=person)
    async with pair as (platform, client):
        assert words(await client.call_tool("one__greet", {})) == "Hello, Ada!"
    assert person.asked == ["Who?"]
    assert len(platform.federation.waits) == 0


@EVERY_PAIR
async def test_two_questions_one_after_the_other(tmp_path: Path, client_era: str, server_era: str):
    person = Person("A", "B")
    pair = talking(tmp_path, Scripted(twice=twice), client_era, server_era, elicitation_callback=person)
    async with pair as (_, client):
        assert words(await client.call_tool("one__twice", {})) == "AB"


@EVERY_PAIR
async def test_a_person_who_declines_is_told_to_the_server(tmp_path: Path, client_era: str, server_era: str):
    person = Person(types.ElicitResult(action="decline"))
    pair = talking(tmp_path, Scripted(greet=greet), client_era, server_era, elicitation_callback=person)
    async with pair as (_, client):
        assert words(await client.call_tool("one__greet", {})) == "Hello, decline!"


@EVERY_PAIR
async def test_progress_comes_before_the_result(tmp_path: Path, client_era: str, server_era: str):
    seen: list[tuple[float, float | None, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        seen.append((done, total, message))

    async with talking(tmp_path, Scripted(steps=steps), client_era, server_era) as (_, client):
        await client.call_tool("one__steps", {}, progress_callback=progress)
        assert seen == [(1.0, 3.0, "step 1"), (2.0, 3.0, "step 2"), (3.0, 3.0, "step 3")]


@EVERY_PAIR
async def test_log_messages_reach_a_client_that_asked_for_them_from_the_level_it_named(
    tmp_path: Path, client_era: str, server_era: str
):
    heard: list[Any] = []

    async def logged(params: Any) -> None:
        heard.append(params.data)

    options = {"logging_callback": logged, "log_level": "warning"}
    async with talking(tmp_path, Scripted(loud=loud), client_era, server_era, **options) as (_, client):
        if client_era == LEGACY:
            params = types.SetLevelRequestParams(level="warning")
            await client.session.send_request(types.SetLevelRequest(params=params), types.EmptyResult)
        await client.call_tool("one__loud", {})
        await eventually(lambda: heard)
    assert heard == ["loud"]


async def test_log_messages_of_one_callers_call_reach_nobody_else(tmp_path: Path):
    heard: dict[str, list[Any]] = {"alice": [], "bob": []}
    started, both = asyncio.Event(), asyncio.Event()

    async def slow(context: Context, arguments: Arguments) -> Result:
        if started.is_set():
            both.set()
        started.set()
        await both.wait()
        message = types.LoggingMessageNotificationParams(level="error", data=arguments["who"])
        notification = types.LoggingMessageNotification(params=message)
        await context.session.send_notification(notification, related_request_id=context.request_id)
        return said("done")

    async with over(tmp_path, Scripted(slow=slow), MODERN) as platform:

        async def call(who: str) -> None:
            async def logged(params: Any) -> None:
                heard[who].append(params.data)

            async with platform.client(who=who, logging_callback=logged, log_level="info") as client:
                await client.call_tool("one__slow", {"who": who})
                await eventually(lambda: heard[who])

        await asyncio.gather(call("alice"), call("bob"))
    assert heard == {"alice": ["alice"], "bob": ["bob"]}


async def test_a_client_that_can_answer_nothing_is_asked_nothing(tmp_path: Path):
    async with talking(tmp_path, Scripted(greet=greet), LEGACY, LEGACY) as (_, client):
        with pytest.raises(MCPError):
            await client.call_tool("one__greet", {})


class Waiting:
    """A call of a client of 2026-07-28 that waits at a server of 2025-11-25 for an answer; made by hand."""

    def __init__(self, http: Any) -> None:
        self.http = http
        self.number = 0

    async def post(self, tool: str = "greet", **params: Any) -> Any:
        self.number += 1
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
        }
        name = f"one__{tool}"
        body = {"name": name, "arguments": {}, "_meta": meta} | params
        headers = {
            "mcp-protocol-version": MODERN,
            "mcp-method": "tools/call",
            "mcp-name": name,
            "accept": "application/json, text/event-stream",
        }
        request = {"jsonrpc": "2.0", "id": self.number, "method": "tools/call", "params": body}
        return (await self.http.post("/mcp", json=request, headers=headers)).json()


ANSWER = {"q1": {"action": "accept", "content": {"name": "Ada"}}}


async def test_only_who_began_a_waiting_call_goes_on_with_it_and_only_as_it_was(tmp_path: Path):
    async with (
        over(tmp_path, Scripted(greet=greet), LEGACY) as platform,
        platform.http("alice") as alice,
        platform.http("bob") as bob,
    ):
        asked = (await Waiting(alice).post())["result"]
        assert asked["inputRequests"]["q1"]["method"] == "elicitation/create"
        state = asked["requestState"]
        for http, other in (
            (bob, {}),
            (alice, {"arguments": {"other": 1}}),
            (alice, {"requestState": state + "x"}),
        ):
            answer = await Waiting(http).post(**{"requestState": state, "inputResponses": ANSWER} | other)
            assert answer["error"]["code"] == types.INVALID_PARAMS
        done = await Waiting(alice).post(requestState=state, inputResponses=ANSWER)
        assert done["result"]["content"][0]["text"] == "Hello, Ada!"
        again = await Waiting(alice).post(requestState=state, inputResponses=ANSWER)
        assert again["error"]["code"] == types.INVALID_PARAMS
    legs = [event.facts["result"] for event in platform.trail.of_type(EventType.TOOL_RESULT)]
    assert legs[0] == "input_required"
    assert "ok" in legs


async def test_answers_under_wrong_names_are_asked_for_again(tmp_path: Path):
    async with over(tmp_path, Scripted(greet=greet), LEGACY) as platform, platform.http() as http:
        asked = (await Waiting(http).post())["result"]
        wrong = {"q7": ANSWER["q1"]}
        again = (await Waiting(http).post(requestState=asked["requestState"], inputResponses=wrong))["result"]
        assert list(again["inputRequests"]) == ["q1"]
        done = await Waiting(http).post(requestState=again["requestState"], inputResponses=ANSWER)
        assert done["result"]["content"][0]["text"] == "Hello, Ada!"


async def test_a_client_that_never_comes_back_costs_the_server_nothing_for_ever(tmp_path: Path):
    gone = asyncio.Event()

    async def waits(context: Context, _arguments: Arguments) -> Result:
        try:
            await ask(context)
        finally:
            gone.set()
        return said("never")

    bounds = {"suspended_timeout": 60.0, "max_suspended": 1}
    async with over(tmp_path, Scripted(waits=waits), LEGACY, **bounds) as platform, platform.http() as http:
        await Waiting(http).post("waits")
        assert len(platform.federation.waits) == 1
        full = (await Waiting(http).post("waits"))["result"]
        assert full["isError"]
        assert "max_suspended" in full["content"][0]["text"]
        platform.clock.advance(61)
        await platform.federation.waits.sweep()
        assert len(platform.federation.waits) == 0
        async with asyncio.timeout(20):
            await gone.wait()
        lines = platform.federation.server("one").lines
        platform.clock.advance(1000)
        await lines.sweep()
        assert lines.count == 1


async def test_answers_of_a_person_are_inspected_before_the_server_has_them(tmp_path: Path):
    told: list[str] = []

    async def curious(context: Context, _arguments: Arguments) -> Result:
        answer = await ask(context)
        told.append(answer["content"]["name"])
        return said("thanks")

    person = Person("4111 1111 1111 1111")
    pair = talking(tmp_path, Scripted(curious=curious), LEGACY, LEGACY, elicitation_callback=person)
    async with pair as (platform, client):
        with pytest.raises(MCPError):
            await client.call_tool("one__curious", {})
    assert told == []
    assert len(platform.trail.of_type(EventType.TOOL_RESULT)) == 1
