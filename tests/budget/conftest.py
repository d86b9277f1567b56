"""Fixtures of the budget suites."""

import pytest
from budget_kit import Told


@pytest.fixture
def told() -> Told:
    return Told()
