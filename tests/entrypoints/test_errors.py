import msgspec
import pytest

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import (
    ApprovalNeeded,
    AuditUnavailable,
    Blocked,
    Denied,
    InvalidCall,
    OverBudget,
    PlatformError,
    RateLimited,
    Refused,
    StoreUnavailable,
    Unauthenticated,
    UpstreamBroken,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from ai_platform.entrypoints.errors import answer_to, sentence, shape_of

CASES: list[tuple[PlatformError, int, str, str]] = [
    (Unauthenticated(Refusal.KEY_REVOKED, "revoked"), 401, "authentication_error", "false"),
    (Blocked("found", []), 451, "permission_error", "false"),
    (Denied(Refusal.MODEL_NOT_ALLOWED, "no"), 451, "permission_error", "false"),
    (ApprovalNeeded(Refusal.APPROVAL_REQUIRED, "wait"), 451, "permission_error", "false"),
    (RateLimited(Refusal.RATE_LIMIT, "slow", retry_after=12.2), 429, "rate_limit_error", "true"),
    (RateLimited(Refusal.RATE_LIMIT, "slow", retry_after=900), 429, "rate_limit_error", "false"),
    (OverBudget(Refusal.BUDGET, "spent", retry_after=30), 429, "billing_error", "false"),
    (InvalidCall(Refusal.INVALID_REQUEST, "what"), 400, "invalid_request_error", "false"),
    (InvalidCall(Refusal.TOO_LARGE, "big"), 413, "request_too_large", "false"),
    (Refused(Refusal.INSPECTION_FAILED, "could not look"), 451, "permission_error", "false"),
    (Refused(Refusal.OVERLOADED, "busy"), 503, "overloaded_error", "true"),
    (UpstreamUnreachable("none"), 503, "api_error", "true"),
    (UpstreamTimeout("late"), 504, "timeout_error", "true"),
    (UpstreamBroken("cut"), 502, "api_error", "true"),
    (AuditUnavailable("no trail"), 503, "api_error", "true"),
    (StoreUnavailable("no store"), 503, "api_error", "true"),
    (PlatformError("?"), 500, "api_error", "true"),
]


@pytest.mark.requirement("CC-6")
@pytest.mark.parametrize(("error", "status", "kind", "retry"), CASES, ids=lambda value: str(value)[:20])
def test_each_error_has_the_status_clients_show_and_says_whether_a_retry_helps(
    error: PlatformError, status: int, kind: str, retry: str
) -> None:
    found, headers, body = answer_to(error, "call_1")
    fields = dict(headers)
    envelope = msgspec.json.decode(body)
    assert found == status
    assert envelope == {"type": "error", "error": {"type": kind, "message": sentence(error)}, "request_id": "call_1"}
    assert fields[b"x-should-retry"].decode() == retry
    assert fields[b"content-length"] == str(len(body)).encode()


@pytest.mark.requirement("CC-6")
def test_no_refusal_by_policy_uses_a_status_claude_code_sends_again_or_hides() -> None:
    for reason in Refusal:
        if reason in {Refusal.INVALID_REQUEST, Refusal.TOO_LARGE}:
            continue
        assert shape_of(Denied(reason, "x")).status not in {400, 404, 413, 422}


def test_a_wait_is_whole_seconds_and_never_zero() -> None:
    headers = dict(answer_to(RateLimited(Refusal.RATE_LIMIT, "slow", retry_after=0.2), "c")[1])
    assert headers[b"retry-after"] == b"1"


@pytest.mark.requirement("CC-6")
def test_a_failure_of_the_upstream_is_a_sentence_that_says_what_to_do() -> None:
    told = sentence(UpstreamBroken("upstream 'one' closed the connection before it answered"))
    assert told.startswith("Upstream 'one' closed the connection before it answered. Try again;")
    assert "whoever runs this gateway" in told
    own = "The upstream redirects. Whoever runs this gateway sets its `url`."
    assert sentence(UpstreamBroken(own)) == own
    assert sentence(Denied(Refusal.MODEL_NOT_ALLOWED, "no")) == "no"
