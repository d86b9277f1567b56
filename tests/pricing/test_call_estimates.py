"""Estimates err upwards, learn from every finished call, and stay bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.domain.call import Head
from ai_platform.domain.usage import Iteration, Usage
from ai_platform.pricing import Estimator
from ai_platform.pricing.estimate import CALLERS, CONTEXT, ENOUGH, FIRST_OUTPUT, MODELS

MODEL = "claude-opus-5-5"
HEAD = Head(model=MODEL, max_tokens=32_000)


def taught(calls: int, usage: Usage, *, body: int = 100_000, who: str = "usr_1", streamed: int = 0) -> Estimator:
    estimator = Estimator()
    for _ in range(calls):
        estimator.observe(MODEL, body, usage, streamed_bytes=streamed, who=who)
    return estimator


def test_a_first_call_is_estimated_dearly_and_marked() -> None:
    usage = Estimator().estimate(HEAD, 10_000)
    assert usage.estimated
    assert usage.cache_write_5m_tokens == 4001
    assert usage.output_tokens == FIRST_OUTPUT


def test_the_output_is_never_estimated_above_max_tokens() -> None:
    assert Estimator().estimate(Head(model=MODEL, max_tokens=100), 10_000).output_tokens == 100
    assert Estimator().estimate(Head(model=MODEL, max_tokens=0), 10_000).output_tokens == 0


def test_tokens_per_byte_are_learned_from_true_counts() -> None:
    estimator = taught(200, Usage(input_tokens=25_000, output_tokens=10))
    prompt = estimator.estimate(HEAD, 100_000, who="usr_1").prompt_tokens
    assert 25_000 <= prompt <= 25_500


def test_a_model_that_varies_keeps_a_margin() -> None:
    estimator = Estimator()
    for number in range(200):
        estimator.observe(MODEL, 100_000, Usage(input_tokens=20_000 if number % 2 else 30_000, output_tokens=1))
    assert estimator.estimate(HEAD, 100_000).prompt_tokens >= 30_000


def test_the_output_is_the_95th_percentile_of_the_callers_own_calls() -> None:
    estimator = Estimator()
    for length in range(1, 65):
        estimator.observe(MODEL, 1000, Usage(input_tokens=1, output_tokens=length * 10), who="usr_1")
    assert estimator.estimate(HEAD, 1000, who="usr_1").output_tokens == 610


def test_a_new_caller_is_estimated_by_everybodys_calls() -> None:
    estimator = taught(ENOUGH, Usage(input_tokens=1, output_tokens=70), who="usr_1")
    assert estimator.estimate(HEAD, 1000, who="usr_2").output_tokens == 70


def test_old_calls_are_forgotten() -> None:
    estimator = taught(100, Usage(input_tokens=1, output_tokens=5000))
    for _ in range(100):
        estimator.observe(MODEL, 1000, Usage(input_tokens=1, output_tokens=10), who="usr_1")
    assert estimator.estimate(HEAD, 1000, who="usr_1").output_tokens == 10


def test_the_smallest_recent_cache_share_is_expected_again() -> None:
    estimator = taught(20, Usage(cache_read_tokens=90_000, cache_write_1h_tokens=10_000, output_tokens=1))
    estimator.observe(
        MODEL, 100_000, Usage(cache_read_tokens=50_000, cache_write_1h_tokens=50_000, output_tokens=1), who="usr_1"
    )
    usage = estimator.estimate(HEAD, 100_000, who="usr_1")
    assert usage.cache_read_tokens == usage.prompt_tokens // 2
    assert usage.cache_write_1h_tokens == usage.prompt_tokens - usage.cache_read_tokens


def test_a_caller_who_never_caches_is_estimated_at_the_plain_price() -> None:
    usage = taught(20, Usage(input_tokens=100, output_tokens=1)).estimate(HEAD, 1000, who="usr_1")
    assert usage.input_tokens == usage.prompt_tokens


def test_an_estimate_teaches_nothing() -> None:
    estimator = taught(50, Usage(input_tokens=1, output_tokens=1, estimated=True))
    assert estimator.estimate(HEAD, 1000, who="usr_1").output_tokens == FIRST_OUTPUT


def test_a_body_cannot_be_estimated_above_the_context_window() -> None:
    assert Estimator().estimate(HEAD, 64 * 1024 * 1024).prompt_tokens == CONTEXT


def test_every_pass_of_a_call_is_learned() -> None:
    usage = Usage(
        input_tokens=1, output_tokens=10, iterations=(Iteration(kind="compaction", usage=Usage(output_tokens=90)),)
    )
    assert taught(ENOUGH, usage).estimate(HEAD, 1000, who="usr_1").output_tokens == 100


def test_made_up_names_and_callers_do_not_grow_the_estimator() -> None:
    estimator = Estimator()
    for number in range(CALLERS + 50):
        estimator.observe(
            f"model-{number}", 10, Usage(input_tokens=1, output_tokens=1), streamed_bytes=1, who=f"u{number}"
        )
    assert len(estimator._histories) <= CALLERS
    assert len(estimator._per_byte) <= MODELS
    assert len(estimator._per_streamed_byte) <= MODELS


@pytest.mark.requirement("SP-2")
def test_a_cut_stream_is_settled_by_what_was_seen_and_what_was_streamed() -> None:
    estimator = taught(50, Usage(input_tokens=1, output_tokens=100), streamed=1000)
    seen = Usage(input_tokens=40, cache_read_tokens=5, output_tokens=2)
    usage = estimator.settle_estimate(seen, started=True, model=MODEL, body_bytes=900, streamed_bytes=5000)
    assert (usage.input_tokens, usage.cache_read_tokens, usage.estimated) == (40, 5, True)
    assert 500 <= usage.output_tokens <= 520


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**5))
def test_a_settlement_is_never_below_what_the_upstream_said(body: int, streamed: int, said: int) -> None:
    seen = Usage(input_tokens=7, output_tokens=said)
    for started in (True, False):
        usage = Estimator().settle_estimate(seen, started=started, model=None, body_bytes=body, streamed_bytes=streamed)
        assert usage.output_tokens >= said
        assert usage.input_tokens >= 7
        assert usage.estimated
