import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from audit_kit import PERSONAL, event
from audit_site import QUICK, Site, some_events

from ai_platform.audit.note import open_checkpoint
from ai_platform.domain.errors import AuditUnavailable, ConfigError
from ai_platform.domain.event import EventType
from ai_platform.stores.rows import Insert
from ai_platform.testing.eventually import eventually

pytestmark = pytest.mark.anyio


def probe(name: str, amount: Any = 1, told: Any = None) -> Insert:
    return Insert("probe", ("id", "amount", "told"), (name, amount, told))


@pytest.mark.requirement("AU-2")
async def test_an_event_is_in_the_database_when_append_returns(site: Site) -> None:
    trail = await site.trail()
    made = event(EventType.CHAT_REQUEST, subject=None, model="m")
    await trail.append([made])
    row = (await site.as_owner("SELECT * FROM audit_leaf WHERE event_id = $1", made.id))[0]
    leaf = msgspec.json.decode(row["leaf"])
    assert leaf["facts"] == {"model": "m"}
    assert (leaf["index"], leaf["log"]) == (row["index"], "test-platform/audit/0")
    assert (row["event_type"], row["call_id"], str(row["expires"])) == ("claude_chat_request", "call_1", "2027-11-22")
    assert row["at"].isoformat() == "2026-11-22T12:00:00+00:00"


@pytest.mark.requirement("AU-2", "AU-7")
async def test_rows_of_other_rooms_are_there_with_the_event_or_not_at_all(site: Site) -> None:
    await site.probe_table()
    trail = await site.trail()
    first, second = event(call_id="call_1"), event(call_id="call_2")
    await trail.append([first], [probe("a", told={"k": ["x\x00", None]}), probe("b\ud800", 2)])
    with pytest.raises(AuditUnavailable, match="UniqueViolation"):
        await trail.append([second], [probe("c"), probe("a")])
    rows = await site.as_owner("SELECT id, amount, told FROM probe ORDER BY id")
    assert [tuple(row) for row in rows] == [("a", 1, '{"k": ["x\ufffd", null]}'), ("b?", 2, None)]
    ids = await site.stored_ids()
    assert first.id in ids
    assert second.id not in ids


@pytest.mark.requirement("AU-2")
async def test_one_callers_bad_row_refuses_that_caller_only(site: Site) -> None:
    await site.probe_table()
    trail = await site.trail()
    bad: list[Insert] = [
        probe("taken"),
        probe("x", "not a number"),
        Insert("probe", ("id", "nonsense"), ("y", 1)),
        Insert("no_such_table", ("id",), ("z",)),
        probe("n", None),
    ]
    await trail.append([event()], [probe("taken")])
    appends = [trail.append([event(call_id=f"good_{n}")], [probe(f"good_{n}")]) for n in range(20)]
    appends[10:10] = [trail.append([event(call_id="bad")], [row]) for row in bad]
    done = await asyncio.gather(*appends, return_exceptions=True)
    assert sum(isinstance(answer, AuditUnavailable) for answer in done) == len(bad)
    assert sum(answer is None for answer in done) == 20
    assert len(await site.as_owner("SELECT id FROM probe")) == 21
    assert (await site.as_owner("SELECT count(*) FROM audit_leaf WHERE call_id = 'bad'"))[0][0] == 0
    assert (await site.report()).intact


async def test_what_is_appended_one_turn_of_the_event_loop_later_shares_the_commit(site: Site) -> None:
    trail = await site.trail()
    before = trail.writer.commits - trail.writer.checkpoints

    async def later() -> None:
        await asyncio.sleep(0)
        await trail.append([event(subject=None)])

    await asyncio.gather(trail.append([event(subject=None)]), later())
    assert trail.writer.commits - trail.writer.checkpoints == before + 1


