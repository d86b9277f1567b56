"""The approvals room on a real database, with who asks and who decides under the test's hand."""

from collections.abc import Callable

import pytest
from approvals_kit import Office

from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.testing import FakeClock


@pytest.fixture
def office(database: Database, system: SystemDatabase, clock: FakeClock) -> Office:
    return Office(database, system, clock)


@pytest.fixture
def another(database: Database, system: SystemDatabase, clock: FakeClock, office: Office) -> Callable[[], Office]:
    """Another replica, or this one after a restart: the same database, witness and people, nothing in memory."""
    return lambda: Office(database, system, clock, like=office)
