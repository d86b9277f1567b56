"""The examples of docs/spend.md are files that load."""

import re
from pathlib import Path

import pytest

from ai_platform.budget.settings import BudgetSettings
from ai_platform.documents import load
from ai_platform.pricing.schema import read_prices

PAGE = (Path(__file__).parents[2] / "docs" / "spend.md").read_text("utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.requirement("SP-1")
def test_the_example_of_a_price_file_loads() -> None:
    prices = read_prices(EXAMPLES[0]).value
    assert (len(prices.rows), len(prices.modifiers), len(prices.tools)) == (1, 1, 1)


@pytest.mark.requirement("SP-3")
def test_the_example_of_budgets_loads() -> None:
    settings = load(EXAMPLES[1], BudgetSettings)
    assert len(settings.budgets) == 6
    assert settings.alerts == (90, 100)


def test_a_lease_shorter_than_three_heartbeats_is_refused() -> None:
    with pytest.raises(Exception, match="at most a third of lease_seconds"):
        load("lease_seconds: 10\nheartbeat_seconds: 5\n", BudgetSettings)
