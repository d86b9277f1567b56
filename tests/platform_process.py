"""A platform started as a user starts it, in a process of its own, and what a test does with it."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

READY = "ANTHROPIC_AUTH_TOKEN="
BOUND = 60.0


class PlatformProcess:
    """url, admin_key, pid: from the ready file. data: the data folder. `run` calls the command line against it."""

    def __init__(self, process: "subprocess.Popen[str]", data: Path, facts: dict[str, Any], output: str) -> None:
        self.process = process
        self.data = data
        self.url: str = facts["url"]
        self.admin_key: str = facts["admin_key"]
        self.pid: int = facts["pid"]
        self.output = output

    def http(self, key: str | None = None) -> httpx2.Client:
        """A client that carries the key (default: the admin key)."""
        headers = {"authorization": f"Bearer {key or self.admin_key}", "anthropic-version": "2023-06-01"}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def run(self, *arguments: str, code: int = 0, text: str | None = None) -> str:
        """The standard output of `ai-platform ARGUMENTS`, which must leave with `code`."""
        return run_command(*arguments, code=code, text=text, environ={"AI_PLATFORM_DATA": str(self.data)})

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code))

    def key(self, name: str, *options: str) -> str:
        return str(self.json("keys", "create", name, *options)["key"])

    def events(self, *types: str) -> list[dict[str, Any]]:
        """The audit log, oldest first, as `audit export` writes it; without the second that a command takes to start.

        types: only these.
        """
        with self.http() as client:
            answer = client.get("/admin/audit/export", params={"what": ",".join(types)})
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    def kill(self) -> None:
        """kill -9, and wait until the process is gone."""
        self.process.kill()
        self.process.wait(BOUND)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(BOUND)


def run_command(
    *arguments: str, code: int = 0, text: str | None = None, environ: Mapping[str, str] | None = None
) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ai_platform", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=BOUND,
        env=clean_environ() | dict(environ or {}),
        check=False,
    )
    assert done.returncode == code, f"{arguments} left with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def clean_environ() -> dict[str, str]:
    """Nothing of the surrounding machine that changes what the platform does."""
    dropped = ("ANTHROPIC_", "AI_PLATFORM_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "CLAUDE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {"COLUMNS": "200", "NO_COLOR": "1"}


@contextmanager
def running(data: Path, *options: str, environ: Mapping[str, str] | None = None) -> Iterator[PlatformProcess]:
    """`ai-platform up` on this data folder until the block is left (with Ctrl-C, unless the test ended it)."""
    ready = data.parent / f"{data.name}.ready.json"
    command = [sys.executable, "-m", "ai_platform", "up", "--data", str(data), "--port", "0"]
    log = (data.parent / f"{data.name}.log").open("a")
    process = subprocess.Popen(
        [*command, "--ready-file", str(ready), *options],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=clean_environ() | dict(environ or {}),
    )
    try:
        output = _until_ready(process)
        yield PlatformProcess(process, data, json.loads(ready.read_text()), output)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(BOUND)
            except subprocess.TimeoutExpired:
                process.kill()
        assert process.stdout is not None
        process.stdout.close()
        log.close()


def _until_ready(process: "subprocess.Popen[str]") -> str:
    """What it prints up to the last line of the welcome."""
    assert process.stdout is not None
    output = ""
    while line := process.stdout.readline():
        output += line
        if READY in line:
            return output
    raise AssertionError(f"the platform ended with {process.wait()} before it was ready:\n{output}")


def wait_gone(pid: int) -> None:
    """Return when no process has this id any more; fail after a bounded wait. Linux."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([handle], [], [], BOUND)
        assert ended, f"process {pid} still runs"
    finally:
        os.close(handle)


def children_of(marker: str) -> list[int]:
    """Processes whose command line names `marker` (a data folder)."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if marker in command and int(path.name) != os.getpid():
            found.append(int(path.name))
    return found


def ask(platform: PlatformProcess, text: str, *, key: str | None = None, **fields: Any) -> httpx2.Response:
    """One small call of the Messages API."""
    body = {"model": "claude-sonnet-5-5", "max_tokens": 200, "messages": [{"role": "user", "content": text}], **fields}
    with platform.http(key) as client:
        return client.post("/v1/messages", json=body)


def until(check: Callable[[], Any], *, within: float = 20.0) -> Any:
    """The first true result of `check()`; an assertion error when there is none in time."""
    deadline = time.monotonic() + within
    pause = select.poll()
    while not (result := check()):
        assert time.monotonic() < deadline, "it did not become true in time"
        pause.poll(20)
    return result
