"""Upstream errors: status, body and the fields that tell the client when to come back arrive as they were sent."""

import asyncio

from ai_platform.conformance.case import Case, Check, Lab, Mismatch, expect_field, expect_status, same_bytes
from ai_platform.conformance.traffic import answer, compact, post, replying, small
from ai_platform.conformance.wire import Fields

_PROTOCOL = "code.claude.com/docs: LLM gateway protocol, 'return upstream error bodies unmodified'"
_MEASURED = "measured with Claude Code 2.1.330"


def _envelope(kind: str, message: str) -> bytes:
    """With spacing and escapes that a re-serialisation would change."""
    return (
        b'{"type": "error","error":{"type":"%s","message":"%s \\u2014 caf\xc3\xa9","details":{"error_code":"new"}},'
        b'"request_id":"req_conformance0001"}' % (kind.encode(), message.encode())
    )


def _verbatim(status: int, body: bytes, more: Fields | None = None, *, kind: bytes = b"application/json") -> Check:
    """A check that this upstream error reaches the client as it is, without being held."""
    wanted = more or []

    async def check(lab: Lab) -> None:
        for stream in (True, False):
            marker = lab.marker(f"error-{status}")
            request = post(compact(small(lab.model, marker, stream=stream)), lab.fields())
            try:
                async with asyncio.timeout(lab.target.seconds):
                    got, _ = await lab.through(marker, request, replying(answer(status, body, wanted, kind=kind)))
            except TimeoutError as error:
                raise Mismatch(f"the client was held for more than {lab.target.seconds:g} s") from error
            expect_status(got, status)
            same_bytes("the error body", body, got.content)
            for name, value in [*wanted, (b"request-id", b"req_conformance0001")]:
                expect_field("answer header", got.head, name, value)
            # One good call between two bad ones: a circuit breaker is no fault, and must not open here.
            await lab.call(post(compact(small(lab.model, lab.marker("well-again"))), lab.fields()))

    return check


def _case(name: str, title: str, why: str, check: Check, *, weight: int = 2, source: str = _MEASURED) -> Case:
    return Case(id=f"error-{name}", title=title, why=why, source=source, check=check, weight=weight)


_LIMITS: Fields = [
    (b"retry-after", b"3600"),
    (b"anthropic-ratelimit-tokens-remaining", b"0"),
    (b"anthropic-ratelimit-unified-status", b"rejected"),
]

ERRORS: tuple[Case, ...] = (
    _case(
        "400-too-long",
        'A 400 "prompt is too long" arrives verbatim',
        "Claude Code compacts the conversation when it reads this wording; otherwise the session is stuck.",
        _verbatim(400, _envelope("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")),
        weight=3,
        source=_PROTOCOL,
    ),
    _case(
        "400",
        "Any other 400 arrives verbatim",
        "It retries with fewer betas, guided by the wording.",
        _verbatim(400, _envelope("invalid_request_error", "safeguards: Extra inputs are not permitted")),
        weight=3,
        source=_PROTOCOL,
    ),
    _case(
        "403",
        "A 403 arrives verbatim",
        "Its message is shown to the developer.",
        _verbatim(403, _envelope("permission_error", "Your account does not have access")),
    ),
    _case(
        "404",
        "A 404 arrives verbatim",
        "It falls back to a request without streaming.",
        _verbatim(404, _envelope("not_found_error", "model: not found")),
    ),
    _case(
        "413",
        "A 413 arrives verbatim",
        "It tells the developer to shorten the request.",
        _verbatim(413, _envelope("request_too_large", "Request exceeds the maximum size")),
    ),
    _case(
        "429",
        "A 429 arrives at once with retry-after and rate limit fields",
        "Above 60 s it reports instead of waiting; a gateway that waits itself freezes the session.",
        _verbatim(429, _envelope("rate_limit_error", "Number of request tokens has exceeded your limit"), _LIMITS),
        weight=3,
    ),
    _case(
        "429-should-retry",
        "x-should-retry arrives",
        "It stops eleven tries that cannot succeed.",
        _verbatim(429, _envelope("rate_limit_error", "Spend limit reached"), [(b"x-should-retry", b"false")]),
    ),
    _case(
        "500",
        "A 500 arrives verbatim",
        "It retries with growing pauses; another status is handled otherwise.",
        _verbatim(500, _envelope("api_error", "Internal server error")),
    ),
    _case(
        "529",
        "A 529 arrives as 529",
        "Claude Code counts 529s to tell the developer that the model is overloaded, not the gateway.",
        _verbatim(529, _envelope("overloaded_error", "Overloaded")),
        weight=3,
    ),
    _case(
        "not-json",
        "An error that is not JSON arrives as it is",
        "A load balancer's page is the only hint of where it came from.",
        _verbatim(502, b"<html><body>bad gateway (conformance)</body></html>\n", kind=b"text/html"),
        weight=1,
    ),
)
