"""Paths and methods nobody meant: what is matched is what the upstream sees, and what no table names is not there."""

import pytest
from attack_gate import Gate
from attack_kit import JSON, message

NOT_THERE = [
    "/v1/messages%2f..",
    "/v1/messages/..",
    "//v1/messages",
    "/v1//messages",
    "/v1/./messages",
    "/./v1/messages",
    "/V1/messages",
    "/v1/messages/",
    "/v1/messages;x=1",
    "/v1/messages%00",
    "/v1/%6dessages",
    "/v1/models/",
    "/v1/models/..",
    "/v1/models/%2e%2e",
    "/v1/models/..%2f..%2fadmin",
    "/v1/models/a%2f..%2fb",
    "/v1/models/%2fadmin",
    "/v1/models/..;/x",
    "/v1/models/a%5c..%5cb",
    "/v1/models/a%00b",
    "/v1/models/a%0d%0aX:y",
    "/v1/models/%252e%252e",
    "/v1/models/a/b",
    "/v1/models/a%3fb",
    "/v1/models/a%23b",
    "/v1/files/a%2fb",
    "/v1/files/..%5c..",
    "/v1/files/x/../y",
    "/v1/messages/batches/x/y/z",
    "/v1/messages/batches/x%2fresults",
    "/v1/messages/batches/../../files",
    "/v1/messages/batches//results",
    "/%61dmin/keys",
    "/admin",
    "/.well-known/../v1/messages",
    "/metrics/",
    "/healthz/../admin/keys",
]


@pytest.mark.requirement("PO-1")
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", NOT_THERE)
def test_a_path_that_another_reader_could_resolve_elsewhere_is_not_there(gate: Gate, path: str, method: str) -> None:
    answer = gate.ask(message(), JSON, method=method, path=path)
    assert answer.status == 404
    assert answer.json["error"]["type"] == "not_found_error"
    assert "begins at /v1/messages" in answer.says
    assert answer.json["request_id"] == answer.field("request-id")
    assert gate.upstream.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/claude-sonnet-5-5",
        "/v1/models/claude-opus-4@20250514",
        "/v1/models/us.anthropic.claude-v1:0",
        "/v1/models/anthropic%2Fclaude-sonnet",
        "/v1/models/claude%3A1",
        "/v1/models?limit=1000",
        "/v1/files/file_011CNha8iCJcU1wXNR6q4V8w/content",
        "/v1/messages/batches/msgbatch_1/results",
    ],
)
def test_identifiers_as_clients_write_them_go_on_as_they_came(gate: Gate, path: str) -> None:
    assert gate.get(path).status == 200
    assert gate.upstream.asked[0].line == f"GET {path} HTTP/1.1"


ROUTES = {
    "/v1/messages": "POST",
    "/v1/messages/count_tokens": "POST",
    "/v1/messages/batches": "GET, POST",
    "/v1/messages/batches/b_1": "DELETE, GET",
    "/v1/messages/batches/b_1/cancel": "POST",
    "/v1/messages/batches/b_1/results": "GET",
    "/v1/models": "GET",
    "/v1/models/m": "GET",
    "/v1/files": "GET, POST",
    "/v1/files/f_1": "DELETE, GET",
    "/v1/files/f_1/content": "GET",
    "/metrics": "GET, HEAD",
    "/healthz": "GET, HEAD",
    "/readyz": "GET, HEAD",
    "/": "GET, HEAD",
}


@pytest.mark.parametrize("path", ROUTES)
def test_another_method_is_refused_with_those_there_are(gate: Gate, path: str) -> None:
    for method in ("OPTIONS", "PUT", "PATCH", "TRACE", "PROPFIND"):
        answer = gate.ask(b"", "x-secret: 1", method=method, path=path)
        assert answer.status == 405
        assert answer.field("allow") == ROUTES[path]
        assert ROUTES[path] in answer.says
        assert b"x-secret" not in answer.text, "a request is not echoed"
    assert gate.upstream.asked == []


@pytest.mark.parametrize(
    "path", ["/admin/keys", "/admin/nothing", "/admin/keys/a%2fb", "/admin//keys", "/admin/../v1/models"]
)
def test_the_admin_door_asks_who_calls_before_it_says_what_there_is(gate: Gate, path: str) -> None:
    for method in ("GET", "OPTIONS", "HEAD", "PUT"):
        with gate.line() as line:
            line.send(
                f"{method} {path} HTTP/1.1\r\nhost: gateway.test\r\nconnection: close\r\n\r\n".encode(),
            )
            assert line.answer(method).status == 401
    assert gate.ask(b"", method="PUT", path=path, key=gate.admin).status == 404


ODD = ["%00", "%ff%fe", "'", "a" * 3000, "-1", "1e9", "9" * 40, "%2e%2e%2f", "{}", "0001-01-01", "9999-12-31T23:59:59Z"]


@pytest.mark.parametrize(
    "query",
    [
        "/admin/audit/events?who={}",
        "/admin/audit/events?what={}",
        "/admin/audit/events?since={}",
        "/admin/audit/events?until={}",
        "/admin/audit/events?call_id={}",
        "/admin/audit/events?after={}",
        "/admin/audit/events?limit={}",
        "/admin/audit/export?who={}",
        "/admin/audit/export?since={}",
        "/admin/audit/proof/{}",
        "/admin/audit/tail?last={}",
        "/admin/usage?by={}",
        "/admin/usage?since={}",
        "/admin/usage?person={}",
        "/admin/usage?team={}",
        "/admin/usage?model={}",
        "/admin/usage/standing?person={}",
        "/admin/costs?top={}",
        "/admin/keys?all={}",
    ],
)
def test_odd_parameters_of_administrators_are_refused_or_find_nothing_and_never_break(gate: Gate, query: str) -> None:
    for value in ODD:
        answer = gate.get(query.format(value), key=gate.admin)
        assert answer.status in {200, 400, 404}, (value, answer.text[:300])
        if answer.status != 200:
            assert answer.says
            assert "Traceback" not in answer.says
            assert "asyncpg" not in answer.says
            assert len(answer.says) < 600
    assert gate.get("/admin/keys", key=gate.admin).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'"x"',
        b"\xff",
        b"[" * 100_000,
        b'{"name":"\\u0000"}',
        b'{"name":"a/b"}',
        b'{"name":1}',
        b'{"name":"\\ud800"}',
    ],
    ids=range(10),
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/admin/keys"), ("POST", "/admin/policy/check"), ("DELETE", "/admin/keys/%00")]
)
def test_odd_bodies_of_administrators_are_refused_with_what_is_wrong(
    gate: Gate, method: str, path: str, body: bytes
) -> None:
    answer = gate.ask(body, JSON, method=method, path=path, key=gate.admin)
    assert answer.status in {400, 404}
    assert answer.says
    assert "asyncpg" not in answer.says
