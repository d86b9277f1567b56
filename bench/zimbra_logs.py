"""Searching a Zimbra log of 64 MiB, the most that is read of a file: a text, a level, an expression, nothing found.

`python bench/zimbra_logs.py [--rounds 3]`. Lines are those of the simulated Zimbra, one entry in ten with a trace.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from ai_platform.domain.clock import SystemClock
from ai_platform.mcp_servers.zimbra.logs import MOST_BYTES, Logs, Wanted
from ai_platform.mcp_servers.zimbra.matching import Finds, expression, plain

TRACE = "java.lang.IllegalStateException: simulated\n" + "\tat com.zimbra.cs.mailbox.Mailbox.run(Mailbox.java:1)\n" * 20


def write_log(path: Path) -> int:
    """Returns the number of entries."""
    count = size = 0
    with path.open("w") as file:
        while size < MOST_BYTES:
            failed = count % 10 == 0
            line = f"2026-11-22 08:{count // 60 % 60:02d}:{count % 60:02d},{count % 1000:03d} "
            level = "ERROR" if failed else "INFO "
            line += f"{level} [qtp1-{count % 90}] [name=p{count}@simulated.example;] soap - {count}\n"
            size += file.write(line + (TRACE if failed else ""))
            count += 1
    return count


def measure(logs: Logs, name: str, finds: Finds, rounds: int, level: str = "") -> None:
    spent: list[float] = []
    for _ in range(rounds):
        begun = time.perf_counter()
        found = logs.search(Wanted(file="mailbox.log", finds=finds, lines=100, level=level))
        spent.append(time.perf_counter() - begun)
    print(f"{name:34} {median(spent):6.2f} s   {len(found.entries)} entries shown")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        count = write_log(Path(folder) / "mailbox.log")
        print(f"{count} entries, {MOST_BYTES >> 20} MiB")
        logs = Logs(Path(folder), SystemClock())
        measure(logs, "a text that is nowhere", plain("nobody@nowhere"), rounds)
        measure(logs, "a text in every entry", plain("simulated"), rounds)
        measure(logs, "errors with a text", plain("illegalstate"), rounds, "ERROR")
        measure(logs, "an expression", expression(r"name=p\d+5@.*soap - \d*5$"), rounds)


if __name__ == "__main__":
    main()
