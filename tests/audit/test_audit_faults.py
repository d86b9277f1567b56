import asyncio
import os
import signal
import sys
from pathlib import Path

import asyncpg
import msgspec
import pytest
from audit_kit import PERSONAL, event
from audit_site import QUICK, STORES, Site, Wire, some_events

from ai_platform.audit import AuditReader, open_trail
from ai_platform.audit.errors import TamperedLog
from ai_platform.audit.log import LOCK_CLASS
from ai_platform.audit.search import Query
from ai_platform.domain.errors import AuditUnavailable
from ai_platform.domain.event import EventType
from ai_platform.stores.embedded import embedded_postgres
from ai_platform.stores.migrate import migrate
from ai_platform.stores.postgres import connect, connect_system
from ai_platform.stores.rows import Insert
from ai_platform.testing.eventually import eventually

pytestmark = pytest.mark.anyio

REFUSING_TRIGGER = """
CREATE FUNCTION aip.refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '{code}'; END $$;
GRANT EXECUTE ON FUNCTION aip.refuse() TO aip_gateway;
CREATE TRIGGER refuse BEFORE INSERT ON aip.audit_leaf FOR EACH ROW EXECUTE FUNCTION aip.refuse()
"""


YIELDING_TRIGGER = (
    "CREATE SEQUENCE aip.attempts",
    "GRANT USAGE ON SEQUENCE aip.attempts TO PUBLIC",
    (
        "CREATE FUNCTION aip.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('aip.attempts') <= {times} THEN RAISE EXCEPTION 'lost' USING ERRCODE = 'deadlock_detected';"
        " END IF; RETURN NEW; END $$"
    ),
    "CREATE TRIGGER refuse BEFORE INSERT ON aip.audit_leaf FOR EACH ROW EXECUTE FUNCTION aip.refuse()",
)


