"""Prompt-cache accounting against cases computed by hand from the published rules.

claude-sonnet-4-6 counts 1 token per 3.6 bytes and caches from 1,024 tokens on: a text of 7,200 bytes is 2,000 tokens.
"""

from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator_asking import ask, body, stream

from ai_platform.simulator.cache import LOOK_BACK, PromptCache
from ai_platform.simulator.layout import Block
from ai_platform.testing import FakeClock

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UP-4")]

FIVE = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}


def text(letter: str, tokens: int, mark: dict[str, str] | None = None) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": letter * (tokens * 36 // 10)}
    return {**block, "cache_control": mark} if mark else block


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def split(usage: dict[str, Any]) -> tuple[int, int, int, int]:
    """(fresh, read, 5m write, 1h write)"""
    creation = usage["cache_creation"]
    assert usage["cache_creation_input_tokens"] == sum(creation.values())
    return (
        usage["input_tokens"],
        usage["cache_read_input_tokens"],
        creation["ephemeral_5m_input_tokens"],
        creation["ephemeral_1h_input_tokens"],
    )


async def usage_of(http: httpx2.AsyncClient, **fields: Any) -> tuple[int, int, int, int]:
    return split((await ask(http, **fields))["usage"])


async def test_the_first_request_writes_and_the_second_reads(http: httpx2.AsyncClient) -> None:
    request = {"system": [text("s", 2000, FIVE)], "messages": [user(text("q", 10))]}
    assert await usage_of(http, **request) == (10, 0, 2000, 0)
    assert await usage_of(http, **request) == (10, 2000, 0, 0)


async def test_a_prefix_below_the_minimum_is_never_cached(http: httpx2.AsyncClient) -> None:
    request = {"system": [text("s", 1000, FIVE)], "messages": [user(text("q", 10))]}
    assert await usage_of(http, **request) == (1010, 0, 0, 0)
    assert await usage_of(http, **request) == (1010, 0, 0, 0)
    # The same prefix is long enough on Opus 5 (minimum 512); its tokenizer counts 1.3 times as many tokens.
    assert await usage_of(http, model="claude-opus-5", **request) == (13, 0, 1300, 0)


async def test_an_entry_lives_five_minutes_and_a_hit_renews_it(http: httpx2.AsyncClient, clock: FakeClock) -> None:
    request = {"system": [text("s", 2000, FIVE)], "messages": [user(text("q", 10))]}
    assert await usage_of(http, **request) == (10, 0, 2000, 0)
    clock.advance(299)
    assert await usage_of(http, **request) == (10, 2000, 0, 0)
    clock.advance(299)
    assert await usage_of(http, **request) == (10, 2000, 0, 0)
    clock.advance(301)
    assert await usage_of(http, **request) == (10, 0, 2000, 0)


async def test_a_one_hour_entry_outlives_the_five_minute_one_above_it(
    http: httpx2.AsyncClient, clock: FakeClock
) -> None:
    request = {"system": [text("s", 2000, HOUR)], "messages": [user(text("q", 500, FIVE))]}
    assert await usage_of(http, **request) == (0, 0, 500, 2000)
    clock.advance(600)
    assert await usage_of(http, **request) == (0, 2000, 500, 0)
    clock.advance(3601)
    assert await usage_of(http, **request) == (0, 0, 500, 2000)


async def test_mixed_lifetimes_are_billed_read_then_hour_then_five_minutes(http: httpx2.AsyncClient) -> None:
    system = [text("a", 2000, HOUR)]
    assert await usage_of(http, system=system, messages=[user(text("q", 10))]) == (10, 0, 0, 2000)
    grown = [text("a", 2000, HOUR), text("b", 1000, HOUR)]
    messages = [user(text("c", 300, FIVE), text("q", 10))]
    # A = 2000 (hit), B = 3000 (last 1h marker), C = 3300 (last marker), 10 after it.
    assert await usage_of(http, system=grown, messages=messages) == (10, 2000, 300, 1000)


async def test_a_growing_conversation_reads_up_to_the_last_marker_of_the_turn_before(http: httpx2.AsyncClient) -> None:
    first = [user(text("a", 2000, FIVE))]
    assert await usage_of(http, messages=first) == (0, 0, 2000, 0)
    answered = [user(text("a", 2000)), {"role": "assistant", "content": [text("b", 100)]}, user(text("c", 200, FIVE))]
    assert await usage_of(http, messages=answered) == (0, 2000, 300, 0)


