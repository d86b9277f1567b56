"""The official conformance suite (npm @modelcontextprotocol/conformance), for what it can ask of any server.

Most of its scenarios need tools of its own fixture; of those only what is applicable is counted.
"""

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from ai_platform.mcp_check.doors import is_loopback
from ai_platform.mcp_check.protocol import Offer
from ai_platform.mcp_check.reach import Target
from ai_platform.mcp_check.report import Report

GROUP = "conformance"
VERSION = "0.2.0-alpha.12"
SUITE = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
INSTALL = f"npm install --prefix FOLDER @modelcontextprotocol/conformance@{VERSION}"
NODE_MAJOR = 22
_SECONDS = 120.0
_FIXTURE = re.compile(r"\btest_[a-z_]+\b")


def scenarios(offer: Offer, url: str, versions: set[str]) -> list[str]:
    """Those that any server with this offer must pass."""
    chosen: list[str] = []
    if "2025-11-25" in versions:
        chosen += ["server-initialize", "ping"]
    if "2026-07-28" in versions:
        chosen += ["server-stateless", "http-header-validation", "input-required-result-unsupported-methods"]
        chosen += ["sep-2164-resource-not-found"] if offer.resources or offer.templates else []
    chosen += ["tools-list"] if offer.tools else []
    chosen += ["resources-list"] if offer.resources or offer.templates else []
    chosen += ["prompts-list"] if offer.prompts else []
    chosen += ["dns-rebinding-protection"] if is_loopback(urlsplit(url).hostname or "") else []
    return chosen


async def check_conformance(target: Target, offer: Offer, folder: Path | None, report: Report) -> None:
    """folder: where the suite is installed."""
    if target.program is not None:
        report.skipped(GROUP, "official suite", "it asks servers at an address: start the server with one")
        return
    if target.headers:
        report.skipped(GROUP, "official suite", "it cannot present a credential")
        return
    found = await _installed(folder)
    if isinstance(found, str):
        report.skipped(GROUP, "official suite", found)
        return
    versions = {value for key, value in report.about.items() if key.startswith("protocol")}
    for scenario in scenarios(offer, target.url, versions):
        await _scenario(found, target.url, scenario, {str(tool["name"]) for tool in offer.tools}, report)


async def _installed(folder: Path | None) -> list[str] | str:
    """The command of the suite, or why there is none."""
    place = folder or Path(os.environ.get("AI_PLATFORM_MCP_CONFORMANCE", "") or "/nonexistent")
    if not (place / SUITE).is_file():
        return f"not installed: {INSTALL}, then --conformance FOLDER"
    bundled = sorted((place / "node_modules").glob("node-*/bin/node"))
    node = str(bundled[0]) if bundled else shutil.which("node")
    if node is None:
        return f"there is no node; {NODE_MAJOR} or newer is needed"
    _code, out = await _run([node, "--version"])
    major = out.strip().removeprefix("v").partition(".")[0]
    if not major.isdecimal() or int(major) < NODE_MAJOR:
        return f"it needs node {NODE_MAJOR} or newer, this is {out.strip()[:20]}"
    return [node, str(place / SUITE)]


async def _scenario(command: list[str], url: str, scenario: str, tools: set[str], report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix="mcp-conformance-") as folder:
        words = [*command, "server", "--url", url, "--scenario", scenario, "--output-dir", folder]
        code, out = await _run(words)
        results = _results(Path(folder))
    failed = [one for one in results if one.get("status") == "FAILURE" and not _is_inapplicable(one, tools)]
    passed = sum(one.get("status") == "SUCCESS" for one in results)
    if not results:
        report.failed(GROUP, scenario, f"no result (exit code {code}): {' '.join(out.split())[-200:]}")
    elif failed:
        told = "; ".join(
            str(one.get("errorMessage") or one.get("description") or one.get("id"))[:160] for one in failed
        )
        report.failed(GROUP, scenario, f"{len(failed)} of {passed + len(failed)} failed: {told}")
    else:
        report.passed(GROUP, scenario, f"{passed} checks")


def _is_inapplicable(check: dict[str, Any], tools: set[str]) -> bool:
    """It says so itself, or it speaks of a tool of the suite's own fixture that this server does not have."""
    details = check.get("details")
    if isinstance(details, dict) and cast("dict[str, Any]", details).get("untestable") is True:
        return True
    return bool(set(_FIXTURE.findall(str(check))) - tools)


def _results(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in folder.glob("*/checks.json"):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found += msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]])
    return found


async def _run(words: list[str]) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
    )
    try:
        async with asyncio.timeout(_SECONDS):
            out, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None, "it took too long"
    return process.returncode, out.decode(errors="replace")
