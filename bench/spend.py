"""What money costs: CPU microseconds of pricing, metering, estimating, holding and settling one call.

Run: python bench/spend.py [--calls 200000]
"""

import argparse
import asyncio
import gc
import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ai_platform.budget import Budget, Estimate
from ai_platform.budget.ledger import Ledger
from ai_platform.budget.settings import BudgetRule, BudgetSettings, Period, Scope
from ai_platform.domain.call import Call, Client, Door, Head, Operation
from ai_platform.domain.clock import SystemClock
from ai_platform.domain.decision import Limits
from ai_platform.domain.money import Micros
from ai_platform.domain.principal import Principal
from ai_platform.domain.route import Target
from ai_platform.pricing import Estimator, UsageMeter, load_price_book

PRINCIPAL = Principal(id="usr_1", name="Ada", email="ada@example.org", team="payments", key_id="key_1")
LIMITS = Limits(
    user_requests_per_hour=10_000_000,
    user_tokens_per_day=10**15,
    team_requests_per_hour=10_000_000,
    team_cost_per_month=Micros(10**15),
)
BUDGETS = tuple(
    BudgetRule(scope=scope, period=period, usd=Decimal(10**9))
    for scope, period in ((Scope.ORG, Period.MONTH), (Scope.USER, Period.DAY), (Scope.KEY, Period.WEEK))
)
USAGE = {
    "input_tokens": 3,
    "cache_creation_input_tokens": 2000,
    "cache_read_input_tokens": 90_000,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 2000},
    "output_tokens": 1,
    "service_tier": "standard",
    "inference_geo": "us",
}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5-5", "content": []}
START = json.dumps({"type": "message_start", "message": {**MESSAGE, "usage": USAGE}}).encode()
DELTA = json.dumps(
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {**USAGE, "output_tokens": 700}}
).encode()
HEAD = Head(model="claude-opus-5-5", stream=True, max_tokens=32_000)


def call() -> Call:
    return Call(
        id="call_01",
        door=Door.MESSAGES,
        operation=Operation.MESSAGES_CREATE,
        method="POST",
        path="/v1/messages",
        head=HEAD,
        client=Client(session_id="session", agent_id="agent"),
        received_at=time.time(),
    )


def metered() -> UsageMeter:
    meter = UsageMeter()
    meter.feed_start(START)
    meter.feed_delta(DELTA)
    return meter


def timed(name: str, calls: int, function: Callable[[], Any]) -> None:
    gc.collect()
    began = time.process_time_ns()
    for _ in range(calls):
        function()
    print(f"{name:<58} {(time.process_time_ns() - began) / calls / 1000:8.2f} us")


async def held(name: str, calls: int, budget: Budget, *, price: Callable[[], Any] | None) -> None:
    estimate = Estimate(micros=Micros(50_000), tokens=9000)
    one = call()
    gc.collect()
    began = time.process_time_ns()
    for _ in range(calls):
        async with budget.hold(PRINCIPAL, one, LIMITS, estimate) as hold:
            if price is not None:
                price()
            hold.settle(46_200, 2703)
    print(f"{name:<58} {(time.process_time_ns() - began) / calls / 1000:8.2f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200_000)
    calls = parser.parse_args().calls
    book, estimator, clock = load_price_book(), Estimator(), SystemClock()
    usage = metered().usage
    for _ in range(100):
        estimator.observe("claude-opus-5-5", 300_000, usage, streamed_bytes=20_000, who="usr_1")

    def price() -> Any:
        return book.price("claude-opus-5-5", usage, at=clock.now())

    ledger = Ledger.__new__(Ledger)  # rows are made without a database
    target, one, priced = Target(name="anthropic"), call(), price()

    def row() -> Any:
        return ledger.row(
            call=one,
            principal=PRINCIPAL,
            usage=usage,
            micros=priced.micros,
            tokens=2703,
            target=target,
            at=one.received_at,
            status=200,
            price_rows=priced.rows,
        )

    timed("price one usage", calls, price)
    timed("meter one stream (message_start, message_delta, usage)", calls, lambda: metered().usage)
    timed("estimate one call", calls, lambda: estimator.estimate(HEAD, 300_000, who="usr_1"))
    timed("learn from one call", calls, lambda: estimator.observe("claude-opus-5-5", 300_000, usage, who="usr_1"))
    timed("ledger row of one call", calls, row)
    policy = Budget(BudgetSettings(), clock)
    asyncio.run(held("hold + settle (policy limits: 2 windows, 2 counters)", calls, policy, price=None))
    asyncio.run(held("hold + price + settle, policy limits", calls, policy, price=price))
    budgets = Budget(BudgetSettings(budgets=BUDGETS), clock)
    asyncio.run(held("hold + price + settle, policy limits and 3 budgets", calls, budgets, price=price))


if __name__ == "__main__":
    main()