async def test_an_entry_is_found_nineteen_blocks_before_the_marker_and_not_twenty(http: httpx2.AsyncClient) -> None:
    assert await usage_of(http, messages=[user(text("a", 2000, FIVE))]) == (0, 0, 2000, 0)
    near = [text("a", 2000), *[text("b", 10) for _ in range(18)], text("c", 10, FIVE)]
    assert await usage_of(http, messages=[user(*near)]) == (0, 2000, 190, 0)
    assert await usage_of(http, messages=[user(text("x", 2000, FIVE))]) == (0, 0, 2000, 0)
    far = [text("x", 2000), *[text("b", 10) for _ in range(19)], text("c", 10, FIVE)]
    assert await usage_of(http, messages=[user(*far)]) == (0, 0, 2200, 0)


async def test_automatic_caching_marks_the_last_block(http: httpx2.AsyncClient) -> None:
    first = [user(text("a", 2000))]
    assert await usage_of(http, messages=first, cache_control=FIVE) == (0, 0, 2000, 0)
    grown = [*first, {"role": "assistant", "content": [text("b", 50)]}, user(text("c", 50))]
    assert await usage_of(http, messages=grown, cache_control=HOUR) == (0, 2000, 0, 100)


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ({"tools": [{"name": "other", "input_schema": {"type": "object"}}]}, 0),
        ({"system": [text("S", 2000, FIVE)]}, 0),
        ({"tool_choice": {"type": "none"}}, 2000),
        ({"output_config": {"effort": "low"}}, 2000),
        ({"thinking": {"type": "adaptive"}}, 2000),
        ({"model": "claude-sonnet-4-5"}, 0),
        ({"metadata": {"user_id": "x"}, "max_tokens": 5}, 2500),
    ],
    ids=["tools", "system", "tool_choice", "effort", "thinking", "model", "nothing that counts"],
)
async def test_what_a_change_leaves_readable(http: httpx2.AsyncClient, change: dict[str, Any], read: int) -> None:
    request: dict[str, Any] = {"system": [text("s", 2000, FIVE)], "messages": [user(text("q", 500, FIVE))]}
    await usage_of(http, **request)
    assert (await usage_of(http, **{**request, **change}))[1] == read


async def test_keys_and_speeds_do_not_share_entries(http: httpx2.AsyncClient) -> None:
    request = body(model="claude-opus-5", system=[text("s", 2000, FIVE)])
    for headers, speed in (({}, None), ({"x-api-key": "sk-other"}, None), ({}, "fast")):
        extra = {"speed": speed} if speed else {}
        response = await http.post("/v1/messages", json={**request, **extra}, headers=headers)
        assert response.json()["usage"]["cache_read_input_tokens"] == 0, (headers, speed)
    assert (await http.post("/v1/messages", json=request)).json()["usage"]["cache_read_input_tokens"] == 2600


async def test_a_refused_answer_leaves_no_entry(http: httpx2.AsyncClient) -> None:
    request = body(system=[text("s", 2000, FIVE)])
    refused = await http.post("/v1/messages", json=request, headers={"x-simulate-fault": "529"})
    assert refused.status_code == 529
    assert (await http.post("/v1/messages", json=request)).json()["usage"]["cache_read_input_tokens"] == 0


async def test_max_tokens_zero_warms_the_cache_and_says_nothing(http: httpx2.AsyncClient) -> None:
    request = {"system": [text("s", 2000, FIVE)]}
    warmed = await ask(http, max_tokens=0, **request)
    assert (warmed["content"], warmed["usage"]["output_tokens"]) == ([], 0)
    assert (await ask(http, **request))["usage"]["cache_read_input_tokens"] == 2000


async def test_a_deferred_tool_is_outside_the_prefix_until_it_is_referenced(http: httpx2.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string", "description": "d" * 7200}}}
    tools = [{"name": "late", "input_schema": schema, "defer_loading": True}]
    request: dict[str, Any] = {"system": [text("s", 2000, FIVE)]}
    assert (await usage_of(http, **request))[2] == 2000
    assert (await usage_of(http, tools=tools, **request))[1] == 2000
    counted = await http.post("/v1/messages/count_tokens", json=body(tools=tools, max_tokens=None))
    assert counted.json()["input_tokens"] == 2
    call = {"type": "tool_use", "id": "t1", "name": "search", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "tool_reference", "tool_name": "late"}]}
    loaded = [user(text("q", 1)), {"role": "assistant", "content": [call]}, user(result)]
    counted = await http.post("/v1/messages/count_tokens", json=body(tools=tools, messages=loaded, max_tokens=None))
    assert counted.json()["input_tokens"] > 2000


