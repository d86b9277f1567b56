"""`mcp test` finds each sin, and finds nothing where there is none."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ai_platform.domain.clock import SystemClock
from ai_platform.mcp_check import Outcome, Report, check_server
from ai_platform.mcp_check.reach import Target
from ai_platform.mcp_check.samples import sample
from ai_platform.sandbox import Program, Sandbox
from ai_platform.sandbox.settings import Mode, SandboxSettings

pytestmark = pytest.mark.anyio
SCRIPT = Path(__file__).with_name("bad_server.py")
SUITE = os.environ.get("AI_PLATFORM_MCP_CONFORMANCE", "")


async def report_of(tmp_path: Path, *sins: str, seconds: float = 20.0) -> Report:
    """Over standard input and output, without walls: those have tests of their own."""
    sandbox = Sandbox(SandboxSettings(mode=Mode.OFF), tmp_path, clock=SystemClock())
    program = Program(name="bad", command=(sys.executable, str(SCRIPT), *sins), trusted=True)
    target = Target(name="bad", program=program, sandbox=sandbox, seconds=seconds)
    return await check_server(target, calls={})


@asynccontextmanager
async def at_an_address(*sins: str) -> AsyncGenerator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), "--http", *sins, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            yield (await process.stdout.readline()).decode().strip()
    finally:
        process.terminate()
        await process.wait()


def worse(report: Report) -> dict[str, Outcome]:
    return {check.name: check.outcome for check in report.checks if check.outcome in {Outcome.FAILED, Outcome.WARNING}}


async def test_a_sound_server_passes(tmp_path: Path):
    report = await report_of(tmp_path)
    assert worse(report) == {}
    assert report.is_good(strict=True)
    assert report.about["name"] == "bad"
    passed = {check.name for check in report.checks if check.outcome is Outcome.PASSED}
    assert {"speaks both eras", "calls look", "survives hostile arguments", "resources lead nowhere else"} <= passed


FAILS = {
    "poison": "look: override",
    "instructions": "instructions: role-marker",
    "anything": "refuses a tool that does not exist",
    "careless": "look refuses a call without arguments",
    "shell": "look runs nothing it is told",
    "paths": "look reads no path it is told",
    "resources": "resources lead nowhere else",
}
WARNS = {"order": "tools have a fixed order", "traces": "errors tell nothing of the inside"}


async def test_each_sin_is_found_in_a_server_that_has_them_all(tmp_path: Path):
    """One server, since each needs half a dozen starts; the sound one shows that none is found where there is none."""
    report = await report_of(tmp_path, *FAILS, *WARNS)
    found = worse(report)
    assert {name: found.get(name) for name in FAILS.values()} == dict.fromkeys(FAILS.values(), Outcome.FAILED)
    assert {name: found.get(name) for name in WARNS.values()} == dict.fromkeys(WARNS.values(), Outcome.WARNING)
    assert not report.is_good(strict=False)


@pytest.mark.parametrize(
    ("sin", "name"),
    [
        ("twice", "names of tools are unique"),
        ("schema", "schemas are valid"),
        ("dies", "survives hostile arguments"),
    ],
)
async def test_sins_that_hide_others_are_found_alone(tmp_path: Path, sin: str, name: str):
    report = await report_of(tmp_path, sin, seconds=5)
    assert worse(report).get(name) is Outcome.FAILED, worse(report)


async def test_warnings_fail_only_when_that_is_wanted(tmp_path: Path):
    report = await report_of(tmp_path, *WARNS)
    assert set(worse(report)) == set(WARNS.values())
    assert report.is_good(strict=False)
    assert not report.is_good(strict=True)


async def test_a_web_page_that_reaches_a_local_server_fails_the_test(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AI_PLATFORM_MCP_CONFORMANCE", raising=False)
    async with at_an_address("rebinding") as url:
        report = await check_server(Target(name="bad", url=url), calls={})
    assert {"refuses a foreign Host", "refuses a foreign Origin"} <= set(worse(report))


async def test_a_sound_server_at_an_address_passes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AI_PLATFORM_MCP_CONFORMANCE", raising=False)
    async with at_an_address() as url:
        report = await check_server(Target(name="bad", url=url), calls={"look": {"text": "x"}, "missing": {}})
    assert worse(report) == {"calls missing": Outcome.FAILED}


async def test_what_is_no_server_is_told_in_one_line(tmp_path: Path):
    sandbox = Sandbox(SandboxSettings(mode=Mode.OFF), tmp_path, clock=SystemClock())
    program = Program(name="none", command=(sys.executable, "-c", "print('hello')"), trusted=True)
    report = await check_server(Target(name="none", program=program, sandbox=sandbox, seconds=5), calls={})
    assert not report.is_good(strict=False)
    assert all("\n" not in check.detail for check in report.checks)


@pytest.mark.skipif(not SUITE, reason="AI_PLATFORM_MCP_CONFORMANCE does not name the official suite")
async def test_the_official_suite_is_run_for_what_every_server_must_do():
    async with at_an_address() as url:
        report = await check_server(Target(name="bad", url=url), calls={}, conformance=Path(SUITE))
    checks = {check.name: check for check in report.checks if check.group == "conformance"}
    assert {"server-initialize", "ping", "tools-list", "resources-list", "server-stateless"} <= set(checks)
    assert {name: one.detail for name, one in checks.items() if one.outcome is not Outcome.PASSED} == {
        "http-header-validation": checks["http-header-validation"].detail
    }, "the SDK's own server leaves white space around header values"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, {"a": "test"}),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, {}),
        ({"properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}, {"a": "x"}),
        ({"properties": {"a": {"type": "integer", "minimum": 5}}, "required": ["a"]}, {"a": 6}),
        ({"properties": {"a": {"type": "array", "items": {"type": "boolean"}}}, "required": ["a"]}, {"a": [False]}),
        ({"properties": {"a": {"$ref": "#/$defs/b"}}, "required": ["a"], "$defs": {"b": {"const": 3}}}, {"a": 3}),
        ({"properties": {"a": {"anyOf": [{"type": "null"}, {"type": "string"}]}}, "required": ["a"]}, {"a": None}),
        ({"properties": {"a": {"type": ["null", "string"], "minLength": 6}}, "required": ["a"]}, {"a": "testxx"}),
        ({"properties": {"a": {"$ref": "#/properties/a"}}, "required": ["a"]}, {"a": "test"}),
    ],
)
def test_arguments_are_made_up_from_schemas(schema: dict[str, object], value: object):
    assert sample(schema) == value
