import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from audit_kit import NOON, PERSONAL, event
from audit_site import QUICK, Site, some_events

from ai_platform.audit import AuditReader, verifier
from ai_platform.audit.bundle import unpack
from ai_platform.audit.search import Query
from ai_platform.audit.verify import Progress
from ai_platform.domain.errors import AuditUnavailable, InvalidCall
from ai_platform.domain.event import Event, EventType
from ai_platform.testing.eventually import eventually
from ai_platform.testing.postgres import TestPostgres

pytestmark = pytest.mark.anyio

PEOPLE = {"ann": "Ann@Example.com", "bob": "bob@example.com"}


class Library:
    """A log of 700 events, read by every test here and changed by none."""

    def __init__(self, site: Site, reader: AuditReader, events: list[Event]) -> None:
        self.site = site
        self.reader = reader
        self.events = events


@pytest.fixture(scope="module")
async def library(postgres_server: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Library]:
    folder = tmp_path_factory.mktemp("library")
    async with postgres_server.fresh_database() as fresh, Site(fresh, folder) as site:
        trail = await site.trail(msgspec.structs.replace(QUICK, checkpoint_events=100))
        events = [made(number) for number in range(700)]
        for at in range(0, 700, 70):
            await trail.append(events[at : at + 70])
        await trail.close()
        yield Library(site, await site.reader(), events)


def made(number: int) -> Event:
    person = ("ann", "bob")[number % 2]
    kind = EventType.CHAT_REQUEST if number % 3 else EventType.SECURITY_INCIDENT
    return event(
        kind,
        at=NOON + number,
        call_id=f"call_{number // 2}",
        subject=person,
        personal=PERSONAL | {"user_email": PEOPLE[person]},
        number=number,
        model="m",
        odd="a\u2028b\u0085c",
    )


@pytest.mark.parametrize("who", ["ann", "ann@example.com", "ANN@EXAMPLE.COM"])
async def test_a_person_is_found_by_id_and_by_e_mail_address(library: Library, who: str) -> None:
    found = await library.reader.search(Query(tenant="default", who=who, limit=1000))
    assert [line["number"] for line in found] == list(range(698, -1, -2))
    assert {line["user_email"] for line in found} == {"Ann@Example.com"}
    assert await library.reader.search(Query(tenant="default", who="carl")) == []


async def test_what_when_and_call_narrow_the_search(library: Library) -> None:
    query = Query(
        tenant="default", what=(EventType.SECURITY_INCIDENT,), since=NOON + 100, until=NOON + 110, oldest_first=True
    )
    assert [line["number"] for line in await library.reader.search(query)] == [102, 105, 108]
    both = await library.reader.search(Query(tenant="default", call_id="call_7"))
    assert [line["number"] for line in both] == [15, 14]
    assert [line["timestamp"] for line in both] == ["2026-11-22T12:00:15.000000Z", "2026-11-22T12:00:14.000000Z"]


@pytest.mark.parametrize("oldest_first", [True, False])
async def test_pages_follow_each_other_without_gap_or_repetition(library: Library, oldest_first: bool) -> None:  # noqa: FBT001
    numbers: list[int] = []
    after = ""
    while page := await library.reader.search(
        Query(tenant="default", who="ann", limit=97, after=after, oldest_first=oldest_first)
    ):
        numbers += [line["number"] for line in page]
        after = page[-1]["event_id"]
    assert numbers == (list(range(0, 700, 2)) if oldest_first else list(range(698, -1, -2)))


async def test_an_export_is_every_matching_event_as_a_line_with_the_missions_keys(library: Library) -> None:
    lines = [msgspec.json.decode(line) async for line in library.reader.export(Query(tenant="default", limit=0))]
    assert [line["number"] for line in lines if "number" in line] == list(range(700))
    assert {"timestamp", "event_type", "user_email", "ip_address", "model"} <= lines[-1].keys()
    assert len([line async for line in library.reader.export(Query(tenant="default", limit=3))]) == 3


async def test_the_tail_is_the_last_events_in_order(library: Library) -> None:
    lines = [msgspec.json.decode(line)["number"] async for line in library.reader.tail(tenant="default", last=3)]
    assert lines == [697, 698, 699]
    assert [line async for line in library.reader.tail(tenant="default", last=0)] == []


