"""Reading usage out of what an upstream says, also when it says it wrongly."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.domain.usage import Usage
from ai_platform.pricing import UsageMeter, merge, total_usage, usage_from_message
from ai_platform.pricing.wire import MOST_TOKENS, WireUsage

START = {"type": "message_start", "message": {"id": "msg_1", "model": "claude-opus-5-5", "content": [], "usage": {}}}


def start(**usage: Any) -> bytes:
    return json.dumps({**START, "message": {**START["message"], "usage": usage}}).encode()  # type: ignore[dict-item]


def delta(stop: str | None = "end_turn", **usage: Any) -> bytes:
    return json.dumps({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": usage}).encode()


def test_a_whole_message_gives_model_and_final_usage() -> None:
    meter = UsageMeter()
    meter.feed_message(b'{"model":"claude-opus-5-5","usage":{"input_tokens":3,"output_tokens":4},"future":[1,{"a":2}]}')
    assert (meter.model, meter.started, meter.final, meter.odd) == ("claude-opus-5-5", True, True, 0)
    assert meter.usage == Usage(input_tokens=3, output_tokens=4)


def test_a_stream_is_final_with_the_event_that_names_the_stop_reason() -> None:
    meter = UsageMeter()
    assert not meter.started
    meter.feed_start(start(input_tokens=10, output_tokens=1))
    assert meter.started
    meter.feed_delta(delta(None, output_tokens=5))
    assert not meter.final
    meter.feed_delta(delta("end_turn", output_tokens=9))
    assert meter.final
    assert meter.usage == Usage(input_tokens=10, output_tokens=9)


def test_only_the_start_has_split_tier_speed_and_geography_and_they_stay() -> None:
    meter = UsageMeter()
    split = {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 2}
    meter.feed_start(
        start(
            input_tokens=1,
            cache_creation_input_tokens=3,
            cache_creation=split,
            service_tier="batch",
            speed="fast",
            inference_geo="us",
            output_tokens=1,
        )
    )
    meter.feed_delta(delta(output_tokens=7, cache_creation_input_tokens=3))
    usage = meter.usage
    assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == (1, 2)
    assert (usage.tier, usage.speed, usage.geo) == ("batch", "fast", "us")


@pytest.mark.parametrize("junk", [b"", b"null", b"[]", b"{", b"7", b'"x"', b"\xff\xfe", b"[" * 5000, b'{"usage": 3}'])
def test_junk_is_no_usage_and_no_error(junk: bytes) -> None:
    meter = UsageMeter()
    meter.feed_start(junk)
    meter.feed_delta(junk)
    meter.feed_message(junk)
    assert meter.usage == Usage()
    assert not meter.final
    assert meter.odd >= 1
    assert usage_from_message(junk) == Usage()


@pytest.mark.parametrize("odd", ["12", None, True, -1, 1.5, MOST_TOKENS + 1, [], {}, 10**40])
def test_a_field_of_a_wrong_type_is_absent_and_the_rest_is_read(odd: Any) -> None:
    usage = usage_from_message(
        {"usage": {"input_tokens": odd, "output_tokens": 5, "speed": 9, "iterations": [odd, {}]}}
    )
    assert (usage.input_tokens, usage.output_tokens, usage.speed) == (0, 5, "standard")


def test_a_whole_number_written_as_a_float_counts() -> None:
    assert usage_from_message(b'{"usage":{"input_tokens":12.0,"output_tokens":3}}').input_tokens == 12


def test_an_output_of_a_wrong_type_is_not_final() -> None:
    meter = UsageMeter()
    meter.feed_start(start(input_tokens=10, output_tokens=2))
    meter.feed_delta(delta("end_turn", output_tokens="many"))
    assert not meter.final
    assert meter.odd == 1
    assert meter.usage.output_tokens == 2


def test_writes_of_passes_without_a_split_follow_the_split_of_the_whole() -> None:
    split = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 900}
    passes = [
        {"type": "message", "cache_creation_input_tokens": 600},
        {"type": "message", "cache_creation_input_tokens": 400},
    ]
    usage = usage_from_message(
        {"usage": {"cache_creation_input_tokens": 1000, "cache_creation": split, "iterations": passes}}
    )
    total = total_usage(usage)
    assert (total.cache_write_5m_tokens, total.cache_write_1h_tokens) == (100, 900)


def test_merging_keeps_the_larger_count_whatever_the_order() -> None:
    low, high = WireUsage(input_tokens=1, output_tokens=9), WireUsage(input_tokens=5)
    assert merge(low, high) == merge(high, low) == WireUsage(input_tokens=5, output_tokens=9)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    [
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation",
        "output_tokens_details",
        "server_tool_use",
        "service_tier",
        "speed",
        "inference_geo",
        "iterations",
        "ephemeral_1h_input_tokens",
        "type",
        "model",
        "thinking_tokens",
        "web_search_requests",
    ]
)
usages = st.recursive(
    json_values, lambda inner: st.dictionaries(names, inner | st.lists(inner, max_size=3)), max_leaves=12
)


@given(usages, usages)
def test_whatever_an_upstream_writes_the_counts_are_sane(first: Any, second: Any) -> None:
    meter = UsageMeter()
    meter.feed_start(json.dumps({"message": {"model": second, "usage": first}}).encode())
    meter.feed_delta(json.dumps({"delta": first, "usage": second}).encode())
    total = total_usage(meter.usage)
    counts = (total.input_tokens, total.output_tokens, total.cache_read_tokens, total.cache_write_5m_tokens)
    assert all(isinstance(count, int) and count >= 0 for count in counts)


counts = st.integers(0, 10_000)
events = st.lists(st.fixed_dictionaries({"input_tokens": counts, "output_tokens": counts}), min_size=1, max_size=6)


@pytest.mark.requirement("SP-2")
@given(events)
def test_a_stream_counts_the_highest_of_every_count_it_was_told(said: list[dict[str, int]]) -> None:
    meter = UsageMeter()
    meter.feed_start(start(**said[0]))
    for usage in said[1:]:
        meter.feed_delta(delta(None, **usage))
    assert meter.usage.input_tokens == max(usage["input_tokens"] for usage in said)
    assert meter.usage.output_tokens == max(usage["output_tokens"] for usage in said)
