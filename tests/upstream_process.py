"""The simulated upstream in a process of its own, which shows what reached it; and a receiver of alerts."""

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2

from platform_process import BOUND, clean_environ, until


class UpstreamProcess:
    """url; `received` is what came, `fault` what goes wrong next."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx2.Client(base_url=url, timeout=30, trust_env=False)

    def received(self, path: str = "") -> list[bytes]:
        """The bodies of the requests to this path and below, oldest first."""
        answer = self._http.get("/_sim/requests", params={"body": 1, "path": path, "limit": 1000})
        return [base64.b64decode(each["body_base64"]) for each in answer.json()["requests"]]

    def fault(self, **fault: Any) -> None:
        self._http.post("/_sim/faults", json=fault).raise_for_status()

    def close(self) -> None:
        self._http.close()


@contextmanager
def simulated_upstream(folder: Path, *options: str) -> Iterator[UpstreamProcess]:
    ready = folder / "upstream.json"
    command = [sys.executable, "-m", "ai_platform.simulator", "--keep-bodies", "--ready-file", str(ready), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=clean_environ())
    try:
        until(ready.exists, within=BOUND)
        upstream = UpstreamProcess(json.loads(ready.read_text())["url"])
        yield upstream
        upstream.close()
    finally:
        process.terminate()
        process.wait(BOUND)


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(address, the alerts that were posted to it)."""
    alerts: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            alerts.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/alerts", alerts
    finally:
        server.shutdown()
        thread.join(BOUND)
        server.server_close()