async def test_a_stream_reports_the_split_once_and_the_counts_again_at_the_end(http: httpx2.AsyncClient) -> None:
    found = await stream(http, system=[text("s", 2000, HOUR)], messages=[user(text("q", 10))])
    start, final = found[0][1]["message"]["usage"], found[-2][1]["usage"]
    assert split(start) == (10, 0, 0, 2000)
    assert final["cache_creation_input_tokens"] == 2000
    assert "cache_creation" not in final


async def test_count_tokens_is_the_sum_of_what_the_message_is_billed(http: httpx2.AsyncClient) -> None:
    request: dict[str, Any] = {
        "system": [text("s", 2000, HOUR)],
        "tools": [{"name": "weather", "description": "of a city", "input_schema": {"type": "object"}}],
        "messages": [user(text("ü", 333), {"type": "text", "text": "€ and more"})],
    }
    counted = await http.post("/v1/messages/count_tokens", json=body(max_tokens=None, **request))
    for _ in range(2):
        assert sum(await usage_of(http, **request)) == counted.json()["input_tokens"]


def chain(*weights: int, marks: dict[int, str]) -> list[Block]:
    end, digest, blocks = 0, b"", []
    for index, weight in enumerate(weights):
        end += weight
        digest += bytes([index, weight % 251])
        blocks.append(Block(end, digest, marks.get(index)))
    return blocks


def test_what_a_running_request_writes_is_readable_only_after_its_response_has_started() -> None:
    cache = PromptCache(100)
    scope = ("key", "model", "standard")
    blocks = chain(7200, 36, marks={0: "5m"})
    first = cache.plan(scope, blocks, tokenizer=10, minimum=1024, now=0.0)
    second = cache.plan(scope, blocks, tokenizer=10, minimum=1024, now=0.0)
    assert (first.split.write_5m, second.split.write_5m) == (2000, 2000)
    cache.commit(first, 1.0)
    assert cache.plan(scope, blocks, tokenizer=10, minimum=1024, now=1.0).split.read == 2000


def test_the_oldest_entries_go_when_the_cache_is_full() -> None:
    cache = PromptCache(2)
    for number in range(3):
        blocks = [Block(7200, bytes([number]), "5m")]
        cache.commit(cache.plan(("k", "m", "s"), blocks, tokenizer=10, minimum=0, now=0.0), 0.0)
    assert len(cache) == 2
    assert cache.plan(("k", "m", "s"), [Block(7200, b"\0", "5m")], tokenizer=10, minimum=0, now=0.0).split.read == 0


@given(
    weights=st.lists(st.integers(0, 9000), min_size=1, max_size=60),
    marked=st.sets(st.integers(0, 59), max_size=4),
    hours=st.integers(0, 4),
    minimum=st.sampled_from([0, 512, 1024]),
)
def test_the_parts_always_sum_to_the_whole_and_a_repeated_request_reads_all_it_wrote(
    weights: list[int], marked: set[int], hours: int, minimum: int
) -> None:
    places = sorted(place for place in marked if place < len(weights))
    marks = {place: "1h" if number < hours else "5m" for number, place in enumerate(places)}
    blocks = chain(*weights, marks=marks)
    cache = PromptCache(1000)
    scope = ("key", "model", "standard")
    total = (sum(weights) * 13 + 35) // 36
    first = cache.plan(scope, blocks, tokenizer=13, minimum=minimum, now=0.0)
    cache.commit(first, 0.0)
    second = cache.plan(scope, blocks, tokenizer=13, minimum=minimum, now=1.0)
    assert first.split.total == second.split.total == total
    assert first.split.read == 0
    assert second.split.read == first.split.write_5m + first.split.write_1h
    assert second.split.write_5m == second.split.write_1h == 0
    assert min(first.split.fresh, second.split.fresh) >= 0


def test_the_look_back_is_the_published_one() -> None:
    assert LOOK_BACK == 20
