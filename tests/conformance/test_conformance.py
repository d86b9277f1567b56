import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from conformance_forwarder import (
    KEY,
    REFUSED_MODEL,
    REFUSED_TEXT,
    Faults,
    answer_without,
    as_json,
    forwarding,
    replaced,
    without,
)

from ai_platform.conformance import Report, Target, recording_upstream, run
from ai_platform.conformance.cases import CASES
from ai_platform.conformance.wire import Fields, Head

pytestmark = pytest.mark.anyio


def target(url: str, *, seconds: float = 10.0) -> Target:
    return Target(url=url, key=KEY, refused_texts=(REFUSED_TEXT,), refused_model=REFUSED_MODEL, seconds=seconds)


async def scored(faults: Faults | None = None, *, only: tuple[str, ...] = (), seconds: float = 10.0) -> Report:
    async with recording_upstream("claude-sonnet-5-5").listening() as upstream, forwarding(upstream.url, faults) as url:
        return await run(target(url, seconds=seconds), upstream, only=only)


def outcome(report: Report) -> dict[str, str]:
    return {case.id: case.detail for case in report.cases if case.verdict == "failed"}


@pytest.mark.requirement("CC-9")
async def test_a_gateway_that_only_forwards_bytes_passes_everything() -> None:
    report = await scored()
    assert outcome(report) == {}
    assert (report.score, report.failed, report.skipped) == (100, 0, 0)
    assert report.passed == len(CASES)


def only_known_fields(body: dict[str, object]) -> None:
    for name in set(body) - {"model", "messages", "max_tokens", "stream", "system", "tools", "metadata"}:
        del body[name]


def no_system_messages(body: dict[str, list[dict[str, object]]]) -> None:
    body["messages"] = [message for message in body["messages"] if message["role"] != "system"]


def no_deferred_tools(body: dict[str, list[dict[str, object]]]) -> None:
    body["tools"] = [tool for tool in body.get("tools", []) if not tool.pop("defer_loading", False)]


def lower_case_keys(body: dict[str, object]) -> None:
    for name in list(body):
        body[name.lower()] = body.pop(name)


def sorted_keys(body: dict[str, object]) -> None:
    for name in sorted(body):
        body[name] = body.pop(name)


def status(code: bytes, *, of: bytes) -> object:
    return lambda head: Head(head.start.replace(of, code), head.fields)


def wrapped(code: int, body: bytes) -> bytes:
    if code < 400:
        return body
    return b'{"error":{"message":"upstream said: %s","type":"None"}}' % body[:40].replace(b'"', b"'")


def sorted_betas(value: bytes) -> bytes:
    return b",".join(sorted(value.split(b",")))


def two_lengths(fields: Fields) -> Fields:
    return [*fields, *(field for field in fields if field[0] == b"Content-Length")]


def utf8_or_bust(part: bytes) -> bytes:
    return part.decode("utf-8", "replace").encode()


def dropping(*needles: bytes) -> object:
    return lambda part: b"" if any(needle in part for needle in needles) else part


