"""`ai-platform` as a script, so that a profiler can run it. On SIGUSR1 it writes how many tasks it runs into the file
that BENCH_TASKS names, which a search for leaks wants to know.
"""

import asyncio
import os
import signal
from pathlib import Path
from types import FrameType

from ai_platform.cli import main


def tell_tasks(number: int, frame: FrameType | None) -> None:
    del number, frame
    place = Path(os.environ["BENCH_TASKS"])
    fresh = place.with_suffix(".new")
    fresh.write_text(str(len(asyncio.all_tasks())), encoding="ascii")
    fresh.replace(place)


if __name__ == "__main__":
    if "BENCH_TASKS" in os.environ:
        signal.signal(signal.SIGUSR1, tell_tasks)
    main()
