"""What an installation consists of is known, pinned and listed, and it needs nobody outside."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IN_A_CLOSED_NETWORK = """
import ctypes, fcntl, json, os, socket, struct, subprocess, sys, urllib.request
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x40000000) == 0 or libc.unshare(0x10000000 | 0x40000000) == 0, "no network namespace"
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14s", b"lo", 0x41, b""))
command = [sys.executable, "-m", "ai_platform", "up", "--data", sys.argv[1], "--port", "0", "--ready-file", sys.argv[2]]
platform = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
while "ANTHROPIC_AUTH_TOKEN=" not in platform.stdout.readline():
    assert platform.poll() is None
ready = json.load(open(sys.argv[2]))
body = {"model": "claude-sonnet-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}
headers = {"x-api-key": ready["admin_key"], "anthropic-version": "2023-06-01", "content-type": "application/json"}
request = urllib.request.Request(ready["url"] + "/v1/messages", json.dumps(body).encode(), headers)
try:
    print(urllib.request.urlopen(request, timeout=30).status)
finally:
    platform.terminate()
    left_with = platform.wait(30)
sys.exit(left_with)
"""


@pytest.mark.requirement("OP-7")
def test_the_bill_of_materials_is_what_is_installed() -> None:
    done = subprocess.run([sys.executable, "tools/sbom.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0
    bom = json.loads((ROOT / "sbom.cdx.json").read_text())
    assert all(component["hashes"] for component in bom["components"])


@pytest.mark.requirement("OP-7", "OP-1")
@pytest.mark.skipif(sys.platform != "linux", reason="makes a network namespace")
def test_it_starts_and_serves_where_there_is_no_network_but_loopback(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CLOSED_NETWORK, str(tmp_path / "data"), str(tmp_path / "ready.json")],
        env=environ,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == "200"


def test_the_page_of_detectors_is_what_the_rules_say() -> None:
    done = subprocess.run([sys.executable, "tools/detectors.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0