# One fault, and the cases that must notice it.
FAULTS: dict[str, tuple[Faults, tuple[str, ...]]] = {
    "drops unknown fields": (
        Faults(body=as_json(only_known_fields)),
        ("body-unknown-fields", "body-claude-code-turn", "body-key-order"),
    ),
    "drops system messages": (Faults(body=as_json(no_system_messages)), ("body-system-messages",)),
    "drops deferred tools": (Faults(body=as_json(no_deferred_tools)), ("body-deferred-tools",)),
    "writes the body anew": (
        Faults(body=as_json(lambda body: body)),
        ("body-numbers", "body-escapes", "body-whitespace"),
    ),
    "sorts keys": (Faults(body=as_json(sorted_keys)), ("body-key-order",)),
    "lowers keys": (Faults(body=as_json(lower_case_keys)), ("body-alike-keys",)),
    "adds a field": (
        Faults(body=as_json(lambda body: body.update(gateway=1))),
        ("body-small", "body-chunked", "body-count-tokens"),
    ),
    "takes only small bodies": (Faults(largest=1_000_000), ("body-large",)),
    "takes only very small bodies": (
        Faults(largest=4_000),
        ("endpoint-claude-code-turn", "connection-expect-continue"),
    ),
    "wants a length": (Faults(needs_length=True), ("body-chunked",)),
    "sorts betas": (Faults(fields=replaced(b"anthropic-beta", sorted_betas)), ("header-betas", "header-unknown-betas")),
    "knows a list of betas": (
        Faults(fields=replaced(b"anthropic-beta", lambda _: b"claude-code-20250219")),
        ("header-unknown-betas",),
    ),
    "pins the version": (
        Faults(fields=replaced(b"anthropic-version", lambda _: b"2023-06-01")),
        ("header-version",),
    ),
    "drops client fields": (Faults(fields=without(b"x-claude-code", b"x-app")), ("header-claude-code",)),
    "drops anthropic fields": (
        Faults(fields=without(b"anthropic-workspace-id", b"anthropic-field")),
        ("header-anthropic",),
    ),
    "drops stainless fields": (Faults(fields=without(b"x-stainless")), ("header-stainless",)),
    "drops custom fields": (Faults(fields=without(b"x-department", b"x-team")), ("header-custom",)),
    "names itself": (Faults(fields=replaced(b"user-agent", lambda was: was + b" gw/1")), ("header-user-agent",)),
    "drops the query": (Faults(path=lambda path: path.partition("?")[0]), ("header-query",)),
    "passes the key on": (Faults(leaks_key=True), ("header-credential",)),
    "sends two lengths": (Faults(fields=two_lengths), ("header-framing",)),
    "drops request ids": (
        Faults(answer_head=answer_without(b"request-id")),
        ("answer-header", "answer-header-stream", "error-403", "error-413", "error-500"),
    ),
    "drops rate limit fields": (
        Faults(answer_head=answer_without(b"anthropic-ratelimit")),
        ("answer-header", "error-429"),
    ),
    "streams as JSON": (
        Faults(
            answer_head=lambda head: Head(head.start, replaced(b"content-type", lambda _: b"text/plain")(head.fields))
        ),
        ("answer-header-stream",),
    ),
    "buffers": (
        Faults(buffers=True),
        ("stream-as-it-comes", "stream-ping-in-word", "stream-cut", "connection-abort-stream"),
    ),
    "drops pings": (Faults(part=dropping(b"event: ping")), ("stream-bytes", "stream-pings", "stream-claude-code-turn")),
    "drops comments": (Faults(part=dropping(b": keep-alive")), ("stream-bytes", "stream-pings")),
    "drops unknown events": (Faults(part=dropping(b"event_of_next_year")), ("stream-bytes",)),
    "loses an event in two thousand": (Faults(part=dropping(b"word 1998 ")), ("stream-long",)),
    "decodes chunk by chunk": (Faults(part=utf8_or_bust), ("stream-odd-chunks",)),
    "normalises line ends": (Faults(part=lambda part: part.replace(b"\r\n", b"\n")), ("stream-odd-spelling",)),
    "hides errors in streams": (Faults(part=dropping(b"event: error")), ("stream-error-later", "stream-error-first")),
    "finishes cut streams": (Faults(finishes_cuts=True), ("stream-cut",)),
    "mixes streams": (Faults(mixes_streams=True), ("stream-concurrent",)),
    "wraps errors": (
        Faults(answer_body=wrapped),
        ("error-400-too-long", "error-400", "error-403", "error-404", "error-413", "error-500", "error-not-json"),
    ),
    "swallows retry-after": (Faults(answer_head=answer_without(b"retry-after")), ("error-429",)),
    "swallows x-should-retry": (Faults(answer_head=answer_without(b"x-should-retry")), ("error-429-should-retry",)),
    "turns 529 into 502": (Faults(answer_head=status(b"502", of=b"529")), ("error-529",)),  # type: ignore[arg-type]
    "waits instead of answering": (Faults(holds_errors=True), ("error-429",)),
    "knows no bearer": (Faults(credentials=("x-api-key",)), ("access-bearer", "access-two-keys")),
    "knows only bearer": (Faults(credentials=("authorization",)), ("access-api-key",)),
    "knows no key in either": (Faults(credentials=("x-other",)), ("access-both",)),
    "checks no key": (Faults(checks_key=False), ("access-missing", "access-wrong", "access-nothing-sent")),
    "lets the client retry a wrong key": (Faults(unauthenticated=()), ("access-missing", "access-wrong")),
    "has no other endpoints": (
        Faults(without=("count_tokens", "models")),
        ("endpoint-count-tokens", "endpoint-models", "answer-count-bytes"),
    ),
    "has no endpoints": (Faults(without=("messages",)), ("endpoint-message", "endpoint-stream")),
    "breaks on a hello": (Faults(breaks_on_hello=True), ("endpoint-hello",)),
    "writes answers anew": (
        Faults(answer_body=lambda _, body: body.replace(b"1.0", b"1").replace(b" ", b"")),
        ("answer-bytes", "answer-count-bytes"),
    ),
    "closes connections": (Faults(closes=True), ("connection-reuse",)),
    "closes after streams": (Faults(closes_after_stream=True), ("connection-reuse-stream",)),
    "chokes on expect": (Faults(chokes_on_expect=True), ("connection-expect-continue",)),
    "ignores hang-ups": (Faults(ignores_hang_ups=True), ("connection-abort-stream", "connection-abort-early")),
    "forgets the encoding": (Faults(answer_head=answer_without(b"content-encoding")), ("connection-gzip",)),
    "trusts dead connections": (Faults(stale_pool=True), ("connection-upstream-closes",)),
    "refuses with 400": (Faults(refusal_status=400), ("refusal-text", "refusal-model", "refusal-not-sent")),
    "refuses in its own words": (Faults(refusal_body=b'{"detail":"no"}'), ("refusal-text", "refusal-model")),
    "repeats what it refuses": (
        Faults(refusal_body=b'{"type":"error","error":{"type":"x","message":"You wrote: %s"}}' % REFUSED_TEXT.encode()),
        ("refusal-text",),
    ),
    "refuses and sends anyway": (Faults(sends_refused=True), ("refusal-not-sent",)),
}


