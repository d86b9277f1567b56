import asyncio
import contextlib
import json
import os
from pathlib import Path

import pytest

from ai_platform.audit.settings import SinkSettings
from ai_platform.audit.sink import JsonlSink
from ai_platform.domain.errors import AuditUnavailable
from ai_platform.testing.eventually import eventually

pytestmark = pytest.mark.anyio


def line(number: int) -> bytes:
    return b'{"n":%d}\n' % number


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


async def test_the_file_is_rotated_by_size_and_no_line_is_lost_or_split(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sink = JsonlSink(SinkSettings(enabled=True, path=str(path), rotate_bytes=100, keep=50, required=True))
    for number in range(200):
        await sink.write([line(number)])
    await sink.close()
    found = contents(tmp_path)
    oldest_first = sorted(found, key=lambda name: int(name.removeprefix("audit.jsonl").lstrip(".") or 0), reverse=True)
    lines = [text for name in oldest_first for text in found[name].splitlines()]
    assert [json.loads(text)["n"] for text in lines] == list(range(200))
    assert all(len(text) < 120 for text in found.values())
    assert sink.written == 200


async def test_only_so_many_rotated_files_are_kept(tmp_path: Path) -> None:
    sink = JsonlSink(SinkSettings(path=str(tmp_path / "a"), rotate_bytes=1, keep=2, required=True))
    for number in range(6):
        await sink.write([line(number)])
    await sink.close()
    assert contents(tmp_path) == {"a": line(5), "a.1": line(4), "a.2": line(3)}


async def test_a_restart_goes_on_behind_the_last_line(tmp_path: Path) -> None:
    for number in range(2):
        sink = JsonlSink(SinkSettings(path=str(tmp_path / "a")))
        await sink.write([line(number)])
        await sink.close()
    assert (tmp_path / "a").read_bytes() == line(0) + line(1)


@pytest.mark.parametrize("required", [True, False])
async def test_lines_that_find_the_queue_full_are_counted_and_refused_only_when_required(
    tmp_path: Path,
    required: bool,  # noqa: FBT001
) -> None:
    sink = JsonlSink(SinkSettings(path=str(tmp_path / "a"), queue_lines=1, required=required))
    waiting = asyncio.create_task(sink.write([line(0)]))
    await asyncio.sleep(0)
    if required:
        with pytest.raises(AuditUnavailable, match="queue is full"):
            await sink.write([line(1)])
    else:
        await sink.write([line(1)])
    await waiting
    await sink.close()
    assert (sink.written, sink.lost) == (1, 1)
    assert (tmp_path / "a").read_bytes() == line(0)


async def test_writing_never_holds_the_loop_for_a_slow_disk(tmp_path: Path) -> None:
    """A pipe that nobody reads yet stands for the slow disk: the loop goes on, the lines arrive when it does."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    sink = JsonlSink(SinkSettings(path=str(pipe)))
    big = b'"' + b"x" * 200_000 + b'"\n'
    async with asyncio.timeout(10):
        await sink.write([big])
        await asyncio.sleep(0)
        assert sink.queued == 1
        received = bytearray()

        def arrived() -> bool:
            with contextlib.suppress(BlockingIOError):
                received.extend(os.read(reader, 65536))
            return len(received) == len(big)

        await eventually(arrived)
        await sink.close()
    os.close(reader)
    assert bytes(received) == big
