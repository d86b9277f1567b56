"""Header fields that carry meaning past the gateway, both ways, and the one that must not pass: the caller's key."""

from ai_platform.conformance.case import Case, Lab, expect, expect_field, expect_status
from ai_platform.conformance.traffic import (
    ANSWER_FIELDS,
    BETAS,
    MESSAGE,
    answer,
    api_key,
    bearer,
    compact,
    events,
    fields,
    post,
    replying,
    small,
    streaming,
)
from ai_platform.conformance.upstream import Recorded
from ai_platform.conformance.wire import Fields, Head

_PROTOCOL = "code.claude.com/docs: LLM gateway protocol, headers"
_MEASURED = "measured with Claude Code 2.1.330"


async def _sent_with(lab: Lab, name: str, header: Fields) -> Recorded:
    marker = lab.marker(name)
    request = post(compact(small(lab.model, marker)), header)
    got, recorded = await lab.through(marker, request, replying(answer(200, MESSAGE % lab.model.encode())))
    expect_status(got, 200)
    return recorded


async def _betas(lab: Lab) -> None:
    recorded = await _sent_with(lab, "betas", lab.fields())
    expect_field("request header", recorded.head, b"anthropic-beta", BETAS.encode())


async def _unknown_beta(lab: Lab) -> None:
    betas = "zz-not-yet-known-2027-01-01, claude-code-20250219,aa-another-2026-12-31"
    recorded = await _sent_with(lab, "beta", fields(bearer(lab.target.key), betas=betas))
    expect_field("request header", recorded.head, b"anthropic-beta", betas.encode())


async def _version(lab: Lab) -> None:
    for version in (b"2023-06-01", b"2026-10-21", b"2027-02-03"):
        header = [(name, version if name == b"anthropic-version" else value) for name, value in lab.fields()]
        recorded = await _sent_with(lab, "version", header)
        expect_field("request header", recorded.head, b"anthropic-version", version)


async def _kept(lab: Lab, name: str, *wanted: tuple[bytes, bytes]) -> None:
    present = {key.lower() for key, _ in lab.fields()}
    extra = [(key, value) for key, value in wanted if key.lower() not in present]
    recorded = await _sent_with(lab, name, lab.fields(extra=extra))
    for key, value in wanted:
        expect_field("request header", recorded.head, key, value)


async def _stainless(lab: Lab) -> None:
    await _kept(lab, "stainless", *((key, value) for key, value in lab.fields() if key.startswith(b"X-Stainless")))


async def _claude_code(lab: Lab) -> None:
    session = dict(lab.fields())[b"X-Claude-Code-Session-Id"]
    await _kept(
        lab,
        "client",
        (b"X-Claude-Code-Session-Id", session),
        (b"x-claude-code-agent-id", b"agent-7"),
        (b"x-claude-code-request-class", b"main"),
        (b"x-claude-code-field-of-next-year", b"1"),
        (b"x-app", b"cli"),
    )


async def _anthropic(lab: Lab) -> None:
    await _kept(
        lab,
        "anthropic",
        (b"anthropic-dangerous-direct-browser-access", b"true"),
        (b"anthropic-workspace-id", b"wrkspc_conformance"),
        (b"anthropic-field-of-next-year", b"a, b;c=1"),
    )


async def _custom(lab: Lab) -> None:
    await _kept(lab, "custom", (b"X-Department", b"R&D / search"), (b"X-Team", b"search"))


async def _agent(lab: Lab) -> None:
    await _kept(lab, "agent", (b"User-Agent", b"claude-cli/2.1.330 (external, cli)"))


async def _query(lab: Lab) -> None:
    recorded = await _sent_with(lab, "query", lab.fields())
    path, _, query = recorded.path.partition("?")
    expect(query == "beta=true", f"the query ?beta=true arrived as ?{query}")
    expect(path.endswith("/v1/messages"), f"the path /v1/messages arrived as {path}")


async def _credential(lab: Lab) -> None:
    for name, credential in (("bearer", bearer(lab.target.key)), ("api-key", api_key(lab.target.key))):
        recorded = await _sent_with(lab, f"credential-{name}", lab.fields(credential))
        leaked = lab.target.key.encode() in recorded.everything
        expect(not leaked, f"the caller's key, sent as {name}, was passed on to the upstream")


