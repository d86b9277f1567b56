"""What reaches the upstream: everything the caller sent, nothing that was only meant for the platform."""

import json
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import BODY, OK, call, fetch, get, replies, route, serving, spec, upstreams

from ai_platform.domain.call import Head, Headers
from ai_platform.domain.errors import InvalidCall
from ai_platform.domain.principal import Credentials
from ai_platform.domain.route import Target
from ai_platform.upstream.adapters.anthropic import AnthropicAdapter
from ai_platform.upstream.headers import REQUEST_DROPPED, request_line, write_head
from ai_platform.upstream.settings import Auth, UpstreamSettings
from ai_platform.upstream.splice import with_model

pytestmark = pytest.mark.anyio

CLAUDE_CODE: Headers = [
    (b"host", b"gateway.example:8787"),
    (b"accept", b"application/json"),
    (b"authorization", b"Bearer platform-key"),
    (b"x-api-key", b"platform-key"),
    (b"anthropic-version", b"2023-06-01"),
    (b"anthropic-beta", b"claude-code-20250219,unknown-beta-2031-01-01"),
    (b"anthropic-beta", b"second-line-2026-01-01"),
    (b"anthropic-unheard-of", b"  kept  as is \xe9"),
    (b"anthropic-dangerous-direct-browser-access", b"true"),
    (b"x-app", b"cli"),
    (b"user-agent", b"claude-cli/2.1.330 (external, cli)"),
    (b"x-claude-code-session-id", b"5b0a"),
    (b"x-claude-code-agent-id", b"a1"),
    (b"x-stainless-retry-count", b"0"),
    (b"x-stainless-timeout", b"600"),
    (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"content-type", b"application/json"),
    (b"content-length", b"999"),
    (b"connection", b"keep-alive, X-Hop"),
    (b"x-hop", b"only for the platform"),
    (b"te", b"trailers"),
    (b"transfer-encoding", b"chunked"),
    (b"expect", b"100-continue"),
    (b"upgrade", b"h2c"),
    (b"proxy-authorization", b"Basic c2VjcmV0"),
    (b"cookie", b"session=1"),
    (b"forwarded", b"for=10.0.0.7"),
    (b"x-forwarded-for", b"10.0.0.7"),
    (b"x-forwarded-anything", b"10.0.0.7"),
    (b"x-empty", b""),
]
TRAVELS = [
    (b"accept", b"application/json"),
    (b"anthropic-version", b"2023-06-01"),
    (b"anthropic-beta", b"claude-code-20250219,unknown-beta-2031-01-01"),
    (b"anthropic-beta", b"second-line-2026-01-01"),
    (b"anthropic-unheard-of", b"  kept  as is \xe9"),
    (b"anthropic-dangerous-direct-browser-access", b"true"),
    (b"x-app", b"cli"),
    (b"user-agent", b"claude-cli/2.1.330 (external, cli)"),
    (b"x-claude-code-session-id", b"5b0a"),
    (b"x-claude-code-agent-id", b"a1"),
    (b"x-stainless-retry-count", b"0"),
    (b"x-stainless-timeout", b"600"),
    (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    (b"content-type", b"application/json"),
    (b"x-empty", b""),
]


def outgoing(request: Any, **changes: Any) -> list[tuple[bytes, bytes]]:
    """The header fields as written, without a server."""
    environ = {"KEY": "upstream-key", "TENANT": "t-1"}
    adapter = AnthropicAdapter(UpstreamSettings(name="one", url="http://127.0.0.1:9", **changes), environ)
    head, _, _ = adapter.outgoing(request, Target(name="one")).head.partition(b"\r\n\r\n")
    return [(name, value) for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n")[1:])]


@pytest.mark.requirement("CC-4", "UP-1")
async def test_every_field_of_claude_code_travels_in_order_and_nothing_private_does():
    async with serving(replies(OK)) as server:
        one = spec(server, api_key_env="KEY")
        async with upstreams(one, environ={"KEY": "upstream-key"}) as upstream:
            await fetch(upstream, call(headers=CLAUDE_CODE, query=b"beta=true"))
        (request,) = server.requests
        assert request.line == b"POST /v1/messages?beta=true HTTP/1.1"
        assert request.fields == [
            (b"host", f"127.0.0.1:{server.port}".encode()),
            *TRAVELS,
            (b"accept-encoding", b"identity"),
            (b"x-api-key", b"upstream-key"),
            (b"content-length", b"%d" % len(BODY)),
        ]


@pytest.mark.requirement("CC-4")
async def test_a_body_is_forwarded_byte_for_byte():
    body = b'{ "model":"claude-sonnet-5-5" , "unknown": [1.0, 1e2, "\\u00e9\xc3\xa9"],\n "safeguards":{} }\n'
    async with serving(replies(OK)) as server, upstreams(spec(server)) as upstream:
        await fetch(upstream, call(body=body))
    assert server.requests[0].body == body


async def test_the_base_address_keeps_its_path_and_the_query_stays_as_it_came():
    async with serving(replies(OK)) as server, upstreams(spec(server.url + "/anthropic/")) as upstream:
        await fetch(upstream, get("/v1/models", query=b"limit=1000&after_id=a%2Fb&x=%5B1%5D"))
    (request,) = server.requests
    assert request.line == b"GET /anthropic/v1/models?limit=1000&after_id=a%2Fb&x=%5B1%5D HTTP/1.1"
    assert not request.all(b"content-length")


@pytest.mark.requirement("UP-1")
def test_a_credential_is_sent_the_way_the_upstream_wants_it():
    request = call(headers=CLAUDE_CODE)
    assert (b"x-api-key", b"upstream-key") in outgoing(request, api_key_env="KEY")
    bearer = outgoing(request, api_key_env="KEY", auth=Auth.BEARER)
    assert [value for name, value in bearer if name in {b"authorization", b"x-api-key"}] == [b"Bearer upstream-key"]
    assert not {b"authorization", b"x-api-key"} & {name for name, _ in outgoing(request)}


def test_passthrough_sends_the_callers_own_key_and_never_the_platforms():
    fields: Headers = [(b"authorization", b"Bearer sk-ant-own"), (b"x-api-key", b"platform-key")]
    request = call(headers=fields, credentials=Credentials("platform-key", "x-api-key"))
    sent = outgoing(request, auth=Auth.PASSTHROUGH)
    assert (b"authorization", b"Bearer sk-ant-own") in sent
    assert b"x-api-key" not in dict(sent)
    anonymous = outgoing(call(headers=fields, credentials=Credentials(None)), auth=Auth.PASSTHROUGH)
    assert set(fields) <= set(anonymous)


def test_extra_fields_replace_the_callers_and_may_come_from_the_environment():
    request = call(headers=[(b"x-tenant", b"forged"), (b"anthropic-beta", b"mine")])
    sent = outgoing(request, headers={"x-tenant": "t"}, headers_env={"x-route": "TENANT"})
    assert [field for field in sent if field[0].startswith((b"x-", b"anthropic"))] == [
        (b"anthropic-beta", b"mine"),
        (b"x-tenant", b"t"),
        (b"x-route", b"t-1"),
    ]


@pytest.mark.parametrize(
    "field",
    [
        (b"x-a", b"1\r\nx-api-key: stolen"),
        (b"x-a", b"1\nx-b: 2"),
        (b"x-a", b"1\rx-b: 2"),
        (b"x-a", b"nul\0"),
        (b"x-a\r\nx-b", b"1"),
        (b"x a", b"1"),
        (b"content-length ", b"5"),
        (b"Content-Length", b"5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"x-a:", b"1"),
        (b"", b"1"),
    ],
)
@pytest.mark.parametrize("beside", [[], [(b"x-z", b"1")]])
def test_a_field_that_could_smuggle_a_line_is_refused(field: tuple[bytes, bytes], beside: Headers):
    for fields in ([field, *beside], [*beside, field]):
        with pytest.raises(InvalidCall, match="header field"):
            outgoing(call(headers=fields))


def test_two_lengths_from_the_caller_leave_one_of_ours():
    fields: Headers = [(b"content-length", b"1"), (b"content-length", b"2"), (b"transfer-encoding", b"chunked")]
    sent = outgoing(call(headers=fields))
    assert [field for field in sent if field[0] in {b"content-length", b"transfer-encoding"}] == [
        (b"content-length", b"%d" % len(BODY))
    ]


def test_connection_cannot_be_used_to_strip_what_the_platform_adds():
    fields: Headers = [(b"connection", b"x-api-key, content-length, host, accept-encoding")]
    names = [name for name, _ in outgoing(call(headers=fields), api_key_env="KEY")]
    assert names == [b"host", b"accept-encoding", b"x-api-key", b"content-length"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin",
        "/v1/%2e%2E/admin",
        "/v1/..",
        "/./v1",
        "/v1/..%2fadmin",
        "/v1\\..\\admin",
        "/v1/..;x/admin",
        "v1/messages",
        "http://evil.example/v1",
        "*",
        "",
    ],
)
def test_a_path_that_climbs_or_is_not_one_is_refused(path: str):
    with pytest.raises(InvalidCall, match="path"):
        request_line("GET", b"/base", path, b"")


@pytest.mark.parametrize("query", [b"a b", b"a\r\nx: y", b"a\0", b"a#b", b"a\tb"])
def test_a_query_that_could_end_the_request_line_is_refused(query: bytes):
    with pytest.raises(InvalidCall, match="query"):
        request_line("GET", b"", "/v1", query)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "GET /x HTTP/1.1\r\nx: y\r\n\r\nGET", "get", ""])
