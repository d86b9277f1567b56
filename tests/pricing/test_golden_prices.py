"""The golden set: every price was computed by hand from published prices (golden.yaml says how)."""

import ast
import operator
from collections.abc import Callable
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from ai_platform.domain.usage import Iteration, Usage
from ai_platform.pricing import Estimator, Price, UsageMeter, load_price_book, usage_from_message

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "golden.yaml").read_text("utf-8"))["cases"]
BOOK = load_price_book()
FIELDS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "read": "cache_read_tokens",
    "w5": "cache_write_5m_tokens",
    "w1": "cache_write_1h_tokens",
    "search": "web_search_requests",
    "fetch": "web_fetch_requests",
    "tier": "tier",
    "speed": "speed",
    "geo": "geo",
}
OPERATORS: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
}


def by_name(case: dict[str, Any]) -> str:
    return case["name"]


def usage_of(case: dict[str, Any]) -> Usage:
    if "usage" in case:
        return plain_usage(case["usage"])
    if "message" in case:
        return usage_from_message(msgspec.json.encode({"model": case["model"], "usage": case["message"]}))
    meter = UsageMeter()
    for event in case["stream"] if "stream" in case else case["cut"]["events"]:
        feed = meter.feed_start if event["type"] == "message_start" else meter.feed_delta
        feed(msgspec.json.encode(event))
    if "stream" in case:
        assert meter.final
        return meter.usage
    assert not meter.final
    return Estimator().settle_estimate(
        meter.usage,
        started=meter.started,
        model=case["model"],
        body_bytes=case["cut"]["body_bytes"],
        streamed_bytes=case["cut"]["streamed_bytes"],
        max_tokens=case["cut"].get("max_tokens"),
    )


def plain_usage(counts: dict[str, Any]) -> Usage:
    passes = tuple(
        Iteration(
            kind=extra["kind"],
            model=extra.get("model"),
            usage=Usage(**{FIELDS[key]: value for key, value in extra.items() if key in FIELDS}),
        )
        for extra in counts.get("passes", ())
    )
    return Usage(**{FIELDS[key]: value for key, value in counts.items() if key != "passes"}, iterations=passes)


def price_of(case: dict[str, Any]) -> Price:
    at = datetime.fromisoformat(case.get("at", "2026-11-22T12:00:00Z")).timestamp()
    return BOOK.price(
        case["model"],
        usage_of(case),
        platform=case.get("platform", "anthropic"),
        region=case.get("region", ""),
        asked=case.get("asked"),
        at=at,
    )


def evaluate(text: str) -> Decimal:
    def value(node: ast.expr) -> Decimal:
        if isinstance(node, ast.BinOp):
            return OPERATORS[type(node.op)](value(node.left), value(node.right))
        assert isinstance(node, ast.Constant)
        return Decimal(ast.get_source_segment(text, node) or "")

    return value(ast.parse(text, mode="eval").body)


def test_the_golden_set_has_the_size_that_was_promised() -> None:
    assert len(CASES) >= 70
    assert len({case["name"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_the_written_arithmetic_of_a_case_is_right(case: dict[str, Any]) -> None:
    steps = [evaluate(step.strip()) for step in case["sum"].split("=")]
    assert len(set(steps)) == 1, steps
    assert int(steps[0].to_integral_value(ROUND_HALF_EVEN)) == case["micros"]


@pytest.mark.requirement("SP-1", "SP-2")
@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_the_price_is_the_hand_computed_one(case: dict[str, Any]) -> None:
    price = price_of(case)
    assert price.micros == case["micros"], price.lines
    assert price.unknown is case.get("unknown", False)
    assert price.rows


@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_the_lines_of_a_price_add_up_to_it(case: dict[str, Any]) -> None:
    price = price_of(case)
    total = sum((line.number * line.rate for line in price.lines), Decimal(0)) / 1_000_000
    assert int(total.to_integral_value(ROUND_HALF_EVEN)) == price.micros


def test_a_cut_stream_is_marked_as_estimated() -> None:
    cut = [usage_of(case) for case in CASES if "cut" in case]
    assert len(cut) >= 3
    assert all(usage.estimated for usage in cut)
