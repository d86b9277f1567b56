"""What a caller reads who has no room left: the limit, what is spent, when it passes, what to do."""

import math
from datetime import UTC, datetime

from ai_platform.budget.counters import Counter, Level, Limit, NoRoom, Plan, TooManyRequests, Unit
from ai_platform.budget.plan import REQUESTS
from ai_platform.budget.settings import Scope
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import OverBudget, RateLimited

IN_FLIGHT = 5.0
"""Seconds until a call that only other calls in flight keep out should be tried again."""


def rate_limited(error: TooManyRequests, now: float) -> RateLimited:
    window = error.window
    wait = max(1, math.ceil(error.wait))
    plural = "" if window.limit == 1 else "s"
    whose = "you" if window.scope is Scope.USER else f"team {window.owner.partition('/')[2]}"
    return RateLimited(
        Refusal.RATE_LIMIT,
        f"Request limit reached: {window.limit:,} request{plural} an hour for {whose}, all made in the last 60 minutes."
        f" The next one is possible at {_clock(now + wait)} (in {wait} s). Wait, or ask an administrator to raise"
        f" {REQUESTS[window.scope]}.",
        rule=REQUESTS[window.scope],
        retry_after=float(wait),
    )


def over_budget(error: NoRoom, plan: Plan, wanted: int, now: float) -> OverBudget:
    """wanted: what the call is expected to use, in the limit's unit."""
    limit, level = error.limit, error.level
    counter = plan.counters[limit.counter]
    amount = f"This call is expected to use {_amount(counter, wanted)}"
    spent = f"{_amount(counter, level.spent)} spent"
    if level.held:
        spent += f", {_amount(counter, level.held)} held by calls in flight"
    reset = f"It starts again at {_moment(level.end)}."
    if level.spent + wanted <= limit.cap:
        advice = f"Calls in flight hold the rest: try again in a few seconds. {reset}"
        wait = IN_FLIGHT
    else:
        advice = f"{reset} {_advice(counter, limit, level)}"
        wait = max(1.0, math.ceil(level.end - now))
    title = "Token limit" if counter.unit is Unit.TOKENS else "Budget"
    refusal = OverBudget(
        Refusal.TOKEN_LIMIT if counter.unit is Unit.TOKENS else Refusal.BUDGET,
        f"{title} used up: {_whose(counter, limit)} may use {_amount(counter, limit.cap)} a {counter.period.value};"
        f" {spent}. {amount}. {advice}",
        rule=limit.rule,
        retry_after=wait,
    )
    if wait != IN_FLIGHT:
        refusal.period = counter.period.value
        refusal.resets_at = level.end
        refusal.shared = counter.scope in {Scope.ORG, Scope.TEAM}
    return refusal


def _advice(counter: Counter, limit: Limit, level: Level) -> str:
    smaller = "a shorter prompt" if counter.unit is Unit.TOKENS else "a smaller model, a shorter prompt"
    until = (
        f"Until then, {smaller} or a lower max_tokens may still fit" if level.spent < limit.cap else "Until then, wait"
    )
    return f"{until}, or ask an administrator to raise {limit.rule}."


def _whose(counter: Counter, limit: Limit) -> str:
    if counter.scope is Scope.USER:
        return "you"
    words = {Scope.ORG: "the organisation", Scope.TEAM: "team", Scope.KEY: "key"}
    return f"{words[counter.scope]} {limit.name}"


def _amount(counter: Counter, amount: int) -> str:
    if counter.unit is Unit.TOKENS:
        return f"{amount:,} tokens"
    cents, rest = divmod(amount, 10_000)
    if cents == 0 and rest:
        return f"${amount / 1_000_000:.6f}".rstrip("0")
    return f"${cents // 100:,}.{cents % 100:02d}"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
