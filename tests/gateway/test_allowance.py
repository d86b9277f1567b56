"""What a signed-in Claude Code is told of the person's limits, line by line of the protocol."""

import pytest

from ai_platform.budget.budget import Standing
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import OverBudget
from ai_platform.gateway.allowance import refused_headers, usage_report, with_standing

pytestmark = pytest.mark.requirement("CC-3")

PREFIX = "anthropic-ratelimit-unified-"
SPENT = {"day": 10_000, "week": 20_000, "month": 30_000}


def standing(spent: int, *, limit: int | None = 10_000_000, hard: bool = True, period: str = "month") -> Standing:
    """Of dollars, in micro-dollars."""
    return Standing(
        unit="micros", scope="user", period=period, spent=spent, limit=limit, hard=hard, resets_at=1786147200.6
    )


def told(*rows: Standing) -> dict[str, str]:
    return {name.decode().removeprefix(PREFIX): value.decode() for name, value in with_standing([], rows)}


@pytest.mark.parametrize(
    ("spent", "used", "status", "threshold"),
    [
        (0, "0.00", "allowed", None),
        (7_499_999, "0.74", "allowed", None),
        (7_500_000, "0.75", "allowed_warning", "0.75"),
        (9_499_999, "0.94", "allowed_warning", "0.75"),
        (9_500_000, "0.95", "allowed_warning", "0.95"),
        (10_000_000, "0.99", "allowed_warning", "0.95"),
        (50_000_000, "0.99", "allowed_warning", "0.95"),
    ],
)
def test_notices_begin_at_75_and_at_95_percent_and_below_one_while_calls_pass(
    spent: int, used: str, status: str, threshold: str | None
):
    headers = told(standing(spent))
    assert headers["overage-utilization"] == used
    assert (headers["status"], headers["overage-status"]) == (status, status)
    assert headers.get("overage-surpassed-threshold") == threshold
    assert (headers["reset"], headers["overage-reset"]) == ("1786147200", "1786147200")
    assert headers["representative-claim"] == "overage"


def test_the_upstreams_own_limits_are_the_organisations_and_do_not_reach_people():
    upstream = [
        (b"content-type", b"application/json"),
        (b"anthropic-ratelimit-requests-remaining", b"9"),
        (b"anthropic-ratelimit-unified-status", b"rejected"),
    ]
    assert with_standing(upstream, []) == [(b"content-type", b"application/json")]
    names = [name for name, _ in with_standing(upstream, [standing(1)])]
    assert b"anthropic-ratelimit-requests-remaining" not in names
    assert names.count(b"anthropic-ratelimit-unified-status") == 1


def test_the_fullest_limit_that_refuses_is_described():
    assert told(standing(9_000_000, hard=False), standing(2_000_000))["overage-utilization"] == "0.20"
    assert told(standing(9_000_000, limit=None)) == {}
    report = usage_report([standing(2_000_000), standing(8_000_000, period="day")], SPENT)
    assert [(row["group"], row["percent"], row["is_active"]) for row in report["limits"]] == [
        ("monthly", 20, False),
        ("daily", 80, True),
    ]
    assert report["extra_usage"]["monthly_limit"] == 1000, "cents, whatever the period"
    assert report["limits"][1]["resets_at"] == "2026-08-08T00:00:00.000Z"


def test_a_budget_that_others_use_too_is_called_so():
    error = OverBudget(Refusal.BUDGET, "spend limit reached")
    assert refused_headers(error) == [], "calls in flight hold the rest: try again soon"
    error.period, error.resets_at = "month", 1786147200.6
    alone = dict(refused_headers(error))
    assert b"anthropic-ratelimit-unified-overage-scope" not in alone
    assert alone[b"anthropic-ratelimit-unified-overage-period"] == b"monthly"
    error.shared = True
    assert dict(refused_headers(error))[b"anthropic-ratelimit-unified-overage-scope"] == b"group_pool"
