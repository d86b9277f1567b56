"""The gateways of the benchmark: how each is started and what it costs. Linux only (reads /proc)."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
HERE = Path(__file__).parent
START_SECONDS = 90

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_max_body_size 64m; client_body_buffer_size 2m; keepalive_requests 1000000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  upstream origin {{ server {origin}; keepalive 2048; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""

LITELLM = """
model_list:
  - model_name: claude-sonnet-5-5
    litellm_params: {{model: anthropic/claude-sonnet-5-5, api_base: "{origin}", api_key: bench}}
general_settings: {{master_key: sk-bench}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
"""


class Gateway:
    """A running gateway. data: folder whose name marks further processes of it (its database). start: seconds.

    apart: an argument of processes below it that are not its own work (servers that it started).
    """

    def __init__(
        self, name: str, url: str, key: str, pid: int, *, data: str = "", start: float = 0.0, apart: str = ""
    ) -> None:
        self.name = name
        self.url = url
        self.key = key
        self.pid = pid
        self.start = start
        self.apart = apart
        self._data = data

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far: `own` processes, `database` processes, those `apart`."""
        used = {"own": 0.0, "database": 0.0, "apart": 0.0}
        for pid, group in self._processes():
            used[group] += _cpu(pid)
        return used

    def rss(self) -> dict[str, int]:
        """Resident bytes by the same groups."""
        held = {"own": 0, "database": 0, "apart": 0}
        for pid, group in self._processes():
            held[group] += _rss(pid)
        return held

    def _processes(self) -> list[tuple[int, str]]:
        """Every process of it, with its group."""
        parents: dict[int, int] = {}
        names: dict[int, str] = {}
        groups: dict[int, str] = {}
        roots = {self.pid}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                stat = (path / "stat").read_text(encoding="ascii", errors="replace")
                command = (path / "cmdline").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # it ended in between
            pid = int(path.name)
            names[pid] = stat.partition("(")[2].rpartition(")")[0]
            parents[pid] = int(stat.rpartition(")")[2].split()[1])
            is_apart = bool(self.apart) and self.apart in command.split("\0")
            groups[pid] = "database" if names[pid].startswith("postgres") else "apart" if is_apart else "own"
            if self._data and self._data in command and names[pid] == "postgres":
                roots.add(pid)
        found = set(roots)
        grew = True
        while grew:
            more = {pid for pid, parent in parents.items() if parent in found} - found
            grew = bool(more)
            found |= more
        return [(pid, groups[pid]) for pid in found if pid in groups]


def _cpu(pid: int) -> float:
    """Seconds on a CPU, user and system: the scheduler's nanoseconds, else the 10 ms ticks of /proc/PID/stat."""
    total = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    except OSError:
        total = 0
    if total:
        return total / 1e9
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _rss(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE
    except OSError:
        return 0


class Origin:
    """The benchmark's upstream in a process of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def mode(self, events: int, pace: float) -> None:
        body = json.dumps({"events": events, "pace": pace}).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/_mode", data=body), timeout=5).read()


@contextmanager
def origin() -> Generator[Origin]:
    process = subprocess.Popen([sys.executable, str(HERE / "gateway_origin.py")], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield Origin(json.loads(process.stdout.readline())["url"])
    finally:
        _stop(process)


@contextmanager
def nginx(upstream: str, binary: str) -> Generator[Gateway]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        port = _free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        text = NGINX.format(folder=folder, user=user, origin=upstream.removeprefix("http://"), port=port)
        config = Path(folder) / "nginx.conf"
        config.write_text(text, encoding="utf-8")
        command = [binary, "-p", folder, "-e", f"{folder}/error.log", "-c", str(config)]
        began = time.monotonic()
        process = subprocess.Popen(command)
        try:
            _wait_for_port(port, process)
            yield Gateway("nginx", f"http://127.0.0.1:{port}", "any", process.pid, start=time.monotonic() - began)
        finally:
            _stop(process)


@contextmanager
def platform(
    upstream: str, *, data: Path | None = None, options: list[str] | None = None, profile: Path | None = None
) -> Generator[Gateway]:
    """`ai-platform up` on a temporary (or the given) data folder; with `profile` under cProfile, into that file."""
    with tempfile.TemporaryDirectory(prefix="aip-") as folder:
        home, ready = data or Path(folder) / "data", Path(folder) / "ready.json"
        start = (
            ["-m", "cProfile", "-o", str(profile), str(HERE / "gateway_up.py")]
            if profile
            else [str(HERE / "gateway_up.py")]
        )
        command = [sys.executable, *start, "up", "--data", str(home), "--port", "0", "--ready-file", str(ready)]
        log = Path(folder) / "log"
        began = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--upstream", upstream, *(options or [])],
                stdout=output,
                stderr=output,
                env={**os.environ, "ANTHROPIC_API_KEY": "bench"},
            )
        try:
            while not ready.exists():
                if process.poll() is not None or time.monotonic() - began > START_SECONDS:
                    raise SystemExit(f"the platform did not start:\n{log.read_text(errors='replace')[-3000:]}")
                time.sleep(0.01)
            took = time.monotonic() - began
            facts = json.loads(ready.read_bytes())
            yield Gateway("ai-platform", facts["url"], facts["admin_key"], facts["pid"], data=str(home), start=took)
        finally:
            _stop(process)


@contextmanager
def litellm(upstream: str, venv: Path) -> Generator[Gateway]:
    """LiteLLM's proxy from a virtual environment of its own, one worker, no database."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        port = _free_port()
        config = Path(folder) / "litellm.yaml"
        config.write_text(LITELLM.format(origin=upstream), encoding="utf-8")
        command = [str(venv / "bin" / "litellm"), "--config", str(config), "--port", str(port), "--num_workers", "1"]
        began = time.monotonic()
        with (Path(folder) / "log").open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env={**os.environ, "LITELLM_LOG": "ERROR"}
            )
        try:
            _wait_for_port(port, process)
            yield Gateway(
                "LiteLLM", f"http://127.0.0.1:{port}", "sk-bench", process.pid, start=time.monotonic() - began
            )
        finally:
            _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=2).read()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
            continue
        return
    raise SystemExit(f"nothing answers on port {port}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
