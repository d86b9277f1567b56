from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from audit_site import Site, Wire

from ai_platform.testing.postgres import TestPostgres


@pytest.fixture
async def site(postgres_server: TestPostgres, tmp_path: Path) -> AsyncIterator[Site]:
    async with postgres_server.fresh_database() as fresh, Site(fresh, tmp_path / "data") as place:
        yield place


@pytest.fixture
async def wire(site: Site) -> Wire:
    return await site.wire()
