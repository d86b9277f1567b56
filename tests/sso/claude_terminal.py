"""The real Claude Code on a terminal (tmux), managed by an organisation, in a mount namespace of its own.

/etc is replaced by a copy that holds claude-code/managed-settings.json, for these processes alone.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from claude_code import BINARY
from platform_process import until

POINTER = "\u276f"
CODE = re.compile(r"\b[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}\b")

requires_terminal = pytest.mark.skipif(
    not (
        shutil.which("tmux")
        and shutil.which("unshare")
        and subprocess.run(
            ["unshare", "--mount", "--map-root-user", "mount", "--bind", "/tmp", "/mnt"],
            capture_output=True,
            check=False,
        ).returncode
        == 0
    ),
    reason="tmux is missing, or this machine lets nobody make a mount namespace",
)


class ClaudeTerminal:
    """screen: what is shown now. `stop` ends everything."""

    def __init__(self, folder: Path, gateway: str = "", *, managed_files: Path | None = None) -> None:
        """gateway: where people must sign in. managed_files: a folder with the organisation's files instead."""
        self._folder = folder
        self._socket = str(folder / "tmux")
        self._repository = folder / "repo"
        self._home = folder / "home"
        shutil.copytree("/etc", folder / "etc", symlinks=True, ignore=_unreadable, ignore_dangling_symlinks=True)
        managed = folder / "etc" / "claude-code"
        managed.mkdir(exist_ok=True)
        if managed_files is None:
            managed.joinpath("managed-settings.json").write_text(
                json.dumps({"forceLoginMethod": "gateway", "forceLoginGatewayUrl": gateway})
            )
        else:
            shutil.copytree(managed_files, managed, dirs_exist_ok=True)
        for path in (self._home / ".claude", self._repository, folder / "tmp"):
            path.mkdir(parents=True)
        project = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
        self._home.joinpath(".claude.json").write_text(
            json.dumps({"hasCompletedOnboarding": True, "theme": "dark", "projects": {str(self._repository): project}})
        )

    def start(self) -> None:
        self._tmux("new-session", "-d", "-s", "claude", "-x", "180", "-y", "50", self._command(BINARY))
        self.wait_for(POINTER)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """One command of Claude Code without a terminal, as the same person on the same machine."""
        command = self._command(shlex.join([BINARY, *arguments]))
        return subprocess.run(
            ["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False
        )

    def stop(self) -> None:
        self._tmux("kill-server")

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p", "-t", "claude")

    def wait_for(self, text: str, within: float = 60.0) -> str:
        """The screen, once it shows this."""
        try:
            return until(lambda: screen if text in (screen := self.screen()) else None, within=within)
        except AssertionError:
            raise AssertionError(f"{text!r} did not appear:\n{self.screen()}") from None

    def type(self, text: str) -> None:
        until(lambda: self._pointer().strip() == POINTER)
        self._tmux("send-keys", "-t", "claude", "-l", text)
        self.wait_for(text[-20:], within=20)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", "-t", "claude", *keys)

    def choose(self, option: str) -> None:
        """Move the pointer of a menu to this option and take it."""
        self.wait_for(option)
        while not re.search(rf"{POINTER} {re.escape(option)}", before := self._pointer()):
            self.press("Up")
            until(lambda seen=before: self._pointer() != seen)
        self.press("Enter")

    def login(self) -> str:
        """Type /login up to the code on the screen."""
        self.type("/login")
        self.wait_for("Enter to connect")
        self.press("Enter")
        self.choose("Yes, trust this gateway")
        found = until(lambda: CODE.search(self.screen()))
        return str(found[0])

    def _pointer(self) -> str:
        """The menu's line that is chosen now, or the line that is typed on: the last with the sign."""
        return next((line for line in reversed(self.screen().splitlines()) if POINTER in line), "")

    def _command(self, command: str) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "TMPDIR": str(self._folder / "tmp"),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "BROWSER": "/bin/true",
        }
        variables = shlex.join([f"{name}={value}" for name, value in environment.items()])
        inside = (
            f"mount --bind {shlex.quote(str(self._folder / 'etc'))} /etc && cd {shlex.quote(str(self._repository))}"
            f" && exec env -i {variables} {command}"
        )
        return f"exec unshare --mount --map-root-user sh -c {shlex.quote(inside)}"

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, "-f", "/dev/null", *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout


def _unreadable(folder: str, names: list[str]) -> set[str]:
    """What this user may not copy is not needed either."""
    return {name for name in names if not os.access(Path(folder) / name, os.R_OK)}