async def _length(lab: Lab) -> None:
    recorded = await _sent_with(lab, "length", lab.fields())
    lengths = recorded.head.all(b"content-length")
    chunked = recorded.head.get(b"transfer-encoding") is not None
    expect(len(lengths) + chunked == 1, f"the upstream got {len(lengths)} Content-Length fields, chunked: {chunked}")


def _same_answer_fields(head: Head) -> None:
    for name, value in ANSWER_FIELDS:
        if name != b"Date":
            expect_field("answer header", head, name, value)


async def _answer_fields(lab: Lab) -> None:
    marker = lab.marker("answer")
    request = post(compact(small(lab.model, marker)), lab.fields())
    got, _ = await lab.through(marker, request, replying(answer(200, MESSAGE % lab.model.encode())))
    expect_status(got, 200)
    _same_answer_fields(got.head)


async def _stream_fields(lab: Lab) -> None:
    marker = lab.marker("stream-answer")
    request = post(compact(small(lab.model, marker, stream=True)), lab.fields())
    got, _ = await lab.through(marker, request, streaming(events(lab.model, ["a"])))
    expect_status(got, 200)
    kind = got.get(b"content-type") or b""
    expect(kind.startswith(b"text/event-stream"), f"the stream's content type is {kind.decode('latin-1')}")
    _same_answer_fields(got.head)


HEADERS: tuple[Case, ...] = (
    Case(
        id="header-betas",
        title="anthropic-beta arrives verbatim, in order",
        why="Betas must match the body's fields; a missing or added one is answered 400 or changes behaviour.",
        source=_PROTOCOL,
        check=_betas,
        weight=3,
    ),
    Case(
        id="header-unknown-betas",
        title="Unknown betas and odd spacing in anthropic-beta pass",
        why="The list changes with each release; an allow-list breaks the next Claude Code.",
        source=_PROTOCOL,
        check=_unknown_beta,
        weight=3,
    ),
    Case(
        id="header-version",
        title="Any anthropic-version passes",
        why="Claude Code sends 2023-06-01, current SDKs 2026-10-21: the answers differ.",
        source="platform.claude.com: API versioning",
        check=_version,
        weight=3,
    ),
    Case(
        id="header-claude-code",
        title="x-claude-code-* and x-app pass",
        why="Session, agent and request class are how usage is attributed further on.",
        source=_MEASURED,
        check=_claude_code,
    ),
    Case(
        id="header-anthropic",
        title="Known and unknown anthropic-* fields pass",
        why="anthropic-workspace-id chooses the workspace on Claude Platform on AWS.",
        source=_PROTOCOL,
        check=_anthropic,
    ),
    Case(
        id="header-stainless",
        title="x-stainless-* pass",
        why="The upstream's support uses them to tell clients apart.",
        source=_MEASURED,
        check=_stainless,
        weight=1,
    ),
    Case(
        id="header-custom",
        title="Custom header fields pass",
        why="ANTHROPIC_CUSTOM_HEADERS is how organisations label their traffic.",
        source="code.claude.com/docs: settings, ANTHROPIC_CUSTOM_HEADERS",
        check=_custom,
        weight=1,
    ),
    Case(
        id="header-user-agent",
        title="The user agent passes unchanged",
        why="The upstream gates features on the client's version.",
        source=_MEASURED,
        check=_agent,
        weight=1,
    ),
    Case(
        id="header-query",
        title="?beta=true and the path pass",
        why="The query is on every Claude Code call and selects the beta API.",
        source=_MEASURED,
        check=_query,
    ),
    Case(
        id="header-credential",
        title="The caller's key never reaches the upstream",
        why="A platform key in a third party's logs is a leaked key.",
        source="RFC 6750 5.3; MCP security best practices: no token passthrough",
        check=_credential,
        weight=3,
    ),
    Case(
        id="header-framing",
        title="The upstream gets one unambiguous body length",
        why="Two lengths are how requests are smuggled.",
        source="RFC 9112 6.3, 11.2",
        check=_length,
    ),
    Case(
        id="answer-header",
        title="request-id, anthropic-ratelimit-* and unknown fields of the answer arrive",
        why="request-id is what support asks for and what joins the client's telemetry to the upstream.",
        source=_PROTOCOL,
        check=_answer_fields,
    ),
    Case(
        id="answer-header-stream",
        title="The same for a streamed answer, as text/event-stream",
        why="Another content type makes Claude Code report a malformed answer and ask again without streaming.",
        source=_MEASURED,
        check=_stream_fields,
        weight=3,
    ),
)
