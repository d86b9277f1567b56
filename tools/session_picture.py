"""Draws docs/images/session.svg: a real Claude Code session through a real platform, typed and shown as it happened.

`python tools/session_picture.py CLAUDE_BINARY`. The upstream is the simulated one, as the picture says.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "session.svg"
WIDTH = 118
READY = "ANTHROPIC_AUTH_TOKEN="
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
PROMPTS = (
    "Is my SSN 536-22-8491 well-formed?",
    "Go on without it: what can 536-22-8491 not be?",
)


def main() -> None:
    claude = sys.argv[1]
    screen = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environ = {"PATH": os.environ["PATH"], "HOME": folder, "COLUMNS": str(WIDTH), "LANG": "C.UTF-8"}
        environ |= {"AI_PLATFORM_DATA": str(home / "data"), "FORCE_COLOR": "1"}
        cli = [sys.executable, "-m", "ai_platform"]
        up = subprocess.Popen(
            [*cli, "up", "--port", "0", "--ready-file", str(home / "ready")],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            welcome = ""
            assert up.stdout is not None
            while READY not in welcome:
                welcome += up.stdout.readline()
            typed(screen, "scripts/up", welcome)
            ready = json.loads((home / "ready").read_text())
            key = run([*cli, "keys", "create", "me", "--quiet"], environ).strip()
            session = environ | {"ANTHROPIC_BASE_URL": ready["url"], "ANTHROPIC_AUTH_TOKEN": key}
            session |= {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "TERM": "dumb"}
            (home / "repo").mkdir()
            for number, prompt in enumerate(PROMPTS):
                again = ["--continue"] if number else []
                out = run([claude, "-p", prompt, *again], session, home / "repo")
                typed(screen, f"claude -p{' --continue' if again else ''} '{prompt}'", out)
            found = run([*cli, "audit", "search", "--limit", "4"], environ)
            typed(screen, "ai-platform audit search --limit 4", found)
            typed(screen, "ai-platform usage --by person", run([*cli, "usage", "--by", "person"], environ))
        finally:
            up.terminate()
            up.wait()
    PICTURE.parent.mkdir(exist_ok=True)
    picture = screen.export_svg(title="ai-platform (simulated upstream)")
    PICTURE.write_text(_FONT.sub("", picture), encoding="utf-8")  # a picture asks nobody for a font


def run(command: list[str], environ: dict[str, str], folder: Path | None = None) -> str:
    done = subprocess.run(
        command, env=environ, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return done.stdout or done.stderr


def typed(screen: Console, command: str, output: str) -> None:
    screen.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
    screen.print(Text.from_ansi(output.rstrip()))
    screen.print()


if __name__ == "__main__":
    main()