@pytest.mark.requirement("AU-2", "AU-3")
async def test_after_kill_9_in_mid_load_every_acknowledged_event_is_there_and_the_log_verifies(site: Site) -> None:
    await site.probe_table()
    here = Path(__file__).parent
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(here / "audit_writer_program.py"),
        site.fresh.system_dsn,
        str(site.data),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(here), os.environ.get("PYTHONPATH", "")))},
    )
    assert process.stdout
    async with asyncio.timeout(60):
        acknowledged = [(await process.stdout.readline()).strip().decode() for _ in range(600)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [line.decode() for line in (await process.stdout.read()).split(b"\n")[:-1]]
        assert await process.wait() == -signal.SIGKILL
    trail = await site.trail(msgspec.structs.replace(QUICK, slot_wait=10))
    rows = await site.as_owner("SELECT id FROM probe")
    requests = await site.as_owner("SELECT event_id FROM audit_leaf WHERE event_type = 'claude_chat_request'")
    assert set(acknowledged) <= {row[0] for row in requests}
    assert {row[0] for row in rows} == {row[0] for row in requests}
    await some_events(trail, 3)
    await trail.close()
    report = await site.report()
    assert report.intact, report.problems
    assert [log.log for log in report.logs] == ["test-platform/audit/0"]


@pytest.mark.requirement("AU-2")
async def test_a_commit_whose_answer_was_lost_is_found_in_the_table_and_written_once(site: Site, wire: Wire) -> None:
    await site.probe_table()
    trail = await site.trail(wire=wire)
    wire.cut_on_reply = b"INSERT 0 1"
    made = event()
    await trail.append([made], [Insert("probe", ("id", "amount"), ("a", 1))])
    assert wire.cuts == 1
    assert trail.writer.reconnects == 1
    assert (await site.stored_ids()).count(made.id) == 1
    assert len(await site.as_owner("SELECT id FROM probe")) == 1
    await some_events(trail, 2)
    assert (await site.report()).intact


@pytest.mark.parametrize("times", [1, 2])
async def test_a_commit_that_lost_to_another_replicas_is_tried_once_more(site: Site, times: int) -> None:
    trail = await site.trail()
    for statement in YIELDING_TRIGGER:
        await site.as_owner(statement.replace("{times}", str(times)))
    made = event()
    if times == 1:
        await trail.append([made])
    else:
        with pytest.raises(AuditUnavailable):
            await trail.append([made])
    rows = await site.as_owner("SELECT event_id FROM audit_leaf WHERE event_type = 'claude_chat_request'")
    assert len(rows) == (times == 1)


@pytest.mark.requirement("AU-2")
async def test_a_commit_that_never_reached_the_server_is_sent_again_and_written_once(site: Site, wire: Wire) -> None:
    trail = await site.trail(wire=wire)
    made = event(marker="swallow me")
    wire.cut_on_request = b"swallow me"
    await trail.append([made])
    assert wire.cuts == 1
    assert (await site.stored_ids()).count(made.id) == 1
    report = await site.report()
    assert report.intact, report.problems
    assert [log.log for log in report.logs] == ["test-platform/audit/0"]


@pytest.mark.requirement("AU-2")
async def test_without_postgresql_appends_fail_at_once_and_work_again_when_it_is_back(site: Site, wire: Wire) -> None:
    trail = await site.trail(wire=wire)
    before = await some_events(trail, 3)
    wire.refusing = True
    wire.break_off()
    async with asyncio.timeout(5):
        waiting = await asyncio.gather(*(trail.append([event()]) for _ in range(50)), return_exceptions=True)
    assert all(isinstance(answer, AuditUnavailable) for answer in waiting)
    with pytest.raises(AuditUnavailable):
        await trail.append([event(personal=PERSONAL, subject="never seen before")])
    assert trail.writer.refused == 51
    assert trail.origin == ""
    wire.refusing = False
    await eventually(lambda: not trail.writer.unavailable)
    after = await some_events(trail, 3)
    stored = await site.stored_ids()
    assert stored[1:] == before + after
    report = await site.report()
    assert report.intact, report.problems


@pytest.mark.requirement("AU-2")
async def test_a_frozen_postgresql_is_given_up_within_the_commit_timeout(site: Site, wire: Wire) -> None:
    trail = await site.trail(msgspec.structs.replace(QUICK, commit_timeout=0.2), wire=wire)
    wire.freeze()
    async with asyncio.timeout(5):
        with pytest.raises(AuditUnavailable):
            await trail.append([event()])
        with pytest.raises(AuditUnavailable):
            await trail.append([event()])
    wire.thaw()
    await eventually(lambda: not trail.writer.unavailable)
    await some_events(trail, 2)
    report = await site.report()
    assert report.intact, report.problems


@pytest.mark.requirement("AU-2")
async def test_a_full_queue_refuses_at_once_and_is_counted(site: Site, wire: Wire) -> None:
    settings = msgspec.structs.replace(QUICK, queue_events=5, batch_events=2, commit_timeout=5)
    trail = await site.trail(settings, wire=wire)
    wire.freeze()
    held = [asyncio.create_task(trail.append([event()])) for _ in range(2)]
    await eventually(lambda: len(trail.writer._committing) == 2)
    held += [asyncio.create_task(trail.append([event()])) for _ in range(5)]
    await eventually(lambda: trail.writer.queued == 5)
    with pytest.raises(AuditUnavailable, match="already wait"):
        await trail.append([event()])
    assert trail.writer.refused == 1
    wire.thaw()
    await asyncio.gather(*held)
    assert len(await site.stored_ids()) == 8


@pytest.mark.requirement("AU-2")
@pytest.mark.parametrize("code", ["53100", "23514", "XX000"])
async def test_an_error_of_the_server_refuses_the_event_and_leaves_a_log_that_verifies(site: Site, code: str) -> None:
    """53100 is a full disk, XX000 a damaged file: what PostgreSQL reports, raised by a trigger."""
    trail = await site.trail()
    for statement in REFUSING_TRIGGER.format(code=code).split(";\n"):
        await site.as_owner(statement)
    for _ in range(3):
        with pytest.raises(AuditUnavailable):
            await trail.append([event()])
    waiting = await asyncio.gather(*(trail.append([event()]) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, AuditUnavailable) for answer in waiting)
    await site.as_owner("DROP TRIGGER refuse ON audit_leaf")
    await eventually(lambda: not trail.writer.unavailable)
    await some_events(trail, 3)
    report = await site.report()
    assert report.intact, report.problems
    assert report.events == 4


@pytest.mark.requirement("AU-2")
async def test_a_postgresql_that_is_killed_comes_back_with_every_acknowledged_event(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    async with embedded_postgres(tmp_path / "postgres") as server:
        await migrate(server.owner_dsn, server.gateway_dsn)
        system = await connect_system(STORES.system_of(server.gateway_dsn), STORES)
        trail = await open_trail(system, tmp_path / "data", QUICK)
        is_killed = asyncio.Event()

        async def worker(number: int) -> None:
            refused = 0
            while not (refused and is_killed.is_set()):
                made = event(call_id=f"call_{number}")
                try:
                    await trail.append([made])
                    acknowledged.append(made.id)
                except AuditUnavailable:
                    refused += 1
                    await eventually(lambda: not trail.writer.unavailable)

        async with asyncio.timeout(60):
            workers = [asyncio.create_task(worker(number)) for number in range(10)]
            await eventually(lambda: len(acknowledged) > 200)
            os.kill(server.pid, signal.SIGKILL)
            is_killed.set()
            await asyncio.gather(*workers)
            await trail.append([event()])
        stored = {row[0] for row in await system.fetch("SELECT event_id FROM audit_leaf")}
        assert set(acknowledged) <= stored
        await trail.close()
        database = await connect(server.gateway_dsn, STORES)
        steps = [step async for step in AuditReader.open(database, system, tmp_path / "data", QUICK).verify()]
        assert steps[-1].intact, steps[-1]  # type: ignore[union-attr]
        await database.close()
        await system.close()


async def test_a_writer_task_that_died_refuses_everything(site: Site) -> None:
    trail = await site.trail()
    task = next(task for task in asyncio.all_tasks() if task.get_name() == "audit writer")
    task.cancel()
    await eventually(task.done)
    with pytest.raises(AuditUnavailable):
        await trail.append([event()])


async def sealed_site(site: Site) -> None:
    """Twenty-one events under one checkpoint, and nobody writing."""
    trail = await site.trail()
    await some_events(trail, 20)
    await trail.close()


CHANGES = {
    "a leaf edited": "UPDATE audit_leaf SET leaf = convert_to(replace(convert_from(leaf, 'UTF8'),"
    " '\"number\":7', '\"number\":8'), 'UTF8')",
    "a leaf deleted": "DELETE FROM audit_leaf WHERE index = 7",
    "the end deleted": "DELETE FROM audit_leaf WHERE index > 15",
    "everything deleted": "DELETE FROM audit_leaf",
    "leaves swapped": "UPDATE audit_leaf a SET leaf = b.leaf FROM audit_leaf b WHERE a.index * b.index = 56",
    "a leaf withheld": "UPDATE audit_leaf SET leaf_hash = sha256('\\x00' || leaf), leaf = NULL WHERE index = 7",
    "a checkpoint edited": "UPDATE audit_checkpoint SET note = replace(note, E'\\n21\\n', E'\\n20\\n')",
    "a checkpoint moved": "UPDATE audit_checkpoint SET size = 20",
    "the end deleted with its checkpoint": "WITH c AS (DELETE FROM audit_checkpoint) DELETE FROM audit_leaf"
    " WHERE index > 9",
    "the log removed": "DELETE FROM audit_log",
    "all removed": "WITH a AS (DELETE FROM audit_leaf), b AS (DELETE FROM audit_checkpoint) DELETE FROM audit_log",
    "a search column edited": "UPDATE audit_leaf SET event_type = 'authentication' WHERE index = 7",
    "a leaf made unreadable": "UPDATE audit_leaf SET leaf = '\\xff' WHERE index = 7",
    "the log renamed": "UPDATE audit_log SET origin = 'test-platform/audit/5'",
}


SEEN_BY_VERIFICATION_ONLY = {
    "a leaf withheld",  # a start cannot know whether it expired
    "a search column edited",
    "the log removed",
    "all removed",
}
TABLES = ("audit_leaf", "audit_checkpoint", "audit_log")


@pytest.mark.requirement("AU-3")
async def test_whatever_the_databases_owner_changes_verification_sees_it_and_no_writer_goes_on(site: Site) -> None:
    await sealed_site(site)
    for table in TABLES:
        await site.as_owner(f"CREATE TABLE copy_of_{table} AS TABLE {table}")
    assert (await site.report()).intact
    unseen: list[str] = []
    for name, sql in CHANGES.items():
        await site.as_owner(sql)
        report = await site.report()
        if report.intact or report.problem_count != len(report.problems):
            unseen.append(name)
        if name not in SEEN_BY_VERIFICATION_ONLY:
            with pytest.raises(TamperedLog, match="start_new_log"):
                await site.trail()
        for table in TABLES:
            await site.as_owner(f"DELETE FROM {table}")
            await site.as_owner(f"INSERT INTO {table} TABLE copy_of_{table}")
    assert unseen == []
    assert (await site.report()).intact


@pytest.mark.requirement("AU-3")
async def test_a_damaged_log_is_sealed_and_a_new_one_begun_only_when_told(site: Site) -> None:
    await sealed_site(site)
    await site.as_owner(CHANGES["a leaf edited"])
    trail = await site.trail(msgspec.structs.replace(QUICK, start_new_log=True))
    assert trail.origin == "test-platform/audit/1"
    await some_events(trail, 3)
    assert (await site.trail()).origin == "test-platform/audit/2"
    report = await site.report()
    assert not report.intact
    assert [bool(log.sealed) for log in report.logs] == [True, False, False]


@pytest.mark.requirement("AU-3")
async def test_a_log_that_vanished_whole_is_missed_by_the_logs_that_witnessed_it(site: Site) -> None:
    await sealed_site(site)
    first = await site.trail()
    second = await site.trail()
    await first.close()
    await second.close()
    for table in ("audit_leaf", "audit_checkpoint"):
        await site.as_owner(f"DELETE FROM {table} WHERE log = 0")
    await site.as_owner("DELETE FROM audit_log WHERE slot = 0")
    (site.data / "audit" / "checkpoints" / "0.note").unlink()
    report = await site.report()
    assert any("witnessed" in problem for problem in report.problems)


@pytest.mark.requirement("AU-3")
async def test_changing_history_under_a_running_writer_is_seen_when_its_connection_breaks(
    site: Site, wire: Wire
) -> None:
    trail = await site.trail(msgspec.structs.replace(QUICK, checkpoint_events=5), wire=wire)
    await some_events(trail, 12)
    await site.as_owner("DELETE FROM audit_leaf WHERE index = (SELECT max(index) FROM audit_leaf)")
    wire.break_off()
    with pytest.raises(AuditUnavailable, match="not what was signed"):
        await trail.append([event()])


async def test_destroying_a_persons_key_erases_the_person_and_breaks_no_proof(site: Site) -> None:
    trail = await site.trail()
    await trail.append([event(subject="person_1", personal=PERSONAL), event(subject="person_2", personal=PERSONAL)])
    await trail.close()
    await site.as_owner("DELETE FROM audit_subject WHERE subject_ref = $1", trail.subjects.ref("person_1"))
    lines = await (await site.reader()).search(Query(tenant="default", what=(EventType.CHAT_REQUEST,)))
    assert {(line.get("personal"), line.get("user_email")) for line in lines} == {
        ("erased", None),
        (None, PERSONAL["user_email"]),
    }
    report = await site.report()
    assert report.intact, report.problems


@pytest.mark.requirement("AU-2")
async def test_a_commit_whose_outcome_nobody_can_tell_is_refused_and_writing_goes_on_in_another_log(
    site: Site, wire: Wire
) -> None:
    trail = await site.trail(wire=wire)
    rival = await asyncpg.connect(site.fresh.owner_dsn, timeout=10)
    taking = asyncio.create_task(rival.execute("SELECT pg_advisory_lock($1, $2)", LOCK_CLASS, 0))
    async with asyncio.timeout(10):
        while not await site.as_owner("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            pass
    wire.cut_on_reply = b"INSERT 0 1"
    with pytest.raises(AuditUnavailable, match="cannot be told"):
        await trail.append([event()])
    await taking
    assert trail.origin == "test-platform/audit/1"
    await some_events(trail, 2)
    await rival.close()
    report = await site.report()
    assert report.intact, report.problems


@pytest.mark.requirement("AU-3")
async def test_a_start_checks_the_newest_part_and_verification_everything(site: Site) -> None:
    settings = msgspec.structs.replace(QUICK, checkpoint_events=10, recent_check=25)
    trail = await site.trail(settings)
    await some_events(trail, 100)
    await trail.close()
    edit = "UPDATE audit_leaf SET leaf = convert_to(replace(convert_from(leaf, 'UTF8'), 'call_', 'cell_'), 'UTF8')"
    await site.as_owner(f"{edit} WHERE index = 12")
    again = await site.trail(settings)
    await some_events(again, 1)
    await again.close()
    assert not (await site.report()).intact
    await site.as_owner(f"{edit} WHERE index = 90")
    with pytest.raises(TamperedLog):
        await site.trail(settings)
