"""One real Claude Code session against an address, in a fresh repository, home and environment.

Used by every suite that must prove something with the real client. The binary is named by AI_PLATFORM_CLAUDE_BIN;
tests that need it carry `@requires_claude`.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

BINARY = os.environ.get("AI_PLATFORM_CLAUDE_BIN", "")

requires_claude = pytest.mark.skipif(
    not (BINARY and os.access(BINARY, os.X_OK)),
    reason="AI_PLATFORM_CLAUDE_BIN does not name the Claude Code binary",
)

FIX_PROMPT = (
    "The divide function in calc.py is wrong. Find the bug, fix it, add a test for division by zero, run the tests "
    "and commit. [[scenario:fix]]"
)

ALLOWED_TOOLS = "Bash,Read,Edit,Write,Grep,Glob,Agent,Task,TodoWrite"

SOURCE: Mapping[str, str] = {
    "calc.py": "def add(a, b):\n    return a + b\n\n\ndef divide(a, b):\n    return a * b  # BUG\n",
    "test_calc.py": (
        "import unittest\nfrom calc import add, divide\n\n\nclass T(unittest.TestCase):\n"
        "    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n\n"
        "    def test_divide(self):\n        self.assertEqual(divide(6, 3), 2)\n\n# END\n"
    ),
    "CLAUDE.md": "# demo\n\nRun tests with `python3 -m unittest -q`.\n",
}

Auth = Literal["token", "api_key", "helper"]


@dataclass(frozen=True)
class SessionResult:
    """result: the final text, None when there was none. tools: names of the tools called, in order.

    events: the lines of stream-json. files: text of every file in the repository after the session. log: the subjects
    of its commits, newest first. exit_code: None when the time was up.
    """

    result: str | None
    turns: int
    tools: list[str]
    exit_code: int | None
    stderr: str
    events: list[dict[str, Any]] = field(repr=False)
    files: dict[str, str] = field(repr=False)
    log: list[str]
    is_error: bool
    usage: dict[str, Any]
    cost_usd: float


async def run_session(
    base_url: str,
    *,
    token: str,
    auth: Auth = "token",
    prompt: str = FIX_PROMPT,
    timeout: float = 60,
    model: str | None = None,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> SessionResult:
    """Run `claude -p prompt` through base_url and read back what it did.

    auth: the credential as ANTHROPIC_AUTH_TOKEN, as ANTHROPIC_API_KEY or printed by an apiKeyHelper.
    """
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="claude-session-"))
    try:
        repository = await asyncio.to_thread(_prepare, folder, auth, token)
        command = [BINARY, "-p", prompt, "--output-format", "stream-json", "--verbose"]
        command += ["--permission-mode", "acceptEdits", "--allowedTools", ALLOWED_TOOLS]
        command += ["--model", model] if model else []
        exit_code, out, err = await _run(
            [*command, *arguments], repository, _environment(folder, base_url, auth, token, environment), timeout
        )
        return await asyncio.to_thread(_collect, repository, exit_code, out, err)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _prepare(folder: Path, auth: Auth, token: str) -> Path:
    """A home, a temporary folder and a repository with a bug; returns the repository."""
    repository = folder / "repo"
    for path in (folder / "home" / ".claude", folder / "tmp", repository):
        path.mkdir(parents=True)
    if auth == "helper":
        helper = folder / "key-helper"
        helper.write_text(f"#!/bin/sh\necho '{token}'\n", encoding="utf-8")
        helper.chmod(0o700)
        settings = {"apiKeyHelper": str(helper)}
        (folder / "home" / ".claude" / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    for name, text in SOURCE.items():
        (repository / name).write_text(text, encoding="utf-8")
    for arguments in (
        ("init", "-q", "-b", "main"),
        ("config", "user.email", "dev@example.com"),
        ("config", "user.name", "Dev"),
        ("add", "-A"),
        ("commit", "-q", "-m", "init"),
    ):
        subprocess.run(["git", *arguments], cwd=repository, check=True, env=_git_environment(folder))
    return repository


def _git_environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "GIT_CONFIG_NOSYSTEM": "1"}


def _environment(
    folder: Path, base_url: str, auth: Auth, token: str, extra: Mapping[str, str] | None
) -> dict[str, str]:
    """Nothing of this process but PATH: settings of a surrounding session must not leak in."""
    credential = {"token": {"ANTHROPIC_AUTH_TOKEN": token}, "api_key": {"ANTHROPIC_API_KEY": token}, "helper": {}}
    return {
        **_git_environment(folder),
        "TMPDIR": str(folder / "tmp"),
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "ANTHROPIC_BASE_URL": base_url,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **credential[auth],
        **(extra or {}),
    }


async def _run(
    command: Sequence[str], repository: Path, environment: dict[str, str], seconds: float
) -> tuple[int | None, bytes, bytes]:
    """(exit code or None when the time was up, stdout, stderr). The whole process group is gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=repository,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    reading = asyncio.ensure_future(process.communicate())
    try:
        await asyncio.wait({reading}, timeout=seconds)
        in_time = reading.done()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    out, err = await reading
    return (process.returncode if in_time else None), out, err


def _collect(repository: Path, exit_code: int | None, out: bytes, err: bytes) -> SessionResult:
    events: list[dict[str, Any]] = []
    for line in out.splitlines():
        with contextlib.suppress(ValueError):
            events.append(json.loads(line))
    said = [event["message"]["content"] for event in events if event.get("type") == "assistant"]
    tools = [block["name"] for content in said for block in content if block.get("type") == "tool_use"]
    final = next((event for event in reversed(events) if event.get("type") == "result"), {})
    log = subprocess.run(
        ["git", "log", "--format=%s"], cwd=repository, check=True, capture_output=True, env=_git_environment(repository)
    )
    files = {
        str(path.relative_to(repository)): path.read_text(encoding="utf-8")
        for path in sorted(repository.rglob("*"))
        if path.is_file() and ".git" not in path.parts
    }
    return SessionResult(
        result=final.get("result"),
        turns=final.get("num_turns", 0),
        tools=tools,
        exit_code=exit_code,
        stderr=err.decode("utf-8", "replace"),
        events=events,
        files=files,
        log=log.stdout.decode().splitlines(),
        is_error=bool(final.get("is_error", True)),
        usage=final.get("usage") or {},
        cost_usd=final.get("total_cost_usd") or 0.0,
    )