@pytest.mark.requirement("AU-2", "AU-3")
async def test_two_hundred_appends_at_once_share_transactions_and_make_one_log(site: Site) -> None:
    trail = await site.trail()
    made = [
        event(EventType.CHAT_REQUEST, call_id=f"call_{n}", subject=f"p{n % 7}", personal=PERSONAL) for n in range(1000)
    ]
    waiting = iter(made)

    async def worker() -> None:
        for each in waiting:
            await trail.append([each])

    await asyncio.gather(*(worker() for _ in range(200)))
    assert trail.writer.commits < 300
    assert trail.subjects.lookups == 7
    stored = await site.stored_ids()
    assert len(stored) == 1001
    assert {each.id for each in made} <= set(stored)
    await trail.close()
    report = await site.report()
    assert report.intact, report.problems
    assert (report.events, report.logs[0].uncovered) == (1001, 0)
    assert report.open_call_count == 1000


async def test_a_caller_that_leaves_harms_nobody(site: Site) -> None:
    trail = await site.trail()
    leaving = asyncio.create_task(trail.append([event(call_id="leaving")]))
    staying = asyncio.create_task(trail.append([event(call_id="staying")]))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    assert (await asyncio.gather(leaving, return_exceptions=True))[0].__class__ is asyncio.CancelledError
    await trail.append([event(call_id="later")])
    assert (await site.report()).intact


async def test_facts_that_json_cannot_say_fail_their_caller_before_anything_is_queued(site: Site) -> None:
    trail = await site.trail()
    with pytest.raises(TypeError):
        await trail.append([event(thing=object())])
    assert trail.writer.queued == 0
    await trail.append([event(odd="\ud800\x00", big=2**70, nan=float("nan"))])
    report = await site.report()
    assert report.intact, report.problems


@pytest.mark.requirement("AU-3")
async def test_a_checkpoint_is_signed_after_so_many_events_and_kept_as_row_and_file(site: Site) -> None:
    trail = await site.trail(msgspec.structs.replace(QUICK, checkpoint_events=10))
    await some_events(trail, 25)
    await eventually(lambda: trail.files.saved >= 2)
    sizes = [row[0] for row in await site.as_owner("SELECT size FROM audit_checkpoint ORDER BY size")]
    assert sizes == [10, 20]
    note = (site.data / "audit" / "checkpoints" / "0.note").read_text(encoding="utf-8")
    assert open_checkpoint(note, trail.keys.trusted).size == 20
    await trail.close()
    assert [row[0] for row in await site.as_owner("SELECT max(size) FROM audit_checkpoint")] == [26]


@pytest.mark.requirement("AU-3")
async def test_a_quiet_log_is_signed_when_its_time_has_come_and_only_once(site: Site) -> None:
    trail = await site.trail(msgspec.structs.replace(QUICK, checkpoint_seconds=0.01))
    await some_events(trail, 3)
    await eventually(trail.is_covered)
    signed = trail.writer.checkpoints
    trail.checkpoint()
    await trail.append([event()])
    await eventually(trail.is_covered)
    assert trail.writer.checkpoints <= signed + 2


async def test_after_closing_nothing_is_taken(site: Site) -> None:
    trail = await site.trail()
    await trail.close()
    with pytest.raises(AuditUnavailable, match="clos"):
        await trail.append([event()])
    assert trail.writer.refused == 1


@pytest.mark.requirement("AU-3")
async def test_two_writers_take_different_logs_and_the_next_takes_the_one_that_became_free(site: Site) -> None:
    first = await site.trail()
    second = await site.trail()
    for trail in (first, second):
        await some_events(trail, 5)
    assert {first.origin, second.origin} == {"test-platform/audit/0", "test-platform/audit/1"}
    await first.close()
    third = await site.trail()
    assert third.origin == "test-platform/audit/0"
    await some_events(third, 5)
    report = await site.report()
    assert report.intact, report.problems
    assert [log.events for log in report.logs] == [12, 6]


async def test_the_database_refuses_two_leaves_in_one_place(site: Site) -> None:
    trail = await site.trail()
    await some_events(trail, 1)
    with pytest.raises(asyncpg.UniqueViolationError):
        await site.as_owner("INSERT INTO audit_leaf SELECT * FROM audit_leaf WHERE index = 0")


