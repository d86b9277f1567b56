"""A command for deployments under test, never imported: says what it was given, leaves its marks, may never end.

Arguments: FOLDER MODE SERVICE ENVIRONMENT VERSION. Modes: quick, fails, hangs (with a child), stubborn (the same, and
deaf to SIGTERM), loud.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


folder, mode, *rest = sys.argv[1:]
say("deploying", *rest)
about = {"arguments": rest, "environment": dict(os.environ), "folder": str(Path.cwd())}
if mode in {"hangs", "stubborn"}:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " if mode == "stubborn" else ""
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", f"{deaf}print('child', flush=True); import signal; signal.pause()"])
    about["pids"] = [os.getpid(), child.pid]
marks = Path(folder) / "marks"
marks.with_suffix(".draft").write_text(json.dumps(about))
marks.with_suffix(".draft").replace(marks)
if mode in {"hangs", "stubborn"}:
    say("waiting for ever")
    while True:
        signal.pause()
if mode == "loud":
    for number in range(20_000):
        sys.stdout.write(f"line {number}\n")
    sys.stdout.write("x" * 100_000 + "\x1b[31m\n")
say("done")
sys.exit(3 if mode == "fails" else 0)