@pytest.mark.requirement("AU-3")
async def test_verification_tells_what_it_checked(library: Library) -> None:
    steps = [step async for step in library.reader.verify()]
    report = steps[-1]
    assert not isinstance(report, Progress)
    assert report.intact
    assert (report.events, report.checkpoints, report.problem_count) == (701, 5, 0)
    assert (report.first_at, report.last_at) == ("2026-11-22T12:00:00.000000Z", "2026-11-22T12:11:39.000000Z")
    assert report.open_call_count == len({e.call_id for e in library.events if e.type is EventType.CHAT_REQUEST})
    assert steps[0] == Progress(done=0, total=701)


@pytest.mark.requirement("AU-3")
async def test_every_event_is_proven_to_a_stranger(library: Library) -> None:
    keys = verifier.read_keys(library.reader.public_key())
    for number in (0, 1, 254, 255, 256, 257, 511, 512, 600, 699):
        proof = await library.reader.proof(library.events[number].id, tenant="default")
        report = verifier.verify_proof(json.loads(msgspec.json.encode(proof)), keys)
        assert report["intact"], report
        assert report["event"]["facts"]["number"] == number


async def test_what_cannot_be_proven_is_said(site: Site) -> None:
    trail = await site.trail()
    (event_id,) = await some_events(trail, 1)
    reader = await site.reader()
    with pytest.raises(InvalidCall, match="no audit event"):
        await reader.proof("evt_none", tenant="default")
    with pytest.raises(InvalidCall, match="No checkpoint covers"):
        await reader.proof(event_id, tenant="default")
    trail.checkpoint()
    await eventually(trail.is_covered)
    assert (await reader.proof(event_id, tenant="default"))["index"] == 1
    await site.as_owner("UPDATE audit_leaf SET leaf = leaf || ' ' WHERE index = 0")
    with pytest.raises(AuditUnavailable, match="audit verify"):
        await reader.proof(event_id, tenant="default")
    await site.as_owner("UPDATE audit_leaf SET leaf = 'x' WHERE index = 1")
    with pytest.raises(AuditUnavailable, match="audit verify"):
        await reader.search(Query(tenant="default"))


@pytest.mark.requirement("AU-3")
async def test_a_bundle_proves_itself_to_the_stand_alone_verifier(library: Library, tmp_path: Path) -> None:
    text = b"".join([chunk async for chunk in library.reader.bundle()]).decode()
    assert unpack(text.split("\n")[:-1], tmp_path / "bundle") == 701
    keys = verifier.read_keys(library.reader.public_key())
    report = verifier.verify_path(tmp_path / "bundle", keys)
    assert report["intact"], report["problems"]
    assert (report["events"], report["checkpoints"], report["logs"]) == (701, 5, 1)
    with pytest.raises(FileExistsError):
        unpack([], tmp_path / "bundle")


@pytest.mark.requirement("AU-3")
async def test_a_bundle_of_several_logs_leaves_out_what_no_checkpoint_covers(site: Site, tmp_path: Path) -> None:
    first_trail, second_trail = await site.trail(), await site.trail()
    await some_events(first_trail, 5)
    await some_events(second_trail, 5)
    await first_trail.close()
    reader = await site.reader()
    text = b"".join([chunk async for chunk in reader.bundle()]).decode()
    assert unpack(text.split("\n")[:-1], tmp_path / "bundle") == 6
    report = verifier.verify_path(tmp_path / "bundle", verifier.read_keys(reader.public_key()))
    assert report["intact"], report["problems"]


async def test_following_shows_each_new_event_of_every_log_once(site: Site) -> None:
    one, two = await site.trail(), await site.trail()
    before = await some_events(one, 2)
    reader = await site.reader()
    lines = reader.tail(tenant="default", last=4, follow=True)  # all there is: two opened logs, two events
    assert set(before) <= set(await ids(lines, 4))
    later: list[str] = []
    for _ in range(3):
        later += await some_events(one, 2)
        later += await some_events(two, 2)
    found = await ids(lines, 12)
    assert sorted(found) == sorted(later)
    reader.stop_following()
    async with asyncio.timeout(10):
        assert [line async for line in lines] == []


async def ids(lines: AsyncIterator[bytes], count: int) -> list[str]:
    """The event ids of the next lines of a stream that may never end."""
    async with asyncio.timeout(10):
        return [msgspec.json.decode(await anext(lines))["event_id"] for _ in range(count)]
