"""The official suite scores the same through the door as it does at the server behind it, in both eras."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from suite_kit import Bench, bench, failed, needs_suite, passed, score, with_key

pytestmark = [pytest.mark.anyio, needs_suite, pytest.mark.requirement("MC-1")]

OLD, NEW = "2025-11-25", "2026-07-28"

NAMED_QUESTIONS = {
    "input-required-result-basic-elicitation",
    "input-required-result-multiple-input-requests",
    "input-required-result-capability-check",
}
"""Of a client of 2026-07-28 with a server of 2025-11-25: they look for the server's own names of its questions, or for
several in one answer; that server asks one after the other and names none.
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("conformance")) as found:
        yield found


@pytest.mark.parametrize(("requirements", "least"), [(OLD, 80), (NEW, 160)])
async def test_the_suite_scores_through_the_door_what_it_scores_at_the_server(
    site: Bench, tmp_path: Path, requirements: str, least: int
):
    async with with_key(site.platform, "/mcp/both") as door:
        direct, through = await asyncio.gather(
            score(site.direct["both"], requirements, tmp_path / "direct"),
            score(door, requirements, tmp_path / "through"),
        )
    assert through == direct
    assert passed(direct) >= least


async def test_a_client_of_2025_is_served_as_well_by_a_server_of_2026(site: Bench, tmp_path: Path):
    async with with_key(site.platform, "/mcp/new") as door:
        direct, through = await asyncio.gather(
            score(site.direct["both"], OLD, tmp_path / "direct"), score(door, OLD, tmp_path / "through")
        )
    assert through == direct


async def test_a_client_of_2026_is_served_by_a_server_of_2025_but_for_the_names_of_questions(
    site: Bench, tmp_path: Path
):
    async with with_key(site.platform, "/mcp/old") as door:
        direct, through = await asyncio.gather(
            score(site.direct["both"], NEW, tmp_path / "direct"), score(door, NEW, tmp_path / "through")
        )
    assert failed(through) - failed(direct) <= NAMED_QUESTIONS
    assert passed(through) >= passed(direct) - 6