def test_a_method_that_is_not_for_an_origin_is_refused(method: str):
    with pytest.raises(InvalidCall, match="method"):
        request_line(method, b"", "/v1", b"")


def test_a_path_received_decoded_is_encoded_again_and_an_encoded_one_stays():
    assert request_line("GET", b"", "/v1/files/a b?#é\r\n", b"") == (
        b"GET /v1/files/a%20b%3F%23%C3%A9%0D%0A HTTP/1.1\r\n"
    )
    assert request_line("GET", b"", "/v1/files/a%20b...c/.well-known", b"") == (
        b"GET /v1/files/a%20b...c/.well-known HTTP/1.1\r\n"
    )


NAMES = st.text(string.printable, max_size=8).map(str.encode)
VALUES = st.binary(max_size=12)


@settings(max_examples=500, deadline=None)
@given(fields=st.lists(st.tuples(NAMES, VALUES), max_size=5))
def test_no_field_list_ever_writes_a_line_that_was_not_asked_for(fields: Headers):
    try:
        head = write_head(b"GET / HTTP/1.1\r\n", fields, dropped=REQUEST_DROPPED, own=b"x-own: 1\r\n", length=0)
    except InvalidCall:
        return
    assert head.endswith(b"\r\n\r\n")
    lines = head[:-4].split(b"\r\n")
    assert head.count(b"\n") == head.count(b"\r") == len(lines) + 1
    written = [line.partition(b": ") for line in lines[1:-2]]
    assert [(name, value) for name, _, value in written] == [
        (name, value)
        for name, value in fields
        if (plain := name.replace(b"_", b"-")) not in REQUEST_DROPPED | _named(fields)
        and name not in _named(fields)
        and not plain.startswith(b"x-forwarded-")
    ]