@pytest.mark.requirement("CC-9")
@pytest.mark.parametrize("name", FAULTS)
async def test_a_gateway_with_one_fault_fails_the_cases_meant_for_it(name: str) -> None:
    faults, meant = FAULTS[name]
    report = await scored(faults, only=meant, seconds=1.0)
    assert set(outcome(report)) == set(meant)
    assert report.score == 0


def test_every_case_is_failed_by_some_fault() -> None:
    assert {case.id for case in CASES} - {case for _, meant in FAULTS.values() for case in meant} == set()


async def test_a_fault_lowers_the_score_by_the_weight_of_what_it_breaks() -> None:
    report = await scored(FAULTS["pins the version"][0])
    total = sum(case.weight for case in CASES)
    assert set(outcome(report)) == {"header-version"}
    assert report.score == 100 * (total - 3) // total


async def test_without_an_upstream_of_its_own_the_suite_runs_what_it_can() -> None:
    async with recording_upstream("claude-sonnet-5-5").listening() as upstream, forwarding(upstream.url) as url:
        report = await run(Target(url=url, key=KEY))
    assert outcome(report) == {}
    ran = {case.id for case in report.cases if case.verdict == "passed"}
    assert ran == {case.id for case in CASES if not case.needs}
    assert report.score == 100
    assert all(case.detail.startswith("needs ") for case in report.cases if case.verdict == "skipped")


async def test_a_gateway_that_is_not_there_scores_nothing_and_says_so() -> None:
    async with recording_upstream("claude-sonnet-5-5").listening() as upstream:
        report = await run(target("http://127.0.0.1:1"), upstream, only=("access-*", "body-small"))
    assert report.score == 0
    assert all("Connect" in detail or "refused" in detail for detail in outcome(report).values())


@asynccontextmanager
async def _garbage() -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_something_that_is_not_http_is_a_failed_case_not_a_crash() -> None:
    async with _garbage() as url:
        report = await run(target(url), only=("endpoint-*",))
    assert report.score == 0
    assert report.failed == 6


async def test_a_path_prefix_of_the_gateway_is_respected() -> None:
    faults = Faults(path=lambda path: path.removeprefix("/anthropic"))
    async with recording_upstream("claude-sonnet-5-5").listening() as upstream, forwarding(upstream.url, faults) as url:
        report = await run(target(f"{url}/anthropic/"), upstream, only=("header-query", "body-small"))
    assert outcome(report) == {}


def test_every_case_says_why_and_where_from() -> None:
    assert len({case.id for case in CASES}) == len(CASES)
    for case in CASES:
        assert case.why.endswith("."), case.id
        assert case.source, case.id
        assert case.weight in {1, 2, 3}, case.id


async def test_a_report_is_plain_json() -> None:
    report = await scored(only=("body-small",))
    value = json.loads(msgspec.json.encode(report))
    assert value["score"] == 100
    assert value["cases"][0]["id"] == "body-small"


def test_the_documentation_lists_every_case_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")
    shown = page.split("<!-- cases -->\n")[1].split("\n<!-- /cases -->")[0].splitlines()[2:]
    for line, case in zip(shown, CASES, strict=True):
        needs = ", ".join(case.needs) or "nothing"
        assert line == f"| `{case.id}` | {case.weight} | {case.title} | {case.why} | {case.source} | {needs} |"