@pytest.mark.requirement("AU-3")
@pytest.mark.parametrize("sql", ["UPDATE audit_leaf SET leaf = ''", "DELETE FROM audit_leaf", "TRUNCATE audit_leaf"])
async def test_the_gateways_own_role_cannot_rewrite_history(site: Site, sql: str) -> None:
    trail = await site.trail()
    await some_events(trail, 1)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await (await site.system()).execute(sql)


async def test_no_personal_text_is_in_any_table_and_no_key_is_either(site: Site) -> None:
    trail = await site.trail()
    await trail.append(
        [event(subject="person_77", personal=PERSONAL, model="m"), event(subject=None, personal=PERSONAL)]
    )
    await trail.close()
    tables = await site.as_owner("SELECT tablename FROM pg_tables WHERE schemaname = 'aip'")
    dump = ""
    for (table,) in tables:
        for (row,) in await site.as_owner(f"SELECT to_jsonb(t)::text FROM {table} t"):
            dump += row + "\n"
    for (leaf,) in await site.as_owner("SELECT convert_from(leaf, 'UTF8') FROM audit_leaf"):
        dump += leaf + "\n"
    secrets = [*PERSONAL.values(), "person_77", trail.keys.kek.hex(), trail.keys.pepper.hex()]
    assert [secret for secret in secrets if secret.lower() in dump.lower()] == []
    assert '"model":"m"' in dump


async def test_events_of_nobody_in_particular_share_one_key_a_month(site: Site) -> None:
    trail = await site.trail()
    await trail.append([event(EventType.AUTHENTICATION, subject=None, personal=PERSONAL) for _ in range(3)])
    assert trail.subjects.lookups == 1
    refs = await site.as_owner("SELECT DISTINCT subject_ref FROM audit_leaf WHERE event_type = 'authentication'")
    assert [row[0] for row in refs] == [trail.subjects.ref("unattributed:2026-11")]


async def test_a_replica_with_other_keys_is_refused_at_its_start(site: Site, tmp_path: Path) -> None:
    await site.trail()
    with pytest.raises(ConfigError, match="Copy the key files"):
        await site.trail(data=tmp_path / "other")


async def test_a_replica_that_shares_the_key_files_is_welcome(site: Site, tmp_path: Path) -> None:
    await site.trail()
    shared = msgspec.structs.replace(QUICK, keys=str(site.data / "audit" / "keys"))
    other = await site.trail(shared, data=tmp_path / "other")
    await other.append([event(personal=PERSONAL)])
    assert (await site.report()).intact


async def test_the_jsonl_copy_has_every_event_in_clear(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "sink" / "audit.jsonl"
    sink = msgspec.structs.replace(QUICK.sink, enabled=True, path=str(path))
    trail = await site.trail(msgspec.structs.replace(QUICK, sink=sink))
    made = event(personal=PERSONAL, model="m")
    await trail.append([made])
    await trail.close()
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    assert [line["event_type"] for line in lines] == ["platform", "claude_chat_request"]
    assert lines[1]["user_email"] == PERSONAL["user_email"]


@pytest.mark.requirement("AU-2")
async def test_a_copy_that_cannot_be_written_refuses_the_call_only_when_it_is_required(site: Site) -> None:
    sink = msgspec.structs.replace(QUICK.sink, enabled=True, path="/dev/full", required=True)
    with pytest.raises(AuditUnavailable, match="required"):
        await site.trail(msgspec.structs.replace(QUICK, sink=sink))
    sink = msgspec.structs.replace(sink, required=False)
    trail = await site.trail(msgspec.structs.replace(QUICK, sink=sink))
    await some_events(trail, 3)
    await eventually(lambda: trail.sink is not None and trail.sink.lost == 4)
    assert trail.sink
    assert os.strerror(errno.ENOSPC) in trail.sink.last_error


async def test_a_copy_that_cannot_be_opened_stops_the_start(site: Site) -> None:
    sink = msgspec.structs.replace(QUICK.sink, enabled=True, path="/proc/nowhere/audit.jsonl")
    with pytest.raises(ConfigError, match=r"audit\.sink\.path"):
        await site.trail(msgspec.structs.replace(QUICK, sink=sink))