def _named(fields: Headers) -> set[bytes]:
    return {part.strip(b" \t").lower() for name, value in fields if name == b"connection" for part in value.split(b",")}


def test_underscores_do_not_disguise_a_private_field_and_others_keep_theirs():
    fields: Headers = [
        (b"x_api_key", b"forged"),
        (b"x_forwarded-for", b"1"),
        (b"content_length", b"9"),
        (b"x_ok", b"1"),
    ]
    names = [name for name, _ in outgoing(call(headers=fields))]
    assert names == [b"host", b"x_ok", b"accept-encoding", b"content-length"]


async def test_a_mapped_model_is_spliced_into_an_otherwise_untouched_body():
    body = b'{"messages":[{"model":"claude-sonnet-5-5"}], "model" : "claude-sonnet-5-5" ,"x":1.0}'
    async with serving(replies(OK)) as server, upstreams(spec(server)) as upstream:
        await fetch(upstream, call(body=body), route(model="claude-opus-5-5"))
    assert server.requests[0].body == (
        b'{"messages":[{"model":"claude-sonnet-5-5"}], "model" : "claude-opus-5-5" ,"x":1.0}'
    )


@pytest.mark.parametrize(
    "body",
    [b"{}", b"not json", b'{"model":', b'{"x":"\\q"}', b'{"a":{"model":"claude-sonnet-5-5"}}', b'[{"model":"x"}]'],
)
async def test_a_model_that_cannot_be_mapped_is_not_sent_as_it_is(body: bytes):
    async with serving(replies(OK)) as server, upstreams(spec(server)) as upstream:
        with pytest.raises(InvalidCall, match="model"):
            await fetch(upstream, call(body=body), route(model="claude-opus-5-5"))
    assert server.requests == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a"}',
        b'{"x":"model","y":"model","model":"a","z":{"model":"keep"}}',
        b'{"y":{"model":"keep"},"model":"a","z":{"model":"keep"}}',
        b'{"model":"a","y":1,"mod\\u0065l":"b"}',
        b'{"mod\\u0065l":"a"}',
        b'{"model":"a","model":"b"}',
        b'{"x":"model","model":"a","y":["model",{"model":"keep"}]}',
        b'{"x":"\\"model\\":\\"no\\"","model":null}',
        b' {"a":{"model":1},"model"\n:\t-1.5e3}',
    ],
)
def test_only_the_top_level_model_is_replaced_however_it_is_spelt(body: bytes):
    before = json.loads(body, object_pairs_hook=list)
    after = json.loads(with_model(body, 'n"ew'), object_pairs_hook=list)
    assert after == [(key, 'n"ew' if key == "model" else value) for key, value in before]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.just("model"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("model"), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(document=st.dictionaries(st.text(max_size=3), JSON, max_size=4), indent=st.sampled_from([None, 1]))
def test_splicing_equals_setting_the_model_and_touches_nothing_else(document: dict[str, Any], indent: int | None):
    document = {**document, "model": "old"}
    body = json.dumps(document, indent=indent).encode()
    assert json.loads(with_model(body, "new")) == {**document, "model": "new"}
    assert with_model(with_model(body, "new"), "old") == body


def test_a_body_made_to_hide_its_model_is_refused_before_it_costs_much():
    hidden = b'{"a":[' + b'"",' * 300_000 + b'{"model":1}],"model":"a","b":{"model":1}}'
    with pytest.raises(ValueError, match="100000"):
        with_model(hidden, "new")


def test_a_call_without_a_model_is_not_searched_for_one():
    adapter = AnthropicAdapter(UpstreamSettings(name="one", url="http://127.0.0.1:9"), {})
    request = call(body=b"not json", head=Head())
    assert adapter.outgoing(request, Target(name="one", model="x")).body == b"not json"
